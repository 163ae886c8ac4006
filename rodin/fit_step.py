"""One step of tri-plane fitting: the settings, and the loss of some subjects' planes.

Source: Rodin (arXiv 2212.06135) section 3.1, RodinHD (arXiv 2407.06938) section 3.1.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from rodin import losses, triplane
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.raybank import RayBank, place
from rodin.render import composite


class FitError(ValueError):
    """A fit that cannot start or must stop; the message names the value, the limit and the fix."""


@dataclass(frozen=True)
class FitSettings:
    """Every knob of both phases: the shared decoder and the fit of one avatar."""

    decoder: DecoderConfig = field(default_factory=DecoderConfig)  # its channels are the planes'
    resolution: int = 64  # texels a side of the planes
    pyramid_levels: int = 3  # sizes that planes are fitted as a sum of, each half the last
    base_resolution: int = 32  # smallest size that the decoder must render, texels a side
    held_out: int = 4  # views of an avatar that are only measured; never the portrait
    steps: int = 400  # steps of one avatar's fit, with the decoder frozen
    decoder_steps: int = 800  # steps of the joint fit of decoder and first planes
    subjects_per_step: int = 4  # subjects in a step of the joint fit
    rays_per_step: int = 2048  # rays in a step, of all its subjects together
    samples_per_ray: int = 8  # samples along the occupied stretch of a ray
    empty_points: int = 2048  # points of known empty space in a step, of all subjects together
    compact_points: int = 512  # points of the density-smoothness loss in a step
    occupancy_size: int = 64  # voxels a side of the carved grid
    use_depth: bool = True  # carve and place samples by depth, where the views have it
    depth_band: float = 0.06  # samples gather this near the surface, box units
    plane_rate: float = 2e-2  # Adam's learning rate for planes at the start
    plane_rate_end: float = 2e-3  # and at the end (cosine in between)
    decoder_rate: float = 4e-3  # Adam's learning rate for the decoder at the start
    decoder_rate_end: float = 4e-4  # and at the end
    alpha_weight: float = 0.3  # of the coverage loss
    smooth_weight: float = 1e-2  # of total variation
    sparse_weight: float = 1e-4  # of mean |plane|
    compact_weight: float = 1e-6  # of density smoothness
    compact_radius: float = 0.004  # its standard deviation, box units
    empty_weight: float = 0.3  # of the opacity of empty points
    empty_length: float = 0.1  # box units over which that opacity counts
    scale_probability: float = 0.5  # of steps that render planes at a random size
    feature_noise: float = 1e-3  # standard deviation of noise on planes in a step
    render_samples: int = 96  # samples along a ray through the box when measuring

    def __post_init__(self) -> None:
        limits = {
            "resolution": 4, "pyramid_levels": 1, "base_resolution": 4, "held_out": 1, "steps": 1,
            "decoder_steps": 1,
            "subjects_per_step": 1, "rays_per_step": 1, "samples_per_ray": 2, "empty_points": 0,
            "compact_points": 0, "occupancy_size": 8, "render_samples": 2,
        }  # fmt: skip
        for name, low in limits.items():
            if getattr(self, name) < low:
                raise FitError(f"{name} is {getattr(self, name)}; use at least {low}")
        if self.base_resolution > self.resolution:
            raise FitError(
                f"base_resolution {self.base_resolution} is over resolution {self.resolution};"
                " lower it"
            )
        if self.resolution % 2 ** (self.pyramid_levels - 1):
            raise FitError(
                f"resolution {self.resolution} cannot be halved {self.pyramid_levels - 1} times;"
                " lower pyramid_levels"
            )
        if not 0 <= self.scale_probability <= 1:
            raise FitError(f"scale_probability is {self.scale_probability}; use 0 to 1")

    def digest(self) -> str:
        """sha256 (hex) of all settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def rate(start: float, end: float, progress: float) -> float:
    """Cosine from start to end for progress in [0, 1], after a warm-up over the first 2 %."""
    cosine = end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
    return cosine * min(1.0, 0.1 + progress / 0.02)


def adam(groups: list[dict]) -> torch.optim.Adam:
    """The optimiser of both phases: gradients of planes are tiny, so epsilon is too."""
    return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)


