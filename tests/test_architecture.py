"""The rules of the house that a test can hold."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = ("toolkit", "agent", "evolver")
PACKAGES = (*COMMANDS, "dashboard")
HEAVY = ("torch", "transformers", "peft", "vllm", "onnxruntime", "ray", "psycopg")
MOST_LINES_OF_A_MODULE, MOST_LINES_OF_A_FUNCTION = 400, 40
QUESTION = re.compile(r"(What|Whether|How|Who|Which|Where|Why|If)\b")
NO_VERB = re.compile(r"(The|A|An|All|Every|Each|One|No|None|Never|As|Raises|Returns)\b|[`a-z0-9{]")


def test_imports_go_one_way() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    "module",
    ["toolkit.cli", "agent.commands", "agent.serving.serve", "evolver.cli.main", "evolver.demo.run", "dashboard.app"],
)
def test_commands_start_without_the_heavy_packages(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    from importlib import import_module

    app = import_module({"agent": "agent.commands", "evolver": "evolver.cli.main"}.get(command, f"{command}.cli")).app
    names = [entry.name or entry.callback.__name__ for entry in app.registered_commands]
    names += [
        f"{group.name} {entry.name or entry.callback.__name__}"
        for group in app.registered_groups
        for entry in group.typer_instance.registered_commands
    ]
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = [line.partition(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    missing = [name for name in names if not any(re.search(rf"`{command} {name}[ `]", row) for row in rows)]
    assert missing == []


def test_the_cycle_calls_one_function_of_each_stage_folder() -> None:
    from importlib import import_module

    from evolver.cycle.stages import STAGES

    source = (ROOT / "evolver" / "cycle" / "run.py").read_text(encoding="utf-8")
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    called = {ast.unparse(function).rpartition(".")[2] for function in calls}
    folders: dict[str, set[str]] = {}
    for stage in STAGES:
        module, _, name = stage.function.partition(":")
        assert getattr(import_module(f"evolver.{module}"), name).__module__ == f"evolver.{module}"
        assert name in called, stage.name
        folders.setdefault(module.partition(".")[0], set()).add(name)
    assert set(folders) == {*stage_folders(), "cycle"}
    several = {folder: names for folder, names in folders.items() if len(names) > 1}
    assert several == {"evaluation": {"score_requests", "decide"}}, "docs/decisions/0095 says why this one has two"


def stage_folders() -> set[str]:
    """The folders of ``evolver`` that the import contract keeps apart from each other."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [contract["layers"] for contract in contracts if contract.get("containers") == ["evolver"]]
    return set(layers[layers.index("maintenance") + 1].split(" | "))


PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_file_that_a_page_names_is_there() -> None:
    named = {
        (page.name, path)
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for path in re.findall(r"`((?:agent|evolver|toolkit|tests|scripts|soak)/[\w/.]+)`", page.read_text("utf-8"))
        if "NAME" not in path
    }
    assert len(named) > 10
    assert [entry for entry in sorted(named) if not (ROOT / entry[1]).exists()] == []


def test_every_decision_has_context_decision_and_consequences() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    parts = ("Context", "Decision", "Consequences")
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages}
    assert len(texts) > 30
    assert [
        (name, part)
        for name, text in texts.items()
        for part in parts
        if not re.search(rf"^(\*\*{part}\.\*\*|## {part}$)", text, re.MULTILINE)
    ] == []


def test_a_function_is_in_the_file_that_the_docs_name() -> None:
    named = [
        pair for page in PAGES if "decisions" not in page.parts
        for pair in re.findall(r"`(\w+)` in `([\w/]+\.py)`", page.read_text(encoding="utf-8"))
    ]  # fmt: skip
    assert named
    wrong = [(name, file) for name, file in named if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")]
    assert wrong == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1200


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils.py", "helpers.py", "common.py", "misc.py"}
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(found) > 50
    assert [path for path in found if path.name in vague] == []


def modules(package: str) -> Iterator[tuple[str, str]]:
    """Path and source of every module of ``package``."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_are_small(package: str) -> None:
    found = [path for path, source in modules(package) if source.count("\n") > MOST_LINES_OF_A_MODULE]
    assert found == []


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_short(package: str) -> None:
    found = [
        f"{path}: {node.name}"
        for path, source in modules(package)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    ]
    assert found == []


def public_docstrings(package: str) -> Iterator[tuple[str, str]]:
    """Place and docstring of every module, and of every public class and function."""
    for path, source in modules(package):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = getattr(node, "name", "")
                if not name.startswith("_") and (text := ast.get_docstring(node)):
                    yield f"{path}: {name}", text


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_open_with_a_verb_or_a_noun(package: str) -> None:
    found = [f"{place}: {text.splitlines()[0]}" for place, text in public_docstrings(package) if QUESTION.match(text)]
    assert not found, "\n".join(found)


def test_stages_have_no_threads_of_their_own() -> None:
    """A crew carries out their jobs, here or on a cluster; the demo's threads are clients."""
    found = [path for path, source in modules("evolver") if "ThreadPoolExecutor" in source]
    assert found == ["evolver/crew/local.py", "evolver/demo/run.py"]


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_of_functions_open_with_a_verb(package: str) -> None:
    functions = [
        (f"{path}: {node.name}", text)
        for path, source in modules(package)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        if "property" not in map(ast.unparse, node.decorator_list) and (text := ast.get_docstring(node))
    ]
    found = [f"{place}: {text.splitlines()[0]}" for place, text in functions if NO_VERB.match(text)]
    assert len(functions) > 5
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_value_of_pydantic_is_frozen_by_the_one_base(package: str) -> None:
    found = [
        f"{path}: {node.name}"
        for path, source in modules(package)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("BaseModel") for base in node.bases)
    ]
    assert found == (["toolkit/frozen.py: Frozen"] if package == "toolkit" else [])
