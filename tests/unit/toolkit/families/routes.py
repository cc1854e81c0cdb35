ANSWERS = [
    (
        "plan_route",
        {"start": "Norvale", "destination": "Eastmere"},
        {"route": "Norvale - Alderbrook - Millhaven - Thornfield - Eastmere", "kilometers": 85, "minutes": 94},
    ),
    (
        "plan_route",
        {"start": "Alderbrook", "destination": "port selby", "avoid": "toll roads"},
        {"route": "Alderbrook - Norvale - Port Selby", "kilometers": 52, "minutes": 57},
    ),
    (
        "plan_route",
        {"start": "Thornfield", "destination": "Dunmoor", "via": "Quarrystone", "avoid": "motorways"},
        {"route": "Thornfield - Quarrystone - Larkhill - Dunmoor", "kilometers": 43, "minutes": 56},
    ),
    ("find_places", {"town": "Westbridge", "kind": "hotel"}, ["Grand Bridge Hotel", "Station Hotel"]),
    ("towns_nearby", {"town": "Dunmoor"}, {"Larkhill": 9, "Millhaven": 12, "Quarrystone": 23, "Thornfield": 27}),
    ("towns_nearby", {"town": "Norvale", "within_kilometers": 20}, {"Alderbrook": 18}),
    ("locate_place", {"place": "glass museum"}, {"place": "Glass Museum", "town": "Eastmere", "kind": "museum"}),
    ("locate_place", {"place": "Weekend hotel"}, {"place": "Watermill Hotel", "town": "Millhaven", "kind": "hotel"}),
    (
        "save_favorite_place",
        {"label": "Rainy day", "place": "Museum of Clocks"},
        "saved Museum of Clocks in Westbridge as rainy day",
    ),
]

REFUSED = [
    (
        "plan_route",
        {"start": "Norvale", "destination": "Eastmere Lake"},
        "there is no town 'Eastmere Lake'; there is: Eastmere, ",
    ),
    ("plan_route", {"start": "Norvale", "destination": "Norvale"}, "are the same town"),
    (
        "find_places",
        {"town": "Larkhill", "kind": "museum"},
        "there is no museum in Larkhill; try Eastmere, Port Selby, Westbridge",
    ),
    ("towns_nearby", {"town": "Dunmoor", "within_kilometers": 0}, "within_kilometers must be greater than 0"),
    ("locate_place", {"place": "Eastmere"}, "there is no place 'Eastmere'; there is: "),
    ("save_favorite_place", {"label": "home", "place": "Museum of Clocks"}, "a label 'home' already"),
    ("save_favorite_place", {"label": "Museum of Clocks", "place": "Rainy day"}, "there is no place 'Rainy day'"),
]

STORIES = [
    [
        (
            "save_favorite_place",
            {"label": "Rainy day", "place": "Museum of Clocks"},
            "saved Museum of Clocks in Westbridge as rainy day",
        ),
        ("locate_place", {"place": "rainy day"}, {"place": "Museum of Clocks", "town": "Westbridge", "kind": "museum"}),
    ]
]
