"""Shopping lists."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, changing, find, known, load, require_new, words
from toolkit.declare import tool

_FAMILY = "shopping_lists"
List = Annotated[str, known(_FAMILY, "lists")]
Entry = Annotated[str, known(_FAMILY, "entries")]


def _list(data: dict[str, list[Record]], name: str) -> str:
    return find(data["lists"], name, "shopping list")["name"]


def _on(data: dict[str, list[Record]], list_name: str) -> list[Record]:
    """Return the entries of a list, or of all."""
    name = _list(data, list_name) if list_name else ""
    return [each for each in data["entries"] if name in ("", each["list"])]


def _add(data: dict[str, list[Record]], list_name: str, item: str, quantity: str = "") -> Record:
    new = {"name": words(item, "item"), "list": list_name, "quantity": quantity, "bought": False}
    require_new(_on(data, list_name), item, "entry")
    data["entries"].append(new)
    return new


@tool(effect="writes", sandbox_state=True)
def create_shopping_list(name: str, items: list[str], shop: str = "") -> str:
    """Begin a new shopping list.

    Args:
        name: Name of the list.
        items: Things to buy.
        shop: Name of the shop.
    """
    new = {"name": words(name, "name"), "shop": shop}
    with changing(_FAMILY) as data:
        require_new(data["lists"], name, "shopping list")
        data["lists"].append(new)
        for each in items:
            _add(data, new["name"], each)
    return f"{new['name']}: {len(items)} items"


@tool(effect="writes", sandbox_state=True)
def add_to_shopping_list(list_name: List, item: str, quantity: str = "") -> str:
    """Put something on a shopping list.

    Args:
        list_name: Name of the list.
        item: The thing to buy.
        quantity: How much of it, for example 2 liters.
    """
    with changing(_FAMILY) as data:
        new = _add(data, _list(data, list_name), item, quantity)
    return f"{new['name']} is on {new['list']}"


@tool(effect="writes", sandbox_state=True)
def show_shopping_list(list_name: List, show: Literal["everything", "missing", "bought"] = "everything") -> list[str]:
    """Show what stands on a shopping list.

    Args:
        list_name: Name of the list.
        show: Everything, only what is missing, or only what was bought.
    """
    wanted = {"everything": (True, False), "missing": (False,), "bought": (True,)}[show]
    entries = [each for each in _on(load(_FAMILY), list_name) if each["bought"] in wanted]
    return [" ".join(filter(None, (each["quantity"], each["name"]))) for each in entries]


@tool(effect="writes", sandbox_state=True)
def check_off_items(items: list[Entry], list_name: List = "") -> str:
    """Mark things on shopping lists as bought.

    Args:
        items: The things that were bought.
        list_name: Only on the list with this name.
    """
    if not items:
        raise ValueError("items is empty; name at least one thing")
    with changing(_FAMILY) as data:
        for each in items:
            find(_on(data, list_name), each, "entry")["bought"] = True
        left = sum(not each["bought"] for each in data["entries"])
    return f"{left} things are missing"


@tool(effect="writes", sandbox_state=True)
def move_shopping_item(item: Entry, to_list: List, from_list: List = "") -> str:
    """Move something from one shopping list to another.

    Args:
        item: The thing to buy.
        to_list: Name of the list on which it shall stand.
        from_list: Name of the list on which it stands.
    """
    with changing(_FAMILY) as data:
        entry, target = find(_on(data, from_list), item, "entry"), _list(data, to_list)
        require_new(_on(data, target), entry["name"], "entry")
        before, entry["list"] = entry["list"], target
    return f"moved {entry['name']} from {before} to {target}"


@tool(effect="writes", sandbox_state=True)
def remove_shopping_item(item: Entry, list_name: List = "") -> str:
    """Take something off a shopping list.

    Args:
        item: The thing that is not needed.
        list_name: Name of the list on which it stands.
    """
    with changing(_FAMILY) as data:
        entry = find(_on(data, list_name), item, "entry")
        data["entries"].remove(entry)
    return f"removed {entry['name']} from {entry['list']}"
