"""Forgets one session of the traffic, and searches the whole data folder for what is left of it."""

import json
import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from agent.log.entries import GATEWAY_SOURCE
from agent.log.interaction_log import FILE, InteractionLog
from agent.turn.messages import Interaction
from benchmarks.clients.asking import request_of
from benchmarks.clients.learned import session_of
from benchmarks.clients.outcomes import Forgetting
from evolver.config import Config
from evolver.maintenance.audit import read_verdicts
from evolver.maintenance.forget import forget_all
from evolver.store.cycle_folder import cycle_folder
from evolver.store.lease import held
from evolver.store.ledger import Ledger
from toolkit.frozen import Frozen

_LONG = 20
"""Characters of a result or an answer that hardly stands anywhere by chance."""


class Session(Frozen):
    """The session that is to be forgotten: its interactions, and the ``texts`` that no other interaction has."""

    application: str
    name: str
    interactions: tuple[str, ...]
    texts: tuple[str, ...]


def to_forget(data_folder: Path, cycle: int, since: str) -> Session:
    """Return the session of the cycle's first lesson of a logged turn, or the first one where there is none."""
    taught = {
        session_of(one.trace.provenance) for one in read_verdicts(cycle_folder(data_folder, cycle)) if one.verdict.kept
    }
    with InteractionLog.open_readonly(data_folder / FILE) as log:
        everything = log.read()
    turns = [one for one in everything if one.id > since and one.source == GATEWAY_SOURCE and one.tenant]
    first = next((turn for turn in turns if turn.session in taught - {""}), turns[0])
    mine = [turn for turn in turns if (turn.owner, turn.session) == (first.owner, first.session)]
    gone = {turn.id for turn in mine}
    others = "\n".join(turn.model_dump_json() for turn in everything if turn.id not in gone)
    own = {text for turn in mine for text in _texts(turn)}
    return Session(
        application=first.owner,
        name=first.session,
        interactions=tuple(turn.id for turn in mine),
        texts=tuple(sorted(text for text in own if text and _in_json(text) not in others)),
    )


def forget_session(config: Config, ledger: Ledger, chosen: Session) -> Forgetting:
    """Delete the session with all that was made of it. Raises as ``forget`` does."""
    data = config.data_folder
    with InteractionLog.open_readonly(data / FILE) as log:
        there = [one for one in chosen.interactions if log.find(one) is not None]
    with held(ledger, config.evolver.daemon.lease_seconds):
        gone = forget_all(data, ledger, there)
    return Forgetting(
        application=chosen.application,
        session=chosen.name,
        interactions=len(chosen.interactions),
        values=gone.values,
        adapters=gone.adapters,
        client_tools=tuple(sorted(gone.client_tools)),
        left=tuple(left(data, chosen)),
    )


def left(data_folder: Path, gone: Session) -> Iterator[str]:
    """Yield the files of the data folder that still hold an id or a text of the session, and which of the two; and the
    log, where it still has a row of it.

    Files are searched as bytes. A text that a database spreads over two pages is not found in it.
    """
    with InteractionLog.open_readonly(data_folder / FILE) as log:
        if any(log.find(one) is not None for one in gone.interactions):
            yield f"{FILE}: rows"
    wanted = {"ids": [one.encode() for one in gone.interactions], "texts": list(_written(gone.texts))}
    for file in sorted(data_folder.rglob("*")):
        if file.is_symlink() or not file.is_file() or not file.stat().st_size:
            continue
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = [kind for kind, ones in wanted.items() if any(content.find(one) >= 0 for one in ones)]
        if found:
            yield f"{file.relative_to(data_folder)}: {' and '.join(found)}"


def _texts(turn: Interaction) -> Iterator[str]:
    """Yield the request of a turn, and its long results and answers."""
    yield request_of(turn)
    said = turn.trajectory.messages[1:]
    yield from (message.content for message in said if len(message.content) >= _LONG)


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _written(texts: Sequence[str]) -> Iterable[bytes]:
    """Yield texts as they are, as JSON has them, and as JSON within JSON does."""
    for text in texts:
        yield from {text.encode(), _in_json(text).encode(), _in_json(_in_json(text)).encode()}
