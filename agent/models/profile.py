"""``ModelProfile``: how one model is spoken to, the same in serving, in training and in evaluation."""

import hashlib
import json
from typing import Literal

from pydantic import Field

from agent.turn.prompt import TEMPLATE
from toolkit.frozen import Frozen

Source = Literal["apprentice", "apprentice in the model's turns", "model", "model, calls written by apprentice", "file"]
Kind = Literal["base", "instruct"]


class ModelProfile(Frozen):
    """One model, as ``agent.models.detect.profile_of`` finds it. Equal for two models that are spoken to alike.

    ``template`` is the text of the chat template that vLLM and the trainer render, with ``template_options``.
    ``call_opening`` is the text with which every call begins. ``constrained``: vLLM's ``tool_parser`` can hold calls to
    the schemas of their tools. ``json_tools``: the template prints tools as JSON, so that their bytes matter.

    ``end_of_turn`` is the token that ends an answer, ``after_turn`` the text that the template writes behind it,
    ``after_call`` what it writes behind the end of a call, and ``stop`` all tokens that end an answer or a call.
    ``stop_ids`` are those that the model's own files leave out or that must be given again; () where vLLM finds all by
    itself. ``bos`` is the token that every text must begin with ("": none); ``adds_bos``: the tokenizer writes it where
    nobody else does. ``prefix_space``: the tokenizer puts a space before a text, so that an answer cannot be tokenised
    apart from its prompt. ``parallel``: an answer may hold several calls. ``user_after_result``: a message of the user
    may follow on the result of a call.
    """

    kind: Kind = "instruct"
    template: str
    source: Source = "apprentice"
    template_options: dict[str, bool] = Field(default_factory=dict)
    tool_parser: str = "hermes"
    call_opening: str = "<tool_call>"
    call_closing: str = "</tool_call>"
    constrained: bool = True
    json_tools: bool = False
    end_of_turn: str = "<|im_end|>"
    after_turn: str = "\n"
    after_call: str = "\n"
    stop: tuple[str, ...] = ("<|im_end|>",)
    stop_ids: tuple[int, ...] = ()
    bos: str = ""
    adds_bos: bool = False
    prefix_space: bool = False
    parallel: bool = True
    user_after_result: bool = True

    @property
    def template_sha256(self) -> str:
        """Hash of the template's bytes."""
        return hashlib.sha256(self.template.encode()).hexdigest()

    @property
    def version(self) -> str:
        """Names the template and its options; recorded with every turn."""
        if not self.template_options:
            return self.template_sha256[:16]
        options = json.dumps(self.template_options, sort_keys=True)
        return hashlib.sha256(f"{self.template_sha256}{options}".encode()).hexdigest()[:16]

    @property
    def own_template(self) -> bool:
        """True where the template is another one than apprentice's own file."""
        return self.source != "apprentice"

    @property
    def calls_come_first(self) -> bool:
        """True where an answer is calls or a text: in apprentice's form no call follows a text."""
        return self.source in ("apprentice", "apprentice in the model's turns")

    def tokens(self) -> tuple[str, ...]:
        """Return the tokens that begin a call or end an answer: the text of somebody else must not hold them."""
        return (self.call_opening, self.call_closing, *self.stop, self.bos)

    def bare(self, text: str) -> str:
        """Return ``text``, which no template renders, as it must be sent to be tokenised: with the BOS token that the
        tokenizer does not add."""
        return text if self.adds_bos or not self.bos or text.startswith(self.bos) else self.bos + text

    def tokens_of(self, text: str) -> str:
        """Return ``text`` as it must be given to a tokenizer that is told to add no special tokens."""
        return text if text.startswith(self.bos) else self.bos + text


EMBEDDED = ModelProfile(template=TEMPLATE.read_text(encoding="utf-8"))
"""Profile of the embedded model, and of every model that knows ChatML and has no tool template of its own."""
