"""From latents or portraits to planes: the base, then the upsampler (Rodin, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rodin.diffusion.base import BaseSystem
from rodin.diffusion.sampling import Noise, SamplerSettings, sample
from rodin.diffusion.upsampler import UpsamplerSystem


@dataclass(frozen=True)
class GenerateSettings:
    """How avatars are drawn."""

    base: SamplerSettings = field(default_factory=SamplerSettings)  # low-resolution planes
    upsampler: SamplerSettings = field(default_factory=lambda: SamplerSettings(steps=10))  # high
    strength: float = 0.2  # how spoilt the upsampler takes the base's planes for, in [0, 1]
    batch: int = 8  # avatars made at a time: memory, not result

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"generate.batch is {self.batch}; it must be at least 1")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"generate.strength is {self.strength}; it must lie in [0, 1]")
        if self.upsampler.guidance != 1:
            raise ValueError(
                f"generate.upsampler.guidance is {self.upsampler.guidance}; the upsampler has no "
                "latent to guide by: leave it at 1"
            )


@torch.no_grad()
def encode_portraits(base: BaseSystem, portraits: Tensor) -> Tensor:
    """Portraits (B, 4, P, P) RGBA or (B, 3, P, P) RGB in [0, 1] -> latents (B, D)."""
    device = base.statistics.mean.device
    return base.eval().encode(portraits.to(device))


def gaussian_latent(latents: Tensor, seed: int, spread: float) -> Tensor:
    """A draw (D,) from N(mean, spread^2 covariance) of latents (N, D), as its seed says."""
    mean = latents.mean(0)
    # Without forming the covariance.
    weights = torch.randn(len(latents), generator=torch.Generator().manual_seed(seed))
    scale = spread / max(1, len(latents) - 1) ** 0.5
    return mean + scale * weights @ (latents - mean)


@torch.no_grad()
def generate(
    base: BaseSystem,
    upsampler: UpsamplerSystem | None,
    seeds: Sequence[int],
    *,
    latents: Tensor | None = None,
    settings: GenerateSettings | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Tensor:
    """Raw planes (len(seeds), 3, C, R, R), float32 on the CPU, one avatar per seed.

    latents (len(seeds), D), None = unconditional. Without an upsampler the planes have the base's
    size. `progress` gets (stage, network steps done, steps in all). Avatar i depends on seed i and
    latent i alone. The systems are put in evaluation mode. ValueError when counts differ.
    """
    settings = settings or GenerateSettings()
    if latents is not None and len(latents) != len(seeds):
        raise ValueError(f"generate got {len(latents)} latents for {len(seeds)} seeds; match them")
    low_size = base.settings.size
    if upsampler is not None and upsampler.settings.low_size != low_size:
        raise ValueError(
            f"the upsampler starts from planes of {upsampler.settings.low_size} texels but the "
            f"base makes {low_size}; use systems that were trained for each other"
        )
    if not len(seeds):
        raise ValueError("generate got no seeds; give one per avatar")
    base.eval()
    device = base.statistics.mean.device
    made = []
    for start in range(0, len(seeds), settings.batch):
        part = slice(start, start + settings.batch)
        noise = Noise(seeds[part], device)
        latent = None if latents is None else latents[part].to(device)
        planes = sample(
            base.denoiser(latent, settings.base.guidance, settings.base.guidance_interval),
            base.schedule,
            base.plane_shape,
            noise,
            settings.base,
            progress=_named(progress, "base", start, noise, len(seeds), settings.base.steps),
        )
        planes = base.statistics.denormalise(planes)
        if upsampler is not None:
            upsampler.eval()
            planes = sample(
                upsampler.denoiser(planes, settings.strength),
                upsampler.schedule,
                upsampler.plane_shape,
                noise,
                settings.upsampler,
                progress=_named(
                    progress, "upsampler", start, noise, len(seeds), settings.upsampler.steps
                ),
            )
            planes = upsampler.statistics.denormalise(planes)
        made.append(planes.float().cpu())
    return torch.cat(made)


def _named(
    progress: Callable[[str, int, int], None] | None,
    stage: str,
    start: int,
    noise: Noise,
    count: int,
    steps: int,
) -> Callable[[int, int], None] | None:
    """Progress of one batch as progress over all avatars, in avatar steps."""
    if progress is None:
        return None

    def report(done: int, _: int) -> None:
        progress(stage, start * steps + done * len(noise), count * steps)

    return report
