ANSWERS = [
    (
        "find_restaurants",
        {"cuisine": "Italian"},
        ["Casa Lucia (Italian, Westbridge)", "Trattoria Bella (Italian, Port Selby)"],
    ),
    ("find_restaurants", {"town": "Port Selby", "price": "high"}, ["Chez Amelie (French, Port Selby)"]),
    ("show_menu", {"restaurant": "Chez Amelie"}, {"Onion soup": 9.5, "Duck confit": 28.0, "Crème brûlée": 9.0}),
    ("show_menu", {"restaurant": "el cactus", "course": "starter"}, {"Guacamole": 6.5}),
    (
        "reserve_table",
        {"restaurant": "El Cactus", "date": "2026-06-20", "time": "19:00", "guests": 5, "name": "Haddad"},
        "table for 5 at El Cactus on 2026-06-20 at 19:00 for Haddad",
    ),
    (
        "move_table_reservation",
        {"name": "Lindgren", "restaurant": "Chez Amelie", "new_date": "2026-05-17", "new_time": "21:00"},
        "moved Lindgren at Chez Amelie to 2026-05-17 at 21:00",
    ),
    (
        "cancel_table_reservation",
        {"name": "Okafor", "restaurant": "Casa Lucia"},
        "cancelled the table of Okafor at Casa Lucia on 2026-05-15",
    ),
]

REFUSED = [
    ("find_restaurants", {"cuisine": "French", "town": "Westbridge"}, "there is no such restaurant"),
    ("find_restaurants", {"town": "Norvale"}, "there is no restaurant in 'Norvale'; there is: "),
    ("show_menu", {"restaurant": "Casa Bella"}, "there is no restaurant 'Casa Bella'; there is: "),
    ("show_menu", {"restaurant": "El Cactus", "course": "dessert"}, "El Cactus has no dessert on the menu"),
    (
        "reserve_table",
        {"restaurant": "El Cactus", "date": "2026-06-20", "time": "9:00", "guests": 5, "name": "Haddad"},
        "El Cactus is open from 11:00 to 23:00",
    ),
    (
        "reserve_table",
        {"restaurant": "Sakura House", "date": "2026-05-15", "time": "19:00", "guests": 5, "name": "Haddad"},
        "has 2 seats left on 2026-05-15",
    ),
    (
        "reserve_table",
        {"restaurant": "Haddad", "date": "2026-06-20", "time": "19:00", "guests": 5, "name": "El Cactus"},
        "there is no restaurant 'Haddad'",
    ),
    (
        "move_table_reservation",
        {"name": "Okafor", "restaurant": "Chez Amelie", "new_date": "2026-05-17", "new_time": "21:00"},
        "no table at Chez Amelie for 'Okafor'; there is: Lindgren",
    ),
    (
        "move_table_reservation",
        {"name": "Lindgren", "restaurant": "Chez Amelie", "new_date": "2026-05-17", "new_time": "late"},
        "new_time 'late' is no time of day",
    ),
    ("cancel_table_reservation", {"name": "Casa Lucia", "restaurant": "Okafor"}, "there is no restaurant 'Okafor'"),
]

STORIES = [
    [
        (
            "reserve_table",
            {"restaurant": "El Cactus", "date": "2026-06-20", "time": "19:00", "guests": 5, "name": "Haddad"},
            "table for 5 at El Cactus on 2026-06-20 at 19:00 for Haddad",
        ),
        (
            "move_table_reservation",
            {"name": "haddad", "restaurant": "El Cactus", "new_date": "2026-06-21", "new_time": "6 pm"},
            "moved Haddad at El Cactus to 2026-06-21 at 18:00",
        ),
        (
            "cancel_table_reservation",
            {"name": "Haddad", "restaurant": "El Cactus"},
            "cancelled the table of Haddad at El Cactus on 2026-06-21",
        ),
    ]
]
