"""Sample sheets of a training: what a model makes of the same few people and the same noise.

Nothing here draws from a global generator: a training with sheets takes the same steps as without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipelines import pictures
from rodin import cameras, metrics, occupancy, triplane
from rodin.decoder import TriplaneDecoder
from rodin.diffusion.base import BaseSystem
from rodin.diffusion.sampling import Noise, SamplerSettings, sample
from rodin.diffusion.upsampler import UpsamplerSystem
from rodin.generate import GenerateSettings, encode_portraits, generate
from rodin.refiner import RefinerSystem, render_refined
from rodin.render import render_image

PEOPLE = 4  # rows of a sheet, at most
STEPS = 10  # of the sampler
ANGLES = (0.0, 45.0)  # degrees about the front that planes are seen from
SAMPLES = 64  # along a ray

Row = list[Tensor]  # pictures (S, S, 3 or 4) in [0, 1]


def draw(system: nn.Module, batch: Mapping[str, Tensor], decoder: TriplaneDecoder) -> bytes:
    """The sheet (PNG) of an averaged system: a row a person of `batch` (as losses take it).

    `system` is left in evaluation mode. TypeError for a system of another kind.
    """
    device = next(system.parameters()).device
    batch = {name: value[:PEOPLE].to(device) for name, value in batch.items()}
    decoder = decoder.to(device)
    system.eval()
    if isinstance(system, BaseSystem):
        label = "portrait | avatar made of it | its planes | without a portrait"
        rows = _base(system, batch, decoder)
    elif isinstance(system, UpsamplerSystem):
        label = "low planes | raised | high planes"
        rows = _upsampler(system, batch, decoder)
    elif isinstance(system, RefinerSystem):
        label = "render | refined | real view"
        rows = _refiner(system, batch, decoder)
    else:
        raise TypeError(f"no sample sheet of a {type(system).__name__}")
    tiles: list[list[Any]] = [[picture.cpu().numpy() for picture in row] for row in rows]
    side = batch["views"].shape[-1]
    return pictures.png(pictures.grid(tiles, [label] * len(rows), tile=side))


def _base(system: BaseSystem, batch: Mapping[str, Tensor], decoder: TriplaneDecoder) -> list[Row]:
    count, side = len(batch["planes"]), batch["views"].shape[-1]
    settings = GenerateSettings(base=SamplerSettings(steps=STEPS))
    latents = encode_portraits(system, batch["portrait"])
    made = generate(system, None, range(count), latents=latents, settings=settings)
    free = generate(system, None, range(count), settings=settings)
    real = triplane.resize(batch["planes"], system.settings.size)
    return [
        [portrait.movedim(0, -1)]
        + [view for planes in three for view in _seen(planes, decoder, side)]
        for portrait, *three in zip(batch["portrait"], made, real, free, strict=True)
    ]


@torch.no_grad()
def _upsampler(
    system: UpsamplerSystem, batch: Mapping[str, Tensor], decoder: TriplaneDecoder
) -> list[Row]:
    side = batch["views"].shape[-1]
    high = triplane.resize(batch["planes"], system.settings.size)
    low = triplane.resize(batch["planes"], system.settings.low_size)
    raised = sample(
        system.denoiser(low, 0.0),
        system.schedule,
        system.plane_shape,
        Noise(range(len(low)), low.device),
        SamplerSettings(steps=STEPS),
    )
    raised = system.statistics.denormalise(raised).float()
    return [
        [view for planes in three for view in _seen(planes, decoder, side)]
        for three in zip(low, raised, high, strict=True)
    ]


def _refiner(
    system: RefinerSystem, batch: Mapping[str, Tensor], decoder: TriplaneDecoder
) -> list[Row]:
    side = batch["views"].shape[-1]
    small = side // system.settings.net.factor
    rows = []
    for planes, views, camera, lens in zip(
        batch["planes"],
        batch["views"][:, 0],
        batch["camera_to_world"][:, 0],
        batch["intrinsics"][:, 0],
        strict=True,
    ):
        grid = occupancy.from_density(planes[None], decoder)[0]
        coarse = lens.clone()
        coarse[:2] *= small / side
        render = render_image(
            planes, decoder, camera, coarse, small, small, samples=SAMPLES, occupancy=grid
        )
        refined, _ = render_refined(
            planes, decoder, system, camera, lens, side, side, samples=SAMPLES, occupancy=grid
        )
        rows.append([render.rgb, refined, metrics.over(views.movedim(0, -1))])
    return rows


def _seen(planes: Tensor, decoder: TriplaneDecoder, side: int) -> Row:
    """Planes (3, C, R, R) from ANGLES."""
    planes = planes.to(next(decoder.parameters()).device)
    grid = occupancy.from_density(planes[None], decoder)[0]
    lens = cameras.intrinsics_from_fov(side, side)
    return [
        render_image(planes, decoder, camera, lens, side, side, samples=SAMPLES, occupancy=grid).rgb
        for camera in cameras.orbit(torch.tensor(ANGLES), 0.0)
    ]
