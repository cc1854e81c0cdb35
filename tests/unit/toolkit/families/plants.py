IVY = {"name": "Old ivy", "species": "Hedera helix", "place": "Staircase"}
ANSWERS = [
    ("add_plant", IVY, "Old ivy (Hedera helix) stands in: Staircase"),
    ("record_watering", {"plant": "lemon tree", "date": "2026-03-11"}, "Lemon tree needs water again on 2026-03-15"),
    (
        "record_watering",
        {"plant": "Aloe", "date": "2026-03-11", "with_fertilizer": True},
        "Aloe needs water again on 2026-03-29",
    ),
    ("thirsty_plants", {"date": "2026-03-11"}, ["Basil", "Lemon tree", "Boston fern"]),
    ("thirsty_plants", {"date": "2026-03-20", "place": "Kitchen"}, ["Basil", "Aloe"]),
    ("repot_plant", {"plant": "Peace lily", "date": "2026-03-14"}, "Peace lily: medium pot since 2026-03-14"),
    ("move_plant", {"plant": "Basil", "new_place": "Balcony"}, "Basil: Balcony instead of Kitchen"),
    ("note_plant_problem", {"plant": "Boston fern", "problem": "brown tips"}, "Boston fern: brown tips"),
]
REFUSED = [
    ("add_plant", {**IVY, "name": "Basil"}, "there is a plant 'Basil' already"),
    ("add_plant", {**IVY, "watering_days": 0}, "watering_days must be between"),
    ("record_watering", {"plant": "Kitchen", "date": "2026-03-11"}, "no plant 'Kitchen'; there is: "),
    ("thirsty_plants", {"date": "2026-03-20", "place": "Basil"}, "no place with plants 'Basil'"),
    ("repot_plant", {"plant": "Basil", "date": "spring"}, "date 'spring' is no date"),
    ("move_plant", {"plant": "Balcony", "new_place": "Basil"}, "no plant 'Balcony'"),
    ("note_plant_problem", {"plant": "Orchid", "problem": "pests"}, "no plant 'Orchid'"),
]
STORIES = [
    [
        ("add_plant", {**IVY, "watering_days": 5}, "Old ivy (Hedera helix) stands in: Staircase"),
        ("record_watering", {"plant": "Old ivy", "date": "2026-03-10"}, "Old ivy needs water again on 2026-03-15"),
        ("move_plant", {"plant": "Old ivy", "new_place": "Attic"}, "Old ivy: Attic instead of Staircase"),
        ("thirsty_plants", {"date": "2026-03-15", "place": "Attic"}, ["Old ivy"]),
    ],
]
