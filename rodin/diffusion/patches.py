"""Rendered random patches: the image loss of the upsampler (Rodin, section 4.3).

Legend: B batch, K views of a sample, H x W view pixels, P patch pixels along a side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rodin import cameras
from rodin import occupancy as occupancies
from rodin.decoder import TriplaneDecoder
from rodin.diffusion.statistics import required
from rodin.render import RenderOutput, render


@dataclass(frozen=True)
class PatchSettings:
    """Which patches are rendered, and how finely."""

    size: int = 64  # pixels along a side (112 in Rodin, 64 in RodinHD)
    samples: int = 96  # steps along a ray
    subjects: int | None = None  # samples of a batch that are rendered each step; None = all
    face_share: float = 0.75  # share of patches centred in the upper half of the avatar
    occupancy: int = 48  # voxels along the box, to skip empty space; 0 = skip none

    def __post_init__(self) -> None:
        for name in ("size", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"patch.{name} is {getattr(self, name)}; it must be at least 1")
        if self.subjects is not None and self.subjects < 1:
            raise ValueError(f"patch.subjects is {self.subjects}; give >= 1, or None for all")
        if not 0 <= self.face_share <= 1:
            raise ValueError(f"patch.face_share is {self.face_share}; it must lie in [0, 1]")
        if self.occupancy < 0:
            raise ValueError(f"patch.occupancy is {self.occupancy}; give voxels, or 0 for none")


class Patches(NamedTuple):
    """Targets and rays of one patch a sample."""

    rgb: Tensor  # (B, 3, P, P) over white, in [0, 1]
    alpha: Tensor  # (B, P, P) in [0, 1]
    origins: Tensor  # (B, p * p, 3) box units; p = P / stride rays along a side
    directions: Tensor  # (B, p * p, 3) unit length


def draw_patches(
    batch: Mapping[str, Tensor],
    count: int,
    settings: PatchSettings,
    generator: torch.Generator,
    stride: int = 1,
) -> Patches:
    """A patch of a random view for each of the first `count` samples, where the avatar is.

    The rays go through the middle of each stride x stride pixels; `stride` divides the size.

    batch: "views" (B, K, 4, H, W) straight alpha in [0, 1], "camera_to_world" (B, K, 4, 4),
    "intrinsics" (B, K, 3, 3). ValueError when the views are smaller than a patch.
    """
    views, camera_to_world, intrinsics = required(batch, "views", "camera_to_world", "intrinsics")
    size = settings.size
    height, width = views.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"patch.size is {size} but views are {height} x {width}; make it smaller")
    found = []
    for i in range(count):
        view = int(_draw(views.shape[1], generator))
        top, left = _corner(views[i, view, 3], settings, generator)
        crop = views[i, view, :, top : top + size, left : left + size]
        y, x = torch.meshgrid(
            torch.arange(top, top + size, stride, device=views.device) + stride / 2,
            torch.arange(left, left + size, stride, device=views.device) + stride / 2,
            indexing="ij",
        )
        matrix = camera_to_world[i, view].float()
        origins, directions = cameras.pixel_rays(matrix, intrinsics[i, view].float(), x, y)
        rgb = crop[:3] * crop[3:] + (1 - crop[3:])
        found.append((rgb, crop[3], origins.reshape(-1, 3), directions.reshape(-1, 3)))
    return Patches(*(torch.stack(parts) for parts in zip(*found, strict=True)))


def _draw(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(count, (), generator=generator, device=generator.device)


def _corner(alpha: Tensor, settings: PatchSettings, generator: torch.Generator) -> tuple[int, int]:
    """Top left pixel of a patch centred on a random opaque pixel, moved inside the view."""
    height, width = alpha.shape
    rows, columns = (alpha > 0).nonzero(as_tuple=True)
    chance = float(torch.rand((), generator=generator, device=generator.device))
    row, column = height // 2, width // 2
    if len(rows):
        if chance < settings.face_share:
            keep = rows <= (rows.min() + rows.max()) // 2
            rows, columns = rows[keep], columns[keep]
        pick = int(_draw(len(rows), generator))
        row, column = int(rows[pick]), int(columns[pick])
    half = settings.size // 2
    top = min(max(row - half, 0), height - settings.size)
    left = min(max(column - half, 0), width - settings.size)
    return top, left


def render_patches(
    planes: Tensor,
    reference: Tensor,
    decoder: TriplaneDecoder,
    patches: Patches,
    samples: int,
    occupancy: int,
    generator: torch.Generator,
) -> RenderOutput:
    """Render planes (B, 3, C, R, R) at the rays of the patches, p x p of them a patch.

    Returns images: rgb (B, 3, p, p) over white, alpha (B, p, p), depth (B, p, p) along the rays.
    Space that is empty in the true planes `reference`, on a grid of `occupancy` voxels along the
    box, is skipped (0 = none): the loss on planes cares for it. Differentiable in planes.
    """
    grid = None
    if occupancy:
        grid = occupancies.from_density(reference, decoder, occupancy)
    on_device = generator if generator.device == planes.device else None
    out = render(
        planes,
        decoder,
        patches.origins,
        patches.directions,
        samples=samples,
        occupancy=grid,
        background=1.0,
        generator=on_device,
    )
    side = math.isqrt(out.alpha.shape[1])
    shape = (side, side)
    return RenderOutput(
        out.rgb.transpose(1, 2).unflatten(2, shape),
        out.alpha.unflatten(1, shape),
        out.depth.unflatten(1, shape),
    )
