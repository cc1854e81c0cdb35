"""Which traces are fit to learn from: each reason for which one is dropped, alone."""

from pathlib import Path
from typing import Any

import pytest

from evolver.lessons import checks
from evolver.lessons.execution_policy import harmless
from evolver.types import Call, Failure, Trace, TraceKind
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.sandbox import InProcessSandbox, LosingSandbox
from tests.fakes.verdicts import CONFIG, GOOD, PARCEL, TALK, WORDINGS, adding, judged, reason
from toolkit.errors import SandboxUnavailable
from toolkit.execute import Executor
from toolkit.sandbox import ExecResult
from toolkit.sandbox.insistent import Insistent
from toolkit.tool import Effect, Tool, ToolError, ToolErrorKind, ToolResult


@pytest.mark.parametrize("good", [GOOD, PARCEL, TALK], ids=lambda t: t.request)
def test_good_ones_are_kept_as_they_are(tmp_path: Path, good: Trace) -> None:
    found, kept, _ = judged(tmp_path, good)
    assert kept == [good]
    assert (found.kept, found.dropped, found.kept_by_kind) == (1, {}, {good.kind: 1})


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (adding("21 34"), "no_sentence"),
        (adding("Please add the prices 21 and 34, " * 20), "no_sentence"),
        (adding("Please add the prices 21 and 34,"), "no_sentence"),
        (adding("Please add the  prices 21 and 34."), "no_plain_wording"),
        (adding("Please use add_prices on 21 and 34."), "no_plain_wording"),
        (adding('Please add the prices {"first": 21} and 34.'), "no_plain_wording"),
        (adding("Please add the prices <tool_call> 21 and 34."), "no_plain_wording"),
        (adding("Please add the prices 21 and 35."), "argument_not_stated"),
        (adding("Please add the prices of these things."), "argument_not_stated"),
        (adding("Please add the prices 21, 34 and 99."), "states_another_number"),
        (adding("Please add the prices 21 and 21.", second=21), "arguments_are_alike"),
        (trace("Tell me about the year 1999, please."), "may_need_a_tool"),
        (
            trace("Label it green tea please: GREEN TEA.", "shout_label", {"label": "green tea"}, "GREEN TEAS"),
            "result_changes",
        ),
        (adding("Please add the prices 21 and 34.", result=56), "result_changes"),
        (
            trace("Count boxes for 12 eggs in a box of 0.", "box_count", {"eggs": 12, "box_size": 0}, 1),
            "call_tool_failed",
        ),
        (trace("Add the prices 21 and more.", "add_prices", {"first": 21}, 55), "call_invalid_arguments"),
        (adding("Ring the bell and keep the heaviest parcel of the shop 21 or 34."), "speaks_of_another_tool"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.request[:40],
)
def test_each_reason_alone_drops_a_trace(tmp_path: Path, candidate: Trace, why: str) -> None:
    assert reason(tmp_path, candidate) == why


def test_a_request_that_tells_the_result_asks_nothing(tmp_path: Path) -> None:
    telling = trace("Keep the receipt of Mill for 9, you have kept Mill.", "keep_receipt", {"shop": "Mill", "total": 9})
    telling = telling.model_copy(update={"results": ("kept Mill",)})
    assert reason(tmp_path, telling) == "tells_the_result"
    plain = telling.model_copy(update={"request": "Keep the receipt of Mill for 9."})
    assert reason(tmp_path, plain) == ""


def test_a_result_that_is_too_long_is_dropped(tmp_path: Path) -> None:
    label = "x" * 200
    long = trace(f"Shout the label {label}.", "shout_label", {"label": label, "stars": None}, label.upper())
    stars = trace(f"Shout the label {label} with 99 stars.", "shout_label", {"label": label, "stars": 99})
    stars = stars.model_copy(update={"results": ("*" * 99 + label.upper() + "*" * 99,)})
    assert reason(tmp_path, long) == ""
    assert reason(tmp_path, stars) == "result_too_long"


def test_of_duplicates_the_likeliest_is_kept(tmp_path: Path) -> None:
    unlikely = adding("Please add the prices 21 and 34!", identity="a", mean_logprob=-2.0)
    likely = adding("please add the prices 21 and 34", identity="b", mean_logprob=-1.0)
    _, kept, reasons = judged(tmp_path, unlikely, likely)
    assert kept == [likely]
    assert reasons["a"] == "duplicate"


