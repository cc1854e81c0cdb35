CALL = {"team": "Support team", "date": "2026-03-10", "time": "9:00", "host": "Head office"}
ANSWERS = [
    ("add_clock", {"name": "Grandparents", "city": "Lisbon"}, "Grandparents: Lisbon"),
    ("relocate_clock", {"name": "sister", "new_city": "Toronto"}, "Sister: Toronto instead of Auckland"),
    ("meeting_time_for", CALL, "2026-03-10 16:00"),
    ("meeting_time_for", {**CALL, "team": "Warehouse", "time": "03:00"}, "2026-03-09 21:00"),
    ("hours_ahead", {"team": "Design studio", "other_team": "Head office", "date": "2026-03-10"}, 8.0),
    ("hours_ahead", {"team": "Head office", "other_team": "Design studio", "date": "2026-07-10"}, -7.0),
    (
        "common_working_hours",
        {"team": "Head office", "other_team": "Factory", "date": "2026-03-10"},
        "13:00 to 17:00",
    ),
    (
        "common_working_hours",
        {"team": "Design studio", "other_team": "Warehouse", "date": "2026-03-10", "workday": "long"},
        "08:00 to 10:00",
    ),
]
REFUSED = [
    ("add_clock", {"name": "Grandparents", "city": "Atlantis"}, "'Atlantis' is no city or time zone"),
    ("add_clock", {"name": "Factory", "city": "Lisbon"}, "there is a clock 'Factory' already"),
    ("relocate_clock", {"name": "Toronto", "new_city": "Toronto"}, "no clock 'Toronto'; there is: "),
    ("meeting_time_for", {**CALL, "team": "Manila"}, "no clock 'Manila'"),
    ("meeting_time_for", {**CALL, "time": "morning"}, "time 'morning' is no time of day"),
    ("hours_ahead", {"team": "Design studio", "other_team": "Berlin", "date": "2026-03-10"}, "no clock 'Berlin'"),
    (
        "common_working_hours",
        {"team": "Head office", "other_team": "Sister", "date": "2026-03-10"},
        "no hours of a normal workday are common to Head office and Sister",
    ),
]
STORIES = [
    [
        ("add_clock", {"name": "Grandparents", "city": "Lisbon"}, "Grandparents: Lisbon"),
        ("hours_ahead", {"team": "Head office", "other_team": "grandparents", "date": "2026-03-10"}, 1.0),
        ("relocate_clock", {"name": "Grandparents", "new_city": "Berlin"}, "Grandparents: Berlin instead of Lisbon"),
        ("hours_ahead", {"team": "Head office", "other_team": "Grandparents", "date": "2026-03-10"}, 0.0),
    ],
]
