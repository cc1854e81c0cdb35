DUST = {
    "name": "Dust the shelves",
    "room": "Living room",
    "interval_days": 14,
    "person": "Otto",
    "first_date": "2026-03-20",
}
ANSWERS = [
    ("add_chore", DUST, "Dust the shelves: Otto, first on 2026-03-20"),
    ("finish_chore", {"chore": "mow the lawn", "date": "2026-03-12"}, "Mow the lawn done by Otto, next on 2026-03-22"),
    (
        "finish_chore",
        {"chore": "Empty the compost", "date": "2026-03-11", "person": "Nina"},
        "Empty the compost done by Nina, next on 2026-03-14",
    ),
    ("chores_due", {"date": "2026-03-12"}, ["Empty the compost", "Vacuum the stairs", "Mow the lawn"]),
    ("chores_due", {"date": "2026-03-16", "person": "Lucas"}, ["Clean the oven"]),
    ("hand_over_chore", {"chore": "Wash the windows", "to_person": "Emma"}, "Wash the windows: Emma instead of Lucas"),
    (
        "swap_chores",
        {"first_chore": "Mow the lawn", "second_chore": "Clean the oven"},
        "Mow the lawn: Lucas; Clean the oven: Otto",
    ),
    ("chores_in_room", {"room": "kitchen"}, {"Clean the oven": "Lucas", "Descale the kettle": "Nina"}),
]
REFUSED = [
    ("add_chore", {**DUST, "name": "Clean the oven"}, "there is a chore 'Clean the oven' already"),
    ("add_chore", {**DUST, "person": "Living room"}, "no person in the household 'Living room'; there is: "),
    ("add_chore", {**DUST, "interval_days": 0}, "interval_days must be between"),
    ("finish_chore", {"chore": "Otto", "date": "2026-03-12"}, "no chore 'Otto'"),
    ("finish_chore", {"chore": "Mow the lawn", "date": "today"}, "date 'today' is no date"),
    ("chores_due", {"date": "2026-03-12", "person": "Zoe"}, "no person in the household 'Zoe'"),
    ("hand_over_chore", {"chore": "Wash the windows", "to_person": "Lucas"}, "a chore of Lucas already"),
    ("swap_chores", {"first_chore": "Wash the windows", "second_chore": "Clean the oven"}, "both are chores of Lucas"),
    ("chores_in_room", {"room": "Attic"}, "no room with a chore 'Attic'; there is: "),
]
STORIES = [
    [
        ("add_chore", DUST, "Dust the shelves: Otto, first on 2026-03-20"),
        (
            "hand_over_chore",
            {"chore": "dust the shelves", "to_person": "Nina"},
            "Dust the shelves: Nina instead of Otto",
        ),
        ("chores_in_room", {"room": "Living room"}, {"Wash the windows": "Lucas", "Dust the shelves": "Nina"}),
        (
            "finish_chore",
            {"chore": "Dust the shelves", "date": "20 March 2026"},
            "Dust the shelves done by Nina, next on 2026-04-03",
        ),
        (
            "chores_due",
            {"date": "2026-04-03", "person": "Nina"},
            ["Vacuum the stairs", "Descale the kettle", "Dust the shelves"],
        ),
    ],
]
