"""How long something takes, on a terminal."""

import io
import re

from tests.fakes.waiting import wait_until
from toolkit.elapsed import Elapsed


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Each look at it is a second later."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_seconds_are_shown_from_the_second_one_on_and_gone_at_the_end() -> None:
    err = Tty()
    with Elapsed("thinking", err, clock=Clock(), tick=0.001):
        wait_until(lambda: "thinking 4 s" in err.getvalue())
    shown = err.getvalue().split("\r\x1b[2K")
    assert shown[:4] == ["", "thinking 2 s", "thinking 3 s", "thinking 4 s"]
    assert shown[-1] == ""


def test_what_is_over_in_two_seconds_shows_nothing() -> None:
    err = Tty()
    looks = []
    with Elapsed("thinking", err, clock=lambda: len(looks) and 1.9, tick=0.001) as elapsed:
        looks.append(1)
        elapsed.wipe()
    assert err.getvalue() == ""


def test_wiping_counts_anew() -> None:
    err = Tty()

    def shown() -> list[int]:
        return [int(seconds) for seconds in re.findall(r"thinking (\d+) s", err.getvalue())]

    with Elapsed("thinking", err, clock=Clock(), tick=0.001) as elapsed:
        wait_until(lambda: 5 in shown())
        elapsed.wipe()
        wait_until(lambda: shown().count(2) == 2)
    assert shown()[:4] == [2, 3, 4, 5]


def test_nothing_is_shown_while_a_line_of_others_is_open() -> None:
    err = Tty()
    with Elapsed("thinking", err, clock=Clock(), tick=0.001) as elapsed:
        wait_until(lambda: "thinking" in err.getvalue())
        elapsed.hold()
        before, looked = err.getvalue(), elapsed._clock()
        wait_until(lambda: elapsed._clock() > looked + 20)
        assert err.getvalue() == before
        elapsed.wipe()
        wait_until(lambda: err.getvalue() != before)


def test_nothing_is_shown_where_there_is_no_terminal() -> None:
    err = io.StringIO()
    with Elapsed("thinking", err, clock=Clock(), tick=0.001) as elapsed:
        assert elapsed._thread is None
    assert err.getvalue() == ""


def test_a_known_share_is_shown_with_the_seconds_to_go() -> None:
    err = Tty()
    with Elapsed("importing", err, share=lambda: 0.25, clock=Clock(), tick=0.001):
        wait_until(lambda: "importing 4 s" in err.getvalue())
    assert "importing 4 s, 25%, 12 s to go" in err.getvalue()
