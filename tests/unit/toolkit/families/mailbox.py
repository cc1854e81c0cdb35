DRAFT = {"recipient": "Maria Lopez", "subject": "Bread order", "text": "Could you bake ten loaves for Friday?"}
LEAVE = {"first_day": "2026-04-06", "last_day": "2026-04-10", "message": "I am on holiday.", "deputy": "Tom Becker"}
ANSWERS = [
    ("draft_email", DRAFT, "draft to Maria Lopez: Bread order"),
    ("rewrite_draft", {"subject": "thank you for dinner", "text": "What a feast!"}, "rewrote Thank you for dinner"),
    ("send_draft", {"subject": "Thank you for dinner"}, "sent Thank you for dinner to Giulia Romano"),
    ("reply_to_email", {"subject": "Contract draft", "text": "Fine with me."}, "answered Hannah Cohen"),
    (
        "reply_to_email",
        {"subject": "Contract draft", "text": "Fine with me.", "reply_all": True},
        "answered Hannah Cohen, Tom Becker",
    ),
    (
        "forward_email",
        {"subject": "Delivery delayed", "recipient": "Tom Becker", "remark": "Please call them."},
        "forwarded Delivery delayed to Tom Becker",
    ),
    ("search_emails", {"keywords": "due"}, ["Invoice for February", "Your library loans"]),
    ("search_emails", {"keywords": "due", "folder": "archive"}, ["Your library loans"]),
    ("search_emails", {"keywords": "the", "sender": "Hannah Cohen"}, ["Contract draft"]),
    ("move_email", {"subject": "Photos from the hike", "folder": "archive"}, "Photos from the hike is in archive"),
    ("set_out_of_office", LEAVE, "automatic answer from 2026-04-06 to 2026-04-10, deputy Tom Becker"),
]
REFUSED = [
    ("draft_email", {**DRAFT, "subject": "Thank you for dinner"}, "there is a draft 'Thank you for dinner' already"),
    ("draft_email", {**DRAFT, "recipient": ""}, "recipient '' must be words"),
    ("rewrite_draft", {"subject": "Bread order", "text": "x"}, "no draft 'Bread order'; there is: "),
    ("send_draft", {"subject": "Contract draft"}, "no draft 'Contract draft'"),
    ("reply_to_email", {"subject": "Bread order", "text": "x"}, "no email 'Bread order'"),
    ("reply_to_email", {"subject": "Contract draft", "text": "?"}, "text '?' must be words"),
    ("forward_email", {"subject": "Bread order", "recipient": "Tom Becker"}, "no email 'Bread order'"),
    ("search_emails", {"keywords": "unicorn"}, "no email holds 'unicorn'; there is: Invoice for February"),
    ("search_emails", {"keywords": "due", "sender": "Zoe"}, "no sender 'Zoe'"),
    ("move_email", {"subject": "Bread order", "folder": "spam"}, "no email 'Bread order'"),
    ("set_out_of_office", {**LEAVE, "last_day": "2026-04-01"}, "swap them"),
]
STORIES = [
    [
        ("draft_email", {**DRAFT, "copy_to": "Emma Fischer"}, "draft to Maria Lopez: Bread order"),
        ("rewrite_draft", {"subject": "Bread order", "text": "Could you bake six loaves?"}, "rewrote Bread order"),
        ("send_draft", {"subject": "Bread order"}, "sent Bread order to Maria Lopez, Emma Fischer"),
        ("draft_email", DRAFT, "draft to Maria Lopez: Bread order"),
    ],
    [
        ("move_email", {"subject": "Contract draft", "folder": "work"}, "Contract draft is in work"),
        ("search_emails", {"keywords": "the", "folder": "work"}, ["Contract draft", "Quarterly figures"]),
    ],
]
