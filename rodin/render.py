"""Volume rendering of tri-planes, over the occupied part of each ray only.

Legend: B batch, N rays, S samples along a ray, M samples of all rays that fall in occupied space.
Source: Rodin (arXiv 2212.06135) section 3.1 with NeRF's quadrature (Mildenhall 2020, eq. 3):
C = sum_i T_i (1 - exp(-sigma_i delta_i)) c_i,  T_i = exp(-sum_{j<i} sigma_j delta_j).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rodin import cameras, triplane
from rodin import occupancy as occupancies
from rodin.decoder import TriplaneDecoder


@dataclass(frozen=True)
class RenderOutput:
    """rgb (..., 3) over the background, alpha (...) and depth (...): see the function."""

    rgb: Tensor
    alpha: Tensor
    depth: Tensor


def box_span(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays (..., 3) enter and leave the unit box: distances (...), equal on a miss."""
    inverse = 1 / directions.where(directions.abs() > 1e-9, 1e-9)
    a, b = (-1 - origins) * inverse, (1 - origins) * inverse
    near = torch.minimum(a, b).amax(-1).clamp_min(0)
    far = torch.maximum(a, b).amin(-1)
    return near, torch.maximum(near, far)


def render(
    planes: Tensor,
    decoder: TriplaneDecoder,
    origins: Tensor,
    directions: Tensor,
    *,
    samples: int,
    occupancy: Tensor | None = None,
    background: float = 1.0,
    generator: torch.Generator | None = None,
) -> RenderOutput:
    """Render rays (B, N, 3) of planes (B, 3, C, H, W); directions have unit length.

    Each ray's way through the box is cut into `samples` equal steps, with a sample at the middle of
    each, or at a random place in it when a generator is given. Samples outside `occupancy`
    (bool (B, G, G, G)) are skipped. Returns rgb (B, N, 3) over a grey `background`, alpha (B, N)
    and depth (B, N): the expected distance along the ray, 0 where alpha is 0. Differentiable in
    planes and decoder. Raises ValueError for shapes that do not fit.
    """
    if origins.shape != directions.shape or origins.ndim != 3 or len(origins) != len(planes):
        raise ValueError(
            f"rays are {tuple(origins.shape)} and {tuple(directions.shape)} for {len(planes)} tri-"
            "planes; pass origins and directions (B, N, 3)"
        )
    _check_samples(samples)
    with torch.no_grad():
        near, far = box_span(origins, directions)
        step = (far - near) / samples
        place = torch.full((*near.shape, samples), 0.5, dtype=near.dtype, device=near.device)
        if generator is not None:
            shape = place.shape
            place = torch.rand(shape, generator=generator, dtype=near.dtype, device=near.device)
        place += torch.arange(samples, dtype=near.dtype, device=near.device)
        distance = near[..., None] + place * step[..., None]
        used = (step > 0)[..., None].expand(distance.shape)
        if occupancy is not None:
            points = origins[..., None, :] + distance[..., None] * directions[..., None, :]
            used = used & occupancies.lookup(occupancy, points.flatten(1, 2)).view(used.shape)
        delta = step[..., None].expand(distance.shape)
    return composite(
        planes, decoder, origins, directions, distance, delta, used, background=background
    )


def _check_samples(samples: int) -> None:
    if samples < 1:
        raise ValueError(f"samples is {samples}; take at least 1 along a ray")


def composite(
    planes: Tensor,
    decoder: TriplaneDecoder,
    origins: Tensor,
    directions: Tensor,
    distance: Tensor,
    delta: Tensor,
    used: Tensor,
    *,
    background: float,
) -> RenderOutput:
    """NeRF's quadrature over given samples: distance, delta, used (B, N, S), sorted along the ray.

    Only samples that are `used` are decoded. Returns as `render`.
    """
    batch, count, steps = distance.shape
    rgb, sigma, ray = _decode(planes, decoder, origins, directions, distance, used)
    optical = torch.zeros(batch * count * steps, dtype=sigma.dtype, device=sigma.device)
    where = used.flatten().nonzero()[:, 0]
    optical = optical.index_put((where,), sigma * delta.reshape(-1)[where])
    weights, alpha = _weights(optical.view(-1, steps))
    colour = torch.zeros(batch * count, 3, dtype=rgb.dtype, device=rgb.device)
    colour = colour.index_add(0, ray, weights.reshape(-1)[where][:, None] * rgb)
    colour = colour + background * (1 - alpha)[:, None]
    depth = (weights * distance.view(-1, steps)).sum(1) / alpha.clamp_min(1e-6)
    shape = (batch, count)
    return RenderOutput(colour.view(*shape, 3), alpha.view(shape), depth.view(shape))


