ANSWERS = [
    ("convert_currency", {"amount": 250, "from_currency": "EUR", "to_currency": "USD"}, 270.0),
    ("convert_currency", {"amount": 1000, "from_currency": "Swedish krona", "to_currency": "british pounds"}, 75.89),
    ("exchange_rate", {"base_currency": "USD", "quote_currency": "Japanese yen"}, 150.926),
    ("exchange_rate", {"base_currency": "euros", "quote_currency": "INR"}, 90.0),
    ("currency_of_country", {"country": "Switzerland"}, "Swiss franc (CHF)"),
    ("update_exchange_rate", {"base_currency": "EUR", "quote_currency": "PLN", "rate": 4.4}, "1 EUR is 4.4 PLN"),
]

REFUSED = [
    (
        "convert_currency",
        {"amount": 5, "from_currency": "USD", "to_currency": "Sweden"},
        "there is no currency 'Sweden'; there is: ",
    ),
    ("convert_currency", {"amount": -5, "from_currency": "USD", "to_currency": "EUR"}, "amount must not be negative"),
    ("exchange_rate", {"base_currency": "100", "quote_currency": "EUR"}, "there is no currency '100'"),
    ("currency_of_country", {"country": "JPY"}, "there is no country 'JPY'; there is: "),
    (
        "update_exchange_rate",
        {"base_currency": "PLN", "quote_currency": "EUR", "rate": 4.4},
        "the euro has no rate of its own",
    ),
    (
        "update_exchange_rate",
        {"base_currency": "EUR", "quote_currency": "PLN", "rate": 0},
        "rate must be greater than 0",
    ),
]

STORIES = [
    [
        ("update_exchange_rate", {"base_currency": "USD", "quote_currency": "CAD", "rate": 1.5}, "1 USD is 1.5 CAD"),
        ("convert_currency", {"amount": 10, "from_currency": "USD", "to_currency": "Canadian dollars"}, 15.0),
        ("exchange_rate", {"base_currency": "EUR", "quote_currency": "CAD"}, 1.62),
    ]
]
