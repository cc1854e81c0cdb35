"""Schemas with other optional parameters: what was right under the tool's own stays right."""

import random
from typing import Any

from evolver.loosen import loosened
from toolkit.tool import Tool


def tool(name: str, *required: str, **optional: str) -> Tool:
    kinds = {**dict.fromkeys(required, "integer"), **optional}
    properties: dict[str, Any] = {key: {"type": kind, "description": f"{name} {key}"} for key, kind in kinds.items()}
    parameters: Any = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name=name, description=f"{name}.", parameters=parameters)


OWN = tool("mix_paint", "red", "blue")
OTHERS = [tool("cook_soup", "liters", salt="number"), tool("weigh", "red")]


def outcomes(own: Tool, others: list[Tool], times: int = 60) -> list[dict[str, Any]]:
    return [dict(loosened([own], others, random.Random(seed))[0].parameters) for seed in range(times)]


def test_a_parameter_becomes_optional_or_a_strange_one_comes_in() -> None:
    free = {tuple(found["required"]) for found in outcomes(OWN, OTHERS)}
    assert free == {("red", "blue"), ("red",), ("blue",)}
    for found in outcomes(OWN, OTHERS):
        strange = found["properties"].keys() - {"red", "blue"}
        assert (len(found["required"]) == 1) is not bool(strange)
        assert strange <= {"liters", "salt"}
        assert not strange & set(found["required"])


def test_own_parameters_stay_as_they_are() -> None:
    for found in outcomes(OWN, OTHERS):
        assert {name: found["properties"][name] for name in ("red", "blue")} == OWN.parameters["properties"]
        assert set(found["required"]) <= {"red", "blue"}


def test_the_only_parameter_is_never_optional() -> None:
    assert all(found["required"] == ["red"] for found in outcomes(tool("ring", "red"), OTHERS))


def test_where_nothing_strange_is_to_be_had_a_tool_stays_as_it_is() -> None:
    lonely = tool("ring", "red")
    assert loosened([lonely], [], random.Random(0)) == [lonely]
    assert loosened([lonely], [tool("weigh", "red")], random.Random(0)) == [lonely]
