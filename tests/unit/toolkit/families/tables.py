ANSWERS = [
    (
        "describe_table",
        {"table": "deliveries"},
        {"columns": ["customer", "city", "month", "amount", "carrier"], "rows": 4},
    ),
    (
        "filter_table",
        {"table": "orders", "column": "city", "value": "leeds"},
        ["Aisha Khan, Leeds, January, 310", "Aisha Khan, Leeds, March, 95"],
    ),
    (
        "filter_table",
        {"table": "Orders", "column": "amount", "value": "200", "comparison": "above"},
        ["Aisha Khan, Leeds, January, 310", "Ilse Brandt, Hamburg, February, 480", "Theo Laurent, Lyon, March, 220"],
    ),
    (
        "filter_table",
        {"table": "refunds", "column": "amount", "value": "40", "comparison": "below"},
        ["Aisha Khan, Leeds, March, 15"],
    ),
    (
        "filter_table",
        {"table": "deliveries", "column": "carrier", "value": "swift", "comparison": "contains"},
        ["Aisha Khan, Leeds, January, 3, Swift Parcel", "Marco Silva, Lisbon, March, 1, Swift Parcel"],
    ),
    (
        "group_table",
        {"table": "orders", "group_by": "month", "column": "amount"},
        {"January": 435, "February": 480, "March": 375},
    ),
    (
        "group_table",
        {"table": "donations", "group_by": "customer", "column": "amount", "measure": "average"},
        {"Rosa Jimenez": 35, "Theo Laurent": 75, "Ilse Brandt": 30},
    ),
    (
        "sort_table",
        {"table": "orders", "column": "amount", "order": "descending", "rows": 2},
        ["Ilse Brandt, Hamburg, February, 480", "Aisha Khan, Leeds, January, 310"],
    ),
    (
        "sort_table",
        {"table": "refunds", "column": "customer"},
        ["Aisha Khan, Leeds, March, 15", "Ilse Brandt, Hamburg, March, 120", "Marco Silva, Lisbon, February, 40"],
    ),
    (
        "join_tables",
        {"left_table": "refunds", "right_table": "deliveries", "on": "customer"},
        [
            "Marco Silva, Lisbon, February, 40, Lisbon, March, 1, Swift Parcel",
            "Ilse Brandt, Hamburg, March, 120, Hamburg, February, 5, Nordpost",
            "Aisha Khan, Leeds, March, 15, Leeds, January, 3, Swift Parcel",
        ],
    ),
    ("append_row", {"table": "refunds", "values": ["Rosa Jimenez", "Madrid", "April", "12"]}, "refunds has 4 rows"),
]

REFUSED = [
    ("describe_table", {"table": "amount"}, "there is no table 'amount'; there is: "),
    (
        "filter_table",
        {"table": "orders", "column": "Leeds", "value": "city"},
        "no column in orders called 'Leeds'; there is: ",
    ),
    ("filter_table", {"table": "orders", "column": "city", "value": "Oslo"}, "no row of orders has such a city"),
    (
        "filter_table",
        {"table": "orders", "column": "amount", "value": "high", "comparison": "above"},
        "value 'high' is no number",
    ),
    ("filter_table", {"table": "orders", "column": "city", "value": "4", "comparison": "below"}, "holds texts"),
    (
        "group_table",
        {"table": "orders", "group_by": "amount", "column": "city"},
        "the column city of orders holds texts",
    ),
    ("sort_table", {"table": "orders", "column": "amount", "rows": 50}, "rows must be between 1 and 5"),
    (
        "join_tables",
        {"left_table": "deliveries", "right_table": "orders", "on": "carrier"},
        "no column in orders called 'carrier'",
    ),
    ("join_tables", {"left_table": "orders", "right_table": "orders", "on": "city"}, "name two tables"),
    ("append_row", {"table": "refunds", "values": ["12"]}, "refunds has the columns customer, city, month, amount"),
]

STORIES = [
    [
        (
            "append_row",
            {"table": "refunds", "values": ["Brandt, Ilse", "Hamburg", "April", "70"]},
            "refunds has 4 rows",
        ),
        ("describe_table", {"table": "refunds"}, {"columns": ["customer", "city", "month", "amount"], "rows": 4}),
        (
            "sort_table",
            {"table": "refunds", "column": "amount", "rows": 4},
            [
                "Aisha Khan, Leeds, March, 15",
                "Marco Silva, Lisbon, February, 40",
                "Brandt, Ilse, Hamburg, April, 70",
                "Ilse Brandt, Hamburg, March, 120",
            ],
        ),
    ]
]
