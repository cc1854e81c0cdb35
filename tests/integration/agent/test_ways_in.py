"""A first folder and the completion of a shell, as a new user gets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.command import COMMANDS, completion_script

SCRIPTS = Path(sys.executable).parent


def enter(command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run ``command`` in bash, with the three commands on its path."""
    environment = {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}", **variables}
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)


def test_the_tool_of_a_new_folder_runs_in_the_sandbox(tmp_path: Path) -> None:
    begun = enter(f"cd {tmp_path} && agent init shop")
    rows = [line.split() for line in begun.stdout.splitlines()]
    assert ["ok", "ledger"] in [row[:2] for row in rows], begun.stdout + begun.stderr
    assert ["ok", "sandbox"] in [row[:2] for row in rows], begun.stdout
    called = enter(f"""cd {tmp_path}/shop && toolkit call --json shipping_days '{{"country": "Norway"}}'""")
    assert json.loads(called.stdout)["value"] == 3


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["agent", "ke"], ["keys"]),
        (["evolver", "tools", "app"], ["approve"]),
        (["evolver", "eval", "heldout", "--li"], ["--limit"]),
        (["toolkit", "call", "--w"], ["--workspace"]),
        (["agent", "completion", ""], ["bash", "zsh", "fish"]),
    ],
    ids=" ".join,
)
def test_bash_completes_the_three_commands(words: list[str], completed: list[str]) -> None:
    script = completion_script("bash")
    typed = " ".join(f"'{word}'" for word in words)
    state = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}"
    asked = f'{state}; _{words[0]}_completion {words[0]}; echo "${{COMPREPLY[*]}}"'
    assert enter(f"{script}\n{asked}").stdout.split() == completed


def test_zsh_and_fish_are_answered_in_their_forms() -> None:
    asked = {"_TYPER_COMPLETE_ARGS": "agent ke"}
    zsh = enter("agent", _AGENT_COMPLETE="complete_zsh", **asked).stdout
    assert zsh.startswith("""_arguments '*: :(("keys":"Manage""")
    fish = enter("agent", _AGENT_COMPLETE="complete_fish", _TYPER_COMPLETE_FISH_ACTION="get-args", **asked).stdout
    assert fish.startswith("keys\tManage")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_one_script_holds_the_three_commands(shell: str) -> None:
    script = enter(f"agent completion {shell}").stdout
    assert [name for name in COMMANDS if f"_{name.upper()}_COMPLETE" not in script] == []
    assert enter("agent completion ksh").returncode == 2
