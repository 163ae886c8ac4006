"""What a U-Net costs before anything is trained: parameters, floating-point operations, memory.

The network runs on tensors that have shapes but no values, so that the paper's size takes seconds
and no memory. Operations are those of convolutions, matrix products and attention, two for a
multiply and add; memory is what autograd keeps for the backward pass, plus the training state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from rodin.nn.unet import TriplaneUNet, UNetSettings

STATE_COPIES = 5  # float32 numbers a parameter: weight, gradient, two moments of AdamW, average


@dataclass(frozen=True)
class Cost:
    """Of one U-Net at one batch size."""

    parameters: int
    forward_flops: int  # of one batch, forward alone: what a sampling step takes
    training_flops: int  # of one batch, forward and backward
    activation_bytes: int  # kept from the forward pass for the backward pass, of one batch
    state_bytes: int  # weights, gradients, optimiser and average

    @property
    def training_bytes(self) -> int:
        """Least memory of a training step: state and activations, without the allocator's waste."""
        return self.state_bytes + self.activation_bytes


def unet_cost(settings: UNetSettings, size: int, batch: int = 1, *, bfloat16: bool = True) -> Cost:
    """Cost of a U-Net on `batch` tri-planes of `size` texels; `bfloat16` as under autocast.

    ValueError for a size that the settings do not allow.
    """
    kept: dict[int, int] = {}
    weights: set[int] = set()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    # The CPU's attention kernel keeps no matrix of tokens, as CUDA's, but has no count of its own.
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={kernel: _attention_flops})
    with FakeTensorMode():
        net = TriplaneUNet(settings).train()
        weights.update(p.untyped_storage()._cdata for p in net.parameters())
        planes = torch.empty(batch, 3, settings.plane_channels, size, size)
        shape = (batch, 3, settings.condition_channels, size, size)
        with (
            counter,
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        ):
            # the result holds the graph, and with it the storages that are counted
            kept_alive = net(
                planes,
                torch.empty(batch),
                torch.empty(batch, settings.latent_dim) if settings.latent_dim else None,
                torch.empty(shape) if settings.condition_channels else None,
            )
        del kept_alive
    forward = counter.get_total_flops()
    parameters = sum(p.numel() for p in net.parameters())
    return Cost(
        parameters=parameters,
        forward_flops=forward,
        # Backward takes the gradient of inputs and of weights; recomputing adds a forward pass.
        training_flops=forward * (4 if settings.checkpointing else 3),
        activation_bytes=sum(kept.values()),
        state_bytes=4 * STATE_COPIES * parameters,
    )


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)
