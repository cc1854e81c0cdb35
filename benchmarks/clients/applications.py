"""The three applications: a desk, its requests, and the framework that it is written in."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.clients import building, clinic, shop
from benchmarks.clients.desk import Desk, Ran, Tables
from benchmarks.clients.requests import Half, Request, check_apart, requests
from benchmarks.clients.traffic import Conversation, conversations, repeats
from evolver.types import Call


@dataclass(frozen=True)
class Application:
    """An application of ``framework`` by its name, which is that of its API key and its tenant, too."""

    name: str
    framework: str
    desk: type[Desk]
    tables: Callable[[], Tables]
    talk_from: int

    def opened(self) -> Desk:
        """Return a desk at which nobody has asked yet."""
        return self.desk(self.tables())

    def requests(self, half: Half, count: int) -> list[Request]:
        """Return ``count`` requests of one half. Raises UserError where there are too few values."""
        return requests(self.name, self.tables(), half, count, talk_from=self.talk_from)

    def traffic(self, count: int) -> list[Conversation]:
        """Return ``count`` turns of traffic in conversations. Raises UserError where there are too few values."""
        again = repeats(count)
        return conversations(self.name, self.requests("learned", count - again), again)

    def marks(self) -> frozenset[str]:
        """Return texts that nothing but this application's data has: names of two words, and numbers of records."""
        texts = {value for rows in self.tables().values() for row in rows for value in row.values()}
        return frozenset(
            text
            for text in texts
            if isinstance(text, str) and len(text) >= 5 and text[0].isupper()
            and (" " in text or any(char.isdigit() for char in text))
        )  # fmt: skip


APPLICATIONS = (
    Application("shop", "LangGraph", shop.Shop, shop.tables, 0),
    Application("clinic", "OpenAI Agents SDK", clinic.Clinic, clinic.tables, 10),
    Application("building", "smolagents", building.Building, building.tables, 20),
)


def check(learned: int, fresh: int) -> None:
    """Raise UserError where a fresh request is not apart from those that are learned from."""
    for one in APPLICATIONS:
        asked = [turn.request for talk in one.traffic(learned) for turn in talk]
        check_apart(asked, one.requests("fresh", fresh))


def is_exact(desk: Desk, request: Request, made: list[Call]) -> bool:
    """Return whether ``made`` are the expected calls, in any order, and no others. 3 equals 3.0."""
    left = [desk.with_defaults(call) for call in made]
    for call in map(desk.with_defaults, request.expected):
        if call not in left:
            return False
        left.remove(call)
    return not left


def has_succeeded(application: Application, request: Request, desk: Desk) -> bool:
    """Return whether the application has what the request is for: its data are as the expected calls leave them, and
    its tools have returned what those return. Where no tool is needed, none was called."""
    wanted = application.opened()
    for call in request.expected:
        wanted.run(call)
    if not request.expected:
        return not desk.ran
    return desk.state() == wanted.state() and all(any(_gave(ran, one) for ran in desk.ran) for one in wanted.ran)


def _gave(ran: Ran, wanted: Ran) -> bool:
    return not ran.error and ran.call.name == wanted.call.name and ran.result == wanted.result
