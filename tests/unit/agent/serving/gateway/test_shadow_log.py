"""The queue of shadow mode in front of a database that is slow, refuses, or is away."""

import asyncio
import threading

import pytest

from agent.errors import DatabaseUnavailable, StorageError
from agent.serving.gateway.shadow_log import ShadowLog
from tests.fakes.waiting import wait_until
from toolkit.errors import PrerequisiteError


def test_a_database_that_hangs_holds_one_thread_and_what_does_not_fit_is_counted() -> None:
    begun, hold = threading.Event(), threading.Event()
    written: list[int] = []

    def hang() -> None:
        begun.set()
        hold.wait(60)

    async def use() -> None:
        log = ShadowLog(print, capacity=3)
        assert log.put(hang)
        await asyncio.to_thread(begun.wait, 60)
        taken = [log.put(lambda number=number: written.append(number)) for number in range(7)]
        assert taken == [True] * 3 + [False] * 4
        assert (log.dropped, written) == (4, [])
        hold.set()
        await log.close()
        assert log.put(hang) is False

    asyncio.run(use())
    assert written == [0, 1, 2]


@pytest.mark.parametrize("problem", [StorageError, PrerequisiteError, ValueError])
def test_what_the_database_refuses_is_said_and_the_next_one_is_written(problem: type[Exception]) -> None:
    said: list[str] = []
    ended: list[str] = []

    def refuse() -> None:
        raise problem("the disk is full")

    async def use() -> None:
        log = ShadowLog(said.append)
        log.put(refuse, lambda: ended.append("refused"))
        log.put(lambda: ended.append("written"))
        await asyncio.to_thread(wait_until, lambda: len(ended) == 2)
        assert log.failed == 1
        await log.close()

    asyncio.run(use())
    assert ended == ["refused", "written"]
    assert said == ["a comparison was not stored: the disk is full"]


def test_the_end_waits_no_second_time_for_a_database_that_is_away() -> None:
    tries: list[int] = []
    ended: list[int] = []

    def away(number: int) -> None:
        tries.append(number)
        raise DatabaseUnavailable("the server is away")

    async def use() -> None:
        log = ShadowLog(lambda _: None)
        for number in range(3):
            log.put(lambda number=number: away(number), lambda number=number: ended.append(number))
        await log.close()
        assert (log.failed, log.dropped) == (1, 2)

    asyncio.run(use())
    assert (tries, ended) == ([0], [0, 1, 2])
