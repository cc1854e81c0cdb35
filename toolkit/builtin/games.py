"""Chance."""

import random
import secrets
import string

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


@tool(effect="reads", sandbox_state=True)
def random_password(length: int, include_symbols: bool = False, only_lowercase: bool = False) -> str:
    """Make a random password.

    Args:
        length: How many characters it has.
        include_symbols: Whether it has symbols such as ! and ? too.
        only_lowercase: Whether its letters are all small ones.
    """
    if not 4 <= length <= 200:
        raise ValueError("length must be between 4 and 200")
    letters = string.ascii_lowercase if only_lowercase else string.ascii_letters
    characters = letters + string.digits + ("!?#$%&*+-=@" if include_symbols else "")
    return "".join(secrets.choice(characters) for _ in range(length))


@tool(effect="reads", sandbox_state=True)
def pick_random(items: list[str], count: int = 1, allow_repeats: bool = False) -> list[str]:
    """Pick entries of a list at random, for example to draw a winner.

    Args:
        items: The entries.
        count: How many to pick.
        allow_repeats: Whether the same entry may be picked again.
    """
    if not items:
        raise ValueError("items is empty; add some")
    if not 1 <= count <= (1000 if allow_repeats else len(items)):
        raise ValueError("count must be 1 or more, and without repeats no more than there are items")
    return random.choices(items, k=count) if allow_repeats else random.sample(items, count)
