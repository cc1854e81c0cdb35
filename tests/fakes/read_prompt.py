"""What a model server says of the tokens of a prompt, in the form of vLLM."""

import json
from collections.abc import Sequence
from typing import Any

from tests.fakes.model_server import Says

PROMPT_TOKENS = 10
"""Of every prompt that ends where an answer begins, as tests.fakes.model_server counts them."""
CALL_TOKEN = 7


def reads_prompt(request: dict[str, Any]) -> bool:
    return "prompt_logprobs" in request and "messages" in request


def read(answer: Sequence[float]) -> Says:
    """``answer``: the log-probabilities of the answer's tokens, that of the call first; a line break follows."""
    prompt = [{str(100 + n): {"logprob": -9.0}} for n in range(1, PROMPT_TOKENS)]
    said = [{str(CALL_TOKEN + n): {"logprob": logprob}} for n, logprob in enumerate(answer)]
    places = [None, *prompt, *said, {"198": {"logprob": -0.7}}]
    return Says(raw=json.dumps({"prompt_logprobs": places, "choices": []}).encode())
