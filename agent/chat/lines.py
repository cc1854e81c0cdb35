"""Lines that a person types into a conversation, with those of earlier conversations at hand."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

_PROMPT = "> "


def lines(earlier: Iterable[str], commands: Sequence[str]) -> Iterator[str]:
    """Yield what is typed, without blank lines, until the input ends.

    On a terminal the arrow keys recall ``earlier`` lines (the newest last), the tab key completes ``commands``, and
    Ctrl-C drops the line; Ctrl-D ends the input. Elsewhere Ctrl-C ends it too.
    """
    interactive = sys.stdin.isatty()
    if interactive:
        _prepare(earlier, commands)
    while True:
        try:
            text = input(_PROMPT if interactive else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            if not interactive:
                return
            print(file=sys.stderr)
            continue
        if text.strip():
            yield text


def _prepare(earlier: Iterable[str], commands: Sequence[str]) -> None:
    import readline

    def complete(begun: str, number: int) -> str | None:
        fitting = [name for name in commands if begun and name.startswith(begun)]
        return fitting[number] if number < len(fitting) else None

    readline.clear_history()
    for text, _ in groupby(" ".join(text.split()) for text in earlier):
        if text:
            readline.add_history(text)
    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
