"""The processes that train one adapter, on this machine or on several: one, or more that sum their gradients."""

import hashlib
import json
import os
import platform
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from evolver.errors import TrainError


class Team:
    """``rank`` of ``size`` processes. Every process computes a share of each step; all hold the same adapter.

    ``sharded``: each holds a part of the base model only, so all must make the same passes.
    """

    rank, size, sharded = 0, 1, False

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def leads(self) -> bool:
        """Return whether this process reports, writes and decides."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes of their ``values``."""
        return values

    def decision(self, value: float) -> float:
        """Return the leading process's ``value``."""
        return value

    def place(self, base: PreTrainedModel) -> None:
        """Put ``base`` with its adapter on this process's device: whole, or this process's part."""
        base.to(self.device)  # pyright: ignore[reportArgumentType]

    def close(self) -> None:
        """Leave the team; nothing can be summed afterwards."""


class _Launched(Team):
    def __init__(self, device: torch.device, *, sharded: bool) -> None:
        from accelerate import PartialState

        super().__init__(device)
        self._state = PartialState(cpu=device.type == "cpu")
        self.rank, self.size, self.sharded = self._state.process_index, self._state.num_processes, sharded

    def sum(self, values: Tensor) -> Tensor:
        from accelerate.utils import reduce

        return reduce(values, "sum")  # pyright: ignore[reportReturnType]

    def decision(self, value: float) -> float:
        from accelerate.utils import broadcast

        values = torch.tensor([value], dtype=torch.float64, device=self.device)
        return broadcast(values).item()

    def place(self, base: PreTrainedModel) -> None:
        from evolver.training.shard import shard

        shard(base, self.size, self.device) if self.sharded else super().place(base)

    def close(self) -> None:
        self._state.destroy_process_group()


def open_team(*, sharded: bool = False) -> Team:
    """Open this process's team."""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if launched else 0)
        torch.cuda.set_device(device)
    return _Launched(device, sharded=sharded) if launched else Team(device)


def check_alike(team: Team, conditions: list[Any]) -> None:
    """Raise TrainError if the ``conditions`` of this process differ from those of the leading one: it would plan, round
    or resume differently."""
    number = float(int(hashlib.sha256(json.dumps(conditions).encode()).hexdigest()[:12], 16))
    if team.decision(number) != number:
        here = ", ".join(map(str, conditions))
        raise TrainError(
            "model",
            f"{platform.node()} computes otherwise than the first machine ({here}); train on machines of one kind",
        )
