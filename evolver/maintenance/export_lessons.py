"""Lessons as a file for other programs: OpenAI's fine-tuning JSONL or Parquet, each lesson with where it comes from.

Exported are the rows of the cycles' training and validation sets. A lesson that may no longer be used is left out: one
of whose interactions the log no longer has, whose calls were called bad or corrected since, or which has what another
model wrote and may not be learned from.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from agent.log.interaction_log import InteractionLog
from evolver.lessons.replay import wrong_since
from evolver.store.cycle_folder import cycle_folders
from evolver.store.dataset_files import TRAIN, VALID
from evolver.store.stored_value import renewed
from evolver.types import Provenance, TraceKind
from toolkit import durable_file
from toolkit.errors import UserError
from toolkit.explained import Explained
from toolkit.frozen import Frozen

_BATCH = 1000
"""Rows of a row group in a Parquet file."""
_NEEDS_PYARROW = (
    "a .parquet file needs pyarrow; install it: pip install 'apprentice-agent[parquet]', or name a .jsonl file"
)


class VerifiedBy(Explained):
    """Way in which a lesson was verified."""

    EXECUTED = "executed", "Its calls were executed in the sandbox, and again, with the same result."
    LOGGED = "logged", "Its calls ran without an error in the logged turn; those that lessons may run were run again."
    PERSON = "person", "A person said that it is right."
    CHECKED = "checked", "It has no call that was executed; the checks on texts and schemas passed."


_VERIFIED_BY = {
    TraceKind.BACK_TRANSLATION: VerifiedBy.EXECUTED,
    TraceKind.SELF_CONSISTENCY: VerifiedBy.EXECUTED,
    TraceKind.PARALLEL: VerifiedBy.EXECUTED,
    TraceKind.CHAINED: VerifiedBy.EXECUTED,
    TraceKind.LOGGED: VerifiedBy.LOGGED,
    TraceKind.REPAIRED: VerifiedBy.LOGGED,
    TraceKind.CORRECTED: VerifiedBy.PERSON,
}


class Exported(Frozen):
    """Counts of lessons: written, written in an earlier cycle's part too, and left out because the log no longer has an
    interaction of theirs (``forgotten``) or because they are ``wrong`` by now, or another model's; ``others`` are not
    of the tenant."""

    file: Path
    lessons: int
    repeated: int
    forgotten: int
    wrong: int
    others: int = 0


class _Row(NamedTuple):
    cycle: int
    split: str
    values: dict[str, Any]
    links: Provenance

    @property
    def kind(self) -> str:
        return self.values["kind"]

    @property
    def lesson(self) -> str:
        """The name of its trace, with the number of the cycle that made it: replayed ones bring theirs."""
        name = self.values["trace"]
        return name if "/" in name else f"{self.cycle:04d}/{name}"


class _Writer(Protocol):
    def write(self, record: dict[str, Any]) -> None: ...


def export_lessons(
    data_folder: Path,
    file: Path,
    cycles: Collection[int] | None = None,
    *,
    tenant: str | None = None,
    learn_from_upstream: bool = False,
) -> Exported:
    """Write the lessons of ``cycles`` (None: of all) to ``file``, each once; its suffix says in which form.

    With ``tenant``, those that were made from its interactions and nobody else's. Those with anything that another
    model wrote are written if ``learn_from_upstream``.

    Raises UserError for another suffix, without pyarrow, where the file cannot be written, where there is no lesson,
    and where an interaction was forgotten meanwhile: no file is written then.
    """
    open_writer = {".jsonl": _jsonl, ".parquet": _parquet}.get(file.suffix)
    if open_writer is None:
        raise UserError(f"{file}: the suffix says the form; name it .jsonl or .parquet")
    owners, wrong, found = _survey(data_folder, cycles, learn_from_upstream)
    if not found:
        raise UserError("there is no lesson yet; see the cycles with: evolver history")
    seen: set[str] = set()
    counts: Counter[str] = Counter()
    with open_writer(file) as writer:
        for row in _rows(data_folder, cycles):
            key = json.dumps([row.lesson, row.values["messages"], row.values["tools"]], sort_keys=True)
            reason = _left_out(row, owners, wrong, tenant) or ("repeated" if key in seen else "lessons")
            counts[reason] += 1
            if reason == "lessons":
                seen.add(key)
                writer.write(_record(row, owners))
        if _owners(data_folder, owners) != owners:
            raise UserError("an interaction was forgotten meanwhile, and nothing was written; run it again")
    names = ("lessons", "repeated", "forgotten", "wrong", "others")
    return Exported(file=file, **{name: counts[name] for name in names})


def _left_out(row: _Row, owners: Mapping[str, tuple[str, str]], wrong: Any, tenant: str | None) -> str:
    """Return the count of ``Exported`` to which a lesson that must not leave belongs, or ""."""
    if not row.links.interactions <= owners.keys():
        return "forgotten"
    if tenant is not None and {owners[one][1] for one in row.links.interactions} != {tenant}:
        return "others"
    return "wrong" if wrong(row.kind, row.links) else ""


def _survey(
    data_folder: Path, cycles: Collection[int] | None, upstream: bool
) -> tuple[dict[str, tuple[str, str]], Any, int]:
    """Return the owners of the lessons' interactions, the judge of what is wrong by now, and the number of rows."""
    learned = [(row.kind, row.links) for row in _rows(data_folder, cycles)]
    owners = _owners(data_folder, {identity for _, links in learned for identity in links.interactions})
    return owners, wrong_since(data_folder, learned, learn_from_upstream=upstream), len(learned)


