"""Chance."""

import random

from toolkit.declare import tool


@tool(effect="reads", sandbox_state=True)
def roll_dice(sides: int, count: int) -> list[int]:
    """Roll dice and tell what each shows.

    Args:
        sides: How many sides each die has.
        count: How many dice to roll.
    """
    if not (2 <= sides <= 1000 and 1 <= count <= 100):
        raise ValueError("sides must be between 2 and 1000, count between 1 and 100")
    return [random.randint(1, sides) for _ in range(count)]
