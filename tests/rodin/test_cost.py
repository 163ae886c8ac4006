"""The cost of a U-Net, against counts by hand and against a real pass."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from rodin.nn.cost import unet_cost
from rodin.nn.unet import TriplaneUNet, UNetSettings, _Attention

SMALL = UNetSettings(
    plane_channels=4,
    width=32,
    multipliers=(1, 2),
    blocks=1,
    attention_levels=(1,),
    head_channels=16,
    aware_levels=(),
    latent_dim=8,
)


def by_hand(settings: UNetSettings, size: int, batch: int) -> int:
    """Two operations a multiply and add of every convolution, linear layer and attention."""
    net = TriplaneUNet(settings)
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            total += 2 * out.numel() * module.weight[0].numel()
        if isinstance(module, _Attention):
            tokens, channels = 3 * out.shape[-1] ** 2, out.shape[1]
            total += batch * 2 * 2 * tokens**2 * channels

    for module in net.modules():
        module.register_forward_hook(count)
    net(torch.zeros(batch, 3, 4, size, size), torch.zeros(batch), torch.zeros(batch, 8))
    return total


def test_counts_by_hand() -> None:
    cost = unet_cost(SMALL, 16, 2)
    assert cost.forward_flops == by_hand(SMALL, 16, 2)
    assert cost.training_flops == 3 * cost.forward_flops
    assert cost.parameters == sum(p.numel() for p in TriplaneUNet(SMALL).parameters())
    assert cost.state_bytes == 20 * cost.parameters


def test_memory_is_what_a_real_pass_keeps() -> None:
    net = TriplaneUNet(SMALL).train()
    weights = {p.data_ptr() for p in net.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = net(torch.zeros(2, 3, 4, 16, 16), torch.zeros(2), torch.zeros(2, 8))
    assert out.requires_grad
    cost = unet_cost(SMALL, 16, 2, bfloat16=False)
    assert cost.activation_bytes == pytest.approx(sum(kept.values()), rel=0.02)
    assert cost.training_bytes == cost.activation_bytes + cost.state_bytes


def test_settings_that_save_memory_do() -> None:
    plain = unet_cost(SMALL, 16, 4, bfloat16=False)
    recomputed = unet_cost(dataclasses.replace(SMALL, checkpointing=True), 16, 4, bfloat16=False)
    assert recomputed.activation_bytes < 0.5 * plain.activation_bytes
    assert recomputed.training_flops == 4 * plain.forward_flops
    assert unet_cost(SMALL, 16, 4).activation_bytes < 0.8 * plain.activation_bytes
    half = unet_cost(SMALL, 16, 2, bfloat16=False)
    assert plain.activation_bytes == pytest.approx(2 * half.activation_bytes, rel=0.05)


def test_upsampler_and_bad_size() -> None:
    settings = dataclasses.replace(
        SMALL, condition_channels=4, latent_dim=0, strength_input=True, aware_levels=(0,)
    )
    assert unet_cost(settings, 16).forward_flops > 0
    with pytest.raises(ValueError, match="multiple of 2"):
        unet_cost(SMALL, 9)
