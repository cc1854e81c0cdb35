"""Finds routes that a model server answers to those who do not have its key.

vLLM 0.32 asks for its key below ``/v1``, ``/v2`` and ``/inference`` only.
"""

from agent.http.address import asking_server, http_client
from toolkit.lean_imports import absent

with absent("httpx._main"):  # its command line
    import httpx

_ROUTES = {"/invocations": "POST", "/metrics": "GET", "/load": "GET"}
_CLOSED = {401, 403, 404, 405}
_SECONDS = 5.0


def open_routes(url: str) -> list[str]:
    """Return those of vLLM's routes that answer without a key. Raises ModelUnavailable where no server answers."""
    with asking_server(), http_client(url, timeout=_SECONDS) as client:
        return [path for path, method in _ROUTES.items() if _answers(client, method, path)]


def _answers(client: httpx.Client, method: str, path: str) -> bool:
    # An empty object is no request that vLLM would compute: it answers 400 where it lets anybody in.
    body = {} if method == "POST" else None
    return client.request(method, path, json=body).status_code not in _CLOSED
