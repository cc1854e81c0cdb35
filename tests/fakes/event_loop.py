"""An event loop for libraries that would leave open the one that they make, and their connections."""

import asyncio
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import cast


@contextmanager
def event_loop() -> Iterator[None]:
    """Have a loop of this thread's own until the block ends, and then neither the loop nor connections of it."""
    with closing(cast("BaseSelectorEventLoop", asyncio.SelectorEventLoop())) as loop:
        asyncio.set_event_loop(loop)
        try:
            yield
            for transport in list(loop._transports.values()):  # type: ignore[attr-defined]  # there is no public list
                transport.abort()
            loop.run_until_complete(asyncio.sleep(0))
        finally:
            asyncio.set_event_loop(None)
