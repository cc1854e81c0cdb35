"""The ``[cluster]`` table of config.toml."""

from typing import Annotated

from pydantic import Field

from toolkit.config import Section


class ClusterConfig(Section):
    """``[cluster]``: machines that carry out the jobs of a cycle, beside this one."""

    address: Annotated[
        str,
        Field(
            description='Ray cluster that this machine belongs to. Example: `"auto"`, `"10.0.0.5:6379"`. '
            "Empty: this machine alone."
        ),
    ] = ""
    workshops: Annotated[int, Field(ge=0, le=100_000, description="Nodes that are used, at most. 0: all.")] = 0
    gateway: Annotated[
        str,
        Field(
            pattern="^(https?://.+)?$",
            description="URL at which the nodes reach the gateway. Empty: its port at this machine's address.",
        ),
    ] = ""
