"""The directory of a company's staff, and their absences."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, load, require_new, words
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_FAMILY = "staff"
Employee = Annotated[str, known(_FAMILY, "employees")]
Department = Annotated[str, known(_FAMILY, "employees", "department")]
Skill = Annotated[str, known(_FAMILY, "employees", "skills")]


@tool(effect="writes", sandbox_state=True)
def look_up_employee(name: Employee, detail: Literal["job", "department", "office", "manager"]) -> str:
    """Look up the job, department, office or manager of an employee.

    Args:
        name: Name of the employee.
        detail: The detail wanted.
    """
    return find(load(_FAMILY)["employees"], name, "employee")[detail] or f"no {detail}"


@tool(effect="writes", sandbox_state=True)
def list_department(department: Department, office: Literal["Bergen", "Turin", "all"] = "all") -> list[str]:
    """List the employees of a department of the company.

    Args:
        department: Name of the department.
        office: Only those of one office, or all.
    """
    employees = load(_FAMILY)["employees"]
    name = choose((each["department"] for each in employees), department, "department")
    return [each["name"] for each in employees if each["department"] == name and office in ("all", each["office"])]


@tool(effect="writes", sandbox_state=True)
def employees_with_skill(skill: Skill, department: Department = "") -> list[str]:
    """Find the employees of the company who can do something or speak a language.

    Args:
        skill: The skill or language.
        department: Only employees of this department.
    """
    employees = load(_FAMILY)["employees"]
    name = choose((skill for each in employees for skill in each["skills"]), skill, "skill")
    part = choose((each["department"] for each in employees), department, "department") if department else ""
    return [each["name"] for each in employees if name in each["skills"] and part in ("", each["department"])]


@tool(effect="writes", sandbox_state=True)
def hire_employee(name: str, job: str, department: Department, manager: Employee, start_date: str) -> str:
    """Add a new employee to the staff directory.

    Args:
        name: Full name of the employee.
        job: Job title.
        department: Name of the department.
        manager: Name of the employee to report to.
        start_date: First working day as YYYY-MM-DD.
    """
    new = {"name": words(name, "name"), "job": words(job, "job"), "start_date": str(read_day(start_date, "start_date"))}
    with changing(_FAMILY) as data:
        employees = data["employees"]
        require_new(employees, name, "employee")
        boss = find(employees, manager, "employee")
        new["department"] = choose((each["department"] for each in employees), department, "department")
        employees.append({**new, "office": boss["office"], "manager": boss["name"], "skills": []})
    return f"{new['name']} starts as {new['job']} under {boss['name']} on {new['start_date']}"


@tool(effect="writes", sandbox_state=True)
def transfer_employee(employee: Employee, department: Department, manager: Employee = "") -> str:
    """Move an employee to another department of the company.

    Args:
        employee: Name of the employee.
        department: Name of the new department.
        manager: Name of the new manager.
    """
    with changing(_FAMILY) as data:
        employees = data["employees"]
        row = find(employees, employee, "employee")
        boss = find(employees, manager, "employee")["name"] if manager else row["manager"]
        if boss == row["name"]:
            raise ValueError("manager and employee are the same person; name two")
        row["department"] = choose((each["department"] for each in employees), department, "department")
        row["manager"] = boss
    return f"{row['name']} is in {row['department']}, manager {boss or 'none'}"


@tool(effect="writes", sandbox_state=True)
def request_leave(
    employee: Employee,
    first_day: str,
    last_day: str,
    kind: Literal["vacation", "sick leave", "parental leave", "unpaid leave"] = "vacation",
) -> str:
    """Enter days on which an employee does not work.

    Args:
        employee: Name of the employee.
        first_day: First day of the absence as YYYY-MM-DD.
        last_day: Last day of the absence as YYYY-MM-DD.
        kind: Kind of the absence.
    """
    first, last = read_day(first_day, "first_day"), read_day(last_day, "last_day")
    if last < first:
        raise ValueError("last_day is before first_day; swap them")
    new = {"from": str(first), "to": str(last), "kind": kind}
    with changing(_FAMILY) as data:
        new["employee"] = find(data["employees"], employee, "employee")["name"]
        if any(each["employee"] == new["employee"] and _away(each, new["from"], new["to"]) for each in data["leave"]):
            raise ValueError(f"{new['employee']} is away on some of these days already; choose others")
        data["leave"].append(new)
    return f"{kind} of {new['employee']} from {first} to {last}"


@tool(effect="writes", sandbox_state=True)
def employees_away(date: str) -> dict[str, str]:
    """List the employees who are absent on a day, with the kind of their absence.

    Args:
        date: Date as YYYY-MM-DD.
    """
    day = str(read_day(date, "date"))
    return {each["employee"]: each["kind"] for each in load(_FAMILY)["leave"] if _away(each, day, day)}


def _away(leave: Record, first: str, last: str) -> bool:
    return leave["from"] <= last and first <= leave["to"]
