EYE_TEST = {"title": "Eye test", "date": "2026-03-13", "time": "9:15", "place": "Vision Center"}
ANSWERS = [
    ("create_event", EYE_TEST, "Eye test on 2026-03-13 at 09:15"),
    (
        "agenda_for_day",
        {"date": "2026-03-10"},
        ["08:30 Dentist appointment", "10:00 Budget review", "12:30 Lunch with Maria"],
    ),
    ("agenda_for_day", {"date": "2026-03-30"}, []),
    ("reschedule_event", {"title": "Budget review", "new_date": "2026-03-12"}, "Budget review on 2026-03-12 at 10:00"),
    (
        "reschedule_event",
        {"title": "Yoga class", "new_date": "2026-03-14", "new_time": "17:00"},
        "Yoga class on 2026-03-14 at 17:00",
    ),
    (
        "cancel_event",
        {"title": "Product demo", "reason": "the room is not free"},
        "cancelled Product demo and told Sofia Andersson, Hannah Cohen: the room is not free",
    ),
    ("invite_to_event", {"title": "Piano lesson", "people": ["Ben", "Ida Holm"]}, ["Ben", "Ida Holm"]),
    ("next_meeting_with", {"person": "Sofia Andersson"}, "Sprint planning on 2026-03-11 at 09:00"),
    (
        "next_meeting_with",
        {"person": "Sofia Andersson", "after_date": "2026-03-12"},
        "Product demo on 2026-03-14 at 11:00",
    ),
    ("find_free_time", {"date": "2026-03-10", "minutes": 45}, "09:15 to 10:00"),
    ("find_free_time", {"date": "2026-03-10", "minutes": 60, "earliest": "10:00"}, "11:30 to 12:30"),
]
REFUSED = [
    ("create_event", {**EYE_TEST, "date": "20 March"}, "date '20 March' is no date"),
    ("create_event", {**EYE_TEST, "time": "noon"}, "time 'noon' is no time of day"),
    ("create_event", {**EYE_TEST, "minutes": 0}, "minutes must be between"),
    (
        "create_event",
        {**EYE_TEST, "title": "Yoga class"},
        "there is a calendar event 'Yoga class' already",
    ),
    ("agenda_for_day", {"date": "Monday"}, "date 'Monday' is no date"),
    (
        "reschedule_event",
        {"title": "Chess club", "new_date": "2026-03-12"},
        "there is no calendar event 'Chess club'; there is:",
    ),
    ("cancel_event", {"title": "Chess club"}, "there is no calendar event"),
    ("invite_to_event", {"title": "Piano lesson", "people": []}, "name at least one person"),
    ("next_meeting_with", {"person": "Zoe Adams"}, "there is no person with an event 'Zoe Adams'"),
    (
        "next_meeting_with",
        {"person": "Tom Becker", "after_date": "2026-04-01"},
        "no event with Tom Becker from 2026-04-01",
    ),
    (
        "find_free_time",
        {"date": "2026-03-10", "minutes": 300, "latest": "15:00"},
        "no 300 minutes are free on 2026-03-10",
    ),
]
STORIES = [
    [
        ("create_event", EYE_TEST, "Eye test on 2026-03-13 at 09:15"),
        ("invite_to_event", {"title": "eye test", "people": ["Ida Holm"]}, ["Ida Holm"]),
        ("next_meeting_with", {"person": "Ida Holm"}, "Eye test on 2026-03-13 at 09:15"),
        (
            "reschedule_event",
            {"title": "Eye test", "new_date": "2026-03-30", "new_time": "2 pm"},
            "Eye test on 2026-03-30 at 14:00",
        ),
        ("find_free_time", {"date": "2026-03-30", "minutes": 30, "earliest": "14:00"}, "15:00 to 15:30"),
        ("cancel_event", {"title": "Eye test"}, "cancelled Eye test"),
        ("agenda_for_day", {"date": "2026-03-30"}, []),
    ],
]