def pyramid(start: Tensor, settings: FitSettings) -> list[Tensor]:
    """Parameters of one subject: start (3, C, R, R) and zeros of R / 2, R / 4 ... (3, C, r, r).

    Planes are their sum. Every ray then moves the coarse sizes, so smooth structure is found in
    few steps and texels that no ray has met stay consistent with their neighbours.
    """
    sizes = [settings.resolution >> level for level in range(settings.pyramid_levels)]
    levels = [start.detach().clone()]
    levels += [start.new_zeros(*start.shape[:2], size, size) for size in sizes[1:]]
    return [level.requires_grad_() for level in levels]


def compose(levels: list[Tensor]) -> Tensor:
    """The planes (3, C, R, R) of a `pyramid`."""
    planes = levels[-1][None]
    for level in reversed(levels[:-1]):
        planes = triplane.resize(planes, level.shape[-1]) + level
    return planes[0]


def random_scale(planes: Tensor, settings: FitSettings, generator: torch.Generator) -> Tensor:
    """Rodin's random scaling: planes at a random size in [base_resolution, resolution].

    One decoder then renders low-resolution and full planes alike. Half of the scaled steps use
    base_resolution itself, where the base diffusion works.
    """
    draw, kind = torch.rand(2, generator=generator).tolist()
    low, high = settings.base_resolution, settings.resolution
    size = int(torch.randint(low, high + 1, (1,), generator=generator))
    if draw >= settings.scale_probability:
        return planes
    return triplane.resize(planes, low if kind < 0.5 else size)


def losses_of(
    planes: Tensor,
    decoder: TriplaneDecoder,
    banks: list[RayBank],
    settings: FitSettings,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Loss terms of planes (B, 3, C, R, R) of B subjects; "total" is their weighted sum."""
    scaled = random_scale(planes, settings, generator)
    if settings.feature_noise:
        noise = torch.randn(scaled.shape, generator=generator)
        scaled = scaled + settings.feature_noise * noise
    count = max(1, settings.rays_per_step // len(banks))
    batches = [bank.batch(count, generator) for bank in banks]
    places = [
        place(batch, settings.samples_per_ray, settings.depth_band, generator) for batch in batches
    ]
    distance, delta = (torch.stack(parts) for parts in zip(*places, strict=True))
    out = composite(
        scaled,
        decoder,
        torch.stack([batch.origins for batch in batches]),
        torch.stack([batch.directions for batch in batches]),
        distance,
        delta,
        torch.ones_like(distance, dtype=torch.bool),
        background=1.0,
    )
    terms = {
        "pixel": losses.photometric(out.rgb, torch.stack([batch.rgb for batch in batches])),
        "alpha": losses.alpha(out.alpha, torch.stack([batch.alpha for batch in batches])),
        "smooth": losses.smooth(planes),
        "sparse": losses.sparse(planes),
    }
    terms |= _point_losses(scaled, decoder, banks, settings, generator)
    terms["total"] = terms["pixel"] + sum(
        getattr(settings, f"{name}_weight") * value
        for name, value in terms.items()
        if name != "pixel"
    )
    return terms


def _point_losses(
    planes: Tensor,
    decoder: TriplaneDecoder,
    banks: list[RayBank],
    settings: FitSettings,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The losses on single points, decoded in one go: known empty space, density smoothness."""
    empties = settings.empty_points // len(banks) // 2 * 2
    pairs = settings.compact_points // len(banks)
    points = []
    for bank in banks:
        empty = bank.empty_points(empties, generator)
        anywhere = torch.rand(pairs, 3, generator=generator) * 2 - 1
        step = torch.randn(pairs, 3, generator=generator) * settings.compact_radius
        points.append(torch.cat((empty, anywhere, anywhere + step)))
    if len({len(part) for part in points}) > 1 or not len(points[0]):
        return {}
    sigma = decoder.sigma(triplane.sample(planes, torch.stack(points)))
    at, near = sigma[:, -2 * pairs : -pairs], sigma[:, -pairs:]
    terms = {}
    if empties:
        terms["empty"] = losses.empty(sigma[:, : sigma.shape[1] - 2 * pairs], settings.empty_length)
    if pairs:
        terms["compact"] = losses.compact(at, near)
    return terms


def check_finite(terms: dict[str, Tensor], step: int) -> None:
    """Stop before the optimiser is given a loss that is NaN or infinite."""
    total = float(terms["total"].detach())
    if not math.isfinite(total):
        bad = [
            name
            for name, value in terms.items()
            if name != "total" and not math.isfinite(float(value.detach()))
        ]
        raise FitError(
            f"the loss is {total} at step {step} ({', '.join(bad)}); lower plane_rate or"
            " decoder_rate"
        )
