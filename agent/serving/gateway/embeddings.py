"""``POST /v1/embeddings``: vectors of clients' texts, made by the encoder that the tool search uses."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from agent.http.http_error import HttpError
from agent.serving.gateway.event_stream import LEFT, Left, while_connected
from agent.serving.gateway.metrics import Metrics
from agent.serving.gateway.request_models import EmbeddingsRequest
from toolkit.encoder import LONGEST, NAME, SentenceEncoder, shared_encoder
from toolkit.errors import PrerequisiteError

_LONGEST_USAGE = 100

T = TypeVar("T")


class Embeddings:
    """Answers requests for embeddings in one thread. Those that come together take turns, some texts at a time."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, "embeddings")

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: Request, asked: EmbeddingsRequest) -> Response:
        """Return the response to a request that was checked. Raises HttpError."""
        started = time.monotonic()
        try:
            status, content = 200, await while_connected(request, self._embed(asked))
        except Left:
            status, content = LEFT, b""
        seconds = time.monotonic() - started
        self._metrics.answered(request.url.path, status, "", seconds, content[-_LONGEST_USAGE:])
        return Response(content, status, media_type="application/json")

    async def _embed(self, asked: EmbeddingsRequest) -> bytes:
        """Return a body in OpenAI's form. Cancelling it leaves out what is not computed yet."""
        if asked.model != NAME:
            raise HttpError(404, f"there is no embedding model {asked.model!r}; there is: {NAME}", param="model")
        encoder = await self._run(_loaded)
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        tokens = await self._run(lambda: encoder.tokens(texts))
        _check_lengths(tokens, asked.input)
        vectors: dict[int, Any] = {}
        for rows in encoder.batches(tokens):
            some = [tokens[row] for row in rows]
            vectors.update(zip(rows, await self._run(lambda some=some: encoder.of_tokens(some)), strict=True))
        return await self._run(lambda: _body(vectors, asked, sum(map(len, tokens))))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _loaded() -> SentenceEncoder:
    try:
        return shared_encoder()
    except PrerequisiteError as error:
        raise HttpError(503, str(error)) from error


def _check_lengths(tokens: Sequence[Sequence[int]], given: str | list[str]) -> None:
    """Raise HttpError where a text has more tokens than the encoder reads."""
    for number, ids in enumerate(tokens):
        if len(ids) > LONGEST:
            name = "input" if isinstance(given, str) else f"input[{number}]"
            raise HttpError(400, f"{name} has {len(ids)} tokens, {NAME} reads {LONGEST}; send it in pieces", param=name)


def _body(vectors: dict[int, Any], asked: EmbeddingsRequest, tokens: int) -> bytes:
    written = _base64 if asked.encoding_format == "base64" else _numbers
    data = [{"object": "embedding", "index": row, "embedding": written(vectors[row])} for row in sorted(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data, "model": NAME, "usage": usage}).encode()


def _numbers(vector: Any) -> list[float]:
    return vector.tolist()


def _base64(vector: Any) -> str:
    """The numbers as little-endian float32, as OpenAI's clients ask for them."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