def test_what_earlier_cycles_learned_and_what_is_held_out_is_dropped(tmp_path: Path) -> None:
    assert reason(tmp_path, GOOD, earlier=[GOOD]) == "duplicate"
    assert reason(tmp_path, GOOD, earlier=[adding("Now please add the prices 21 and 34!")]) == "near_duplicate"
    assert reason(tmp_path, GOOD, held_out=lambda request: request == GOOD.request) == "held_out"
    assert reason(tmp_path, PARCEL, held_out=lambda request: request == GOOD.request) == ""


def test_of_several_wordings_the_likeliest_are_kept(tmp_path: Path) -> None:
    for most in (1, 2):
        config = CONFIG.model_copy(update={"kept_per_call": most})
        _, kept, reasons = judged(tmp_path, *WORDINGS[::-1], config=config)
        assert kept == WORDINGS[:most]
        assert reasons["3"] == "call_has_a_likelier_request"


def test_a_tool_has_enough_with_its_likeliest_calls_and_talk_is_not_counted(tmp_path: Path) -> None:
    many = [
        adding(f"Please add the prices {n} and 50.", n, 50, identity=str(n), mean_logprob=-n) for n in range(10, 16)
    ]
    talk = [trace(f"Tell me about {noun} now, please.") for noun in ("foxes", "owls", "bread")]
    _, kept, reasons = judged(tmp_path, *many, *talk, PARCEL, config=CONFIG.model_copy(update={"per_tool": 2}))
    assert {t.id for t in kept} == {"10", "11", *(t.id for t in talk), PARCEL.id}
    assert reasons["15"] == "tool_has_enough"


def test_counts_of_what_was_dropped_are_sorted_and_complete(tmp_path: Path) -> None:
    bad = [adding(f"Please add the prices of {word}.", identity=word) for word in ("milk", "bread", "eggs")]
    found, _, _ = judged(tmp_path, GOOD, *bad, adding("21 34", identity="short"))
    assert list(found.dropped.items()) == [("argument_not_stated", 3), ("no_sentence", 1)]
    assert (found.kept, found.kept_by_kind) == (1, {"back_translation": 1})


def test_judging_again_gives_the_same_files(tmp_path: Path) -> None:
    first = judged(tmp_path, GOOD, TALK, adding("21 34"))
    before = [first[0].file.read_bytes(), first[0].verdicts_file.read_bytes()]
    again = judged(tmp_path, GOOD, TALK, adding("21 34"))
    assert [again[0].file.read_bytes(), again[0].verdicts_file.read_bytes()] == before


def test_nothing_to_judge(tmp_path: Path) -> None:
    found, kept, _ = judged(tmp_path)
    assert (found.kept, kept) == (0, [])


def test_a_broken_sandbox_gives_no_verdict(tmp_path: Path) -> None:
    class Broken(InProcessSandbox):
        def run(self, *_: Any, **__: Any) -> ExecResult:
            raise SandboxUnavailable("gone")

    with pytest.raises(SandboxUnavailable):
        judged(tmp_path, GOOD, executor=Executor(shop_tools.registry(), Broken()))
    assert list(tmp_path.iterdir()) == []


def test_a_lost_worker_gives_no_verdict(tmp_path: Path) -> None:
    """Lost once, the call is made again; where harmless calls are lost too, the sandbox is broken."""
    for losing, traces in ((1, (GOOD, PARCEL)), (1, (PARCEL, GOOD))):
        executor = Executor(shop_tools.registry(), Insistent(LosingSandbox(losing)))
        assert judged(tmp_path / "once", *traces, executor=executor)[0].kept == 2
    with pytest.raises(SandboxUnavailable, match="a call of add_prices was lost twice"):
        judged(tmp_path / "twice", GOOD, executor=Executor(shop_tools.registry(), Insistent(LosingSandbox(3))))
    assert not (tmp_path / "twice").exists()


def test_a_call_that_ends_its_worker_each_time_is_dropped(tmp_path: Path) -> None:
    executor = Executor(shop_tools.registry(), Insistent(LosingSandbox(0, deadly="add_prices")))
    verified, _, verdicts = judged(tmp_path, GOOD, PARCEL, executor=executor)
    assert (verified.kept, verified.dropped) == (1, {"call_lost": 1})
    assert verdicts[GOOD.id] == "call_lost"