def quadrature(
    rgb: Tensor, sigma: Tensor, distance: Tensor, delta: Tensor, background: float = 1.0
) -> RenderOutput:
    """NeRF's quadrature of decoded samples: rgb (..., S, 3), the others (..., S), sorted."""
    weights, alpha = _weights(sigma * delta)
    colour = (weights[..., None] * rgb).sum(-2) + background * (1 - alpha)[..., None]
    depth = (weights * distance).sum(-1) / alpha.clamp_min(1e-6)
    return RenderOutput(colour, alpha, depth)


def _weights(optical: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (..., S) of samples with optical thickness (..., S), and alpha (...)."""
    # weight_i = T_i - T_{i+1}: they sum to 1 - T_end, at most 1, by construction.
    passed = torch.exp(-torch.cat((torch.zeros_like(optical[..., :1]), optical.cumsum(-1)), -1))
    return passed[..., :-1] - passed[..., 1:], 1 - passed[..., -1]


def _decode(
    planes: Tensor,
    decoder: TriplaneDecoder,
    origins: Tensor,
    directions: Tensor,
    distance: Tensor,
    used: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """rgb (M, 3), sigma (M,) and ray index (M,) of the used samples, in order."""
    batch, count, steps = distance.shape
    height, width = planes.shape[-2:]
    features, rays = [], []
    for item in range(batch):
        where = used[item].flatten().nonzero()[:, 0]
        ray = torch.div(where, steps, rounding_mode="floor")
        way = distance[item].reshape(-1)[where][:, None] * directions[item][ray]
        points = (origins[item][ray] + way)[None]
        features.append(triplane.sample(planes[item : item + 1], points)[0])
        rays.append(ray + item * count)
    assert height and width
    ray = torch.cat(rays)
    view = directions.flatten(0, 1)[ray] if decoder.config.direction_frequencies else None
    rgb, sigma = decoder(torch.cat(features), view)
    return rgb, sigma, ray


@torch.no_grad()
def render_image(
    planes: Tensor,
    decoder: TriplaneDecoder,
    camera_to_world: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    *,
    samples: int = 96,
    background: float = 1.0,
    occupancy: Tensor | None = None,
    chunk: int = 16384,
) -> RenderOutput:
    """Render one camera's image of planes (3, C, H, W), without gradients.

    camera_to_world (4, 4), intrinsics (3, 3). `occupancy` (G, G, G) is made from the density when
    None; pass `occupancy.from_density(...)` when rendering many views. Returns rgb (H, W, 3), alpha
    (H, W) and depth (H, W) along camera z, 0 where alpha is under 1/2. What `march.UNSEEN` hides is
    left out; otherwise as `render`.
    """
    from rodin.march import march, stretch

    _check_samples(samples)
    if occupancy is None:
        occupancy = occupancies.from_density(planes[None], decoder)[0]
    camera_to_world, intrinsics = camera_to_world.to(planes), intrinsics.to(planes)
    origins, directions = (
        rays.reshape(-1, 3) for rays in cameras.rays(camera_to_world, intrinsics, height, width)
    )
    start, end = box_span(origins, directions)
    step = (end - start) / samples
    along = directions @ camera_to_world[:3, 2]  # depth that a unit of distance brings
    first, last = (
        ((depth.flatten() / along - start) / step.clamp_min(1e-9)).clamp(-1, samples).floor().long()
        for depth in stretch(occupancy, camera_to_world, intrinsics, height, width)
    )
    first, last = first.clamp_min(0), (last + 1).clamp_max(samples).where(step > 0, 0)
    look = triplane.reader(planes)
    parts = [
        march(look, decoder, origins[part], directions[part], step[part], start[part],
              first[part], last[part], occupancy)
        for part in (slice(at, at + chunk) for at in range(0, height * width, chunk))
    ]  # fmt: skip
    rgb, passed, depth = (torch.cat(part) for part in zip(*parts, strict=True))
    alpha = 1 - passed
    rgb = (rgb + background * passed[:, None]).view(height, width, 3)
    depth = depth / alpha.clamp_min(1e-6) * along
    alpha = alpha.view(height, width)
    return RenderOutput(rgb, alpha, depth.view(height, width).where(alpha >= 0.5, 0))
