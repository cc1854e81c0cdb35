"""Writes the list of files in README.md: each with the first sentence of its docstring. ``--check`` only compares."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FOLDERS = ("toolkit", "agent", "evolver", "benchmarks", "scripts", "soak")
LONGEST = 100
"""Characters of a phrase, where it has a break before."""
BEGIN, END = "<!-- files: written by scripts/tree.py -->", "<!-- end of files -->"


def main() -> None:
    """Bring README.md up to date, or say that it is not."""
    text = README.read_text(encoding="utf-8")
    current = re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{listing()}\n{END}", text, flags=re.DOTALL)
    if "--check" not in sys.argv:
        README.write_text(current, encoding="utf-8")
    elif current != text:
        sys.exit("README.md's list of files is out of date; run: make tree")


def listing() -> str:
    """The files of the packages, folder by folder, as one block of code."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    paths = sorted((Path(name) for name in listed if name.endswith(".py")), key=lambda path: (path.parts[:-1], path))
    rows = [(str(path), phrase(ROOT / path)) for path in paths if (ROOT / path).stat().st_size]
    width = max(len(name) for name, _ in rows)
    return "\n".join(["```", *(f"{name:{width}}  {words}".rstrip() for name, words in rows), "```"])


def phrase(file: Path) -> str:
    """The first sentence of a module's docstring, or what of it stands before a break where it is long."""
    words = " ".join((ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split())
    sentence = re.split(r"(?<=[^.])\.(?= |$)", words.replace("``", ""), maxsplit=1)[0]
    while len(sentence) > LONGEST and (shorter := re.match(r"(.+)(?:[;:] | \()", sentence)):
        sentence = shorter.group(1)
    return sentence


if __name__ == "__main__":
    main()
