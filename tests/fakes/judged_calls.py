"""Calls of the shop's tools, and their scores."""

from agent.turn.messages import Trajectory
from evolver.evaluation.evaluate import score
from evolver.evaluation.suites import Item, Suite
from evolver.scores import ItemScore
from evolver.types import Call
from tests.fakes import shop_tools

EXECUTOR = shop_tools.executor()


ADD = Call(name="add_prices", arguments={"first": 2, "second": 3})


BOXES = Call(name="box_count", arguments={"eggs": 12, "box_size": 6})


RAN_ADD = ("add_prices", {"first": 2, "second": 3}, 5)


RAN_BOXES = ("box_count", {"eggs": 12, "box_size": 6}, 2)


def judged(logged: Trajectory, *expected: Call) -> ItemScore:
    return score(Item(id="i", request="r", expected=expected), logged, EXECUTOR)


SUITE = Suite(
    name="tiny",
    sha256="0" * 64,
    items=(
        Item(id="add", request="add 2 and 3", expected=(ADD,)),
        Item(id="boxes", request="boxes for 12 eggs", expected=(BOXES,)),
        Item(id="talk", request="hello"),
    ),
)
