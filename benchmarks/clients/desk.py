"""A service in memory whose tools a client's application runs, and what they were called with."""

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import JsonValue

from evolver.types import Call
from toolkit.frozen import Frozen

Record = dict[str, Any]
Tables = Mapping[str, Sequence[Record]]
"""What a service knows: flat records by the name of their table."""


class UnknownRecord(ValueError):
    """A tool was asked about something that the service does not know; the message says what."""


class Ran(Frozen):
    """A call that the application ran; ``error`` is "" where it worked."""

    call: Call
    result: JsonValue = None
    error: str = ""


class Desk:
    """A service with its own copy of ``tables``. ``ran`` has what its tools were called with, in order.

    A subclass has a method for each tool, named in ``tool_names``; those in ``effects`` change its tables.
    """

    instructions: ClassVar[str]
    tool_names: ClassVar[tuple[str, ...]]
    effects: ClassVar[frozenset[str]]

    def __init__(self, tables: Tables) -> None:
        self.tables = {name: [dict(row) for row in rows] for name, rows in tables.items()}
        self.ran: list[Ran] = []

    def tools(self) -> list[Callable[..., Any]]:
        """Return the tools as functions with type hints and docstrings, as the frameworks take them."""
        return [self._recorded(getattr(self, name)) for name in self.tool_names]

    def run(self, call: Call) -> JsonValue:
        """Run a call and return its result. Raises UnknownRecord, and TypeError for arguments that do not fit."""
        result = getattr(self, call.name)(**call.arguments)
        self.ran.append(Ran(call=call, result=result))
        return result

    def state(self) -> str:
        """Return the tables as JSON, for comparison."""
        return json.dumps(self.tables, sort_keys=True)

    def with_defaults(self, call: Call) -> Call:
        """Return ``call`` with the defaults of the parameters that it leaves out; as it is if there is no such tool."""
        if call.name not in self.tool_names:
            return call
        parameters = inspect.signature(getattr(self, call.name)).parameters.values()
        defaults = {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}
        return Call(name=call.name, arguments={**defaults, **call.arguments})

    def find(self, table: str, **fields: Any) -> Record:
        """Return the record with these values. Raises UnknownRecord where there is none."""
        for row in self.tables[table]:
            if all(row[name] == value for name, value in fields.items()):
                return row
        told = ", ".join(str(value) for value in fields.values())
        raise UnknownRecord(f"error: there is nothing named {told} among the {table}")

    def add(self, table: str, prefix: str, **fields: Any) -> str:
        """Add a record and return its id."""
        identity = f"{prefix}-{len(self.tables[table]) + 1}"
        self.tables[table].append({"id": identity, **fields})
        return identity

    def _recorded(self, tool: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(tool)
        def run(*values: Any, **named: Any) -> Any:
            bound = inspect.signature(tool).bind(*values, **named)
            call = Call(name=tool.__name__, arguments=dict(bound.arguments))
            try:
                result = tool(*values, **named)
            except UnknownRecord as error:
                self.ran.append(Ran(call=call, error=str(error)))
                raise
            self.ran.append(Ran(call=call, result=result))
            return result

        return run
