ANSWERS = [
    (
        "find_trains",
        {"from_town": "Port Selby", "to_town": "Eastmere"},
        ["IC 204 08:15 to 09:36", "IC 218 18:05 to 19:26", "R60 11:10 to 13:46"],
    ),
    (
        "find_trains",
        {"from_town": "Port Selby", "to_town": "Eastmere", "leave_after": "5 pm"},
        ["IC 218 18:05 to 19:26"],
    ),
    ("train_fare", {"from_town": "Norvale", "to_town": "Millhaven"}, 8.4),
    (
        "train_fare",
        {"from_town": "Norvale", "to_town": "Millhaven", "travel_class": "first", "return_trip": True},
        26.88,
    ),
    ("list_train_stops", {"train": "ic 209"}, ["Eastmere 13:20", "Westbridge 14:08", "Port Selby 14:41"]),
    (
        "reserve_train_seat",
        {"train": "R31", "date": "2026-06-03", "passenger": "Elena Petrova", "seat": "aisle"},
        "reservation 505: aisle seat in R31 on 2026-06-03 for Elena Petrova",
    ),
    (
        "cancel_train_seat",
        {"passenger": "Nora Feldman", "train": "IC 204"},
        "cancelled reservation 501 of Nora Feldman on 2026-05-12",
    ),
]

REFUSED = [
    ("find_trains", {"from_town": "Norvale", "to_town": "Larkhill"}, "no direct train from Norvale to Larkhill"),
    (
        "find_trains",
        {"from_town": "Eastmere", "to_town": "Port Selby", "leave_after": "22:00"},
        "no direct train after 22:00",
    ),
    ("find_trains", {"from_town": "Eastmere", "to_town": "20:00"}, "there is no station '20:00'"),
    (
        "train_fare",
        {"from_town": "Selby", "to_town": "Eastmere"},
        "there is no station 'Selby'; there is: Port Selby, ",
    ),
    ("list_train_stops", {"train": "IC 240"}, "there is no train 'IC 240'; there is: IC 204, "),
    (
        "reserve_train_seat",
        {"train": "R31", "date": "2026-06-03", "passenger": "31", "seat": "aisle"},
        "passenger '31' must be words",
    ),
    (
        "reserve_train_seat",
        {"train": "R31", "date": "Wednesday", "passenger": "Elena Petrova", "seat": "aisle"},
        "date 'Wednesday' is no date",
    ),
    (
        "cancel_train_seat",
        {"passenger": "Nora Feldman", "train": "R12"},
        "no seat in R12 for 'Nora Feldman'; there is: Tomas Reyes",
    ),
]

STORIES = [
    [
        (
            "reserve_train_seat",
            {"train": "R31", "date": "2026-06-03", "passenger": "Elena Petrova", "seat": "aisle"},
            "reservation 505: aisle seat in R31 on 2026-06-03 for Elena Petrova",
        ),
        (
            "cancel_train_seat",
            {"passenger": "elena petrova", "train": "r31"},
            "cancelled reservation 505 of Elena Petrova on 2026-06-03",
        ),
    ]
]
