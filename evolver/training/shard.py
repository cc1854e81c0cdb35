"""A base model divided over the processes of a team (torch's FSDP2): each keeps a part of every layer, and gathers a
layer while it computes it. The adapter stays whole in each process."""

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel


def shard(model: PreTrainedModel, processes: int, device: torch.device) -> None:
    """Divide what is frozen of ``model`` in place, layer by layer; what is trained moves to ``device`` as it is.

    From then on every process must make the same passes in the same order: each pass gathers.
    """
    mesh = init_device_mesh(device.type, (processes,))
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for parameter in trained:
        parameter.data = parameter.data.to(device)
    layers = set(model._no_split_modules or ())
    for module in model.modules():
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh, ignored_params=trained)
    fully_shard(model, mesh=mesh, ignored_params=trained)
