LUNCH = {"description": "Lunch at work", "amount": 9.8, "category": "dining", "date": "2026-04-09"}
ANSWERS = [
    ("add_expense", LUNCH, "recorded 9.80 for Lunch at work on 2026-04-09"),
    (
        "list_expenses",
        {"month": "2026-04"},
        [
            "2026-04-03 Taxi to the airport: 38.00",
            "2026-04-07 Lunch with Priya: 26.80",
            "2026-04-11 New vacuum cleaner: 159.00",
        ],
    ),
    ("list_expenses", {"month": "March 2026", "category": "health"}, ["2026-03-09 Cough syrup: 11.90"]),
    ("total_spending", {"start_date": "2026-03-01", "end_date": "2026-03-31", "category": "groceries"}, 115.6),
    ("total_spending", {"start_date": "2026-04-07", "end_date": "2026-04-07"}, 26.8),
    ("delete_expense", {"description": "opera tickets"}, "removed Opera tickets of 2026-03-21"),
    ("set_budget", {"category": "household", "amount": 200}, "budget for household is 200.00 a month"),
    ("remaining_budget", {"category": "leisure", "month": "2026-03"}, -18.0),
]
REFUSED = [
    ("add_expense", {**LUNCH, "description": "9.80"}, "description '9.80' must be words"),
    ("add_expense", {**LUNCH, "amount": 0}, "amount must be greater than 0"),
    ("add_expense", {**LUNCH, "date": "tomorrow"}, "date 'tomorrow' is no date"),
    ("list_expenses", {"month": "2026-05"}, "no expense of the category all in 2026-05"),
    ("total_spending", {"start_date": "2026-04-01", "end_date": "2026-03-01"}, "swap them"),
    ("delete_expense", {"description": "Casa Lucia"}, "no expense 'Casa Lucia'; there is: Dinner at Casa Lucia, "),
    ("set_budget", {"category": "dining", "amount": -5}, "greater than 0"),
    ("remaining_budget", {"category": "health", "month": "2026-03"}, "no budget for 'health'; there is: "),
]
STORIES = [
    [
        ("add_expense", LUNCH, "recorded 9.80 for Lunch at work on 2026-04-09"),
        ("set_budget", {"category": "dining", "amount": 50}, "budget for dining is 50.00 a month"),
        ("remaining_budget", {"category": "dining", "month": "2026-04"}, 13.4),
        ("delete_expense", {"description": "Lunch at work"}, "removed Lunch at work of 2026-04-09"),
        ("remaining_budget", {"category": "dining", "month": "2026-04"}, 23.2),
    ],
]
