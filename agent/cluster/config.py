"""The ``[cluster]`` table of config.toml."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from toolkit.config import Section


class ClusterConfig(Section):
    """``[cluster]``: machines that carry out the jobs of a cycle, train, or host model servers, beside this one."""

    address: Annotated[
        str,
        Field(
            description='Ray cluster that this machine belongs to. Example: `"auto"`, `"10.0.0.5:6379"`. '
            "Empty: this machine alone."
        ),
    ] = ""
    workshops: Annotated[int, Field(ge=0, le=100_000, description="Nodes that are used, at most. 0: all.")] = 0
    servers: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="vLLM servers that `agent serve` starts on nodes, one on each without a GPU. "
            "0: one on this machine, or the upstreams.",
        ),
    ] = 0
    gpus_per_server: Annotated[
        int, Field(ge=1, le=64, description="GPUs of each of these servers, over which it divides the model.")
    ] = 1
    gateway: Annotated[
        str,
        Field(
            pattern="^(https?://.+)?$",
            description="URL at which the nodes reach the gateway. Empty: its port at this machine's address.",
        ),
    ] = ""

    training_nodes: Annotated[
        int,
        Field(
            ge=0,
            le=1024,
            description="Nodes that train an adapter together, each with `[evolver.train] processes`. 0: this machine.",
        ),
    ] = 0

    @model_validator(mode="after")
    def _they_have_nodes(self) -> Self:
        if self.servers and not self.address:
            raise ValueError("servers needs nodes; set address too")
        if self.training_nodes and not self.address:
            raise ValueError("training_nodes needs nodes; set address too")
        return self
