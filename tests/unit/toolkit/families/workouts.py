ANSWERS = [
    (
        "log_workout",
        {"activity": "running", "date": "2026-05-13", "minutes": 28, "kilometers": 5, "note": "Easy run with Priya"},
        "logged 28 minutes of running on 2026-05-13",
    ),
    (
        "log_workout",
        {"activity": "hiking", "date": "14 May 2026", "minutes": 180},
        "logged 180 minutes of hiking on 2026-05-14",
    ),
    (
        "workout_history",
        {"activity": "running", "since": "2026-05-01"},
        ["2026-05-02 running, 32 minutes", "2026-05-06 running, 47 minutes"],
    ),
    (
        "workout_history",
        {"activity": "all", "since": "2026-05-07"},
        ["2026-05-07 yoga, 60 minutes", "2026-05-09 cycling, 95 minutes", "2026-05-11 strength, 45 minutes"],
    ),
    ("set_weekly_goal", {"activity": "swimming", "minutes": 90}, "goal: 90 minutes of swimming a week"),
    ("weekly_goal_progress", {"activity": "running", "week_start": "2026-05-04"}, "47 of 120 minutes"),
    ("personal_record", {"exercise": "Squat"}, {"exercise": "squat", "kilograms": 90.0, "date": "2026-04-27"}),
    (
        "set_personal_record",
        {"exercise": "deadlift", "kilograms": 115, "date": "2026-05-18"},
        "record in deadlift: 115 kilograms on 2026-05-18",
    ),
    ("start_habit", {"name": "Walk after lunch"}, "tracking Walk after lunch"),
    ("mark_habit_done", {"habit": "read before bed", "date": "2026-05-12"}, "Read before bed is done on 2026-05-12"),
    ("habit_streak", {"habit": "Drink water", "date": "2026-05-11"}, 4),
    ("habit_streak", {"habit": "Read before bed", "date": "2026-05-10"}, 0),
]

REFUSED = [
    (
        "log_workout",
        {"activity": "running", "date": "2026-05-13", "minutes": 0, "kilometers": 5, "note": "Easy run with Priya"},
        "minutes must be greater than 0",
    ),
    (
        "log_workout",
        {"activity": "running", "date": "Easy run", "minutes": 28, "kilometers": 5, "note": "Easy run with Priya"},
        "date 'Easy run' is no date",
    ),
    (
        "workout_history",
        {"activity": "hiking", "since": "2026-05-01"},
        "no workout of the kind hiking since 2026-05-01",
    ),
    ("set_weekly_goal", {"activity": "yoga", "minutes": -10}, "minutes must be greater than 0"),
    ("weekly_goal_progress", {"activity": "cycling", "week_start": "this week"}, "week_start 'this week' is no date"),
    ("personal_record", {"exercise": "running"}, "there is no exercise 'running'; there is: "),
    (
        "set_personal_record",
        {"exercise": "squat", "kilograms": 80, "date": "2026-05-18"},
        "90.0 kilograms were lifted already",
    ),
    ("start_habit", {"name": "No sugar"}, "a habit 'No sugar' already"),
    ("mark_habit_done", {"habit": "Sleep early", "date": "2026-05-12"}, "there is no habit 'Sleep early'; there is: "),
    ("habit_streak", {"habit": "yoga", "date": "2026-05-12"}, "there is no habit 'yoga'"),
]

STORIES = [
    [
        (
            "log_workout",
            {"activity": "yoga", "date": "2026-05-10", "minutes": 15},
            "logged 15 minutes of yoga on 2026-05-10",
        ),
        ("set_weekly_goal", {"activity": "yoga", "minutes": 100}, "goal: 100 minutes of yoga a week"),
        ("weekly_goal_progress", {"activity": "yoga", "week_start": "2026-05-04"}, "75 of 100 minutes"),
    ],
    [
        ("start_habit", {"name": "Stretch"}, "tracking Stretch"),
        ("mark_habit_done", {"habit": "Stretch", "date": "2026-05-12"}, "Stretch is done on 2026-05-12"),
        ("mark_habit_done", {"habit": "stretch", "date": "2026-05-13"}, "Stretch is done on 2026-05-13"),
        ("habit_streak", {"habit": "Stretch", "date": "2026-05-13"}, 2),
    ],
    [
        (
            "set_personal_record",
            {"exercise": "squat", "kilograms": 92.5, "date": "2026-05-18"},
            "record in squat: 92.5 kilograms on 2026-05-18",
        ),
        ("personal_record", {"exercise": "squat"}, {"exercise": "squat", "kilograms": 92.5, "date": "2026-05-18"}),
    ],
]
