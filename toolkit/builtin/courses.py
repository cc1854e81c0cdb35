"""Evening courses, their students and grades."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, load
from toolkit.declare import tool

_FAMILY = "courses"
_Course = Annotated[str, known(_FAMILY, "courses")]
_Teacher = Annotated[str, known(_FAMILY, "courses", "teacher")]
_Student = Annotated[str, known(_FAMILY, "students")]
_Subject = Literal["languages", "art", "computers", "music"]
_Level = Literal["beginner", "intermediate", "advanced"]


def _enrollment(data: dict[str, list[Record]], student: str, course: str) -> Record:
    who = find(data["students"], student, "student")["name"]
    return find([e for e in data["enrollments"] if e["student"] == who], course, f"course of {who}", "course")


@tool(effect="writes", sandbox_state=True)
def find_courses(
    subject: Literal[_Subject, "any"] = "any", level: Literal[_Level, "any"] = "any", teacher: _Teacher = ""
) -> list[str]:
    """Find evening courses by subject, level and teacher.

    Args:
        subject: Subject of the course.
        level: How much one must know already.
        teacher: Name of the teacher.
    """
    courses = load(_FAMILY)["courses"]
    if teacher:
        teacher = choose(dict.fromkeys(course["teacher"] for course in courses), teacher, "teacher")
    found = [
        f"{course['name']} ({course['weekday']} {course['time']})"
        for course in courses
        if subject in ("any", course["subject"])
        and level in ("any", course["level"])
        and teacher in ("", course["teacher"])
    ]
    if not found:
        raise ValueError("there is no such course; leave out the subject, the level or the teacher")
    return found[:6]


@tool(effect="writes", sandbox_state=True)
def course_details(course: _Course) -> dict[str, str]:
    """Tell when and where an evening course takes place and who teaches it.

    Args:
        course: Name of the course.
    """
    found = find(load(_FAMILY)["courses"], course, "course")
    return {key: found[key] for key in ("name", "teacher", "weekday", "time", "room", "level")}


@tool(effect="writes", sandbox_state=True)
def enroll_student(student: _Student, course: _Course) -> str:
    """Enroll a student in an evening course.

    Args:
        student: Name of the student.
        course: Name of the course.
    """
    with changing(_FAMILY) as data:
        who, found = find(data["students"], student, "student")["name"], find(data["courses"], course, "course")
        members = [e["student"] for e in data["enrollments"] if e["course"] == found["name"]]
        if who in members or len(members) >= found["places"]:
            state = f"{who} is in" if who in members else "there is no place left in"
            raise ValueError(f"{state} {found['name']}; choose another course")
        data["enrollments"].append({"course": found["name"], "student": who, "grade": ""})
    return f"enrolled {who} in {found['name']}"


@tool(effect="writes", sandbox_state=True)
def drop_course(student: _Student, course: _Course) -> str:
    """Take a student out of an evening course.

    Args:
        student: Name of the student.
        course: Name of the course.
    """
    with changing(_FAMILY) as data:
        found = _enrollment(data, student, course)
        data["enrollments"].remove(found)
    return f"{found['student']} left {found['course']}"


@tool(effect="writes", sandbox_state=True)
def record_grade(student: _Student, course: _Course, grade: Literal["A", "B", "C", "D", "F"]) -> str:
    """Record the grade of a student in an evening course.

    Args:
        student: Name of the student.
        course: Name of the course.
        grade: The grade, A is best.
    """
    with changing(_FAMILY) as data:
        found = _enrollment(data, student, course)
        found["grade"] = grade
    return f"{found['student']} has {grade} in {found['course']}"


@tool(effect="writes", sandbox_state=True)
def student_courses(student: _Student) -> dict[str, str]:
    """List the evening courses of a student with the grades.

    Args:
        student: Name of the student.
    """
    data = load(_FAMILY)
    who = find(data["students"], student, "student")["name"]
    return {e["course"]: e["grade"] or "no grade yet" for e in data["enrollments"] if e["student"] == who}
