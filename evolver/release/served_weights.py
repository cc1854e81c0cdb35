"""Proof that what vLLM serves under an adapter's name is the adapter that was trained.

The trainer wrote down how its model saw a fixed text, with the adapter and without (``Manifest.probe``). The served one
must see it in the same way, up to rounding, and not as the base model does. Each server behind the gateway is asked.
"""

import os
from collections.abc import Sequence
from statistics import fmean

from agent.adapters.manifest import Manifest, Probe
from agent.config import ServingConfig, UpstreamConfig
from agent.errors import NO_SERVER, AdapterInvalid, ModelUnavailable
from agent.http.address import asking_server, at_each_address, http_client
from agent.serving.serving_state import ServingState
from agent.serving.upstreams import lora_api
from agent.turn.messages import BASE
from toolkit.errors import PrerequisiteError
from toolkit.frozen import Frozen

_TIMEOUT_SECONDS = 120.0
_ROUNDINGS, _EFFECT_SHARE, _LEAST = 3.0, 0.1, 0.002
"""Served and trained agree up to so many times the rounding, and a share of what the adapter does."""


class Server(Frozen):
    """A vLLM: its address (``agent.http.address``), and the key that it asks for."""

    url: str
    key: str


class Proof(Frozen):
    """Evidence from one ``server``. Mean differences of log-probabilities, nats per token: ``rounding`` is between
    server and trainer without an adapter, ``apart`` between the served adapter and the trained one, ``effect`` between
    the served adapter and the base model there.

    ``distinct`` False: it does so little to this text that the base model would have passed as well.
    """

    server: str
    rounding: float
    apart: float
    effect: float
    distinct: bool


class Proved(Frozen):
    """``proofs``: one of each server that answers as ``adapter``; () where its trainer wrote down no probe."""

    adapter: str
    proofs: tuple[Proof, ...]

    @property
    def missing(self) -> str:
        """Return the reason for which it is not proved that the trained adapter serves; "" when it is."""
        if not self.proofs:
            return "its trainer wrote down no probe"
        weak = next((proof for proof in self.proofs if not proof.distinct), None)
        if weak is None:
            return ""
        return f"it changes the probe by {weak.effect:.4f} nats per token only; the base model would pass as well"


def servers(config: ServingConfig, serving: ServingState) -> list[Server]:
    """Return every vLLM behind the gateway. Raises PrerequisiteError when the environment has not the key of one, and
    ModelUnavailable when the name of one cannot be looked up."""
    if serving.hosted:
        return [Server(url=hosted.url, key=hosted.key) for hosted in serving.hosted]
    if not config.upstreams:
        return [Server(url=serving.vllm_url, key=serving.vllm_key)]
    found = []
    for upstream in config.upstreams:
        key = os.environ.get(upstream.key_variable, "") if upstream.key_variable else ""
        if upstream.key_variable and not key:
            raise PrerequisiteError(
                f"the environment has no {upstream.key_variable}, the key of {upstream.url}; set it as for "
                "agent serve: adapters are proved on each server"
            )
        found += [Server(url=url, key=key) for url in _urls(upstream)]
    return found


def _urls(upstream: UpstreamConfig) -> list[str]:
    if not upstream.each_address:
        return [upstream.url]
    try:
        return at_each_address(upstream.url)
    except OSError as error:
        raise ModelUnavailable(f"{upstream.url}: the name cannot be looked up ({error}); try again") from None


def prove(manifest: Manifest, among: Sequence[Server]) -> Proved:
    """Ask each of the servers that have the adapter. The gateway sends nobody to one that lacks it or does not answer.

    Raises AdapterInvalid (another adapter answers somewhere, or the base model does), ModelUnavailable (none has it).
    """
    probe = manifest.probe
    if probe is None:
        return Proved(adapter=manifest.name, proofs=())
    having = [server for server in among if _has(server, manifest.name)]
    if not having:
        raise ModelUnavailable(NO_SERVER)
    proofs = tuple(_prove(manifest.name, probe, server) for server in having)
    return Proved(adapter=manifest.name, proofs=proofs)


def _has(server: Server, name: str) -> bool:
    try:
        return name in lora_api.loaded(server.url, server.key)
    except ModelUnavailable:
        return False


def _prove(name: str, probe: Probe, server: Server) -> Proof:
    served, base = _logprobs(name, probe, server), _logprobs(BASE, probe, server)
    rounding = _apart(base, probe.base_logprobs)
    trained = _apart(probe.logprobs, probe.base_logprobs)
    most = _ROUNDINGS * rounding + _EFFECT_SHARE * trained + _LEAST
    apart = _apart(served, probe.logprobs)
    if apart > most:
        raise AdapterInvalid(
            f"{name}: what {server.url} serves is not the adapter that was trained: {apart:.4f} nats per token apart, "
            f"at most {most:.4f} is rounding"
        )
    effect = _apart(served, base)
    return Proof(server=server.url, rounding=rounding, apart=apart, effect=effect, distinct=trained > 2 * most)


def _logprobs(model: str, probe: Probe, server: Server) -> list[float]:
    """Log-probabilities of the probe's tokens but the first (vLLM: ``prompt_logprobs``)."""
    body = {"model": model, "prompt": list(probe.tokens), "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    headers = {"authorization": f"Bearer {server.key}"}
    with asking_server(), http_client(server.url, headers=headers, timeout=_TIMEOUT_SECONDS) as client:
        response = client.post("/v1/completions", json=body)
    try:
        places = response.json()["choices"][0]["prompt_logprobs"][1:]
        return [place[str(token)]["logprob"] for place, token in zip(places, probe.tokens[1:], strict=True)]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise AdapterInvalid(f"{model}: vLLM gives no log-probabilities ({type(error).__name__})") from error


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return fmean(abs(a - b) for a, b in zip(one, other, strict=True))
