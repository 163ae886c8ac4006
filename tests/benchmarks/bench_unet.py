"""A training step of the U-Net: 3D-aware beside plain, and beside that of diffusers (`make bench`).

All on the same tri-planes, float32 on the CPU, one thread, user CPU time; forms take turns, so that
a busy machine slows all alike, and the medians of their ratios are told. Bars: aware at most 1.15 x
plain; ours at most 1.0 x a `UNet2DModel` of as many parameters on the roll-out.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rodin.nn.unet import TriplaneUNet, UNetSettings

SIZE = 32  # texels along a plane
CHANNELS = 16
OURS = UNetSettings(
    plane_channels=CHANNELS,
    width=64,
    multipliers=(1, 2, 2),
    blocks=2,
    attention_levels=(2,),
    head_channels=32,
    aware_levels=(0, 1),
    latent_dim=0,
)


def theirs(width: int) -> nn.Module:
    """diffusers' U-Net over the roll-out (B, C, S, 3S): as many levels, blocks, attention."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=(SIZE, 3 * SIZE),
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(width, 2 * width, 2 * width),
        layers_per_block=2,
        attention_head_dim=32,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def as_large(parameters: int) -> nn.Module:
    """The one of `theirs` whose parameters are nearest to this many."""
    with torch.device("meta"):
        sizes = {width: count(theirs(width)) for width in range(32, 129, 8)}
    return theirs(min(sizes, key=lambda width: abs(sizes[width] - parameters)))


def ratios(forms: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, float]:
    """Median over the rounds of each form's forward and backward, in those of the first form."""
    rounds = []
    for _ in range(repeats + 1):
        took = {}
        for name, form in forms.items():
            begin = os.times().user
            form().square().mean().backward()
            took[name] = os.times().user - begin
        rounds.append(took)
    first = next(iter(forms))
    return {
        name: statistics.median(took[name] / took[first] for took in rounds[1:]) for name in forms
    }


def main(repeats: int = 9) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    aware = TriplaneUNet(OURS)
    plain = TriplaneUNet(dataclasses.replace(OURS, aware_levels=()))
    like_plain, like_aware = as_large(count(plain)), as_large(count(aware))
    planes, t = torch.randn(2, 3, CHANNELS, SIZE, SIZE), torch.rand(2)
    rolled = torch.cat(planes.unbind(1), -1)
    forms: dict[str, Callable[[], Tensor]] = {
        "ours, plain": lambda: plain(planes, t),
        "ours, 3D-aware": lambda: aware(planes, t),
        "diffusers, as large as plain": lambda: like_plain(rolled, 1000 * t).sample,
        "diffusers, as large as aware": lambda: like_aware(rolled, 1000 * t).sample,
    }
    nets = (plain, aware, like_plain, like_aware)
    found = ratios(forms, repeats)
    print(f"| U-Net, planes of {SIZE} | M parameters | x ours, plain (training step) |")
    print("|---|---|---|")
    for (name, ratio), net in zip(found.items(), nets, strict=True):
        print(f"| {name} | {count(net) / 1e6:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
