PASTA = {"text": "Take the pasta off", "date": "2026-03-11", "time": "18:05"}
ANSWERS = [
    ("set_reminder", PASTA, "Take the pasta off: 2026-03-11 18:05"),
    ("set_reminder", {"text": "Swim", "date": "2026-03-11", "repeat": "weekly"}, "Swim: 2026-03-11 09:00, weekly"),
    (
        "reminders_between",
        {"first_date": "2026-03-10", "last_date": "2026-03-12"},
        [
            "2026-03-10 07:30 Take the vitamins",
            "2026-03-10 19:00 Take the bins out",
            "2026-03-12 09:00 Renew the passport",
        ],
    ),
    ("snooze_reminder", {"text": "Call grandma", "minutes": 90}, "Call grandma: 2026-03-15 17:30"),
    ("snooze_reminder", {"text": "call grandma"}, "Call grandma: 2026-03-15 16:10"),
    ("dismiss_reminder", {"text": "Pay the rent"}, "dismissed Pay the rent"),
    (
        "remind_at_place",
        {"text": "Return the key", "place": "Gym", "moment": "leaving"},
        "Return the key: on leaving Gym",
    ),
    ("reminders_at_place", {"place": "home"}, ["Lock the shed (leaving)"]),
]
REFUSED = [
    ("set_reminder", {**PASTA, "date": "18:05"}, "date '18:05' is no date"),
    ("set_reminder", {**PASTA, "text": "Pay the rent"}, "there is a reminder 'Pay the rent' already"),
    ("reminders_between", {"first_date": "2026-03-10", "last_date": "2026-03-01"}, "swap them"),
    ("snooze_reminder", {"text": "Call grandpa"}, "no reminder 'Call grandpa'; there is: Call grandma"),
    ("snooze_reminder", {"text": "Call grandma", "minutes": -5}, "minutes must be between"),
    ("dismiss_reminder", {"text": "Call grandpa"}, "no reminder 'Call grandpa'"),
    ("remind_at_place", {"text": "Return the key", "place": "12"}, "place '12' must be words"),
    ("reminders_at_place", {"place": "Gym"}, "no place with a reminder 'Gym'; there is: "),
]
STORIES = [
    [
        ("set_reminder", PASTA, "Take the pasta off: 2026-03-11 18:05"),
        ("snooze_reminder", {"text": "Take the pasta off", "minutes": 360}, "Take the pasta off: 2026-03-12 00:05"),
        ("dismiss_reminder", {"text": "Renew the passport"}, "dismissed Renew the passport"),
        (
            "reminders_between",
            {"first_date": "2026-03-11", "last_date": "2026-03-13"},
            ["2026-03-12 00:05 Take the pasta off"],
        ),
        ("remind_at_place", {"text": "Return the key", "place": "Gym"}, "Return the key: on arriving Gym"),
        ("reminders_at_place", {"place": "Gym"}, ["Return the key (arriving)"]),
    ],
]
