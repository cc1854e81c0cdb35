"""The precision of "worked": turns that mining took for good, drawn for a person to judge, and what the judgements say
of each rule.

Reads the log and the ledger. The model is not asked, and nothing is executed.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from agent.log.interaction_log import FILE, InteractionLog
from agent.log.queries import SessionKey
from evolver.config import Config, MineConfig
from evolver.cycle.plan import judged, policy_of
from evolver.lessons.client_tools import OwnTools
from evolver.mining.mine import mine
from evolver.mining.turn_parts import request_of
from evolver.mining.turns import LoggedTurns
from evolver.scores import Rate
from evolver.statistics import rate
from evolver.store.jsonl import lines_of, write_lines
from evolver.store.ledger import Ledger
from evolver.store.tenants import rows_of
from evolver.types import Sign, Trace, TraceKind
from toolkit import durable_file
from toolkit.errors import UserError
from toolkit.frozen import Frozen
from toolkit.sources import load_local_tools

_ALL = 1_000_000
"""Of a limit of mining: none."""


class MadeCall(Frozen):
    """A call of a turn, with its result."""

    name: str
    arguments: dict[str, Any]
    result: Any = None


class WorkedTurn(Frozen):
    """A turn that counted as worked. A person sets ``right``: whether this request asked for these calls.

    ``before`` was said before it, ``next`` is the next request of the session ("": none). ``signs`` speak for a turn of
    a ``client`` with tools of its own. ``reason`` says why it is no lesson all the same; "" where it is one.
    """

    id: str
    source: str
    tenant: str
    owner: str
    client: bool
    before: tuple[str, ...]
    request: str
    calls: tuple[MadeCall, ...]
    answer: str
    next: str
    signs: tuple[Sign, ...]
    reason: str
    right: bool | None = None
    why: str = ""


class Rule(Frozen):
    """A rule of mining, with the share of the turns it covers that are right."""

    name: str
    right: Rate


def draw(config: Config, ledger: Ledger, file: Path, *, sample: int, seed: int = 0) -> int:
    """Write ``sample`` turns that counted as worked, of the whole log and drawn by chance alone, to ``file``; return
    how many there are to draw from.

    Raises UserError where there is none or ``file`` exists, and as the tools do; StorageError.
    """
    if file.exists():
        raise UserError(f"{file} exists, and may hold judgements; name another file, or read it with: --labels {file}")
    registry = load_local_tools(config.toolkit)
    with InteractionLog.open_readonly(config.data_folder / FILE) as log:
        turns = LoggedTurns.since(log, "", rows_of(config, ledger.tenant))
        mined = mine(
            MineConfig(per_session=_ALL, per_user=_ALL, per_source=_ALL),
            turns,
            own=OwnTools(registry),
            learn_from_upstream=config.agent.serving.shadow.learn_from_upstream,
        )
        worked = [trace for trace in mined.worked if trace.kind is TraceKind.LOGGED and trace.calls]
        if not worked:
            raise UserError("no turn with a call has worked yet; see: agent log")
        reasons = {trace.id: reason for trace, reason in judged(worked, (), policy_of(config, registry))}
        chosen = random.Random(seed).sample(worked, min(sample, len(worked)))
        chosen.sort(key=lambda trace: trace.provenance.interaction_id)
        found = [_shown(trace, str(reasons[trace.id] or ""), turns) for trace in chosen]
    with durable_file.writing_to(file):
        write_lines(file, found)
    return len(worked)


def precision(file: Path) -> list[Rule]:
    """Return how many turns of ``file`` a person found right, of all and by rule. Those without a judgement are left
    out.

    Raises UserError where a line cannot be read, or no turn is judged.
    """
    turns = [turn for turn in _read(file) if turn.right is not None]
    if not turns:
        raise UserError(f'{file}: no turn is judged yet; set "right" to true or false')
    return [
        Rule(name=name, right=rate(sum(bool(one.right) for one in ones), len(ones))) for name, ones in _rules(turns)
    ]


def _rules(turns: Sequence[WorkedTurn]) -> Iterator[tuple[str, list[WorkedTurn]]]:
    yield "worked", list(turns)
    yield "a lesson", [turn for turn in turns if not turn.reason]
    clients = [turn for turn in turns if turn.client]
    yield "worked, this machine's tools", [turn for turn in turns if not turn.client]
    yield "worked, clients' tools", clients
    for sign in get_args(Sign):
        yield f"sign: {sign}", [turn for turn in clients if sign in turn.signs]
    yield "no sign", [turn for turn in clients if not turn.signs]
    for reason in sorted({turn.reason for turn in turns} - {""}):
        yield f"dropped: {reason}", [turn for turn in turns if turn.reason == reason]


def _shown(trace: Trace, reason: str, turns: LoggedTurns) -> WorkedTurn:
    place = SessionKey(*trace.provenance.session.split("/", 3))
    identity, served = trace.provenance.interaction_id, trace.client_turn
    return WorkedTurn(
        id=identity,
        source=place.source,
        tenant=place.tenant,
        owner=place.owner,
        client=served is not None,
        before=tuple(f"{message.role}: {message.content}" for message in trace.history if message.role != "tool"),
        request=trace.request,
        calls=tuple(
            MadeCall(name=call.name, arguments=call.arguments, result=result)
            for call, result in zip_longest(trace.calls, trace.results[: len(trace.calls)])
        ),
        answer=trace.answer,
        next=_next(identity, place, turns),
        signs=served.signs if served is not None else (),
        reason=reason,
    )


def _next(identity: str, place: SessionKey, turns: LoggedTurns) -> str:
    session = iter(turns.by_session(place))
    return next((request_of(after) for one, after in _pairs(session) if one.id == identity), "")


def _pairs(session: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    before = None
    for one in session:
        if before is not None:
            yield before, one
        before = one


def _read(file: Path) -> Iterator[WorkedTurn]:
    try:
        lines = lines_of(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "is no text"
        raise UserError(f"{file}: {problem}; draw a sample with: evolver audit --worked FILE") from error
    for number, line in enumerate(lines, 1):
        try:
            yield WorkedTurn.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            raise UserError(f'{file}:{number}: {where}: {first["msg"]}; "right" is true, false or null') from error
