ANSWERS = [
    ("find_recipes", {"ingredients": ["lemon"]}, ["Baked Salmon (25 minutes)", "Chickpea Salad (15 minutes)"]),
    (
        "find_recipes",
        {"ingredients": ["Eggs", "tomatoes"], "diet": "vegetarian", "max_minutes": 20},
        ["Tomato Omelette (12 minutes)"],
    ),
    (
        "recipe_ingredients",
        {"recipe": "baked salmon"},
        {"salmon": "300 g", "lemon": "1", "dill": "1 bunch", "potatoes": "400 g"},
    ),
    ("cooking_steps", {"recipe": "Pancakes"}, ["Whisk everything", "Fry thin pancakes"]),
    (
        "add_recipe",
        {
            "name": "Garlic Bread",
            "ingredients": ["bread", "garlic", "butter"],
            "steps": ["Mix butter and garlic", "Spread and bake"],
            "diet": "vegetarian",
            "minutes": 15,
        },
        "added the vegetarian recipe Garlic Bread",
    ),
    ("plan_meal", {"recipe": "Beef Stew", "date": "2026-05-17"}, "Beef Stew for dinner on 2026-05-17"),
    (
        "plan_meal",
        {"recipe": "tomato omelette", "date": "2026-05-17", "meal": "breakfast"},
        "Tomato Omelette for breakfast on 2026-05-17",
    ),
    (
        "show_meal_plan",
        {"start_date": "2026-05-11", "end_date": "2026-05-16"},
        [
            "2026-05-11 dinner: Lentil Soup",
            "2026-05-12 lunch: Chickpea Salad",
            "2026-05-12 dinner: Chicken Curry",
            "2026-05-16 breakfast: Pancakes",
        ],
    ),
]

REFUSED = [
    ("find_recipes", {"ingredients": ["rice"], "max_minutes": 20}, "there is no such recipe"),
    ("find_recipes", {"ingredients": ["Pancakes"]}, "there is no recipe with 'Pancakes'; there is: "),
    ("recipe_ingredients", {"recipe": "Salmon"}, "there is no recipe 'Salmon'; there is: Baked Salmon, "),
    ("cooking_steps", {"recipe": "lentils"}, "there is no recipe 'lentils'; there is: Lentil Soup"),
    (
        "add_recipe",
        {
            "name": "Pancakes",
            "ingredients": ["bread", "garlic", "butter"],
            "steps": ["Mix butter and garlic", "Spread and bake"],
            "diet": "vegetarian",
            "minutes": 15,
        },
        "a recipe 'Pancakes' already",
    ),
    (
        "add_recipe",
        {
            "name": "Garlic Bread",
            "ingredients": ["bread", "garlic", "butter"],
            "steps": [],
            "diet": "vegetarian",
            "minutes": 15,
        },
        "give all of them",
    ),
    ("plan_meal", {"recipe": "dinner", "date": "2026-05-17"}, "there is no recipe 'dinner'"),
    ("plan_meal", {"recipe": "Beef Stew", "date": "Sunday"}, "date 'Sunday' is no date"),
    ("show_meal_plan", {"start_date": "2026-05-16", "end_date": "2026-05-11"}, "swap them"),
]

STORIES = [
    [
        (
            "add_recipe",
            {
                "name": "Garlic Bread",
                "ingredients": ["bread", "garlic", "butter"],
                "steps": ["Mix butter and garlic", "Spread and bake"],
                "diet": "vegetarian",
                "minutes": 15,
            },
            "added the vegetarian recipe Garlic Bread",
        ),
        ("recipe_ingredients", {"recipe": "Garlic Bread"}, {"bread": "some", "garlic": "some", "butter": "some"}),
        (
            "plan_meal",
            {"recipe": "garlic bread", "date": "2026-05-12", "meal": "lunch"},
            "Garlic Bread for lunch on 2026-05-12",
        ),
        (
            "show_meal_plan",
            {"start_date": "2026-05-11", "end_date": "2026-05-16"},
            [
                "2026-05-11 dinner: Lentil Soup",
                "2026-05-12 lunch: Garlic Bread",
                "2026-05-12 dinner: Chicken Curry",
                "2026-05-16 breakfast: Pancakes",
            ],
        ),
    ]
]
