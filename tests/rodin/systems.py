"""Small base and upsampler systems with a batch for them."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rodin import cameras
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.diffusion.base import BaseSettings, BaseSystem
from rodin.diffusion.patches import PatchSettings
from rodin.diffusion.upsampler import UpsamplerSettings, UpsamplerSystem
from rodin.nn.encoder import EncoderSettings
from rodin.nn.unet import UNetSettings

CHANNELS = 4
UNET = UNetSettings(
    plane_channels=CHANNELS,
    width=16,
    multipliers=(1, 2),
    blocks=1,
    attention_levels=(1,),
    head_channels=16,
    aware_levels=(0,),
    latent_dim=16,
)
BASE = BaseSettings(
    size=8, unet=UNET, encoder=EncoderSettings(latent_dim=16, width=8, size=16), output="eps"
)
UPSAMPLER = UpsamplerSettings(
    size=16,
    low_size=8,
    unet=dataclasses.replace(
        UNET, latent_dim=0, condition_channels=CHANNELS, strength_input=True, attention_levels=()
    ),
    patch=PatchSettings(size=16, samples=8, occupancy=8),
)
MEAN, STD = torch.linspace(-1, 1, CHANNELS), torch.linspace(0.5, 2, CHANNELS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(count: int = 2, size: int = 16, seed: int = 0) -> dict[str, Tensor]:
    """Smooth random planes with a portrait each, and two views from real cameras."""
    g = generator(seed)
    coarse = torch.randn(count * 3, CHANNELS, 4, 4, generator=g)
    planes = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    planes = planes.unflatten(0, (count, 3)) * STD[:, None, None] + MEAN[:, None, None]
    matrix = cameras.orbit(torch.tensor([0.0, 40.0]), torch.tensor([0.0, 10.0]))
    intrinsics = cameras.intrinsics_from_fov(24.0, 32, 32)
    views = torch.rand(count, 2, 4, 32, 32, generator=g)
    views[:, :, 3] = 0
    views[:, :, 3, 6:30, 10:22] = 1
    return {
        "planes": planes,
        "portrait": views[:, 0],
        "views": views,
        "camera_to_world": matrix.expand(count, 2, 4, 4),
        "intrinsics": intrinsics.expand(count, 2, 3, 3),
    }


def base_system(settings: BaseSettings = BASE) -> BaseSystem:
    torch.manual_seed(0)
    return BaseSystem(settings, MEAN, STD)


def upsampler_system(settings: UpsamplerSettings = UPSAMPLER) -> UpsamplerSystem:
    torch.manual_seed(0)
    decoder = TriplaneDecoder(DecoderConfig(channels=CHANNELS, hidden=16, density_bias=0.0))
    return UpsamplerSystem(settings, MEAN, STD, decoder)
