"""Projects and their tasks."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, load, require_new, words
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_FAMILY = "projects"
Project = Annotated[str, known(_FAMILY, "projects")]
Task = Annotated[str, known(_FAMILY, "tasks", "title")]
Assignee = Annotated[str, known(_FAMILY, "tasks", "assignee")]
Priority = Literal["low", "normal", "high"]


@tool(effect="writes", sandbox_state=True)
def start_project(name: str, lead: str, deadline: str) -> str:
    """Set up a new project.

    Args:
        name: Name of the project.
        lead: Name of the person who leads it.
        deadline: Day on which it must be finished, as YYYY-MM-DD.
    """
    new = {"name": words(name, "name"), "lead": words(lead, "lead"), "deadline": str(read_day(deadline, "deadline"))}
    with changing(_FAMILY) as data:
        require_new(data["projects"], name, "project")
        data["projects"].append(new)
    return f"{new['name']}, led by {new['lead']}, until {new['deadline']}"


@tool(effect="writes", sandbox_state=True)
def create_task(
    title: str, project: Project, assignee: str = "", due_date: str = "", priority: Priority = "normal"
) -> str:
    """Add a task to a project.

    Args:
        title: What is to be done.
        project: Name of the project.
        assignee: Name of the person who does it.
        due_date: Day on which it is due, as YYYY-MM-DD.
        priority: low, normal or high.
    """
    due = str(read_day(due_date, "due_date")) if due_date else ""
    new = {"title": words(title, "title"), "assignee": assignee, "priority": priority, "due_date": due, "done": False}
    with changing(_FAMILY) as data:
        new["project"] = find(data["projects"], project, "project")["name"]
        require_new(data["tasks"], title, "task", "title")
        data["tasks"].append(new)
    return f"{new['title']} in {new['project']}"


@tool(effect="writes", sandbox_state=True)
def complete_task(title: Task) -> str:
    """Mark a task of a project as done.

    Args:
        title: Title of the task.
    """
    with changing(_FAMILY) as data:
        task = find(data["tasks"], title, "task", "title")
        task["done"] = True
        left = sum(not each["done"] for each in data["tasks"] if each["project"] == task["project"])
    return f"{task['title']} is done; {left} open in {task['project']}"


@tool(effect="writes", sandbox_state=True)
def assign_task(title: Task, person: str) -> str:
    """Give a task of a project to a person.

    Args:
        title: Title of the task.
        person: Name of the person who shall do it.
    """
    with changing(_FAMILY) as data:
        task = find(data["tasks"], title, "task", "title")
        task["assignee"] = words(person, "person")
    return f"{task['title']}: {task['assignee']}"


@tool(effect="writes", sandbox_state=True)
def postpone_task(title: Task, due_date: str, reason: str = "") -> str:
    """Give a task of a project a later due date.

    Args:
        title: Title of the task.
        due_date: New due date as YYYY-MM-DD.
        reason: Reason for the delay.
    """
    due = str(read_day(due_date, "due_date"))
    with changing(_FAMILY) as data:
        task = find(data["tasks"], title, "task", "title")
        if due <= task["due_date"]:
            raise ValueError(f"the task is due on {task['due_date']} already; give a later due_date")
        task.update(due_date=due, reason=reason)
    return f"{task['title']} is due on {due}"


@tool(effect="writes", sandbox_state=True)
def set_task_priority(title: Task, priority: Priority) -> str:
    """Change how urgent a task of a project is.

    Args:
        title: Title of the task.
        priority: low, normal or high.
    """
    with changing(_FAMILY) as data:
        task = find(data["tasks"], title, "task", "title")
        task["priority"] = priority
    return f"{task['title']}: {priority}"


@tool(effect="writes", sandbox_state=True)
def project_tasks(project: Project, state: Literal["open", "done", "all"] = "all") -> list[str]:
    """List the tasks of a project.

    Args:
        project: Name of the project.
        state: Only open or done tasks, or all.
    """
    data = load(_FAMILY)
    name = find(data["projects"], project, "project")["name"]
    return [each["title"] for each in data["tasks"] if each["project"] == name and state in ("all", _state(each))]


@tool(effect="writes", sandbox_state=True)
def workload_of(person: Assignee, until_date: str = "") -> list[str]:
    """List the open tasks of projects that a person has to do.

    Args:
        person: Name of the person.
        until_date: Only tasks due until this date, as YYYY-MM-DD.
    """
    last = str(read_day(until_date, "until_date")) if until_date else "9999"
    tasks = load(_FAMILY)["tasks"]
    name = choose((each["assignee"] for each in tasks if each["assignee"]), person, "person with a task")
    return [
        each["title"] for each in tasks if each["assignee"] == name and not each["done"] and each["due_date"] <= last
    ]


def _state(task: Record) -> str:
    return "done" if task["done"] else "open"