def test_what_an_empty_workspace_lacks_is_no_fault_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**_: Any) -> None:
        raise ValueError("there is none")

    monkeypatch.setattr(shop_tools, "keep_receipt", missing)
    monkeypatch.setattr(shop_tools, "heaviest_parcel", missing)
    monkeypatch.setattr(shop_tools, "SOURCE", "module:shop_tools")
    found = trace("Keep the receipt of the shop Baker with 12.", "keep_receipt", {"shop": "Baker", "total": 12}, None)
    assert reason(tmp_path, found.model_copy(update={"results": ()})) == ""
    assert reason(tmp_path, PARCEL) == "call_tool_failed"


def test_calls_run_again_and_must_return_the_same(tmp_path: Path) -> None:
    wrong = GOOD.model_copy(update={"results": (56,)})
    assert reason(tmp_path, wrong) == "result_changes"


@pytest.mark.parametrize(
    ("name", "arguments", "value"), [("ring_bell", {"times": 3}, "rung"), ("look_outside", {}, "fog")]
)
def test_what_may_not_run_is_taken_as_logged_and_else_dropped(
    tmp_path: Path, name: str, arguments: dict[str, Any], value: str
) -> None:
    sandbox = InProcessSandbox()
    executor = Executor(shop_tools.registry(), sandbox, allows=harmless)
    words = "Ring the bell of the shop 3 times." if arguments else "Look and say what can be seen from the window."
    logged = trace(words, name, arguments, value, kind=TraceKind.LOGGED).sourced(interaction_id="1-0")
    assert reason(tmp_path, logged, executor=executor) == ""
    assert sandbox.calls == []
    made = logged.model_copy(update={"kind": TraceKind.BACK_TRANSLATION}).sourced(interaction_id="")
    assert reason(tmp_path, made, executor=executor) == ("call_tool_failed" if arguments else "")
    assert (name == "ring_bell") is (sandbox.calls == [])


@pytest.mark.parametrize("arguments", [{"number_of_times": 3}, {"times": "3"}])
def test_what_may_not_run_must_fit_its_schema_as_it_is_now(tmp_path: Path, arguments: dict[str, Any]) -> None:
    logged = trace("Ring the bell of the shop 3 times.", "ring_bell", arguments, "rung", kind=TraceKind.LOGGED)
    executor = Executor(shop_tools.registry(), InProcessSandbox(), allows=harmless)
    logged = logged.sourced(interaction_id="1-0")
    assert reason(tmp_path, logged, executor=executor) == "call_invalid_arguments"


def test_reading_tools_run_again_where_that_is_allowed_and_may_read_something_else(tmp_path: Path) -> None:
    words = "Look and say what can be seen from the window."
    logged = trace(words, "look_outside", {}, "fog", kind=TraceKind.LOGGED).sourced(interaction_id="1-0")
    sandbox = InProcessSandbox()
    executor = Executor(shop_tools.registry(), sandbox, allows=harmless)
    assert reason(tmp_path, logged, executor=executor, allow_reads=True) == ""
    assert [name for _, name in sandbox.calls] == ["look_outside"]


def test_a_failure_that_fails_no_more_explains_no_repair(tmp_path: Path) -> None:
    wrong = Failure(
        call=Call(name="add_prices", arguments={"first": 21}),
        error=ToolError(kind=ToolErrorKind.INVALID_ARGUMENTS, message="no"),
    )
    repaired = GOOD.model_copy(update={"kind": TraceKind.REPAIRED, "failures": (wrong,)}).sourced(interaction_id="1-0")
    assert reason(tmp_path, repaired) == ""
    fine = wrong.model_copy(update={"call": GOOD.calls[0]})
    assert reason(tmp_path, repaired.model_copy(update={"failures": (fine,)})) == "failure_is_gone"


@pytest.mark.parametrize(
    ("effect", "source", "forgiven"),
    [
        ("writes", "module:mine", True),
        ("writes", "builtin", False),
        ("reads", "module:mine", False),
        ("pure", "module:mine", False),
        ("writes", "python:os", False),
    ],
)
def test_only_a_tool_that_keeps_state_is_forgiven_a_failure(effect: str, source: str, forgiven: bool) -> None:
    keeps = Tool(name="t", description="T.", parameters={}, effect=Effect(effect), sandbox_state=True, source=source)
    failed = ToolResult(call_id="1", name="t", error=ToolError(kind=ToolErrorKind.TOOL_FAILED, message="no"))
    assert checks.worked(keeps, failed) is forgiven
