"""Expenses and monthly budgets."""

from typing import Annotated, Literal

from toolkit.builtin.ranges import positive
from toolkit.builtin.rounding import money
from toolkit.builtin.workspace_data import Record, find, known, load, save, words
from toolkit.builtin.written_times import read_day, read_month
from toolkit.declare import Known, tool

_Description = Annotated[str, known("expenses", "expenses", "description")]
_Month = Annotated[str, Known(("2026-03", "2026-04"))]

Category = Literal["groceries", "transport", "dining", "household", "health", "leisure"]
_SHOWN = 5


def _of_month(expenses: list[Record], month: str, category: str = "") -> list[Record]:
    start = read_month(month, "month")
    return [each for each in expenses if each["date"].startswith(start) and category in ("", each["category"])]


def _total(expenses: list[Record]) -> float:
    return money(sum(each["amount"] for each in expenses))


@tool(effect="writes", sandbox_state=True)
def add_expense(description: str, amount: float, category: Category, date: str) -> str:
    """Record money that was spent.

    Args:
        description: Purpose of the expense, for example Lunch with Priya.
        amount: The amount of money.
        category: Kind of the expense.
        date: Day of the payment as YYYY-MM-DD.
    """
    positive(amount=amount)
    day = read_day(date, "date").isoformat()
    new = {"description": words(description, "description"), "amount": money(amount), "category": category, "date": day}
    data = load("expenses")
    data["expenses"].append(new)
    save("expenses", data)
    return f"recorded {new['amount']:.2f} for {new['description']} on {day}"


@tool(effect="writes", sandbox_state=True)
def list_expenses(month: _Month, category: Literal[Category, "all"] = "all") -> list[str]:
    """List the expenses of a month.

    Args:
        month: The month as YYYY-MM.
        category: Kind of expenses, or all.
    """
    found = _of_month(load("expenses")["expenses"], month, "" if category == "all" else category)
    if not found:
        raise ValueError(f"there is no expense of the category {category} in {month}")
    shown = [f"{each['date']} {each['description']}: {each['amount']:.2f}" for each in found[:_SHOWN]]
    return [*shown, f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else shown


@tool(effect="writes", sandbox_state=True)
def total_spending(start_date: str, end_date: str, category: Literal[Category, "all"] = "all") -> float:
    """Add up the expenses from one day to another.

    Args:
        start_date: First day as YYYY-MM-DD.
        end_date: Last day as YYYY-MM-DD.
        category: Kind of expenses, or all.
    """
    first, last = read_day(start_date, "start_date").isoformat(), read_day(end_date, "end_date").isoformat()
    if last < first:
        raise ValueError("end_date is before start_date; swap them")
    expenses = load("expenses")["expenses"]
    return _total([e for e in expenses if first <= e["date"] <= last and category in ("all", e["category"])])


@tool(effect="writes", sandbox_state=True)
def delete_expense(description: _Description) -> str:
    """Remove a recorded expense.

    Args:
        description: The description under which the expense was recorded.
    """
    data = load("expenses")
    found = find(data["expenses"], description, "expense", "description")
    data["expenses"].remove(found)
    save("expenses", data)
    return f"removed {found['description']} of {found['date']}"


@tool(effect="writes", sandbox_state=True)
def set_budget(category: Category, amount: float) -> str:
    """Set how much may be spent on a category in a month.

    Args:
        category: Kind of expenses.
        amount: The most money to spend in a month.
    """
    positive(amount=amount)
    data = load("expenses")
    data["budgets"] = [each for each in data["budgets"] if each["category"] != category]
    data["budgets"].append({"category": category, "amount": money(amount)})
    save("expenses", data)
    return f"budget for {category} is {money(amount):.2f} a month"


@tool(effect="writes", sandbox_state=True)
def remaining_budget(category: Category, month: _Month) -> float:
    """Find how much of a category's budget is left in a month.

    Args:
        category: Kind of expenses.
        month: The month as YYYY-MM.
    """
    data = load("expenses")
    budget = find(data["budgets"], category, "budget for", "category")
    return money(budget["amount"] - _total(_of_month(data["expenses"], month, category)))
