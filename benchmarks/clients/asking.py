"""Puts conversations to the applications through the server, each with the key of its application.

Each outcome is written when it is there. What the log has of turns without an outcome, because the run was cut off
between their answer and that, is deleted before they are put again: else they would count as asked twice.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from agent.errors import ModelUnavailable
from agent.log.entries import GATEWAY_SOURCE
from agent.log.interaction_log import FILE, InteractionLog
from agent.log.queries import SessionKey
from agent.turn.messages import Interaction
from benchmarks.clients.applications import Application, has_succeeded, is_exact
from benchmarks.clients.frameworks import Answer, Door, Earlier, ask
from benchmarks.clients.outcomes import Outcome, Phase
from benchmarks.clients.traffic import Conversation, Turn
from evolver.store.jsonl import append_lines, read_lines

SESSION, LOG = "x-apprentice-session", "x-apprentice-log"
LOGGED: tuple[Phase, ...] = ("traffic", "together")
_NO_ANSWER = "Sorry, something went wrong."
"""What an application shows, and keeps in its conversation, where its framework gave no text."""
_NEW_TASK, _ERROR = "New task:\n", "\nError:\n"
"""What smolagents puts before a request, and behind it where a call failed."""

Talk = tuple[Application, Conversation]


@dataclass
class Asking:
    """Asks ``model`` in one phase; ``since`` is the id of the newest interaction from before the run."""

    phase: Phase
    model: str
    url: str
    keys: Mapping[str, str]
    file: Path
    data_folder: Path
    since: str
    at_once: int
    _done: dict[tuple[str, int], Outcome] = field(init=False)
    _writing: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        mine = [one for one in read_lines(self.file, Outcome) if one.phase == self.phase]
        self._done = {(one.application, one.number): one for one in mine}

    def ask(self, talks: Sequence[Talk], on_progress: Callable[[float, str], None]) -> None:
        """Put the turns that have no outcome yet. Raises ModelUnavailable where the gateway fails."""
        missing = [talk for talk in talks if any((talk[0].name, one.number) not in self._done for one in talk[1])]
        if self.phase in LOGGED:
            self._take_back(missing)
        with ThreadPoolExecutor(self.at_once) as pool:
            under_way = [pool.submit(self._converse, *talk) for talk in missing]
            try:
                for number, one in enumerate(as_completed(under_way), 1):
                    on_progress(number / len(missing), one.result())
            finally:
                pool.shutdown(cancel_futures=True)  # those under way end and are written

    def _converse(self, application: Application, talk: Conversation) -> str:
        earlier: list[tuple[str, str]] = []
        for turn in talk:
            outcome = self._done.get((application.name, turn.number))
            if outcome is None:
                outcome = self._outcome(application, turn, earlier)
                with self._writing:
                    append_lines(self.file, [outcome])
            earlier.append((turn.request.text, outcome.text or _NO_ANSWER))
        return application.name

    def _outcome(self, application: Application, turn: Turn, earlier: Earlier) -> Outcome:
        session, request, desk = session_name(self.phase, application, turn), turn.request, application.opened()
        headers = {SESSION: session, LOG: "wait" if self.phase in LOGGED else "no"}
        door = Door(url=self.url, key=self.keys[application.name], model=self.model, headers=headers)
        begun = time.monotonic()
        got: Answer = ask(application.framework, desk, request.text, door, earlier)
        seconds = round(time.monotonic() - begun, 2)
        succeeded = has_succeeded(application, request, desk)
        tool = request.expected[0].name if request.expected else ""
        return Outcome(
            phase=self.phase,
            application=application.name,
            number=turn.number,
            tool=tool,
            effect=tool in desk.effects,
            exact=is_exact(desk, request, list(got.calls)),
            success=succeeded,
            request=request.text,
            calls=got.calls,
            text=got.text,
            problem=got.problem,
            feedback=self._judge(application, session, good=succeeded) if turn.judged else "",
            seconds=seconds,
        )

    def _judge(self, application: Application, session: str, *, good: bool) -> Literal["good", "bad", ""]:
        """Say whether the last turn of the session was good, as people do through the application; "" where the gateway
        has logged none. Raises ModelUnavailable where it takes no word."""
        verdict: Literal["good", "bad"] = "good" if good else "bad"
        place = SessionKey(GATEWAY_SOURCE, application.name, application.name, session)
        with InteractionLog.open_readonly(self.data_folder / FILE) as log:
            turns = list(log.whole_turns(session=place))
        if not turns:
            return ""
        headers = {"authorization": f"Bearer {self.keys[application.name]}"}
        body = {"id": turns[-1].id, "verdict": verdict}
        try:
            httpx.post(
                f"{self.url}/v1/feedback", json=body, headers=headers, trust_env=False, timeout=60
            ).raise_for_status()
        except httpx.HTTPError as error:
            raise ModelUnavailable(f"the gateway took no feedback: {error}; run the same again") from error
        return verdict

    def _take_back(self, talks: Sequence[Talk]) -> None:
        """Delete what the log has of turns that have no outcome."""
        missing = {
            (one.name, session_name(self.phase, one, turn), turn.request.text)
            for one, talk in talks
            for turn in talk
            if (one.name, turn.number) not in self._done
        }
        with InteractionLog.open_readonly(self.data_folder / FILE) as log:
            begun = [one.id for one in log.read(since_id=self.since) if _place(one) in missing]
        if begun:
            with InteractionLog(self.data_folder / FILE) as log:
                for identity in begun:
                    log.forget(identity)


def session_name(phase: Phase, application: Application, turn: Turn) -> str:
    """Return the name of the session that a turn stands in."""
    return f"{phase}-{application.name}-{turn.session}"


def request_of(turn: Interaction) -> str:
    """Return the request of a logged turn as the person put it."""
    return as_put(turn.trajectory.messages[0].content)


def as_put(text: str) -> str:
    """Return a request as the person put it, of a message as a framework sends it."""
    return text.removeprefix(_NEW_TASK).partition(_ERROR)[0].strip()


def _place(turn: Interaction) -> tuple[str, str, str]:
    return turn.owner, turn.session, request_of(turn)
