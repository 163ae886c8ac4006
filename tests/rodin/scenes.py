"""Analytic heads: ellipsoids with textures, ray-traced exactly, for tests that need no Blender.

A head is a list of ellipsoids in the avatar frame. Rays are intersected in closed form, so alpha
and depth are exact up to supersampling, and a test can ask for the true surface.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rodin import cameras
from rodin.fit import Views


@dataclass(frozen=True)
class Ellipsoid:
    """centre and radii in box units; `keep` is a half space (normal, offset) that cuts it."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    colour: tuple[float, float, float]
    texture: str = "plain"
    keep: tuple[tuple[float, float, float], float] | None = None


def head(seed: int) -> list[Ellipsoid]:
    """A bust with skull, neck, torso, nose, ears, eyes, mouth and hair, varied by the seed."""
    generator = torch.Generator().manual_seed(seed)

    def pick(low: float, high: float) -> float:
        return low + (high - low) * torch.rand(1, generator=generator).item()

    tone = pick(0.35, 0.85)
    skin = (tone, tone * pick(0.72, 0.8), tone * pick(0.55, 0.68))
    hair = (pick(0.05, 0.6), pick(0.05, 0.35), pick(0.02, 0.2))
    shirt = (pick(0.1, 0.9), pick(0.1, 0.9), pick(0.1, 0.9))
    iris = (pick(0.1, 0.4), pick(0.2, 0.5), pick(0.2, 0.7))
    wide, deep, tall = pick(0.28, 0.35), pick(0.36, 0.42), pick(0.42, 0.48)
    up = 0.22
    parts = [
        Ellipsoid((0, up, 0), (wide, tall, deep), skin, "skin"),
        Ellipsoid((0, -0.3, -0.05), (0.17, 0.3, 0.17), skin, "skin"),
        Ellipsoid((0, -0.95, -0.05), (0.8, 0.5, 0.36), shirt, "stripes", ((0, 1, 0), -0.92)),
        Ellipsoid((0, up - 0.08, deep), (0.06, 0.12, 0.1), skin, "skin"),
        Ellipsoid(
            (0, up + 0.06, -0.05), (wide + 0.06, tall, deep), hair, "hair", ((0, 0.8, -0.6), 0.2)
        ),
    ]
    for side in (-1, 1):
        parts.append(Ellipsoid((side * wide, up - 0.02, -0.02), (0.05, 0.12, 0.08), skin, "skin"))
        eye = (side * 0.12, up + 0.04, deep * 0.86)
        parts.append(Ellipsoid(eye, (0.065, 0.05, 0.06), iris, "eye"))
    parts.append(Ellipsoid((0, up - 0.26, deep * 0.78), (0.11, 0.035, 0.06), (0.6, 0.2, 0.2)))
    return parts


def render(
    parts: list[Ellipsoid], camera_to_world: Tensor, intrinsics: Tensor, size: int, samples: int = 3
) -> Views:
    """Views (V) of a head: straight-alpha sRGB and the depth of the nearest hit a pixel."""
    fine = intrinsics.clone()
    fine[..., :2, :] *= samples
    rgba, depth = [], []
    for matrix, intrinsic in zip(camera_to_world, fine, strict=True):
        colour, alpha, distance = _trace(parts, matrix, intrinsic, size * samples)
        blocks = (size, samples, size, samples)
        alpha = alpha.view(blocks).permute(0, 2, 1, 3).flatten(2)
        colour = colour.view(*blocks, 3).permute(0, 2, 1, 3, 4).flatten(2, 3)
        distance = distance.view(blocks).permute(0, 2, 1, 3).flatten(2)
        coverage = alpha.mean(-1, keepdim=True)
        mean = (colour * alpha[..., None]).sum(2) / alpha.sum(-1, keepdim=True).clamp_min(1)
        rgba.append(torch.cat((mean, coverage), -1))
        nearest = distance.where(alpha > 0, torch.inf).amin(-1)
        depth.append(nearest.where(coverage[..., 0] > 0, 0))
    image = (torch.stack(rgba) * 255).round().clamp(0, 255).to(torch.uint8)
    return Views(
        rgba=image.numpy(),
        camera_to_world=camera_to_world.numpy(),
        intrinsics=intrinsics.numpy(),
        depth=torch.stack(depth).numpy(),
    )


def views(seed: int = 0, count: int = 16, size: int = 64, samples: int = 3) -> Views:
    """Views of head `seed`: the first frontal, the others spread around it."""
    golden = 180 * (3 - math.sqrt(5))
    index = torch.arange(count)
    azimuth = index * golden
    elevation = -25 + 75 * ((index * 0.618034) % 1.0)
    elevation[0] = 0
    camera_to_world = cameras.orbit(azimuth, elevation)
    intrinsics = cameras.intrinsics_from_fov(size, size).expand(count, 3, 3).clone()
    return render(head(seed), camera_to_world, intrinsics, size, samples)


def _trace(
    parts: list[Ellipsoid], matrix: Tensor, intrinsics: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    origins, directions = cameras.rays(matrix, intrinsics, size, size)
    nearest = torch.full(origins.shape[:-1], torch.inf)
    colour = torch.zeros_like(origins)
    for part in parts:
        centre, radii = torch.tensor(part.centre), torch.tensor(part.radii)
        o, d = (origins - centre) / radii, directions / radii
        a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
        root = b * b - a * c
        for sign in (-1, 1):
            t = (-b + sign * root.clamp_min(0).sqrt()) / a
            point = origins + t[..., None] * directions
            hit = (root > 0) & (t < nearest) & (point.abs() <= 1).all(-1)
            if part.keep is not None:
                hit &= (point * torch.tensor(part.keep[0])).sum(-1) > part.keep[1]
            shaded = _shade(part, point, (point - centre) / radii**2)
            nearest = t.where(hit, nearest)
            colour = shaded.where(hit[..., None], colour)
    alpha = torch.isfinite(nearest)
    depth = nearest * (directions @ matrix[:3, 2])
    return colour, alpha.float(), depth.where(alpha, torch.inf)


def _shade(part: Ellipsoid, point: Tensor, normal: Tensor) -> Tensor:
    base = torch.tensor(part.colour).expand_as(point)
    x, y, z = point.unbind(-1)
    if part.texture == "stripes":
        base = base * (0.75 + 0.25 * (y * 60).sin().sign())[..., None]
    elif part.texture == "hair":
        wave = (x * 70 + 4 * (y * 9).sin()).sin() * (z * 50 + y * 30).cos()
        base = base * (1 + 0.35 * wave)[..., None]
    elif part.texture == "skin":
        blush = 0.12 * torch.exp(-((x.abs() - 0.17) ** 2 + (y - 0.1) ** 2) / 0.006) * (z > 0)
        base = base * (1 + 0.03 * (x * 23).sin() * (y * 31).cos())[..., None]
        base = base + blush[..., None] * torch.tensor((1.0, -0.3, -0.2))
    elif part.texture == "eye":
        offset = torch.stack((x.abs() - 0.12, y - 0.26), -1).norm(dim=-1)
        white = (offset > 0.033) & (offset < 1)
        base = base.where(~white[..., None], torch.tensor((0.95, 0.95, 0.93)))
        base = base.where((offset > 0.014)[..., None], torch.tensor((0.02, 0.02, 0.02)))
    light = torch.nn.functional.normalize(torch.tensor((0.4, 0.7, 0.8)), dim=0)
    normal = torch.nn.functional.normalize(normal, dim=-1)
    return base * (0.55 + 0.45 * (normal @ light).clamp_min(0))[..., None]
