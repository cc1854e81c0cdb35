"""Edits of the code, each of which takes away one step of durability, and the test that must notice."""

from dataclasses import dataclass
from pathlib import Path

_CRASHES = "tests/integration/evolver/test_crashes.py"
ORDER = f"{_CRASHES}::test_what_is_named_is_flushed_before"
MATRIX = f"{_CRASHES}::test_killed_at_each_step_in_turn_and_again_in_each_recovery[after]"
POINTER = f"{_CRASHES}::test_pointer_and_ledger_are_as_they_were_when_killed_between_them"
FOLDER = "tests/unit/toolkit/test_durable_file.py::test_a_folder_with_all_that_is_in_it"
_FILE = "os.fsync(file.fileno())"


@dataclass(frozen=True, slots=True)
class Mutation:
    """``edits`` are pairs of a text that occurs once in ``file`` and its replacement; ``test`` must fail with them."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    test: str = ORDER

    def apply(self, root: Path) -> None:
        """Edit the file below ``root``. Raises ValueError where a text does not occur exactly once."""
        target = root / self.file
        text = target.read_text(encoding="utf-8")
        for code, instead in self.edits:
            if text.count(code) != 1:
                raise ValueError(f"{self.file} holds {code!r} {text.count(code)} times; it must be once")
            text = text.replace(code, instead)
        target.write_text(text, encoding="utf-8")


def without_flush(name: str, file: str, code: str) -> Mutation:
    """Return the mutation that replaces ``code``, a flush, by nothing."""
    return Mutation(name, file, ((code, "pass"),))


MUTATIONS = (
    without_flush("file", "toolkit/durable_file.py", "flush(draft)"),
    Mutation("file-name", "toolkit/durable_file.py", (("        raise\n    flush(path.parent)\n", "        raise\n"),)),
    without_flush("folder-files", "toolkit/durable_file.py", "flush(Path(folder, name))"),
    without_flush("folder-names", "toolkit/durable_file.py", "flush(Path(folder))"),
    Mutation("folder-name", "toolkit/durable_file.py", (("flush(target.parent)", "pass"),), FOLDER),
    without_flush("lines", "evolver/store/jsonl.py", _FILE),
    Mutation(
        "transactions",
        "agent/storage/database.py",
        (
            ("self.raw.conn.execute(begin)", "self.raw.conn.isolation_level = None"),
            ('self.raw.conn.execute("COMMIT")', "pass"),
        ),
        MATRIX,
    ),
    Mutation(
        "pointer-to-ledger",
        "evolver/release/release.py",
        (("_record(pointer, pointer.change, ledger)", "pass"),),
        POINTER,
    ),
)
