"""Latent of a portrait (Rodin, arXiv 2212.06135, section 4.2: z from the frontal view).

The encoder is trained with the base diffusion; CLIP's, frozen, takes its place where `frozen` names
it, and any other one by passing latents to the systems instead of portraits.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from rodin.clip import ClipPortraits, parts


@dataclass(frozen=True)
class EncoderSettings:
    """Shape of the portrait encoder."""

    latent_dim: int = 512  # numbers in the latent
    width: int = 64  # channels after the first convolution, doubled at each halving up to 8 x
    size: int = 256  # portraits are resized to this many pixels, antialiased
    final_size: int = 4  # pixels left where the features are read out; size must halve down to it
    # clip:MODEL:FILE of open_clip: its image encoder, frozen, in place of one trained along
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
        if self.frozen:
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
    latent: they stand for "no condition".
    """

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.clip = ClipPortraits(settings.frozen, settings.latent_dim) if settings.frozen else None
        if self.clip is not None:
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

    def forward(self, portrait: Tensor) -> Tensor:
        size = self.settings.size
        image = over_white(portrait)
        if self.clip is not None:
            return self.clip(image)
        if image.shape[-2:] != (size, size):
            image = functional.interpolate(
                image, (size, size), mode="bilinear", antialias=True, align_corners=False
            )
        return self.normalise(self.project(self.features(2 * image - 1).flatten(1)))
