"""vLLM's hermes parser, for calls whose texts hold ``</tool_call>``; given to vLLM as ``--tool-parser-plugin``.

vLLM 0.32 takes the first closing tag for the end of a call, also inside a string: of such an answer the whole form has
no call, and the streamed one half of it.
"""

import re

from vllm.tool_parsers.abstract_tool_parser import ToolParserManager
from vllm.tool_parsers.hermes_tool_parser import Hermes2ProToolParser
from vllm.tool_parsers.utils import is_complete_json, partial_tag_overlap

_BODY = r'(?:[^"<]|"(?:[^"\\]|\\.)*+"|<(?!/tool_call>))*+'
"""JSON up to a closing tag outside of its strings."""
_UP_TO_CLOSING = re.compile(_BODY, re.DOTALL)


class HermesCalls(Hermes2ProToolParser):
    """A closing tag inside a string is text."""

    tool_call_regex = re.compile(rf"<tool_call>({_BODY})</tool_call>|<tool_call>(.*)", re.DOTALL)

    def _extract_tool_call_jsons(self, text: str) -> list[tuple[str, bool]]:
        """Return the JSON of each call so far, and whether all of it is here."""
        found: list[tuple[str, bool]] = []
        end = 0
        while (opening := text.find(self.tool_call_start_token, end)) != -1:
            start = opening + len(self.tool_call_start_token)
            body = _UP_TO_CLOSING.match(text, start)
            end = body.end() if body else start
            if text.startswith(self.tool_call_end_token, end):
                found.append((text[start:end].strip(), True))
                continue
            rest = text[start:]
            overlap = partial_tag_overlap(rest, self.tool_call_end_token)
            rest = (rest[:-overlap] if overlap else rest).strip()
            found.append((rest, bool(rest) and is_complete_json(rest)))
            break
        return found


ToolParserManager.register_module("hermes", force=True, module=HermesCalls)
