"""Delivery of adapters to a node of a cluster, where they are checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.adapters.package import manifest_sha256
from agent.cluster.connection import lines_of
from agent.cluster.folders import bring, listed
from agent.errors import AdapterError, ModelUnavailable

_CHECK_SECONDS = 120.0


@dataclass(frozen=True)
class Delivery:
    """The way to a node at ``address``, to its ModelHost ``actor``, whose vLLM runs the model ``base_sha256``."""

    actor: Any
    address: str
    base_sha256: str

    def __call__(self, folder: Path) -> Path:
        """Copy the adapter in ``folder`` to the node, check it there, and return its path on the node.

        Raises AdapterError if the copy differs from its manifest, ModelUnavailable if the node cannot take it.
        """
        import ray
        from ray.exceptions import RayError

        try:
            (there,) = bring([self.actor], folder, listed(folder), keep=False, same_path=False)
            checked = self.actor.adapter_problem.remote(there, manifest_sha256(folder), self.base_sha256)
            problem: Any = ray.get(checked, timeout=_CHECK_SECONDS)
        except (RayError, OSError) as error:
            raise ModelUnavailable(f"{folder.name} did not reach node {self.address}: {lines_of(error)[0]}") from error
        if problem:
            raise AdapterError(f"node {self.address}: {problem.replace(there.name, folder.name)}")
        return there
