REX = {"name": "Rex", "animal": "dog", "breed": "Boxer", "birth_date": "2024-05-05"}
ANSWERS = [
    ("register_pet", REX, "Rex the Boxer dog"),
    ("register_pet", {"name": "Bubbles", "animal": "goldfish"}, "Bubbles the goldfish"),
    (
        "plan_feeding",
        {"pet": "minka", "food": "salmon", "grams": 60, "time": "17:30"},
        "Minka: 60 grams of salmon at 17:30",
    ),
    ("feeding_plan", {"pet": "Biscuit"}, ["07:00 120 grams of dry food", "18:00 150 grams of chicken and rice"]),
    (
        "record_pet_weight",
        {"pet": "Hazel", "kilograms": 1.9, "date": "2026-03-10"},
        "Hazel: 1.9 kilograms on 2026-03-10, 1.8 before",
    ),
    (
        "schedule_vet_visit",
        {"pet": "Captain", "vet": "Doctor Silva", "date": "2026-04-02", "reason": "illness"},
        "Captain sees Doctor Silva on 2026-04-02: illness",
    ),
    (
        "vet_visits",
        {"pet": "Biscuit"},
        ["2026-01-22 Doctor Silva: injured paw", "2025-10-03 Doctor Meadows: vaccination"],
    ),
    ("vet_visits", {"pet": "Biscuit", "vet": "doctor meadows"}, ["2025-10-03 Doctor Meadows: vaccination"]),
]
REFUSED = [
    ("register_pet", {**REX, "name": "Hazel"}, "there is a pet 'Hazel' already"),
    ("register_pet", {**REX, "birth_date": "last May"}, "birth_date 'last May' is no date"),
    ("plan_feeding", {"pet": "salmon", "food": "Minka", "grams": 60, "time": "17:30"}, "no pet 'salmon'; there is: "),
    ("plan_feeding", {"pet": "Minka", "food": "salmon", "grams": 0, "time": "17:30"}, "grams must be between"),
    ("feeding_plan", {"pet": "Rex"}, "no pet 'Rex'"),
    ("record_pet_weight", {"pet": "Hazel", "kilograms": 0, "date": "2026-03-10"}, "greater than 0"),
    ("schedule_vet_visit", {"pet": "Doctor Silva", "vet": "Captain", "date": "2026-04-02"}, "no pet 'Doctor Silva'"),
    ("vet_visits", {"pet": "Biscuit", "vet": "Doctor Who"}, "no vet 'Doctor Who'"),
]
STORIES = [
    [
        ("register_pet", REX, "Rex the Boxer dog"),
        (
            "plan_feeding",
            {"pet": "Rex", "food": "beef", "grams": 300, "time": "6 pm"},
            "Rex: 300 grams of beef at 18:00",
        ),
        ("plan_feeding", {"pet": "Rex", "food": "oats", "grams": 90, "time": "8 am"}, "Rex: 90 grams of oats at 08:00"),
        ("feeding_plan", {"pet": "rex"}, ["08:00 90 grams of oats", "18:00 300 grams of beef"]),
        (
            "schedule_vet_visit",
            {"pet": "Rex", "vet": "Doctor Meadows", "date": "2026-05-05"},
            "Rex sees Doctor Meadows on 2026-05-05: check-up",
        ),
        ("vet_visits", {"pet": "Rex"}, ["2026-05-05 Doctor Meadows: check-up"]),
    ],
]
