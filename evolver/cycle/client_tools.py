"""The clients' tools for which a cycle makes lessons up: which may be, with which values."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise

from pydantic import JsonValue

from agent.config import RedactionConfig
from agent.log.interaction_log import InteractionLog
from agent.log.redaction import Redactor
from evolver.config import MakeConfig
from evolver.lessons.client_tools import ClientTool, OwnTools, called_schemas, signatures, tool_of
from evolver.store.seen_tools import SeenTool
from evolver.types import Call, Trace
from toolkit.json_texts import leaves

_ASKING = ("check", "describe", "explain", "fetch", "find", "get", "is", "list", "locate", "look", "lookup", "query")
_FINDING = ("quote", "read", "retrieve", "search", "show", "status", "summarize", "track", "validate", "verify", "view")
_WORKING_OUT = ("calculate", "compare", "compute", "convert", "count", "estimate", "forecast", "translate")
_READS = frozenset((*_ASKING, *_FINDING, *_WORKING_OUT))
"""First words of the names of tools that only read."""
_CHANGES = re.compile(
    r"""
    activate | add | apply | approve | archive | assign | ban | buy | cancel | clear | create | deactivate |
    delete | deploy | destroy | disable | dispatch | drop | edit | enable | erase | exec | execute | insert
    | install | kill | modify | notify | overwrite | pay | publish | purge | push | put | register | reject
    | remove | rename | replace | reset | restart | restore | revoke | save | sell | send | shell | sql |
    submit | subscribe | terminate | toggle | truncate | uninstall | unlock | unsubscribe | update | upload
    | upsert | wipe | withdraw | write
    """,
    re.VERBOSE,
)
"""Words with which a tool does more than to read, wherever they stand in its name. SQL may do anything."""
_MAY_CHANGE = re.compile(
    r"""
    bill | block | book | call | change | charge | claim | close | commit | email | export | file | fill |
    fix | grant | import | invite | lock | log | mail | mark | merge | message | move | note | open | order
    | patch | post | print | record | refund | release | reply | request | reserve | return | run | schedule
    | set | share | ship | sign | start | stop | swap | sync | text | trade | transfer
    """,
    re.VERBOSE,
)
"""Words that are verbs after one of ``_JOINING``, and else perhaps what is read: ``get_order``."""
_JOINING = frozenset(("and", "or", "then"))
_CHECKS = frozenset((("check", "in"), ("check", "off"), ("check", "out")))
"""First words of names that mean an effect together, as ``check_out_cart``."""
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_MOST = 50
"""Tools in one cycle, those with the most calls first."""
_VALUES, _LONGEST = 8, 60
"""Values of a parameter, and characters of one."""
_REDACTED = re.compile(r"\[(?:secret|email|phone|card|iban|ip address)\]")


def reads(name: str) -> bool:
    """Return whether the name of a tool says that it only reads: its first word does, and none says that it does more.
    No schema says more."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[0] not in _READS or any(map(_CHANGES.fullmatch, words)):
        return False
    pairs = set(pairwise(words))
    return not _CHECKS & pairs and not any(one in _JOINING and _MAY_CHANGE.fullmatch(then) for one, then in pairs)


def may_make(config: MakeConfig, tool: SeenTool) -> bool:
    """Return whether calls of a client's tool may be made up."""
    names = (tool.name, f"{tool.owner}/{tool.name}")
    named = any(fnmatchcase(name, pattern) for pattern in config.client_tools for name in names)
    return bool(config.client_calls) and tool.state == "in use" and (named or reads(tool.name))


def client_tools(
    config: MakeConfig, seen: Iterable[SeenTool], own: OwnTools, lessons: Sequence[Trace], log: InteractionLog
) -> list[ClientTool]:
    """Return the tools for which lessons are made up, each with the newest request that showed it.

    Values come from the ``lessons`` that turns of the same key taught. Tools that are registered here are left out:
    they are executed.
    """
    values = _values(lessons)
    found: list[ClientTool] = []
    for tool in sorted(seen, key=lambda one: (-one.calls, one.name)):
        shown = log.find(tool.last_id) if len(found) < _MOST and may_make(config, tool) else None
        schemas = shown.tool_schemas if shown is not None else ()
        mine = next((one for one in schemas if signatures([one]) == {tool.sha256}), None)
        if shown is None or mine is None or own.has(mine):
            continue
        origins, given = values.get((_place(tool), tool.sha256), (set[str](), {}))
        system = [message for message in shown.trajectory.history[:1] if message.role == "system"]
        found.append(
            ClientTool(
                identity=f"{tool.name}-{tool.sha256[:8]}",
                tool=tool_of(mine),
                tools=tuple(schemas),
                history=tuple(system),
                values={name: tuple(ones) for name, ones in given.items()},
                interactions=(shown.id, *sorted(origins - {shown.id})),
            )
        )
    return found


_Given = dict[str, list[JsonValue]]


def _values(lessons: Iterable[Trace]) -> dict[tuple[str, str], tuple[set[str], _Given]]:
    """Return the arguments of logged calls, by key and version of the tool, with the interactions that they are of."""
    redactor = Redactor(RedactionConfig(secrets=True, personal_data=True))
    found: defaultdict[tuple[str, str], tuple[set[str], _Given]] = defaultdict(lambda: (set(), defaultdict(list)))
    for trace in lessons:
        if trace.client_turn is None or not trace.provenance.interaction_id:
            continue
        place = trace.provenance.session.split("/")[:3]
        versions = {one["function"]["name"]: signatures([one]).pop() for one in called_schemas(trace)}
        for call in (call for call in trace.calls if call.name in versions):
            origins, given = found["/".join(place), versions[call.name]]
            if _give(given, call, redactor):
                origins.add(trace.provenance.interaction_id)
    return found


def _give(given: _Given, call: Call, redactor: Redactor) -> bool:
    """Add the values of ``call`` that are new, short and nobody's personal data; return whether there were any."""
    added = False
    for name, value in call.arguments.items():
        texts = [str(leaf) for leaf in leaves(value)]
        plain = not any(redactor.find(text) or _REDACTED.search(text) or len(text) > _LONGEST for text in texts)
        simple = isinstance(value, str | int | float) and not isinstance(value, bool)
        if simple and plain and value not in given[name] and len(given[name]) < _VALUES:
            given[name].append(value)
            added = True
    return added


def _place(tool: SeenTool) -> str:
    return f"{tool.source}/{tool.tenant}/{tool.owner}"
