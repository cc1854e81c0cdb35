FAIR = {"name": "Book fair", "lead": "Hannah Cohen", "deadline": "2026-09-12"}
SINK = {"title": "Pick a sink", "project": "Kitchen renovation", "assignee": "Emma Fischer", "due_date": "2026-03-21"}
ANSWERS = [
    ("start_project", FAIR, "Book fair, led by Hannah Cohen, until 2026-09-12"),
    ("create_task", SINK, "Pick a sink in Kitchen renovation"),
    ("complete_task", {"title": "order the flowers"}, "Order the flowers is done; 1 open in Spring fair"),
    ("assign_task", {"title": "Choose the tiles", "person": "Lucas Fischer"}, "Choose the tiles: Lucas Fischer"),
    (
        "postpone_task",
        {"title": "Print the posters", "due_date": "2026-04-02"},
        "Print the posters is due on 2026-04-02",
    ),
    ("set_task_priority", {"title": "Label the cables", "priority": "high"}, "Label the cables: high"),
    ("project_tasks", {"project": "Spring fair"}, ["Order the flowers", "Print the posters", "Rent a tent"]),
    ("project_tasks", {"project": "Spring fair", "state": "done"}, ["Rent a tent"]),
    ("workload_of", {"person": "Tom Becker"}, ["Compare moving companies"]),
    ("workload_of", {"person": "Tom Becker", "until_date": "2026-04-01"}, []),
]
REFUSED = [
    ("start_project", {**FAIR, "name": "Spring fair"}, "there is a project 'Spring fair' already"),
    ("start_project", {**FAIR, "deadline": "autumn"}, "deadline 'autumn' is no date"),
    ("create_task", {**SINK, "project": "Bathroom"}, "no project 'Bathroom'; there is: "),
    ("create_task", {**SINK, "title": "Rent a tent"}, "there is a task 'Rent a tent' already"),
    ("complete_task", {"title": "Spring fair"}, "no task 'Spring fair'"),
    ("assign_task", {"title": "Pick a sink", "person": "Ida"}, "no task 'Pick a sink'"),
    ("postpone_task", {"title": "Print the posters", "due_date": "2026-03-01"}, "due on 2026-03-30 already"),
    ("set_task_priority", {"title": "Pick a sink", "priority": "low"}, "no task 'Pick a sink'"),
    ("project_tasks", {"project": "Rent a tent"}, "no project 'Rent a tent'"),
    ("workload_of", {"person": "Ida Holm"}, "no person with a task 'Ida Holm'"),
]
STORIES = [
    [
        ("start_project", FAIR, "Book fair, led by Hannah Cohen, until 2026-09-12"),
        ("create_task", {"title": "Invite the authors", "project": "Book fair"}, "Invite the authors in Book fair"),
        ("assign_task", {"title": "Invite the authors", "person": "Ida Holm"}, "Invite the authors: Ida Holm"),
        (
            "postpone_task",
            {"title": "Invite the authors", "due_date": "5 May 2026"},
            "Invite the authors is due on 2026-05-05",
        ),
        ("workload_of", {"person": "Ida Holm", "until_date": "2026-05-05"}, ["Invite the authors"]),
        ("complete_task", {"title": "Invite the authors"}, "Invite the authors is done; 0 open in Book fair"),
        ("project_tasks", {"project": "Book fair", "state": "open"}, []),
    ],
]
