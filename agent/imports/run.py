"""``agent import``: a file of exports into the interaction log, a batch at a time. Memory does not grow with it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from agent.config import Config
from agent.imports.import_log import ImportLog, Stored
from agent.imports.reading import objects, records
from agent.imports.record import Digest, Form, ImportReason
from agent.imports.report import Report
from agent.imports.turns import ImportedTurn, Origin, turn_of
from agent.log.entries import Entry
from agent.log.interaction_log import FILE
from agent.log.redaction import Redactor
from agent.serving.gateway.turn_affinity import OpenTurns
from agent.turn.messages import is_foreign

_BATCH = 200
"""Turns per transaction. It is a fraction of a second: other writers of the log wait so long at most."""

_Prepared = tuple[ImportedTurn, Entry]


def import_file(
    config: Config, file: BinaryIO, origin: Origin, *, form: Form | None = None, dry_run: bool = False
) -> Report:
    """Store the turns of ``file`` that are not in the log yet, and return the report. ``dry_run``: store nothing.

    ``form``: the format of all lines; "finetuning" says that they are written to be learned from. Writes beside a
    gateway that runs, as `agent chat` does. Raises UserError and StorageError; the batches before stay.
    """
    limit = config.agent.serving.gateway.body_limit_mib << 20
    with _opened(config, dry_run=dry_run) as target:
        run = _Run(target, replace(origin, own=origin.own or form == "finetuning"), form)
        batch = run.prepared(objects(file, limit=limit))
        while some := list(islice(batch, _BATCH)):
            run.store(some)
        return run.report


class _Target:
    """The log that is written, and the one that says what is there already, if that is another."""

    def __init__(self, log: ImportLog, before: ImportLog | None = None) -> None:
        self.log = log
        self.before = before

    def known(self, digest: Digest) -> Stored | None:
        return self.before.known(digest) if self.before is not None else None


@contextmanager
def _opened(config: Config, *, dry_run: bool) -> Iterator[_Target]:
    """Give the log; for a dry run a log in a temporary folder, beside the one that is there."""
    path = config.data_folder / FILE
    redactor = Redactor(config.agent.redaction)
    if not dry_run:
        with ImportLog(path, redactor=redactor) as log:
            yield _Target(log)
        return
    with (
        TemporaryDirectory(prefix="import-") as folder,
        ImportLog(Path(folder) / FILE, redactor=redactor) as log,
        ImportLog.open_readonly(path) as before,
    ):
        yield _Target(log, before)


class _Run:
    def __init__(self, target: _Target, origin: Origin, form: Form | None) -> None:
        self.report = Report()
        self._target, self._origin = target, origin
        self._form: Form | None = form
        self._turns: OpenTurns[str] = OpenTurns()
        self._line = 0

    def prepared(self, lines: Iterable[dict[str, Any] | ImportReason]) -> Iterator[tuple[int, _Prepared]]:
        """Yield the turns, redacted, each with the number of its line; count what is none."""
        for number, line in enumerate(lines, 1):
            self.report.lines = number
            for read in (line,) if isinstance(line, ImportReason) else records(line, self._form):
                turn = read if isinstance(read, ImportReason) else turn_of(read, self._origin)
                if isinstance(turn, ImportReason):
                    self.report.leave_out(turn, number)
                else:
                    yield number, (turn, self._entry(turn))

    def _entry(self, turn: ImportedTurn) -> Entry:
        return self._target.log.entry(
            turn.trajectory,
            session=turn.exchange.session,
            source=turn.source,
            tool_schemas=turn.tools,
            owner=turn.exchange.owner,
            tenant=turn.exchange.tenant,
        )

    def store(self, batch: list[tuple[int, _Prepared]]) -> None:
        """Store a batch in one transaction, and count it when it is on disk."""
        with self._target.log.import_batch() as add:
            done: list[tuple[int, ImportedTurn, Entry, Stored]] = []
            for number, (turn, entry) in batch:
                stored = self._target.known(turn.digest) or add(entry, turn.digest, self._continues(turn))
                self._remember(turn, stored.id)
                done.append((number, turn, entry, stored))
        for number, turn, entry, stored in done:
            self.report.freed += stored.is_freed_by(entry)
            if stored.reason is not None:
                self.report.leave_out(stored.reason, number)
                continue
            self.report.turns += 1
            self.report.forms[turn.record.form] += 1
            self.report.foreign += is_foreign(turn.trajectory.adapter)

    def _remember(self, turn: ImportedTurn, identity: str) -> None:
        if not turn.record.whole:
            calls = (call.id for call in turn.trajectory.messages[-1].tool_calls)
            self._turns.remember(turn.exchange.whose, calls, turn.exchange.turn, identity)

    def _continues(self, turn: ImportedTurn) -> str:
        """Return the interaction with the newest of the calls that this one goes on from; "" for none."""
        calls = [call.id for message in turn.trajectory.messages[:-1] for call in message.tool_calls]
        if turn.record.whole or not calls:
            return ""
        return self._turns.find(turn.exchange.whose, reversed(calls), lambda: turn.exchange.turn) or ""
