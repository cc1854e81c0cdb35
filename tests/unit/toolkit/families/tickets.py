ANSWERS = [
    (
        "open_ticket",
        {"title": "Search finds no umlauts", "project": "web shop", "priority": "high", "assignee": "diego santos"},
        "opened ticket 107 in Web Shop: Search finds no umlauts",
    ),
    (
        "open_ticket",
        {"title": "Add a map of the stores", "project": "Mobile App"},
        "opened ticket 107 in Mobile App: Add a map of the stores",
    ),
    ("find_tickets", {"assignee": "hana mori", "status": "open"}, ["105 Crash when the photo is rotated"]),
    ("find_tickets", {"project": "Billing", "label": "bug"}, ["103 Invoices are sent twice"]),
    (
        "ticket_status",
        {"number": 106},
        {
            "title": "Monthly report is too slow",
            "project": "Billing",
            "status": "in review",
            "priority": "normal",
            "assignee": "Omar Nassar",
        },
    ),
    ("label_ticket", {"number": 102, "labels": ["Design", "Night mode"]}, ["feature", "design", "night mode"]),
    ("assign_ticket", {"number": 102, "person": "Lena Vogt"}, "ticket 102 is assigned to Lena Vogt"),
    ("set_ticket_status", {"number": 101, "status": "in review"}, "ticket 101 is in review"),
    (
        "comment_on_ticket",
        {"number": 106, "comment": "Please test it with last year's data."},
        "comment 2 on ticket 106",
    ),
]

REFUSED = [
    (
        "open_ticket",
        {"title": "Search finds no umlauts", "project": "Search", "priority": "high", "assignee": "diego santos"},
        "there is no project 'Search'; there is: ",
    ),
    (
        "open_ticket",
        {"title": "404", "project": "web shop", "priority": "high", "assignee": "diego santos"},
        "title '404' must be words",
    ),
    (
        "open_ticket",
        {"title": "Search finds no umlauts", "project": "web shop", "priority": "high", "assignee": "Web Shop"},
        "there is no person 'Web Shop'",
    ),
    ("label_ticket", {"number": 104, "labels": []}, "labels is empty"),
    ("label_ticket", {"number": 4, "labels": ["bug"]}, "there is no ticket '4'"),
    ("find_tickets", {"assignee": "Web Shop"}, "there is no person 'Web Shop'; there is: "),
    ("find_tickets", {"project": "Billing", "status": "done"}, "there is no such ticket"),
    ("ticket_status", {"number": 99}, "there is no ticket '99'; there is: "),
    ("assign_ticket", {"number": 102, "person": "Mobile App"}, "there is no person 'Mobile App'"),
    ("set_ticket_status", {"number": 104, "status": "done"}, "ticket 104 is done already"),
    ("comment_on_ticket", {"number": 106, "comment": "?"}, "comment '?' must be words"),
]

STORIES = [
    [
        (
            "open_ticket",
            {"title": "Search finds no umlauts", "project": "web shop", "priority": "high", "assignee": "diego santos"},
            "opened ticket 107 in Web Shop: Search finds no umlauts",
        ),
        ("label_ticket", {"number": 107, "labels": ["Search"]}, ["search"]),
        ("assign_ticket", {"number": 107, "person": "Omar Nassar"}, "ticket 107 is assigned to Omar Nassar"),
        ("set_ticket_status", {"number": 107, "status": "in progress"}, "ticket 107 is in progress"),
        ("comment_on_ticket", {"number": 107, "comment": "Seems to be the index."}, "comment 1 on ticket 107"),
        (
            "ticket_status",
            {"number": 107},
            {
                "title": "Search finds no umlauts",
                "project": "Web Shop",
                "status": "in progress",
                "priority": "high",
                "assignee": "Omar Nassar",
            },
        ),
        ("find_tickets", {"label": "search"}, ["107 Search finds no umlauts"]),
    ]
]
