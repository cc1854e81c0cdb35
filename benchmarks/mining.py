"""Time and memory of mining a long log of clients that bring their own tools.

    python -m benchmarks.mining [--turns 1000000] [--folder FOLDER]

Writes a synthetic log into a temporary folder: 40 API keys with ten tools each, conversations of five turns of which
200 go on at a time, a fifth of the requests asked by several, one turn in ten failed. Each turn is two interactions,
the call and the answer. A million turns take some 10 GB. Then each piece of work runs in a process of its own: the
catalogue of tools, a look without news, and mining. Prints a table with CPU and wall time, and the memory above that of
the process before it began. With ``--folder`` the log is written there, kept, and used again by the next run.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent.log.entries import GATEWAY_SOURCE, Entry
from agent.log.interaction_log import FILE, InteractionLog
from agent.tools.schemas import prepared
from agent.turn.messages import Message, Sampling, Trajectory
from evolver.config import MineConfig
from evolver.lessons.client_tools import OwnTools
from evolver.mining.mine import mine
from evolver.mining.turns import LoggedTurns
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import ToolCatalogue
from toolkit.frozen import Frozen
from toolkit.tables import table_text
from toolkit.tool import ToolCall, ToolError, ToolErrorKind, ToolResult

KEYS, TOOLS, LIVE, TURNS_OF_A_SESSION = 40, 10, 200, 5
_BATCH = 2000
_THINGS = ("order", "parcel", "invoice", "booking", "ticket", "visit", "room", "device", "claim", "contract")
_ASKED = ("Where is {0}", "What is the state of {0}", "Is {0} done by now", "Please look {0} up", "How far is {0}")
_PLACES = ("Bern", "Porto", "Oslo", "Gdansk", "Turin", "Lyon", "Aarhus", "Graz", "Bilbao", "Tartu")


class Work(Frozen):
    """A piece of work: seconds, and MiB above the ``process`` before it began. ``found`` says what it gave."""

    name: str
    cpu_seconds: float
    wall_seconds: float
    mib: float
    process_mib: float
    found: str


def main() -> None:
    asked = _arguments()
    if asked.measure:
        print(_measured(asked.measure, asked.folder).model_dump_json())
        return
    if asked.folder is not None:
        _run(asked.turns, asked.folder)
    else:
        with TemporaryDirectory(prefix="bench-mining-") as folder:
            _run(asked.turns, Path(folder))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keeps the log")
    parser.add_argument("--measure", choices=WORKS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.turns < 1:
        parser.error("--turns must be 1 or more")
    return asked


def _run(turns: int, folder: Path) -> None:
    begun = time.monotonic()
    write_log(folder, turns)
    size = (folder / FILE).stat().st_size / 2**30
    _say(f"{turns:,} turns, {size:.2f} GiB, written in {time.monotonic() - begun:.0f} s")
    works = []
    for name in WORKS:
        command = [sys.executable, "-m", "benchmarks.mining", "--measure", name, "--folder", str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        works.append(Work.model_validate_json(done.stdout))
        _say(f"{name}: {works[-1].wall_seconds:.1f} s")
    columns = ("WORK", "CPU TIME", "WALL TIME", "MEMORY", "ABOVE", "RESULT")
    print(table_text(columns, [_row(work) for work in works]))


def _row(work: Work) -> tuple[str, ...]:
    times = f"{work.cpu_seconds:.1f} s", f"{work.wall_seconds:.1f} s"
    return (work.name, *times, f"{work.mib:.0f} MiB", f"{work.process_mib:.0f} MiB", work.found)


def write_log(folder: Path, turns: int, *, seed: int = 7) -> None:
    """Bring the log in ``folder`` to ``turns`` turns; what it has already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    with InteractionLog(folder / FILE) as log:
        have = log.count()[0] // 2
        if have >= turns:
            return
        writer = _turns(seed)
        for _ in range(have):
            next(writer)
        for done in range(have, turns, _BATCH):
            with log.batch() as add:
                for _ in range(min(_BATCH, turns - done)):
                    asked, answered = next(writer)
                    add(answered, add(asked, ""))


def _turns(seed: int) -> Iterator[tuple[Entry, Entry]]:
    """Yield the two interactions of each turn, as the log stores them."""
    rng = random.Random(seed)
    schemas = [_tools(key) for key in range(KEYS)]
    texts = [json.dumps(one, ensure_ascii=False) for one in schemas]
    live = [_Conversation(number, number % KEYS) for number in range(LIVE)]
    begun = LIVE
    while True:
        place = rng.randrange(LIVE)
        one = live[place]
        names = tuple(schema["function"]["name"] for schema in schemas[one.key])
        turn = one.goes_on(rng, names)
        yield one.entry(turn[:2], names, texts[one.key]), one.entry(turn, names, texts[one.key])
        one.history += (turn[0], turn[-1])
        if len(one.history) == 2 * TURNS_OF_A_SESSION:
            live[place] = _Conversation(begun, begun % KEYS)
            begun += 1


