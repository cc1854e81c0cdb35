"""llama.cpp's own server with a GGUF file: how it cuts texts, what it answers, how likely it finds them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import xllamacpp


class LlamaCpp:
    """A server, asked over HTTP."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def tokens(self, text: str) -> list[int]:
        """Cut a text, in which special tokens may be written out, and begin it as the file says."""
        return self._ask("/tokenize", content=text, add_special=True, parse_special=True)["tokens"]

    def text(self, tokens: list[int]) -> str:
        """Return what tokens say."""
        return self._ask("/detokenize", tokens=tokens)["content"]

    def logprobs(self, tokens: list[int], count: int) -> list[dict[int, float]]:
        """Return the ``count`` likeliest tokens after each of ``tokens``, and how likely they are in fp32."""
        answers = []
        for place, token in enumerate(tokens):
            # It repeats the last token, since of an end, or of half a letter, it tells no probabilities.
            options = {"n_probs": count, "logit_bias": [[token, 1e6]]}
            answers.append(self._complete(tokens[: place + 1], 1, **options)["completion_probabilities"][0])
        return [{entry["id"]: entry["logprob"] for entry in answer["top_logprobs"]} for answer in answers]

    def answer(self, tokens: list[int], most: int, bias: Mapping[int, float] = {}) -> list[int]:
        """Return the likeliest tokens after ``tokens``, at most so many, the one that ends them included; ``bias`` is
        added to the logits of tokens."""
        return self._complete(tokens, most, logit_bias=[[token, added] for token, added in bias.items()])["tokens"]

    def rendered(self, **request: Any) -> str:
        """Return the prompt that the template in the file makes of a request of OpenAI's form."""
        return self._ask("/apply-template", **request)["prompt"]

    def said(self, most: int, **request: Any) -> str:
        """Return the text of the answer to a request of OpenAI's form, at most so many tokens of it."""
        answer = self._ask("/v1/chat/completions", max_tokens=most, temperature=0, **request)
        return answer["choices"][0]["message"]["content"]

    def _complete(self, tokens: list[int], most: int, **options: Any) -> dict[str, Any]:
        asked = {"temperature": 0, "cache_prompt": False, "return_tokens": True, **options}
        return self._ask("/completion", prompt=tokens, n_predict=most, **asked)

    def _ask(self, path: str, **content: Any) -> dict[str, Any]:
        return self._client.post(path, json=content).raise_for_status().json()


@contextmanager
def llama_cpp(file: Path) -> Iterator[LlamaCpp]:
    """Serve ``file`` from this process, with attention in fp32."""
    options = xllamacpp.CommonParams()
    options.model.path = str(file)
    options.n_ctx = options.n_batch = options.n_ubatch = 1024
    options.n_parallel, options.n_gpu_layers, options.warmup, options.verbosity = 1, 0, False, -1
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.cache_type_k = options.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    options.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(options)
    with httpx.Client(base_url=server.listening_address, timeout=120) as client:
        yield LlamaCpp(client)
