"""Shows on a terminal how long something takes, once it takes longer than two seconds."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

SILENT_SECONDS = 2.0
_WIPE = "\r\x1b[2K"


class Elapsed:
    """A line on stderr, ``what`` and the seconds so far, renewed each second; use it in a ``with``.

    It goes when the block ends. Before others write, call ``wipe``, which counts anew, or ``hold`` where what they
    write does not end its line. Where stderr is no terminal nothing is shown. ``share``: how much is done, 0 to
    1, shown with the seconds to go.
    """

    def __init__(
        self,
        what: str,
        err: TextIO | None = None,
        *,
        share: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        tick: float = 1.0,
    ) -> None:
        self._what = what
        self._err = err or sys.stderr
        self._share = share
        self._clock = clock
        self._tick = tick
        self._since = clock()
        self._shown = False
        self._held = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Elapsed":
        self._since = self._clock()
        if self._err.isatty():
            self._thread = threading.Thread(target=self._renew, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.wipe()

    def hold(self) -> None:
        """Take the line away, and show none until ``wipe``."""
        self._take_away(held=True)

    def wipe(self) -> None:
        """Take the line away, and count from now on."""
        self._take_away(held=False)

    def _take_away(self, *, held: bool) -> None:
        with self._lock:
            self._held = held
            self._since = self._clock()
            if self._shown:
                self._err.write(_WIPE)
                self._err.flush()
            self._shown = False

    def _renew(self) -> None:
        while not self._ended.wait(self._tick):
            with self._lock:
                seconds = self._clock() - self._since
                if seconds >= SILENT_SECONDS and not self._held:
                    self._err.write(f"{_WIPE}{self._what} {self._progress(seconds)}")
                    self._err.flush()
                    self._shown = True

    def _progress(self, seconds: float) -> str:
        share = self._share() if self._share is not None else 0.0
        if not 0.0 < share < 1.0:
            return f"{seconds:.0f} s"
        return f"{seconds:.0f} s, {share:.0%}, {seconds * (1 - share) / share:.0f} s to go"
