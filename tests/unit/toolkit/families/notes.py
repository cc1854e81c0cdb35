ANSWERS = [
    ("save_note", {"title": "Bike lock", "text": "Four digits."}, "saved Bike lock"),
    ("read_note", {"title": "pancakes"}, "Two eggs, a cup of flour, a cup of milk, a pinch of salt."),
    (
        "list_notes",
        {},
        [
            "Books to read",
            "Garden plan",
            "Gift ideas",
            "Packing for camp",
            "Pancakes",
            "Parking rules",
            "Plumber",
            "Wifi in the cabin",
        ],
    ),
    ("delete_note", {"title": "Gift ideas"}, "deleted Gift ideas"),
]
REFUSED = [
    ("save_note", {"title": "../", "text": "x"}, "title '../' must be words"),
    ("save_note", {"title": "a" * 81, "text": "x"}, "must be words, 80 characters at most"),
    ("save_note", {"title": "a", "text": "x" * 20_001}, "longer than 20000 characters"),
    ("read_note", {"title": "Pancake"}, "there is no note 'Pancake'; there is: Pancakes"),
    ("delete_note", {"title": "Bike lock"}, "there is no note 'Bike lock'"),
]
STORIES = [
    [
        ("save_note", {"title": "Bike lock", "text": "Four digits."}, "saved Bike lock"),
        ("save_note", {"title": "bike lock", "text": "Five digits."}, "saved bike lock"),
        ("read_note", {"title": "Bike Lock"}, "Five digits."),
        ("delete_note", {"title": "Bike lock"}, "deleted bike lock"),
    ],
]
