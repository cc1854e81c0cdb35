ANSWERS = [
    ("search_library", {"author": "Samuel Okoro"}, ["A Field Guide to Clouds (2020)", "Starlight Engineers (2023)"]),
    (
        "search_library",
        {"author": "camila rojas", "genre": "novel"},
        ["The Orchid Thief's Daughter (2015)", "Letters to a Lighthouse (2012)"],
    ),
    ("book_availability", {"title": "glass harbor"}, "back on 2026-05-19"),
    ("book_availability", {"title": "Seven Winters"}, "back on 2026-05-20"),
    (
        "borrow_book",
        {"title": "The Paper Fox", "member": "Yusuf Demir", "date": "2026-05-10"},
        "Yusuf Demir has The Paper Fox until 2026-05-31",
    ),
    ("return_book", {"title": "Kingdoms of Salt", "member": "Greta Holm"}, "Greta Holm returned Kingdoms of Salt"),
    (
        "renew_loan",
        {"title": "Bread from Scratch", "member": "Greta Holm"},
        "Greta Holm has Bread from Scratch until 2026-06-11",
    ),
    (
        "renew_loan",
        {"title": "Kingdoms of Salt", "member": "greta holm", "weeks": 4},
        "Greta Holm has Kingdoms of Salt until 2026-06-11",
    ),
    (
        "reserve_book",
        {"title": "Seven Winters", "member": "Yusuf Demir"},
        "Yusuf Demir is number 2 in line for Seven Winters",
    ),
    (
        "member_loans",
        {"member": "Greta Holm"},
        ["Kingdoms of Salt, due 2026-05-14", "Bread from Scratch, due 2026-05-28"],
    ),
    (
        "member_loans",
        {"member": "Clara Nguyen"},
        ["The Glass Harbor, due 2026-05-19", "Letters to a Lighthouse, due 2026-06-03"],
    ),
]

REFUSED = [
    ("search_library", {"author": "Seven Winters"}, "there is no author 'Seven Winters'; there is: "),
    ("search_library", {"author": "Emily Tran", "genre": "crime"}, "no crime book by Emily Tran"),
    ("book_availability", {"title": "Ingrid Solberg"}, "there is no book 'Ingrid Solberg'"),
    (
        "borrow_book",
        {"title": "Yusuf Demir", "member": "The Paper Fox", "date": "2026-05-10"},
        "there is no book 'Yusuf Demir'",
    ),
    (
        "borrow_book",
        {"title": "Seven Winters", "member": "Yusuf Demir", "date": "2026-05-10"},
        "all copies of Seven Winters are lent",
    ),
    ("borrow_book", {"title": "The Paper Fox", "member": "Yusuf Demir", "date": "now"}, "date 'now' is no date"),
    (
        "return_book",
        {"title": "Seven Winters", "member": "Greta Holm"},
        "no loan of Greta Holm 'Seven Winters'; there is: ",
    ),
    (
        "renew_loan",
        {"title": "Seven Winters", "member": "Marcus Bell"},
        "somebody reserved Seven Winters; return it on 2026-05-20",
    ),
    ("renew_loan", {"title": "Seven Winters", "member": "Marcus Bell", "weeks": 9}, "between 1 and 4"),
    ("reserve_book", {"title": "The Paper Fox", "member": "Yusuf Demir"}, "can be borrowed now"),
    ("member_loans", {"member": "Camila Rojas"}, "there is no member 'Camila Rojas'; there is: "),
]

STORIES = [
    [
        (
            "borrow_book",
            {"title": "A Field Guide to Clouds", "member": "Clara Nguyen", "date": "1 June 2026"},
            "Clara Nguyen has A Field Guide to Clouds until 2026-06-22",
        ),
        (
            "reserve_book",
            {"title": "A Field Guide to Clouds", "member": "Marcus Bell"},
            "Marcus Bell is number 1 in line for A Field Guide to Clouds",
        ),
        (
            "member_loans",
            {"member": "Clara Nguyen"},
            [
                "The Glass Harbor, due 2026-05-19",
                "Letters to a Lighthouse, due 2026-06-03",
                "A Field Guide to Clouds, due 2026-06-22",
            ],
        ),
        (
            "return_book",
            {"title": "A Field Guide to Clouds", "member": "Clara Nguyen"},
            "Clara Nguyen returned A Field Guide to Clouds",
        ),
        ("book_availability", {"title": "A Field Guide to Clouds"}, "1 of 1 can be borrowed"),
    ],
    [
        (
            "renew_loan",
            {"title": "Bread from Scratch", "member": "Greta Holm"},
            "Greta Holm has Bread from Scratch until 2026-06-11",
        ),
        (
            "member_loans",
            {"member": "Greta Holm"},
            ["Kingdoms of Salt, due 2026-05-14", "Bread from Scratch, due 2026-06-11"],
        ),
    ],
]
