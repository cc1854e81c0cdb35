GIFT = {
    "customer": "Ada Brook",
    "product": "Wall clock",
    "quantity": 2,
    "delivery": "express",
    "gift_message": "Enjoy!",
}
MOVE = {"product": "Linen curtain", "quantity": 2, "from_branch": "Harbour", "to_branch": "Main Street"}
ANSWERS = [
    ("check_stock", {"product": "walnut desk"}, 4),
    ("check_stock", {"product": "Walnut desk", "branch": "Harbour"}, 11),
    ("find_products", {"category": "furniture", "max_price": 200}, {"Oak bookshelf": 189.0, "Folding chair": 31.0}),
    ("place_order", GIFT, "order A1049: 2 x Wall clock for Ada Brook, express"),
    ("order_status", {"order_number": "A1042"}, "1 x Walnut desk for Samir Haddad: being packed"),
    ("orders_of_customer", {"customer": "Ruth Keller"}, ["A1041", "A1045"]),
    (
        "change_delivery_address",
        {"order_number": "A1045", "street": "3 Hill View", "town": "Brookfield"},
        "order A1045 goes to 3 Hill View, Brookfield",
    ),
    ("cancel_order", {"order_number": "A1042", "reason": "too expensive"}, "order A1042 of Samir Haddad is cancelled"),
    ("return_product", {"order_number": "A1043", "reason": "damaged"}, "Wool blanket comes back (damaged), exchange"),
    (
        "return_product",
        {"order_number": "A1043", "reason": "too late", "refund": True},
        "Wool blanket comes back (too late), refund of 222.00",
    ),
    ("transfer_stock", MOVE, "Linen curtain: Main Street 2, Harbour 1, Warehouse 18"),
    (
        "receive_goods",
        {"product": "Ceramic vase", "quantity": 25, "supplier": "Kiln and Clay"},
        "Ceramic vase from Kiln and Clay: Main Street 14, Harbour 8, Warehouse 25",
    ),
    ("change_price", {"product": "Floor lamp", "price": 89.5}, "Floor lamp: 89.50 instead of 98.00"),
]
REFUSED = [
    ("check_stock", {"product": "Ruth Keller"}, "no product 'Ruth Keller'; there is: "),
    (
        "find_products",
        {"category": "furniture", "max_price": 20},
        "no furniture costs 20 or less; the cheapest is 31.0",
    ),
    ("place_order", {**GIFT, "product": "Ada Brook"}, "no product 'Ada Brook'"),
    ("place_order", {**GIFT, "quantity": 0}, "quantity must be between 1 and 1000"),
    ("order_status", {"order_number": "A2000"}, "no order 'A2000'; there is: "),
    ("orders_of_customer", {"customer": "Wall clock"}, "no customer 'Wall clock'"),
    (
        "change_delivery_address",
        {"order_number": "A1041", "street": "3 Hill View", "town": "Brookfield"},
        "order A1041 is shipped and cannot be changed",
    ),
    ("cancel_order", {"order_number": "A1043"}, "order A1043 is delivered and cannot be changed"),
    ("return_product", {"order_number": "A1042", "reason": "damaged"}, "is being packed; cancel it instead"),
    ("transfer_stock", {**MOVE, "quantity": 4}, "Harbour has 3 of Linen curtain"),
    ("transfer_stock", {**MOVE, "to_branch": "Harbour"}, "the same; name two"),
    ("receive_goods", {"product": "Kiln", "quantity": 25, "supplier": "Ceramic vase"}, "no product 'Kiln'"),
    ("change_price", {"product": "Floor lamp", "price": -1}, "price must be greater than 0"),
    ("change_price", {"product": "Floor lamp", "price": 80, "from_date": "soon"}, "from_date 'soon' is no date"),
]
STORIES = [
    [
        ("place_order", GIFT, "order A1049: 2 x Wall clock for Ada Brook, express"),
        ("orders_of_customer", {"customer": "ada brook"}, ["A1049"]),
        ("cancel_order", {"order_number": "a1049"}, "order A1049 of Ada Brook is cancelled"),
        ("order_status", {"order_number": "A1049"}, "2 x Wall clock for Ada Brook: cancelled"),
    ],
    [
        ("transfer_stock", MOVE, "Linen curtain: Main Street 2, Harbour 1, Warehouse 18"),
        ("check_stock", {"product": "Linen curtain"}, 2),
        (
            "change_price",
            {"product": "Linen curtain", "price": 50, "from_date": "1 May 2026"},
            "Linen curtain: 50.00 instead of 59.90 from 2026-05-01",
        ),
        ("find_products", {"category": "textiles", "max_price": 50}, {"Linen curtain": 50}),
    ],
]
