"""The list in docs/sandbox.md and the tests agree: no attack is without a row, none without a test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
LIST = FOLDER.parents[1] / "docs" / "sandbox.md"
NUMBERS = set(range(1, 71))


def test_every_attack_is_listed() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| [^|]+ \|$", LIST.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(NUMBERS)


def _tests() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for file in sorted(FOLDER.glob("test_*.py")):
        if file != Path(__file__):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    yield file, node


def test_every_attack_is_tested() -> None:
    tested: set[int] = set()
    for _, test in _tests():
        named = re.match(r"test((?:_\d\d)+)_", test.name)
        assert named, f"{test.name} names no attack"
        tested |= {int(number) for number in named[1].strip("_").split("_")}
    assert tested == NUMBERS


def test_no_attack_is_skipped_or_passes_without_a_look() -> None:
    """A case that a machine cannot express is not made there, and stands in the second table of docs/sandbox.md."""
    for file, test in _tests():
        assert not re.search(r"skip|xfail|importorskip", ast.unparse(test)), f"{file.name}: {test.name}"
        inside = [node for statement in test.body for node in _own_nodes(statement)]
        assert not any(isinstance(node, ast.Return) for node in inside), f"{file.name}: {test.name} ends early"
        looks = any(isinstance(node, ast.Assert) or "pytest.raises" in ast.unparse(node) for node in inside)
        assert looks, f"{file.name}: {test.name} asserts nothing"


def test_what_the_tighter_profile_is_spared_is_named() -> None:
    """All other attacks are made on the workers of code that a model wrote, too."""
    reasons: dict[str, str] = {}
    for _, test in _tests():
        for mark in test.decorator_list:
            if "tools_only" in ast.unparse(mark):
                assert isinstance(mark, ast.Call)
                reasons[test.name] = ast.literal_eval(mark.args[0])
    assert set(reasons.values()) == {"a workspace", "threads", "pairs of sockets", "built-in tools"}
    on_targets = [test for _, test in _tests() if "target" in ast.unparse(test.args)]
    assert len(reasons) < 0.2 * len(on_targets)


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """``node`` and what is in it, but for functions defined there."""
    if isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _own_nodes(child)


def test_what_a_machine_cannot_express_is_listed_with_its_reason() -> None:
    text = LIST.read_text(encoding="utf-8").partition("What one machine cannot express")[2]
    rows = re.findall(r"^\| (\d+) [^|]+ \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)
    assert {int(number) for number, _ in rows} == {22, 42, 51}
    assert all(len(reason) > 20 for _, reason in rows)
