"""A system in pieces over the processes of a group (fully sharded data parallel, FSDP2).

Parameters become DTensors of which each process holds a part; `whole` and `spread` go between them
and plain tensors. Both are collectives: every process calls them, in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(system: nn.Module) -> None:
    """Shards in place over the default process group: each child of a ModuleList is gathered when
    it runs and let go after, what is left with the whole."""
    for module in list(system.modules()):
        if isinstance(module, nn.ModuleList):
            for child in module:
                fully_shard(child)
    fully_shard(system)


def sync_gradients(system: nn.Module, wanted: bool) -> None:
    """Whether the next backward pass exchanges gradients."""
    if isinstance(system, FSDPModule):
        system.set_requires_gradient_sync(wanted)


def whole(value: Any) -> Any:
    """The same dicts and lists with whole CPU tensors in the place of DTensors."""
    if isinstance(value, DTensor):
        return value.full_tensor().cpu()
    if isinstance(value, Mapping):
        return {name: whole(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(whole(part) for part in value)
    return value


def spread(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor in the pieces that `like` is in; as it is where `like` is whole."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
