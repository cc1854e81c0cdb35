ANSWERS = [
    ("find_films", {"genre": "comedy", "actor": "Hana Mori"}, ["Two Left Feet (2018)"]),
    ("find_films", {"director": "owen drake"}, ["Night Train to Larkhill (2021)", "Beyond the Ninth Moon (2024)"]),
    (
        "film_details",
        {"title": "A Letter from Port Selby"},
        {
            "title": "A Letter from Port Selby",
            "director": "Mira Castellan",
            "year": 2016,
            "minutes": 109,
            "actors": ["Sofia Bianchi", "Jonas Weller"],
        },
    ),
    (
        "add_to_watchlist",
        {"title": "silent orchard", "priority": "low"},
        "The Silent Orchard is on the watchlist with low priority",
    ),
    ("rate_film", {"title": "Two Left Feet", "stars": 4}, "rated Two Left Feet with 4 of 5 stars"),
    (
        "cinema_program",
        {"date": "2026-05-15", "cinema": "harbor cinema"},
        [
            "14:30 The Clockmaker's Cat",
            "17:00 Penguins of the South",
            "19:15 Beyond the Ninth Moon",
            "21:30 A Letter from Port Selby",
        ],
    ),
    (
        "buy_cinema_tickets",
        {"film": "The Clockmaker's Cat", "cinema": "Harbor Cinema", "date": "2026-05-16", "tickets": 2},
        "tickets for The Clockmaker's Cat at Harbor Cinema on 2026-05-16 at 14:30: 2",
    ),
]

REFUSED = [
    ("find_films", {"director": "Hana Mori"}, "there is no director 'Hana Mori'; there is: "),
    ("find_films", {"genre": "romance", "actor": "Milo Grant"}, "there is no such film"),
    ("film_details", {"title": "Night Train"}, "there is no film 'Night Train'; there is: Night Train to Larkhill, "),
    ("add_to_watchlist", {"title": "Two Left Feet"}, "a film on the list 'Two Left Feet' already"),
    ("rate_film", {"title": "Odeon", "stars": 1}, "there is no film 'Odeon'"),
    ("rate_film", {"title": "Two Left Feet", "stars": 7}, "stars must be between 1 and 5"),
    (
        "cinema_program",
        {"date": "2026-05-15", "cinema": "Westbridge"},
        "there is no cinema 'Westbridge'; there is: Odeon Westbridge, ",
    ),
    ("cinema_program", {"date": "Friday"}, "date 'Friday' is no date"),
    (
        "buy_cinema_tickets",
        {"film": "Beyond the Ninth Moon", "cinema": "Odeon Westbridge", "date": "2026-05-15", "tickets": 4},
        "between 1 and 3",
    ),
    (
        "buy_cinema_tickets",
        {"film": "Harbor Cinema", "cinema": "The Clockmaker's Cat", "date": "2026-05-16", "tickets": 2},
        'there is no cinema "The Clockmaker\'s Cat"',
    ),
    (
        "buy_cinema_tickets",
        {"film": "Cactus Weekend", "cinema": "Harbor Cinema", "date": "2026-05-16", "tickets": 2},
        "no showing at Harbor Cinema of 'Cactus Weekend'; there is: ",
    ),
]

STORIES = [
    [
        ("add_to_watchlist", {"title": "Cactus Weekend"}, "Cactus Weekend is on the watchlist with normal priority"),
        ("rate_film", {"title": "Cactus Weekend", "stars": 2}, "rated Cactus Weekend with 2 of 5 stars"),
        (
            "add_to_watchlist",
            {"title": "Cactus Weekend", "priority": "high"},
            "Cactus Weekend is on the watchlist with high priority",
        ),
    ],
    [
        (
            "buy_cinema_tickets",
            {"film": "The Clockmaker's Cat", "cinema": "Harbor Cinema", "date": "2026-05-16", "tickets": 59},
            "tickets for The Clockmaker's Cat at Harbor Cinema on 2026-05-16 at 14:30: 59",
        ),
        (
            "buy_cinema_tickets",
            {"film": "The Clockmaker's Cat", "cinema": "Harbor Cinema", "date": "2026-05-16", "tickets": 1},
            "tickets for The Clockmaker's Cat at Harbor Cinema on 2026-05-16 at 14:30: 1",
        ),
        (
            "buy_cinema_tickets",
            {"film": "The Clockmaker's Cat", "cinema": "Harbor Cinema", "date": "2026-05-17", "tickets": 2},
            "tickets for The Clockmaker's Cat at Harbor Cinema on 2026-05-17 at 14:30: 2",
        ),
    ],
]
