"""Settings of both phases of tri-plane fitting, and what follows from them for a step.

Source: Rodin (arXiv 2212.06135) section 3.1, RodinHD (arXiv 2407.06938) section 3.1.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field

import torch

from rodin.decoder import DecoderConfig


class FitError(ValueError):
    """A fit that cannot start or must stop; the message names the value, the limit and the fix."""


@dataclass(frozen=True)
class FitSettings:
    """Every knob of both phases: the shared decoder and the fit of one avatar."""

    decoder: DecoderConfig = field(default_factory=DecoderConfig)  # its channels are the planes'
    resolution: int = 64  # texels a side of the planes
    base_resolution: int = 32  # smallest size that the decoder must render, texels a side
    held_out: int = 4  # views of an avatar that are only measured; never the portrait
    steps: int = 400  # steps of one avatar's fit, with the decoder frozen
    decoder_steps: int = 800  # steps of the joint fit of decoder and first planes
    subjects_per_step: int = 4  # subjects in a step of the joint fit
    rays_per_step: int = 2048  # rays of a step: of one avatar's fit, of all subjects of a joint one
    samples_per_ray: int = 8  # samples along the occupied stretch of a ray
    empty_points: int = 2048  # points of known empty space in a step, counted like the rays
    compact_points: int = 512  # points of the density-smoothness loss in a step, likewise
    occupancy_size: int = 64  # voxels a side of the carved grid
    use_depth: bool = True  # carve and place samples by depth, where the views have it
    depth_band: float = 0.1  # samples of a ray end this far from the surface, box units
    surface_band: float = 0.04  # half of them lie this near to it
    plane_rate: float = 4e-2  # Adam's learning rate for planes at the start
    plane_rate_end: float = 2e-3  # and at the end (cosine in between)
    decoder_rate: float = 4e-3  # Adam's learning rate for the decoder at the start
    decoder_rate_end: float = 4e-4  # and at the end
    alpha_weight: float = 0.3  # of the coverage loss
    smooth_weight: float = 0.3  # of total variation: less leaves noise that a diffusion must learn
    sparse_weight: float = 1e-4  # of mean |plane|
    # of the mean square of what a fit changes of the planes it begins at, with the decoder frozen:
    # without it most of what differs between people's planes is never seen (docs/benchmarks.md)
    anchor_weight: float = 0.1
    compact_weight: float = 1e-6  # of density smoothness
    compact_radius: float = 0.004  # its standard deviation, box units
    empty_weight: float = 0.3  # of the opacity of empty points
    empty_length: float = 0.1  # box units over which that opacity counts
    scale_probability: float = 0.5  # of steps that render planes at a random size
    feature_noise: float = 1e-3  # standard deviation of noise on features, in the joint fit
    check_every: int = 0  # steps between measurements of the held-out views; 0: at the end only
    stop_psnr: float = 0.0  # dB of the held-out views at which a fit ends early; 0: never
    render_samples: int = 96  # samples along a ray through the box when measuring

    def __post_init__(self) -> None:
        limits = {
            "resolution": 4, "base_resolution": 4, "held_out": 1, "steps": 1,
            "decoder_steps": 1,
            "subjects_per_step": 1, "rays_per_step": 1, "samples_per_ray": 2, "empty_points": 0,
            "compact_points": 0, "occupancy_size": 8, "render_samples": 2, "check_every": 0,
        }  # fmt: skip
        for name, low in limits.items():
            if getattr(self, name) < low:
                raise FitError(f"{name} is {getattr(self, name)}; use at least {low}")
        if self.base_resolution > self.resolution:
            raise FitError(
                f"base_resolution {self.base_resolution} is over resolution {self.resolution};"
                " lower it"
            )
        if not 0 <= self.scale_probability <= 1:
            raise FitError(f"scale_probability is {self.scale_probability}; use 0 to 1")
        if self.stop_psnr and not self.check_every:
            raise FitError(f"stop_psnr is {self.stop_psnr} dB and check_every 0; set check_every")

    def digest(self) -> str:
        """sha256 (hex) of all settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def rate(start: float, end: float, progress: float) -> float:
    """Cosine from start to end for progress in [0, 1], after a warm-up over the first 2 %."""
    cosine = end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
    return cosine * min(1.0, 0.1 + progress / 0.02)


def render_size(settings: FitSettings, generator: torch.Generator) -> int:
    """Rodin's random scaling: the size, in texels a side, at which a step renders planes.

    One decoder then renders low-resolution and full planes alike. Half of the scaled steps use
    base_resolution itself, where the base diffusion works.
    """
    draw, kind = torch.rand(2, generator=generator).tolist()
    low, size = settings.base_resolution, settings.resolution
    other = int(torch.randint(low, size + 1, (1,), generator=generator))
    if draw >= settings.scale_probability:
        return size
    return low if kind < 0.5 else other
