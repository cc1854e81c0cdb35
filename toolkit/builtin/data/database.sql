CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, city TEXT, since TEXT);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, category TEXT, price REAL);
CREATE TABLE sales (id INTEGER PRIMARY KEY, customer_id INTEGER, product_id INTEGER, quantity INTEGER, day TEXT);
INSERT INTO customers VALUES
 (1, 'Blue Door Cafe', 'Westbridge', '2023-02-11'), (2, 'Hotel Meridian', 'Eastmere', '2024-06-30'),
 (3, 'Nadia Farouk', 'Norvale', '2025-01-15'), (4, 'Kite School', 'Port Selby', '2025-09-02');
INSERT INTO products VALUES
 (1, 'Oak table', 'furniture', 340.0), (2, 'Desk lamp', 'lighting', 45.5), (3, 'Bar stool', 'furniture', 89.0),
 (4, 'Wool blanket', 'textiles', 62.0), (5, 'Ceiling lamp', 'lighting', 120.0);
INSERT INTO sales VALUES
 (1, 1, 3, 8, '2026-02-03'), (2, 1, 2, 4, '2026-02-03'), (3, 2, 4, 30, '2026-02-19'), (4, 2, 5, 12, '2026-03-08'),
 (5, 3, 1, 1, '2026-03-21'), (6, 4, 3, 6, '2026-04-02'), (7, 4, 4, 10, '2026-04-02');
