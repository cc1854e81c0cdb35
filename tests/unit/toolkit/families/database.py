ANSWERS = [
    (
        "describe_database_table",
        {"table": "Customers"},
        {"id": "integer", "name": "text", "city": "text", "since": "text"},
    ),
    (
        "run_sql_query",
        {"query": "SELECT name, price FROM products WHERE category = 'lighting' ORDER BY price DESC"},
        ["Ceiling lamp, 120.0", "Desk lamp, 45.5"],
    ),
    (
        "run_sql_query",
        {
            "query": "SELECT c.name, SUM(s.quantity * p.price) FROM sales s JOIN customers c ON c.id = s.customer_id "
            "JOIN products p ON p.id = s.product_id GROUP BY c.id"
        },
        ["Blue Door Cafe, 894.0", "Hotel Meridian, 3300.0", "Nadia Farouk, 340.0", "Kite School, 1154.0"],
    ),
    ("run_sql_query", {"query": "SELECT id FROM sales"}, ["1", "2", "3", "4", "5", "and more"]),
    (
        "insert_database_row",
        {"table": "products", "values": ["Floor mirror", "furniture", "140"]},
        "inserted row 6 into products",
    ),
    ("delete_database_row", {"table": "sales", "row_id": 5}, "deleted row 5 of sales"),
]

REFUSED = [
    ("describe_database_table", {"table": "orders"}, "there is no table in the database called 'orders'; there is: "),
    ("run_sql_query", {"query": "SELECT name FROM people"}, "the database says: no such table: people"),
    ("run_sql_query", {"query": "DELETE FROM sales"}, "the database says: attempt to write a readonly database"),
    ("run_sql_query", {"query": "SELECT 1; SELECT 2"}, "You can only execute one statement at a time"),
    ("run_sql_query", {"query": "PRAGMA query_only = OFF"}, "begin it with SELECT"),
    ("insert_database_row", {"table": "products", "values": ["Floor mirror"]}, "products needs name, category, price"),
    (
        "insert_database_row",
        {"table": "Floor mirror", "values": ["products", "furniture", "140"]},
        "no table in the database called 'Floor mirror'",
    ),
    ("delete_database_row", {"table": "sales", "row_id": 70}, "sales has no row with the id 70"),
]

STORIES = [
    [
        (
            "insert_database_row",
            {"table": "customers", "values": ["Ocean Bistro", "Port Selby", "2026-05-02"]},
            "inserted row 5 into customers",
        ),
        ("delete_database_row", {"table": "customers", "row_id": 2}, "deleted row 2 of customers"),
        (
            "run_sql_query",
            {"query": "SELECT id, name FROM customers"},
            ["1, Blue Door Cafe", "3, Nadia Farouk", "4, Kite School", "5, Ocean Bistro"],
        ),
    ]
]
