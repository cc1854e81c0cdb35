"""The texts that the makers of tools and of their code let the model continue.

Like those of evolver.model.prompts, the examples name no tool of the toolkit and no request of any suite.
"""

_TOOL = """\
What a person asks, and a small function that would answer it and others like it.

Request: How many minutes does a bath of 180 liters take to fill at 12 liters a minute?
Function: {{"name": "filling_time", "description": "Find how long something takes to fill.", "parameters": \
[{{"name": "volume", "type": "number", "description": "Liters that go in."}}, \
{{"name": "flow", "type": "number", "description": "Liters for each minute."}}], "result": "number"}}

Request: Make a name tag for Ada of team Blue.
Function: {{"name": "name_tag", "description": "Write a name tag.", "parameters": \
[{{"name": "person", "type": "string", "description": "Who wears it."}}, \
{{"name": "team", "type": "string", "description": "The team."}}], "result": "string"}}

Request: Do scores of 12, 9 and 15 reach 30 together?
Function: {{"name": "reaches_target", "description": "Check whether scores reach a target.", "parameters": \
[{{"name": "scores", "type": "numbers", "description": "The scores."}}, \
{{"name": "target", "type": "number", "description": "What they shall reach."}}], "result": "boolean"}}

Request: {request}
Function:"""

_CODE = '''\
# Small Python functions. Each returns what its description says, for any arguments.

def filling_time(volume: float, flow: float) -> float:
    """Find how long something takes to fill."""
    return volume / flow

def name_tag(person: str, team: str) -> str:
    """Write a name tag."""
    first = person.strip().title()
    return f"{{first}} ({{team}})"

def reaches_target(scores: list[float], target: float) -> bool:
    """Check whether scores reach a target."""
    return sum(scores) >= target

{head}
'''


def tool_prompt(request: str) -> str:
    """Continue with a function's definition that would serve ``request``, one JSON object."""
    return _TOOL.format(request=request)


def code_prompt(head: str) -> str:
    """Continue with the body of the function that ``head`` begins: its ``def`` line and its docstring."""
    return _CODE.format(head=head)
