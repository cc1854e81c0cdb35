"""The texts that the makers of definitions, tools and code let the model continue.

Like those of evolver.few_shots, the examples name no tool of the toolkit and no request of any suite.
"""

_DEFINITION = """\
Tools in words, and their definitions in JSON.

Words: Book a table at a restaurant. It needs restaurant (Name of the restaurant), people (How many come).
Definition: {{"name": "book_table", "parameters": {{"restaurant": "string", "people": "integer"}}, \
"required": ["restaurant", "people"]}}

Words: Water some plants. It needs plants (Names of the plants). It can be given liters (Liters for each).
Definition: {{"name": "water_plants", "parameters": {{"plants": "array", "liters": "number"}}, "required": ["plants"]}}

Words: Switch a lamp. It needs room (Where the lamp is), bright (Whether it shall shine).
Definition: {{"name": "switch_lamp", "parameters": {{"room": "string", "bright": "boolean"}}, \
"required": ["room", "bright"]}}

Words: {words}
Definition:"""

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


def definition_prompt(words: str) -> str:
    """Continue with the definition of the tool that ``words`` describe, one JSON object."""
    return _DEFINITION.format(words=words)


def tool_prompt(request: str) -> str:
    """Continue with a function's definition that would serve ``request``, one JSON object."""
    return _TOOL.format(request=request)


def code_prompt(head: str) -> str:
    """Continue with the body of the function that ``head`` begins: its ``def`` line and its docstring."""
    return _CODE.format(head=head)
