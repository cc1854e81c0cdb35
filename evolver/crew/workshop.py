"""Workshop: the tools, clients and rules with which jobs are done, opened once on a machine."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agent.turn.model_client import HttpModelClient
from evolver.lessons.admission import HeldOut, LessonPolicy
from evolver.model.client import Generator
from toolkit.execute import Executor
from toolkit.made import MadeTool
from toolkit.made_tools import with_made_tools
from toolkit.search import ToolIndex

Record = Callable[[str, Mapping[str, Any], Mapping[str, Any]], None]
"""Called with the route, the body and the answer of a request to the model; evolver.model.request_log."""


@dataclass(frozen=True)
class Rules:
    """Rules of lessons that do not depend on the tools; the fields are those of LessonPolicy."""

    held_out: HeldOut
    personal_data: bool = True
    allow_reads: bool = False


class Workshop:
    """Tools, clients and rules that orders are done with. Threads share it.

    ``executor`` runs tools, ``client`` asks for chat completions, ``generator`` asks the base model to go on with a
    text. ``rules`` None: lessons are not judged here. ``record`` gets the requests that are asked through ``client``;
    those of ``generator`` it records itself.
    """

    def __init__(
        self,
        executor: Executor,
        client: HttpModelClient,
        generator: Generator,
        rules: Rules | None = None,
        record: Record | None = None,
    ) -> None:
        self.executor, self.client, self.generator = executor, client, generator
        self._rules, self._record = rules, record
        self._one_at_a_time = threading.RLock()

    def with_tools(self, made: Iterable[MadeTool], kind: str) -> "Workshop":
        """Return this workshop with the tools ``made`` beside its own, whose source is of ``kind``; closed with it."""
        if not (made := tuple(made)):
            return self
        executor = with_made_tools(self.executor, made, kind)
        return Workshop(executor, self.client, self.generator, self._rules, self._record)

    def record(self, route: str, body: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Record a request that was asked through ``client``."""
        if self._record is not None:
            self._record(route, body, answer)

    @property
    def index(self) -> ToolIndex:
        """The search over all tools."""
        with self._one_at_a_time:
            return self._index

    @property
    def lesson_index(self) -> ToolIndex:
        """The search over the tools that lessons may run."""
        with self._one_at_a_time:
            return self._lesson_index

    @property
    def policy(self) -> LessonPolicy:
        """The rules for lessons with these tools. Raises ValueError where there are none."""
        with self._one_at_a_time:
            return self._policy

    @cached_property
    def _index(self) -> ToolIndex:
        return ToolIndex(self.executor.registry)

    @cached_property
    def _lesson_index(self) -> ToolIndex:
        return ToolIndex(filter(self._policy.may_run, self.executor.registry))

    @cached_property
    def _policy(self) -> LessonPolicy:
        if self._rules is None:
            raise ValueError("this workshop was opened without rules for lessons")
        return LessonPolicy(
            tools=self.executor.registry,
            index=self._index,
            held_out=self._rules.held_out,
            personal_data=self._rules.personal_data,
            allow_reads=self._rules.allow_reads,
        )
