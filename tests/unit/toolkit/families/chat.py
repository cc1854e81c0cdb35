POLL = {"group": "Book circle", "question": "Which day suits you?", "options": ["Tuesday", "Friday"]}
ANSWERS = [
    ("post_in_group", {"group": "family", "message": "I bring the lemonade."}, "posted to 4 members of Family"),
    ("message_person", {"person": "Sven", "message": "Are you up?"}, "message to Sven: Are you up?"),
    (
        "message_person",
        {"person": "Grandpa Otto", "message": "Happy birthday!", "send_at": "7:00"},
        "message to Grandpa Otto at 07:00: Happy birthday!",
    ),
    ("create_chat_group", {"name": "Chess", "members": ["Gustav", "Teodora"]}, "Chess: Gustav, Teodora"),
    ("add_group_member", {"group": "Running club", "person": "Paula"}, "Running club: Amir, Bella, Sven, Paula"),
    ("remove_group_member", {"group": "Running club", "person": "Amir"}, "Running club: Bella, Sven"),
    ("mute_group", {"group": "Neighbours", "until_date": "2026-04-01"}, "Neighbours is silent until 2026-04-01"),
    ("read_group", {"group": "Book circle"}, ["Emma: Next time we talk about the second chapter."]),
    ("read_group", {"group": "Family", "sender": "Lucas"}, ["Lucas: I can bake a lemon cake."]),
    ("start_poll", POLL, "poll in Book circle: Which day suits you? Tuesday / Friday"),
    ("set_chat_status", {"status": "busy"}, "busy"),
    ("set_chat_status", {"status": "away", "note": "back at noon"}, "away: back at noon"),
]
REFUSED = [
    ("post_in_group", {"group": "Sven", "message": "Are you up?"}, "no chat group 'Sven'; there is: "),
    ("message_person", {"person": "Family", "message": "Hello"}, "no person in the chat 'Family'"),
    ("message_person", {"person": "Sven", "message": "Hello", "send_at": "later"}, "send_at 'later' is no time of day"),
    ("create_chat_group", {"name": "Family", "members": ["Sven"]}, "there is a chat group 'Family' already"),
    ("create_chat_group", {"name": "Chess", "members": ["Gustav", "Zoe"]}, "no person in the chat 'Zoe'"),
    ("create_chat_group", {"name": "Chess", "members": []}, "name at least one person"),
    ("add_group_member", {"group": "Running club", "person": "Sven"}, "Sven is in Running club already"),
    (
        "remove_group_member",
        {"group": "Running club", "person": "Paula"},
        "no member of Running club 'Paula'; there is: ",
    ),
    ("mute_group", {"group": "Neighbours", "until_date": "Easter"}, "until_date 'Easter' is no date"),
    ("read_group", {"group": "Chess"}, "no chat group 'Chess'"),
    ("start_poll", {**POLL, "options": ["Friday", "friday"]}, "at least two different answers"),
    ("start_poll", {**POLL, "group": "Chess"}, "no chat group 'Chess'"),
    ("set_chat_status", {"status": "away", "note": "..."}, "note '...' must be words"),
]
STORIES = [
    [
        ("create_chat_group", {"name": "Chess", "members": ["Gustav", "Teodora"]}, "Chess: Gustav, Teodora"),
        ("post_in_group", {"group": "Chess", "message": "Your move."}, "posted to 2 members of Chess"),
        ("read_group", {"group": "chess"}, ["me: Your move."]),
        ("add_group_member", {"group": "Chess", "person": "Nina"}, "Chess: Gustav, Teodora, Nina"),
        ("remove_group_member", {"group": "Chess", "person": "Gustav"}, "Chess: Teodora, Nina"),
    ],
]
