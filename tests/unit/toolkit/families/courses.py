ANSWERS = [
    ("find_courses", {"subject": "art", "level": "beginner"}, ["Watercolor Painting (Tuesday 17:30)"]),
    (
        "find_courses",
        {"teacher": "arjun patel"},
        ["Python Programming (Tuesday 19:00)", "Data Analysis (Thursday 19:00)"],
    ),
    (
        "course_details",
        {"course": "Classical Guitar"},
        {
            "name": "Classical Guitar",
            "teacher": "Elena Petrova",
            "weekday": "Friday",
            "time": "16:00",
            "room": "B05",
            "level": "intermediate",
        },
    ),
    (
        "enroll_student",
        {"student": "Victor Ramos", "course": "Business English"},
        "enrolled Victor Ramos in Business English",
    ),
    ("drop_course", {"student": "Nina Kowalski", "course": "choir"}, "Nina Kowalski left Choir"),
    (
        "record_grade",
        {"student": "Sara Lindqvist", "course": "Life Drawing", "grade": "A"},
        "Sara Lindqvist has A in Life Drawing",
    ),
    (
        "student_courses",
        {"student": "nina kowalski"},
        {
            "Python Programming": "no grade yet",
            "Choir": "no grade yet",
            "Data Analysis": "no grade yet",
            "Business English": "no grade yet",
        },
    ),
]

REFUSED = [
    ("find_courses", {"teacher": "Choir"}, "there is no teacher 'Choir'; there is: "),
    ("find_courses", {"subject": "music", "level": "advanced"}, "there is no such course"),
    ("course_details", {"course": "Guitar"}, "there is no course 'Guitar'; there is: Classical Guitar, "),
    ("enroll_student", {"student": "Choir", "course": "Nina Kowalski"}, "there is no student 'Choir'"),
    ("enroll_student", {"student": "Nina Kowalski", "course": "Choir"}, "Nina Kowalski is in Choir"),
    ("enroll_student", {"student": "Victor Ramos", "course": "Life Drawing"}, "no place left in Life Drawing"),
    (
        "drop_course",
        {"student": "Victor Ramos", "course": "Life Drawing"},
        "no course of Victor Ramos 'Life Drawing'; there is: ",
    ),
    (
        "record_grade",
        {"student": "Mei Chen", "course": "Life Drawing", "grade": "A"},
        "there is no student 'Mei Chen'; there is: ",
    ),
    ("student_courses", {"student": "Python Programming"}, "there is no student 'Python Programming'"),
]

STORIES = [
    [
        (
            "enroll_student",
            {"student": "Victor Ramos", "course": "Data Analysis"},
            "enrolled Victor Ramos in Data Analysis",
        ),
        (
            "record_grade",
            {"student": "Victor Ramos", "course": "Data Analysis", "grade": "C"},
            "Victor Ramos has C in Data Analysis",
        ),
        (
            "drop_course",
            {"student": "Victor Ramos", "course": "Spanish for Beginners"},
            "Victor Ramos left Spanish for Beginners",
        ),
        (
            "student_courses",
            {"student": "Victor Ramos"},
            {
                "Classical Guitar": "no grade yet",
                "Choir": "no grade yet",
                "Python Programming": "no grade yet",
                "Data Analysis": "C",
            },
        ),
    ]
]
