"""Log of the prompts of mining, makers and verifier, and of the model's replies: one JSON line per request, for people
to read back. Never read by a stage."""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NAME = "requests.jsonl"


class RequestLog:
    """Appends to ``path``; may be shared by threads. Lines of a crash's last moment may be missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def __call__(self, route: str, body: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        texts = [choice.get("text") or choice.get("message") for choice in answer.get("choices") or ()]
        asked = {key: value for key, value in body.items() if key != "logprobs"}
        line = json.dumps({"route": route, **asked, "answers": texts}, ensure_ascii=False)
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")


def read_requests(cycle_folder: Path) -> Iterator[dict[str, Any]]:
    """Return the requests of a cycle, in the order of their answers; a line cut off by a crash is left out."""
    for file in sorted(cycle_folder.rglob(NAME)):
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue
