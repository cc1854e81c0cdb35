"""Process groups of one process without ports.

gloo opens a TCP port for every group, also where the group has one member and nobody to talk to: vLLM 0.32 on one
device listens on a dozen ports of loopback, which every user of the machine can reach.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import FakeProcessGroup

NAME = "alone"
"""The backend's name. Its collectives move nothing; with one member that is what they are for."""


def install() -> None:
    """Give groups of one member this backend in the place of gloo, in this process; again changes nothing."""
    if hasattr(dist.Backend, NAME.upper()):
        return
    dist.Backend.register_backend(NAME, _alone, devices=["cpu", "cuda"])
    dist.init_process_group = _init_process_group(dist.init_process_group)
    dist.new_group = _new_group(dist.new_group)


def _alone(_store: Any, rank: int, size: int, _timeout: Any) -> Any:
    assert size == 1, "a group of several needs a backend that communicates"
    return FakeProcessGroup._create_internal(rank, size)


def _init_process_group(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def init(backend: str | None = None, *arguments: Any, **options: Any) -> None:
        alone = backend == dist.Backend.GLOO and options.get("world_size") == 1
        original(NAME if alone else backend, *arguments, **options)

    return init


def _new_group(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def new(ranks: Sequence[int] | None = None, *arguments: Any, **options: Any) -> Any:
        size = dist.get_world_size() if ranks is None else len(ranks)
        if size == 1 and options.get("backend") == dist.Backend.GLOO:
            options["backend"] = NAME
        return original(ranks, *arguments, **options)

    return new
