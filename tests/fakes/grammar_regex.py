"""Grammars as regular expressions, so that Python says what they allow."""

import json
import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|[a-z_]+|[()|*+?]|\s+')


def regex_of(grammar: str) -> str:
    """Return the regular expression of ``grammar``, an EBNF without recursion whose first rule is the root."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())

    def inlined(body: str) -> str:
        tokens = _TOKEN.findall(body)
        assert "".join(tokens) == body, f"not all of {body!r} is read"
        return "".join(map(piece, tokens))

    def piece(token: str) -> str:
        if token.startswith('"'):
            return f"(?:{re.escape(json.loads(token))})"
        if token[0].islower():
            return f"(?:{inlined(rules[token])})"
        return "" if token.isspace() else token

    return inlined(rules["root"])
