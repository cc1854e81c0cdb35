ANSWERS = [
    (
        "find_providers",
        {"profession": "doctor", "town": "eastmere"},
        ["Dr. Ines Moreau (Eastmere): check-up, vaccination"],
    ),
    ("find_providers", {"profession": "vet"}, ["Paws Clinic (Eastmere): vaccination, check-up, nail trim"]),
    (
        "make_appointment",
        {"provider": "Studio Clara", "service": "coloring", "date": "2026-05-22", "time": "15:30"},
        "coloring at Studio Clara on 2026-05-22 at 15:30",
    ),
    (
        "move_appointment",
        {"provider": "Dr Felix Brandt", "new_date": "2026-05-14", "new_time": "10:15"},
        "moved check-up at Dr. Felix Brandt to 2026-05-14 at 10:15",
    ),
    (
        "cancel_appointment",
        {"provider": "Brook Auto Repair"},
        "cancelled tire change at Brook Auto Repair on 2026-05-19",
    ),
    (
        "upcoming_appointments",
        {"from_date": "2026-05-11", "to_date": "2026-05-17"},
        ["2026-05-13 09:00 check-up at Dr. Felix Brandt", "2026-05-16 11:30 haircut at Studio Clara"],
    ),
]

REFUSED = [
    ("find_providers", {"profession": "dentist", "town": "Eastmere"}, "there is no dentist in Eastmere"),
    (
        "find_providers",
        {"profession": "dentist", "town": "Norvale"},
        "there is no provider in 'Norvale'; there is: Alderbrook",
    ),
    (
        "make_appointment",
        {"provider": "Studio Clara", "service": "15", "date": "2026-05-22", "time": "15:30"},
        "service '15' must be words",
    ),
    (
        "make_appointment",
        {"provider": "coloring", "service": "coloring", "date": "2026-05-22", "time": "15:30"},
        "there is no provider 'coloring'",
    ),
    (
        "make_appointment",
        {"provider": "Studio Clara", "service": "coloring", "date": "2026-05-24", "time": "15:30"},
        "Studio Clara works on Monday, Tuesday, ",
    ),
    (
        "make_appointment",
        {"provider": "Studio Clara", "service": "coloring", "date": "2026-05-22", "time": "19:00"},
        "works from 08:00 to 19:00",
    ),
    (
        "make_appointment",
        {"provider": "Studio Clara", "service": "coloring", "date": "2026-05-16", "time": "11:30"},
        "has another appointment then",
    ),
    (
        "move_appointment",
        {"provider": "Paws Clinic", "new_date": "2026-05-15", "new_time": "10:00"},
        "no appointment with 'Paws Clinic'; there is: ",
    ),
    ("cancel_appointment", {"provider": "haircut"}, "no appointment with 'haircut'"),
    ("upcoming_appointments", {"from_date": "2026-05-17", "to_date": "2026-05-11"}, "swap them"),
]

STORIES = [
    [
        (
            "make_appointment",
            {"provider": "Paws Clinic", "service": "nail trim", "date": "2026-05-15", "time": "9:30"},
            "nail trim at Paws Clinic on 2026-05-15 at 09:30",
        ),
        (
            "move_appointment",
            {"provider": "Paws Clinic", "new_date": "2026-05-16", "new_time": "14:00"},
            "moved nail trim at Paws Clinic to 2026-05-16 at 14:00",
        ),
        ("cancel_appointment", {"provider": "studio clara"}, "cancelled haircut at Studio Clara on 2026-05-16"),
        (
            "upcoming_appointments",
            {"from_date": "2026-05-11", "to_date": "2026-05-17"},
            ["2026-05-13 09:00 check-up at Dr. Felix Brandt", "2026-05-16 14:00 nail trim at Paws Clinic"],
        ),
    ]
]