class _Conversation:
    """What a person of the key ``key`` said so far, and what was answered."""

    def __init__(self, number: int, key: int) -> None:
        self.name, self.key = f"talk-{number}", key
        self.history: tuple[Message, ...] = ()

    def goes_on(self, rng: random.Random, names: tuple[str, ...]) -> tuple[Message, ...]:
        """Return request, call, result and answer of the next turn."""
        number = rng.randrange(50) if rng.random() < 0.2 else rng.randrange(10**9)
        chosen = rng.randrange(len(names))
        reference = f"{_THINGS[chosen][:2].upper()}{number:09d}"
        request = rng.choice(_ASKED).format(f"{_THINGS[chosen]} {reference}") + "?"
        call = ToolCall(id="call_0", name=names[chosen], arguments={"reference": reference, "detail": "short"})
        town, days = rng.choice(_PLACES), rng.randrange(1, 28)
        value = {
            "reference": reference,
            "place": town,
            "days": days,
            "lines": [f"step {n} in {town}" for n in range(6)],
        }
        failed = rng.random() < 0.1
        error = ToolError(kind=ToolErrorKind.TOOL_FAILED, message="error: no such reference") if failed else None
        result = ToolResult(
            call_id=call.id, name=call.name, value=None if failed else value, error=error, duration_ms=1.0
        )
        answer = "I could not find that." if failed else f"It is in {town} and takes {days} days."
        return (
            Message(role="user", content=request),
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", content=error.message if error else json.dumps(value), tool_result=result),
            Message(role="assistant", content=answer),
        )

    def entry(self, messages: tuple[Message, ...], names: tuple[str, ...], schemas: str) -> Entry:
        turn = Trajectory(
            history=self.history,
            messages=messages,
            tools=names,
            adapter="base",
            prompt_version="bench",
            sampling=Sampling(),
            stop_reason="answered",
        )
        return Entry(
            session=self.name,
            source=GATEWAY_SOURCE,
            trajectory=turn.model_dump_json(),
            tool_schemas=schemas,
            owner=f"key-{self.key}",
            tenant=f"tenant-{self.key % 8}",
            reference="",
            adapter=turn.adapter,
            stop_reason=turn.stop_reason,
        )


def _tools(key: int) -> list[dict[str, Any]]:
    """Return the ten tools of a key, as a client sends them."""
    text = {"type": "string"}
    found = []
    for thing in _THINGS[:TOOLS]:
        properties = {
            "reference": {**text, "description": f"Number of the {thing}, as it stands in the letter."},
            "detail": {**text, "enum": ["short", "long"], "description": "How much to tell."},
        }
        parameters = {"type": "object", "properties": properties, "required": ["reference", "detail"]}
        function = {
            "name": f"find_{thing}_of_{key}",
            "description": f"Find a {thing} by its number and tell where it is and how long it takes.",
            "parameters": parameters,
        }
        found.append({"type": "function", "function": function})
    return prepared(found)


def _catalogue(folder: Path) -> str:
    with Ledger(folder / "evolution.db") as ledger, InteractionLog.open_readonly(folder / FILE) as log:
        catalogue = ToolCatalogue(ledger)
        read = catalogue.refresh(log)
        return f"{read:,} interactions read, {len(catalogue.tools())} tools"


def _mine(folder: Path) -> str:
    with InteractionLog.open_readonly(folder / FILE) as log:
        found = mine(MineConfig(), LoggedTurns.since(log, ""), own=OwnTools())
    return f"{len(found.tasks):,} tasks, {len(found.worked):,} lessons, {found.over_quota:,} over a limit"


WORKS: dict[str, Callable[[Path], str]] = {"catalogue": _catalogue, "look without news": _catalogue, "mine": _mine}


def _measured(name: str, folder: Path) -> Work:
    before = _memory("VmRSS")
    wall, cpu = time.monotonic(), time.process_time()
    found = WORKS[name](folder)
    return Work(
        name=name,
        cpu_seconds=time.process_time() - cpu,
        wall_seconds=time.monotonic() - wall,
        mib=max(0.0, _memory("VmHWM") - before),
        process_mib=before,
        found=found,
    )


def _memory(field: str) -> float:
    """Return a line of this process's status in MiB: ``VmRSS`` now, ``VmHWM`` at its highest."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
