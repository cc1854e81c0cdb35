"""Conversations that show how a chat template writes each kind of turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.models.rendering import TemplateFailed, continuation, render

TOOL, OTHER_TOOL = "probe_alpha", "scan_beta"
SAID = "Seventeen is the answer."
_IDS = ("chatcmpl-tool-1", "chatcmpl-tool-2")
_NINE = "callAAAA1"

Turn = dict[str, Any]

SYSTEM: Turn = {"role": "system", "content": "Be brief about birds."}
USER: Turn = {"role": "user", "content": "What does sample say about 17?"}
ANSWER: Turn = {"role": "assistant", "content": SAID}


def tools() -> list[dict[str, Any]]:
    """Return two tools, as vLLM hands them to a template."""
    number = {"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]}
    named = ((TOOL, "SampleTurns a number."), (OTHER_TOOL, "Scan a number."))
    return [
        {"type": "function", "function": {"name": name, "description": text, "parameters": number}}
        for name, text in named
    ]


def call(name: str, identity: str = _NINE, *, times: int = 1) -> Turn:
    """Return an answer that calls the tool ``name``, ``times`` over, as vLLM hands it to a template."""
    function = {"name": name, "arguments": {"value": 17}}
    calls = [{"id": identity, "type": "function", "function": function} for _ in range(times)]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def result(identity: str = _NINE) -> Turn:
    """Return the result of the call, without the name of its tool, which most clients leave out."""
    return {"role": "tool", "tool_call_id": identity, "content": '{"said": 170}'}


@dataclass(frozen=True)
class SampleTurns:
    """A chat template, and what it is given besides the conversation: special tokens by name, options."""

    template: str
    given: Mapping[str, Any]

    def prompt(self, *before: Turn, tools: bool = False) -> str:
        """Return the prompt of ``before`` (one question), up to where the answer begins. Raises TemplateFailed."""
        return self._render([*(before or (USER,))], prompt=True, shown=tools)

    def said(self, answer: Turn, *before: Turn) -> str:
        """Return the text that the template writes for ``answer`` behind its prompt; "" if it does not continue that.

        Raises TemplateFailed.
        """
        asked = [*(before or (USER,))]
        start = self._render(asked, prompt=True, shown=True)
        whole = self._render([*asked, answer], prompt=False, shown=True)
        return continuation(start, whole, asked[-1]["role"]) or ""

    def render(self, turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]]) -> str:
        """Return the prompt of ``turns``. Raises TemplateFailed."""
        return render(self.template, turns, tools, add_generation_prompt=True, **self.given)

    def shows_tools(self) -> bool:
        """Return whether the model is shown tools."""
        return TOOL in self.prompt(tools=True)

    def prints_ids(self) -> bool:
        """Return whether the text depends on the ids of calls, or is refused for them."""
        try:
            first, second = (self._conversation(identity) for identity in _IDS)
        except TemplateFailed:
            return True
        return first != second

    def prints_names(self) -> bool:
        """Return whether the text depends on the name of a result's tool, or is refused without one."""
        try:
            named = self._conversation(_NINE)
        except TemplateFailed:
            return False
        try:
            return named != self._conversation(_NINE, named=False)
        except TemplateFailed:
            return True

    def takes_no_tools(self) -> bool:
        """Return whether a conversation without tools is written."""
        try:
            return bool(self._render([USER, ANSWER], prompt=False, shown=False))
        except TemplateFailed:
            return False

    def takes_system(self) -> bool:
        """Return whether a system message is written, in a turn of its own or in the first one, and stays there."""
        try:
            return SYSTEM["content"] in self.prompt(SYSTEM, USER) and not self.drops_system()
        except TemplateFailed:
            return False

    def drops_system(self) -> bool:
        """Return whether an answer continues its prompt, but not behind a system message, which is left out then.

        A template that refuses system messages drops none.
        """
        try:
            return bool(self.said(ANSWER).strip()) and not self.said(ANSWER, SYSTEM, USER).strip()
        except TemplateFailed:
            return False

    def takes_parallel(self) -> bool:
        """Return whether an answer may hold several calls."""
        try:
            return self.said(call(TOOL, times=2)).count(TOOL) == 2
        except TemplateFailed:
            return False

    def takes_user_after_result(self) -> bool:
        """Return whether a message of the user may follow on a result."""
        try:
            return bool(self.prompt(USER, call(TOOL), result(), USER, tools=True))
        except TemplateFailed:
            return False

    def writes_chatml(self) -> bool:
        """Return whether the turns are ChatML's, which apprentice's own template writes."""
        turns = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in (USER, ANSWER))
        return self._render([USER, ANSWER], prompt=False, shown=False).endswith(turns)

    def unprefixed(self) -> str:
        """Return the kind of answer that does not continue its own prompt, or ""; such a template cannot be learned."""
        kinds: dict[str, tuple[Turn, Sequence[Turn]]] = {
            "an answer": (ANSWER, [USER]),
            "a call": (call(TOOL), [USER]),
            "an answer to a result": (ANSWER, [USER, call(TOOL), result()]),
        }
        lost = [name for name, (answer, before) in kinds.items() if not self.said(answer, *before).strip()]
        return f"{lost[0]} does not continue its own prompt" if lost else ""

    def _conversation(self, identity: str, *, named: bool = True) -> str:
        told = {**result(identity), "name": TOOL} if named else result(identity)
        return self._render([USER, call(TOOL, identity), told, ANSWER], prompt=False, shown=True)

    def _render(self, turns: Sequence[Turn], *, prompt: bool, shown: bool) -> str:
        return render(self.template, turns, tools() if shown else (), add_generation_prompt=prompt, **self.given)
