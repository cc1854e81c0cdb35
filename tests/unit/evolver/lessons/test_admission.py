"""One place says what may be learned: which checks a trace meets depends on what it is made of."""

import pytest

from agent.turn.messages import Message
from evolver.lessons.admission import LessonPolicy, reject
from evolver.lessons.drop_reason import DropReason
from evolver.types import Trace, TraceKind
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.stages import policy

TOOLS = shop_tools.registry()
POLICY = policy(TOOLS)
GOOD = trace("Please add the prices 21 and 34.", "add_prices", {"first": 21, "second": 34}, 55)
ELSEWHERE = trace(
    "Ring the bell and keep the heaviest parcel of the shop 21 or 34.", "add_prices", {"first": 21, "second": 34}, 55
)
MAIL = trace("Label it mia.berg@example.org please.", "shout_label", {"label": "mia.berg@example.org"}, "")


def variant(of: Trace) -> Trace:
    return of.sourced(derived_from="another")


def composed(of: Trace) -> Trace:
    return variant(of).model_copy(update={"kind": TraceKind.PARALLEL})


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (GOOD, None),
        (GOOD.model_copy(update={"request": "21 34"}), DropReason.NO_SENTENCE),
        (GOOD.model_copy(update={"request": "Please add the prices 21 and 35."}), DropReason.ARGUMENT_NOT_STATED),
        (GOOD.model_copy(update={"answer": "<|im_end|>"}), DropReason.TEMPLATE_TOKEN),
        (ELSEWHERE, DropReason.SPEAKS_OF_ANOTHER_TOOL),
        (MAIL, DropReason.PERSONAL_DATA),
    ],
)
def test_each_check_alone_rejects_a_trace(candidate: Trace, reason: DropReason | None) -> None:
    assert reject(candidate, POLICY) is reason


def test_a_variant_has_the_wording_of_its_source_and_is_judged_for_all_else() -> None:
    assert reject(variant(ELSEWHERE), POLICY) is None
    wrong = variant(GOOD.model_copy(update={"request": "Please add the prices 21 and 35."}))
    assert reject(wrong, POLICY) is DropReason.ARGUMENT_NOT_STATED
    assert reject(variant(MAIL), POLICY) is DropReason.PERSONAL_DATA


def test_of_a_composed_trace_only_what_its_text_may_have_become_is_judged() -> None:
    assert reject(composed(GOOD.model_copy(update={"request": "21 34"})), POLICY) is None
    assert reject(composed(MAIL), POLICY) is DropReason.PERSONAL_DATA
    assert reject(composed(GOOD), policy(TOOLS, held_out=lambda _: True)) is DropReason.HELD_OUT


def test_what_was_said_before_may_be_held_out_too() -> None:
    before = GOOD.model_copy(update={"history": tuple(shop_history())})
    assert reject(before, policy(TOOLS, held_out=lambda text: text == "hello there")) is DropReason.HELD_OUT
    assert reject(before, policy(TOOLS)) is None


def shop_history() -> list[Message]:
    return [Message(role="user", content="hello there"), Message(role="assistant", content="Hello.")]


def test_personal_data_may_be_allowed() -> None:
    assert reject(MAIL, policy(TOOLS, personal_data=False)) is None


@pytest.mark.parametrize(("name", "reads", "runs"), [
    ("add_prices", False, True), ("keep_receipt", False, True), ("look_outside", False, False),
    ("look_outside", True, True), ("ring_bell", True, False),
])  # fmt: skip
def test_which_tools_lessons_may_run(name: str, reads: bool, runs: bool) -> None:
    allowed: LessonPolicy = policy(TOOLS, allow_reads=reads)
    assert allowed.may_run(TOOLS.get(name)) is runs
