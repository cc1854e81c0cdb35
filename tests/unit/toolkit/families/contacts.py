ANSWERS = [
    ("get_contact_detail", {"name": "tom becker", "detail": "company"}, "Nordwind Logistics"),
    ("add_contact", {"name": "Zoe Adams", "city": "Bristol", "relation": "service"}, "added Zoe Adams as service"),
    ("update_contact", {"name": "Daniel Okafor", "detail": "city", "value": "Accra"}, "city of Daniel Okafor: Accra"),
    ("contacts_in_city", {"city": "Hamburg"}, ["Tom Becker", "Emma Fischer"]),
    ("contacts_in_city", {"city": "Hamburg", "relation": "family"}, ["Emma Fischer"]),
    ("birthdays_in_month", {"month": "March"}, {"Maria Lopez": "1984-03-12", "Emma Fischer": "1992-03-28"}),
    (
        "relate_contacts",
        {"person": "Emma Fischer", "relative": "Lucas Fischer", "relationship": "sibling"},
        "Lucas Fischer is sibling of Emma Fischer",
    ),
    ("remove_contact", {"name": "Hannah Cohen"}, "removed Hannah Cohen"),
]
REFUSED = [
    (
        "get_contact_detail",
        {"name": "Emma Fisher", "detail": "city"},
        "no contact 'Emma Fisher'; there is: Emma Fischer",
    ),
    ("add_contact", {"name": "Emma fischer"}, "there is a contact 'Emma fischer' already"),
    ("add_contact", {"name": " "}, "name '' must be words"),
    ("update_contact", {"name": "Emma Fischer", "detail": "birthday", "value": "May 14"}, "value 'May 14' is no date"),
    ("contacts_in_city", {"city": "Oslo"}, "there is no city of a contact 'Oslo'; there is: "),
    ("birthdays_in_month", {"month": "April"}, "no contact has a birthday in April"),
    (
        "relate_contacts",
        {"person": "Emma Fischer", "relative": "Emma Fischer", "relationship": "sibling"},
        "the same contact",
    ),
    ("remove_contact", {"name": "Zoe Adams"}, "there is no contact 'Zoe Adams'"),
]
STORIES = [
    [
        ("add_contact", {"name": "Zoe Adams", "city": "Lyon"}, "added Zoe Adams as friend"),
        ("contacts_in_city", {"city": "lyon"}, ["Olivia Martin", "Zoe Adams"]),
        (
            "update_contact",
            {"name": "Zoe Adams", "detail": "birthday", "value": "2 April 1990"},
            "birthday of Zoe Adams: 1990-04-02",
        ),
        ("birthdays_in_month", {"month": "April"}, {"Zoe Adams": "1990-04-02"}),
        ("remove_contact", {"name": "Zoe Adams"}, "removed Zoe Adams"),
        ("contacts_in_city", {"city": "lyon"}, ["Olivia Martin"]),
    ],
]
