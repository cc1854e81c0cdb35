"""A small toolkit of real ``@tool`` functions, none of them built in."""

from pathlib import Path

from tests.fakes.sandbox import InProcessSandbox
from toolkit.declare import tool
from toolkit.describing import describe
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry

SOURCE = "builtin"


@tool(effect="pure")
def add_prices(first: int, second: int) -> int:
    """Add two prices of things in the basket.

    Args:
        first: One price.
        second: The other price.
    """
    return first + second


@tool(effect="pure")
def box_count(eggs: int, box_size: int) -> int:
    """Count the boxes that eggs fill.

    Args:
        eggs: How many eggs.
        box_size: Eggs in one box.
    """
    if box_size < 1:
        raise ValueError("box_size must be at least 1")
    return -(-eggs // box_size)


@tool(effect="pure")
def shout_label(label: str, stars: int | None = None) -> str:
    """Write a label in capitals for a shelf.

    Args:
        label: The words.
        stars: Stars around it.
    """
    return f"{'*' * (stars or 0)}{label.upper()}{'*' * (stars or 0)}"


@tool(effect="pure")
def heaviest_parcel(weights: list[int]) -> int:
    """Find the heaviest parcel on a pallet.

    Args:
        weights: Weights in grams.
    """
    return max(weights)


@tool(effect="writes", sandbox_state=True)
def keep_receipt(shop: str, total: int) -> str:
    """Keep a receipt of a purchase.

    Args:
        shop: Name of the shop.
        total: What was paid.
    """
    Path("receipts.txt").write_text(f"{shop} {total}", encoding="utf-8")
    return f"kept {shop}"


@tool(effect="reads")
def look_outside() -> str:
    """Say what can be seen from the window."""
    return "a tree"


@tool(effect="writes")
def ring_bell(times: int) -> str:
    """Ring the bell of the shop.

    Args:
        times: How often.
    """
    raise AssertionError("the evolver rang the bell")


WORLD_TOOLS = (add_prices, box_count, heaviest_parcel, shout_label)
"""Those of tests.fakes.evolver_world."""
FUNCTIONS = (add_prices, box_count, shout_label, heaviest_parcel, keep_receipt, look_outside, ring_bell)


def registry() -> ToolRegistry:
    return ToolRegistry(describe(function, source=SOURCE) for function in FUNCTIONS)


def executor() -> Executor:
    return Executor(registry(), InProcessSandbox())
