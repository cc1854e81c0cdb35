HIRED = {
    "name": "Ada Brook",
    "job": "Buyer",
    "department": "Logistics",
    "manager": "Marco Bianchi",
    "start_date": "2026-06-01",
}
LEAVE = {"employee": "Chloe Dubois", "first_day": "2026-03-18", "last_day": "2026-03-19"}
ANSWERS = [
    ("look_up_employee", {"name": "priya raman", "detail": "manager"}, "Marco Bianchi"),
    ("look_up_employee", {"name": "Yuki Mori", "detail": "job"}, "Accountant"),
    ("list_department", {"department": "Engineering"}, ["Felix Wagner", "Chloe Dubois", "Omar Farouk"]),
    ("list_department", {"department": "Engineering", "office": "Turin"}, ["Chloe Dubois"]),
    ("employees_with_skill", {"skill": "forklift", "department": "Sales"}, []),
    ("employees_with_skill", {"skill": "first aid"}, ["Helen Price", "Jonas Eriksen"]),
    ("employees_with_skill", {"skill": "first aid", "department": "People"}, ["Jonas Eriksen"]),
    ("hire_employee", HIRED, "Ada Brook starts as Buyer under Marco Bianchi on 2026-06-01"),
    (
        "transfer_employee",
        {"employee": "Omar Farouk", "department": "Logistics"},
        "Omar Farouk is in Logistics, manager Felix Wagner",
    ),
    (
        "transfer_employee",
        {"employee": "Yuki Mori", "department": "Sales", "manager": "Marco Bianchi"},
        "Yuki Mori is in Sales, manager Marco Bianchi",
    ),
    ("request_leave", LEAVE, "vacation of Chloe Dubois from 2026-03-18 to 2026-03-19"),
    ("employees_away", {"date": "2026-03-17"}, {"Omar Farouk": "vacation"}),
]
REFUSED = [
    ("look_up_employee", {"name": "Sales", "detail": "job"}, "no employee 'Sales'; there is: "),
    ("list_department", {"department": "Priya Raman"}, "no department 'Priya Raman'; there is: "),
    ("employees_with_skill", {"skill": "juggling"}, "no skill 'juggling'"),
    ("employees_with_skill", {"skill": "forklift", "department": "French"}, "no department 'French'"),
    ("hire_employee", {**HIRED, "name": "Yuki Mori"}, "there is an employee 'Yuki Mori' already"),
    ("hire_employee", {**HIRED, "manager": "Logistics"}, "no employee 'Logistics'"),
    ("hire_employee", {**HIRED, "department": "Marco Bianchi"}, "no department 'Marco Bianchi'"),
    ("transfer_employee", {"employee": "Sales", "department": "Yuki Mori"}, "no employee 'Sales'"),
    (
        "transfer_employee",
        {"employee": "Yuki Mori", "department": "Sales", "manager": "Yuki Mori"},
        "the same person; name two",
    ),
    ("request_leave", {**LEAVE, "last_day": "2026-03-01"}, "swap them"),
    ("request_leave", {**LEAVE, "employee": "Omar Farouk"}, "Omar Farouk is away on some of these days already"),
    ("employees_away", {"date": "Omar Farouk"}, "date 'Omar Farouk' is no date"),
]
STORIES = [
    [
        ("hire_employee", HIRED, "Ada Brook starts as Buyer under Marco Bianchi on 2026-06-01"),
        ("look_up_employee", {"name": "Ada Brook", "detail": "office"}, "Turin"),
        (
            "request_leave",
            {**LEAVE, "employee": "Ada Brook", "kind": "sick leave"},
            "sick leave of Ada Brook from 2026-03-18 to 2026-03-19",
        ),
        ("employees_away", {"date": "19 March 2026"}, {"Omar Farouk": "vacation", "Ada Brook": "sick leave"}),
        (
            "transfer_employee",
            {"employee": "Ada Brook", "department": "Finance"},
            "Ada Brook is in Finance, manager Marco Bianchi",
        ),
        ("list_department", {"department": "Finance"}, ["Yuki Mori", "Helen Price", "Ada Brook"]),
    ],
]