def _owners(data_folder: Path, ids: Collection[str]) -> dict[str, tuple[str, str]]:
    with InteractionLog.open_readonly(data_folder / "interactions.db") as log:
        return log.owners(ids)


def _rows(data_folder: Path, cycles: Collection[int] | None) -> Iterator[_Row]:
    """Yield the lessons of the cycles' datasets that say where they come from, the oldest cycle first."""
    for folder in cycle_folders(data_folder):
        if cycles is not None and int(folder.name) not in cycles:
            continue
        for split, name in (("train", TRAIN), ("valid", VALID)):
            for values in _lines(folder / "dataset" / name):
                links = Provenance.model_validate(values["provenance"])
                yield _Row(int(folder.name), split, values, links)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if not file.exists():
        return
    with file.open(encoding="utf-8") as opened:
        for line in opened:
            values = renewed(json.loads(line))
            if values.keys() >= {"messages", "tools", "trace", "kind", "provenance"}:
                yield values


def _record(row: _Row, owners: dict[str, tuple[str, str]]) -> dict[str, Any]:
    named = [owners[identity] for identity in sorted(row.links.interactions)]
    return {
        "messages": [_message(n, message, row.values["targets"]) for n, message in enumerate(row.values["messages"])],
        "tools": row.values["tools"],
        "metadata": {
            "lesson": row.lesson,
            "cycle": row.cycle,
            "split": row.split,
            "kind": row.kind,
            "interaction_ids": sorted(row.links.interactions),
            "verified": _verified(row),
            "not_executed": row.links.not_executed,
            "model": row.links.model,
            "owners": _distinct(owner for owner, _ in named),
            "tenants": _distinct(tenant for _, tenant in named),
        },
    }


def _verified(row: _Row) -> VerifiedBy:
    """Return the way in which a lesson was verified; calls that were only made up for a client's tool were checked."""
    verified = _VERIFIED_BY.get(TraceKind(row.kind), VerifiedBy.CHECKED)
    if verified is VerifiedBy.PERSON:
        return verified
    made_up = verified is VerifiedBy.EXECUTED and row.links.not_executed
    return verified if _calls(row) and not made_up else VerifiedBy.CHECKED


def _calls(row: _Row) -> bool:
    return any(row.values["messages"][n].get("tool_calls") for n in row.values["targets"])


def _message(number: int, message: dict[str, Any], targets: Collection[int]) -> dict[str, Any]:
    """Return a message of the lesson; ``weight`` 0 says of an assistant's message that it is not learned."""
    learned = message["role"] != "assistant" or number in targets
    return message if learned else {**message, "weight": 0}


def _distinct(names: Iterable[str]) -> list[str]:
    return sorted(set(names) - {""})


class _Lines:
    def __init__(self, opened: Any) -> None:
        self._file = opened

    def write(self, record: dict[str, Any]) -> None:
        self._file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())


@contextmanager
def _jsonl(file: Path) -> Iterator[_Writer]:
    with durable_file.writing_to(file), durable_file.replacing(file) as draft, draft.open("wb") as opened:
        yield _Lines(opened)


class _Batches:
    """Rows of a Parquet file: ``messages`` as a list, ``tools`` as JSON, one column for each field of ``metadata``."""

    def __init__(self, pyarrow: Any, writer: Any) -> None:
        self._pyarrow, self._writer = pyarrow, writer
        self._rows: list[dict[str, Any]] = []

    def write(self, record: dict[str, Any]) -> None:
        tools = json.dumps(record["tools"], ensure_ascii=False)
        self._rows.append({"messages": record["messages"], "tools": tools, **record["metadata"]})
        if len(self._rows) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        self._writer.write_table(self._pyarrow.Table.from_pylist(self._rows, schema=self._writer.schema))
        self._rows = []


@contextmanager
def _parquet(file: Path) -> Iterator[_Writer]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(_NEEDS_PYARROW) from None
    with (
        durable_file.writing_to(file),
        durable_file.replacing(file) as draft,
        parquet.ParquetWriter(draft, _schema(pyarrow)) as writer,
    ):
        batches = _Batches(pyarrow, writer)
        yield batches
        batches.flush()


def _schema(pa: Any) -> Any:
    function = pa.struct([("name", pa.string()), ("arguments", pa.string())])
    call = pa.struct([("id", pa.string()), ("type", pa.string()), ("function", function)])
    message = pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("tool_calls", pa.list_(call)),
            ("tool_call_id", pa.string()),
            ("weight", pa.int8()),
        ]
    )
    texts = pa.list_(pa.string())
    columns = {"messages": pa.list_(message), "cycle": pa.int32(), "interaction_ids": texts}
    columns |= {"not_executed": pa.bool_(), "owners": texts, "tenants": texts}
    names = ("messages", "tools", "lesson", "cycle", "split", "kind", "interaction_ids", "verified", "not_executed")
    return pa.schema([(name, columns.get(name, pa.string())) for name in (*names, "model", "owners", "tenants")])
