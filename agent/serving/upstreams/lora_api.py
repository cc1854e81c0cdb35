"""Loads, unloads and lists adapters in the running vLLM. An admin power: never reachable through the gateway.

``url``: the server's address (``agent.http.address``). ``seconds``: how long to wait for an answer; a server that gives
none by then is one that does not answer.
"""

from pathlib import Path

from agent.errors import AdapterError, ModelUnavailable
from agent.http.address import asking_server, http_client
from agent.turn.messages import BASE
from toolkit.lean_imports import absent

with absent("httpx._main"):  # its command line
    import httpx

TIMEOUT_SECONDS = 60.0
_REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
"""Of who asks, not of an adapter: a server that was started again has another key."""


def load(url: str, key: str, name: str, folder: Path, *, seconds: float = TIMEOUT_SECONDS) -> None:
    """Make the adapter in ``folder`` answer as model ``name``. A name that is loaded already is an error: vLLM keys its
    prefix cache by name, so a name never changes its weights.

    Raises AdapterError (vLLM refuses it, with its reason) or ModelUnavailable (no vLLM answers).
    """
    if name in loaded(url, key, seconds=seconds):
        raise AdapterError(f"adapter {name} is loaded already; give the new version a new name")
    body = {"lora_name": name, "lora_path": str(folder.resolve())}
    response = _request("POST", url, key, "/v1/load_lora_adapter", body, seconds)
    if response.status_code != httpx.codes.OK:
        raise AdapterError(f"vLLM does not load {name} from {folder}: {_reason(response)}; look at the adapter's files")


def unload(url: str, key: str, name: str) -> None:
    """Forget the adapter ``name``. Raises AdapterError if it is not loaded, ModelUnavailable if no vLLM answers."""
    response = _request("POST", url, key, "/v1/unload_lora_adapter", {"lora_name": name})
    if response.status_code != httpx.codes.OK:
        raise AdapterError(f"vLLM does not unload {name}: {_reason(response)}; see what is loaded: evolver adapters")


def loaded(url: str, key: str, *, seconds: float = TIMEOUT_SECONDS) -> set[str]:
    """Return the names of the loaded adapters, without the base model. Raises ModelUnavailable, AdapterError."""
    response = _request("GET", url, key, "/v1/models", None, seconds)
    if response.status_code != httpx.codes.OK:
        raise AdapterError(f"vLLM does not list its models: {_reason(response)}; restart it with: agent serve")
    try:
        return {model["id"] for model in response.json()["data"]} - {BASE}
    except (ValueError, LookupError, TypeError) as error:
        raise AdapterError(f"{url} answers with something else than a list of models; see what runs there") from error


def _request(
    method: str, url: str, key: str, path: str, body: dict[str, str] | None, seconds: float = TIMEOUT_SECONDS
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with asking_server(), http_client(url, headers=headers, timeout=seconds) as client:
        response = client.request(method, path, json=body)
    if response.status_code in _REFUSED:
        raise ModelUnavailable(f"{url} does not take this key: {_reason(response)}; it may have been started again")
    return response


def _reason(response: httpx.Response) -> str:
    """Return vLLM's own words, in one line."""
    try:
        body = response.json()
    except ValueError:
        body = response.text
    if isinstance(body, dict):
        error = body.get("error", body)
        body = error.get("message", error) if isinstance(error, dict) else error
    return " ".join(str(body).split())[:300] or f"status {response.status_code}"
