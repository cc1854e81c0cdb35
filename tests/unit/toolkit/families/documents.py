ANSWERS = [
    ("search_documents", {"phrase": "launch"}, ["Projects: Kickoff Minutes", "Projects: Bluebird Launch Plan"]),
    (
        "search_documents",
        {"phrase": "week", "folder": "policies"},
        ["Policies: Travel Policy", "Policies: Remote Work Policy"],
    ),
    (
        "outline_document",
        {"title": "Bluebird Launch Plan"},
        ["Summary", "Costs", "Contact", "Tests", "Marketing", "Support"],
    ),
    ("read_document_section", {"title": "Rental Agreement", "heading": "costs"}, "2400 a month and heating."),
    (
        "write_document",
        {
            "title": "Parking Rules",
            "folder": "Policies",
            "heading": "Spaces",
            "text": "Visitors park on the left side.",
        },
        "wrote Parking Rules into Policies",
    ),
    ("tag_document", {"title": "Kickoff Minutes", "tags": ["October", "meeting"]}, ["bluebird", "meeting", "october"]),
    ("documents_with_tag", {"tag": "office"}, ["Rental Agreement", "Cleaning Contract"]),
    ("move_document", {"title": "Cleaning Contract", "to_folder": "archive"}, "moved Cleaning Contract to Archive"),
]

REFUSED = [
    ("search_documents", {"phrase": "pension"}, "no document holds 'pension'"),
    ("search_documents", {"phrase": "week", "folder": "Rules"}, "there is no folder 'Rules'; there is: "),
    ("outline_document", {"title": "Policies"}, "there is no document 'Policies'; there is: "),
    (
        "read_document_section",
        {"title": "Rental Agreement", "heading": "Appendix"},
        "no heading in Rental Agreement called 'Appendix'; there is: ",
    ),
    (
        "write_document",
        {
            "title": "Travel Policy",
            "folder": "Policies",
            "heading": "Spaces",
            "text": "Visitors park on the left side.",
        },
        "a document 'Travel Policy' already",
    ),
    (
        "write_document",
        {"title": "Parking Rules", "folder": "Spaces", "heading": "Spaces", "text": "Visitors park on the left side."},
        "there is no folder 'Spaces'",
    ),
    (
        "write_document",
        {"title": "Parking Rules", "folder": "Policies", "heading": "Spaces", "text": "12"},
        "text '12' must be words",
    ),
    ("tag_document", {"title": "Kickoff Minutes", "tags": []}, "tags is empty"),
    ("documents_with_tag", {"tag": "Contracts"}, "there is no tag 'Contracts'; there is: "),
    ("move_document", {"title": "Archive", "to_folder": "Travel Policy"}, "there is no document 'Archive'"),
    ("move_document", {"title": "Travel Policy", "to_folder": "Policies"}, "in Policies already"),
]

STORIES = [
    [
        (
            "write_document",
            {
                "title": "Parking Rules",
                "folder": "Policies",
                "heading": "Spaces",
                "text": "Visitors park on the left side.",
            },
            "wrote Parking Rules into Policies",
        ),
        ("tag_document", {"title": "parking rules", "tags": ["Cars"]}, ["cars"]),
        ("move_document", {"title": "Parking Rules", "to_folder": "Archive"}, "moved Parking Rules to Archive"),
        ("documents_with_tag", {"tag": "cars"}, ["Parking Rules"]),
        ("search_documents", {"phrase": "left side"}, ["Archive: Parking Rules"]),
        ("read_document_section", {"title": "Parking Rules", "heading": "Spaces"}, "Visitors park on the left side."),
    ]
]
