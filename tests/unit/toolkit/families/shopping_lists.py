CAMPING = {"name": "Camping", "items": ["gas", "rope"], "shop": "Bolt and Nail"}
ANSWERS = [
    ("create_shopping_list", CAMPING, "Camping: 2 items"),
    (
        "add_to_shopping_list",
        {"list_name": "Groceries", "item": "butter", "quantity": "250 grams"},
        "butter is on Groceries",
    ),
    ("show_shopping_list", {"list_name": "drugstore"}, ["toothpaste", "1 bottle shampoo", "sunscreen"]),
    ("show_shopping_list", {"list_name": "Groceries", "show": "bought"}, ["1 loaf bread"]),
    ("check_off_items", {"list_name": "Groceries", "items": ["milk", "eggs"]}, "10 things are missing"),
    (
        "move_shopping_item",
        {"item": "Candles", "from_list": "Birthday party", "to_list": "Drugstore"},
        "moved candles from Birthday party to Drugstore",
    ),
    ("remove_shopping_item", {"item": "screws"}, "removed screws from Hardware store"),
]
REFUSED = [
    ("create_shopping_list", {**CAMPING, "name": "Groceries"}, "there is a shopping list 'Groceries' already"),
    ("create_shopping_list", {**CAMPING, "items": ["gas", ""]}, "item '' must be words"),
    ("add_to_shopping_list", {"list_name": "Camping", "item": "gas"}, "no shopping list 'Camping'; there is: "),
    ("add_to_shopping_list", {"list_name": "Groceries", "item": "Milk"}, "there is an entry 'Milk' already"),
    ("show_shopping_list", {"list_name": "milk"}, "no shopping list 'milk'"),
    ("check_off_items", {"list_name": "Groceries", "items": ["milk", "soap"]}, "no entry 'soap'; there is: "),
    (
        "move_shopping_item",
        {"item": "candles", "from_list": "Drugstore", "to_list": "Birthday party"},
        "no entry 'candles'",
    ),
    ("remove_shopping_item", {"list_name": "Hardware store", "item": "milk"}, "no entry 'milk'"),
]
STORIES = [
    [
        ("create_shopping_list", CAMPING, "Camping: 2 items"),
        (
            "move_shopping_item",
            {"item": "milk", "from_list": "Groceries", "to_list": "Camping"},
            "moved milk from Groceries to Camping",
        ),
        ("check_off_items", {"list_name": "Camping", "items": ["rope"]}, "13 things are missing"),
        ("show_shopping_list", {"list_name": "Camping", "show": "missing"}, ["2 liters milk", "gas"]),
        ("remove_shopping_item", {"item": "gas", "list_name": "Camping"}, "removed gas from Camping"),
    ],
]
