ANSWERS = [
    (
        "find_free_rooms",
        {"date": "2026-05-11", "start_time": "11:00", "end_time": "14:30"},
        ["Maple", "Juniper", "Great Oak"],
    ),
    (
        "find_free_rooms",
        {"date": "2026-05-12", "start_time": "09:00", "end_time": "10:00", "people": 10},
        ["Cedar", "Great Oak"],
    ),
    ("rooms_with_equipment", {"equipment": ["screen", "video camera"]}, ["Cedar"]),
    (
        "book_meeting_room",
        {
            "room": "Birch",
            "date": "2026-05-11",
            "start_time": "10:00",
            "end_time": "11:00",
            "purpose": "Budget planning",
        },
        "booked Birch on 2026-05-11 from 10:00 to 11:00 for Budget planning",
    ),
    ("room_schedule", {"room": "great oak", "date": "2026-05-12"}, ["13:00 to 17:00 Sales workshop"]),
    ("room_schedule", {"room": "Maple", "date": "2026-05-13"}, []),
    (
        "release_meeting_room",
        {"room": "Cedar", "purpose": "board meeting"},
        "Cedar is free again on 2026-05-11 from 10:00 to 12:00",
    ),
]

REFUSED = [
    (
        "find_free_rooms",
        {"date": "2026-05-12", "start_time": "13:00", "end_time": "14:00", "people": 20},
        "no room for 20 people is free",
    ),
    ("find_free_rooms", {"date": "2026-05-12", "start_time": "15:00", "end_time": "14:00"}, "swap them"),
    ("rooms_with_equipment", {"equipment": ["whiteboard", "microphone"]}, "no room has all of that"),
    (
        "book_meeting_room",
        {
            "room": "Birch",
            "date": "2026-05-11",
            "start_time": "15:00",
            "end_time": "16:00",
            "purpose": "Budget planning",
        },
        "Birch is taken from 14:00 to 15:30",
    ),
    (
        "book_meeting_room",
        {
            "room": "Budget planning",
            "date": "2026-05-11",
            "start_time": "10:00",
            "end_time": "11:00",
            "purpose": "Budget planning",
        },
        "there is no room 'Budget planning'; there is: ",
    ),
    ("room_schedule", {"room": "Elm", "date": "2026-05-12"}, "there is no room 'Elm'"),
    ("room_schedule", {"room": "Maple", "date": "Monday"}, "date 'Monday' is no date"),
    (
        "release_meeting_room",
        {"room": "Birch", "purpose": "Board meeting"},
        "no meeting in Birch for 'Board meeting'; there is: Job interview",
    ),
]

STORIES = [
    [
        (
            "book_meeting_room",
            {
                "room": "Birch",
                "date": "2026-05-11",
                "start_time": "10:00",
                "end_time": "11:00",
                "purpose": "Budget planning",
            },
            "booked Birch on 2026-05-11 from 10:00 to 11:00 for Budget planning",
        ),
        (
            "room_schedule",
            {"room": "Birch", "date": "2026-05-11"},
            ["10:00 to 11:00 Budget planning", "14:00 to 15:30 Job interview"],
        ),
        (
            "release_meeting_room",
            {"room": "birch", "purpose": "Budget planning"},
            "Birch is free again on 2026-05-11 from 10:00 to 11:00",
        ),
        ("room_schedule", {"room": "Birch", "date": "2026-05-11"}, ["14:00 to 15:30 Job interview"]),
    ]
]
