"""A log of workouts, weekly goals, personal records and daily habits."""

from datetime import timedelta
from typing import Annotated, Literal

from toolkit.builtin.ranges import not_negative, positive
from toolkit.builtin.rounding import neat
from toolkit.builtin.workspace_data import changing, find, known, load, require_new, words
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_FAMILY = "workouts"
_Activity = Literal["running", "swimming", "cycling", "yoga", "strength", "hiking"]
_Habit = Annotated[str, known(_FAMILY, "habits")]
_Exercise = Annotated[str, known(_FAMILY, "lifts", "exercise")]


@tool(effect="writes", sandbox_state=True)
def log_workout(activity: _Activity, date: str, minutes: int, kilometers: float = 0, note: str = "") -> str:
    """Log a workout that somebody has done.

    Args:
        activity: Kind of the workout.
        date: Day of the workout as YYYY-MM-DD.
        minutes: How long it took, in minutes.
        kilometers: Distance in kilometers.
        note: A remark.
    """
    positive(minutes=minutes)
    not_negative(kilometers=kilometers)
    new = {"activity": activity, "date": read_day(date, "date").isoformat(), "minutes": minutes}
    with changing(_FAMILY) as data:
        data["workouts"].append({**new, "kilometers": kilometers, "note": words(note, "note") if note else ""})
    return f"logged {minutes} minutes of {activity} on {new['date']}"


@tool(effect="writes", sandbox_state=True)
def workout_history(activity: Literal[_Activity, "all"], since: str) -> list[str]:
    """List the workouts since a day.

    Args:
        activity: Kind of workouts, or all.
        since: First day as YYYY-MM-DD.
    """
    first = read_day(since, "since").isoformat()
    workouts = [w for w in load(_FAMILY)["workouts"] if w["date"] >= first and activity in ("all", w["activity"])]
    if not workouts:
        raise ValueError(f"there is no workout of the kind {activity} since {first}; ask for an earlier day")
    return [f"{w['date']} {w['activity']}, {w['minutes']} minutes" for w in workouts][-6:]


@tool(effect="writes", sandbox_state=True)
def set_weekly_goal(activity: _Activity, minutes: int) -> str:
    """Set how many minutes of an activity one wants to do in a week.

    Args:
        activity: Kind of workout.
        minutes: Minutes in a week.
    """
    positive(minutes=minutes)
    with changing(_FAMILY) as data:
        data["goals"] = [goal for goal in data["goals"] if goal["activity"] != activity]
        data["goals"].append({"activity": activity, "minutes": minutes})
    return f"goal: {minutes} minutes of {activity} a week"


@tool(effect="writes", sandbox_state=True)
def weekly_goal_progress(activity: _Activity, week_start: str) -> str:
    """Tell how much of the weekly goal for an activity was reached.

    Args:
        activity: Kind of workout.
        week_start: First day of the week as YYYY-MM-DD.
    """
    first = read_day(week_start, "week_start")
    data, days = load(_FAMILY), {(first + timedelta(days=number)).isoformat() for number in range(7)}
    goal = find(data["goals"], activity, "goal for", "activity")["minutes"]
    done = sum(w["minutes"] for w in data["workouts"] if w["activity"] == activity and w["date"] in days)
    return f"{done} of {goal} minutes"


@tool(effect="writes", sandbox_state=True)
def personal_record(exercise: _Exercise) -> dict[str, str | float]:
    """Tell the heaviest weight that was lifted in an exercise, and when.

    Args:
        exercise: Name of the exercise, for example squat.
    """
    return dict(find(load(_FAMILY)["lifts"], exercise, "exercise", "exercise"))


@tool(effect="writes", sandbox_state=True)
def set_personal_record(exercise: _Exercise, kilograms: float, date: str) -> str:
    """Enter a new personal record in an exercise with weights.

    Args:
        exercise: Name of the exercise.
        kilograms: Weight in kilograms.
        date: Day of the record as YYYY-MM-DD.
    """
    day = read_day(date, "date").isoformat()
    with changing(_FAMILY) as data:
        best = find(data["lifts"], exercise, "exercise", "exercise")
        if kilograms <= best["kilograms"]:
            raise ValueError(f"{best['kilograms']} kilograms were lifted already; give more")
        best.update(kilograms=kilograms, date=day)
    return f"record in {best['exercise']}: {neat(kilograms)} kilograms on {day}"


@tool(effect="writes", sandbox_state=True)
def start_habit(name: str) -> str:
    """Begin to track a daily habit.

    Args:
        name: Name of the habit, for example Drink water.
    """
    habit = words(name, "name", longest=60)
    with changing(_FAMILY) as data:
        require_new(data["habits"], habit, "habit")
        data["habits"].append({"name": habit, "days": []})
    return f"tracking {habit}"


@tool(effect="writes", sandbox_state=True)
def mark_habit_done(habit: _Habit, date: str) -> str:
    """Mark a daily habit as done on a day.

    Args:
        habit: Name of the habit.
        date: Day as YYYY-MM-DD.
    """
    day = read_day(date, "date").isoformat()
    with changing(_FAMILY) as data:
        found = find(data["habits"], habit, "habit")
        found["days"] = sorted({*found["days"], day})
    return f"{found['name']} is done on {day}"


@tool(effect="writes", sandbox_state=True)
def habit_streak(habit: _Habit, date: str) -> int:
    """Count the days in a row, up to a day, on which a habit was done.

    Args:
        habit: Name of the habit.
        date: Last day of the row as YYYY-MM-DD.
    """
    day, days = read_day(date, "date"), set(find(load(_FAMILY)["habits"], habit, "habit")["days"])
    count = 0
    while (day - timedelta(days=count)).isoformat() in days:
        count += 1
    return count
