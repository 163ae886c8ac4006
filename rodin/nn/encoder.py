"""Latent of a portrait (Rodin, arXiv 2212.06135, section 4.2: z from the frontal view).

The encoder is trained with the base diffusion; eigenfaces or CLIP's, frozen, take its place where
`frozen` names them, and any other one by passing latents to the systems instead of portraits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rodin.clip import ClipPortraits, parts
from rodin.nn.eigenfaces import Eigenfaces

EIGENFACES = "eigenfaces"


@dataclass(frozen=True)
class EncoderSettings:
    """Shape of the portrait encoder."""

    latent_dim: int = 512  # numbers in the latent
    width: int = 64  # channels after the first convolution, doubled at each halving up to 8 x
    size: int = 256  # portraits are resized to this many pixels, antialiased
    final_size: int = 4  # pixels left where the features are read out; size must halve down to it
    # in place of one trained along: eigenfaces, for few people; or clip:MODEL:FILE of open_clip
    frozen: str = ""

    def __post_init__(self) -> None:
        for name in ("latent_dim", "width", "size", "final_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"encoder.{name} is {getattr(self, name)}; it must be at least 1")
        ratio = self.size / self.final_size
        if ratio < 2 or not ratio.is_integer() or int(ratio) & (int(ratio) - 1):
            raise ValueError(
                f"encoder.size is {self.size} and final_size {self.final_size}; "
                "size must be final_size times 2, 4, 8, ..."
            )
        if self.frozen and self.frozen != EIGENFACES:
            parts(self.frozen)

    @property
    def halvings(self) -> int:
        """Strided convolutions from size down to final_size."""
        return (self.size // self.final_size).bit_length() - 1


def over_white(image: Tensor) -> Tensor:
    """Straight-alpha RGBA (B, 4, H, W) in [0, 1] over white, or RGB as it is -> (B, 3, H, W)."""
    if image.ndim != 4 or image.shape[1] not in {3, 4}:
        raise ValueError(f"portrait is {tuple(image.shape)}; expected (B, 4, H, W) or (B, 3, H, W)")
    if image.shape[1] == 3:
        return image
    colour, alpha = image[:, :3], image[:, 3:]
    return colour * alpha + (1 - alpha)


class PortraitEncoder(nn.Module):
    """Portrait (B, 4, H, W) RGBA or (B, 3, H, W) RGB in [0, 1] -> latent (B, D).

    The latent has zero mean and unit variance over its D numbers, so that zeros are no portrait's
    latent: they stand for "no condition". Of eigenfaces zeros are the mean portrait's.
    """

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.clip = self.faces = None
        if settings.frozen == EIGENFACES:
            self.faces = Eigenfaces(3 * settings.size**2, settings.latent_dim)
        elif settings.frozen:
            self.clip = ClipPortraits(settings.frozen, settings.latent_dim)
        if settings.frozen:
            return
        layers: list[nn.Module] = []
        channels = 3
        for i in range(settings.halvings):
            following = settings.width * min(2**i, 8)
            layers += [nn.Conv2d(channels, following, 4, stride=2, padding=1)]
            layers += [nn.GroupNorm(1, following), nn.SiLU()]
            channels = following
        self.features = nn.Sequential(*layers)
        self.project = nn.Linear(channels * settings.final_size**2, settings.latent_dim)
        self.normalise = nn.LayerNorm(settings.latent_dim, elementwise_affine=False)

    @torch.no_grad()
    def measure(self, portraits: Iterable[Tensor]) -> None:
        """What eigenfaces are of: portraits (C, H, W) of the training people."""
        if self.faces is None:
            raise ValueError("only eigenfaces are measured; set encoder.frozen to 'eigenfaces'")
        self.faces.measure(torch.cat([self._seen(each[None]).flatten(1) for each in portraits]))

    @property
    def deviations(self) -> Tensor:
        """Of the eigenfaces (D,), as shares of the first one's; 0 where none was measured."""
        if self.faces is None:
            raise ValueError("only eigenfaces have deviations")
        found = 1 / self.faces.basis.norm(dim=0)
        found = torch.where(found.isfinite(), found, 0.0)
        return found / found.amax().clamp_min(1e-12)

    def forward(self, portrait: Tensor) -> Tensor:
        if self.clip is not None:
            return self.clip(over_white(portrait))
        image = self._seen(portrait)
        if self.faces is not None:
            return self.faces(image.flatten(1))
        return self.normalise(self.project(self.features(2 * image - 1).flatten(1)))

    def _seen(self, portrait: Tensor) -> Tensor:
        size = self.settings.size
        image = over_white(portrait)
        if image.shape[-2:] != (size, size):
            image = functional.interpolate(
                image, (size, size), mode="bilinear", antialias=True, align_corners=False
            )
        return image
