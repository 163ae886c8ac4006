"""Networks of the refiner (Rodin, arXiv 2212.06135, section 4.4): volume render to a larger image.

Legend: B images, h x w rendered pixels, H = f h and W = f w refined ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

INPUTS = 5  # rgb over white, alpha, depth
OUTPUTS = 4  # rgb over white, alpha


@dataclass(frozen=True)
class RefinerNetSettings:
    """Shape of the refiner. The defaults are 0.8 M parameters."""

    factor: int = 2  # refined pixels a rendered pixel, along an axis: 1, 2, 4 or 8
    width: int = 64  # channels
    blocks: int = 8  # residual blocks, all at the rendered size
    depth_input: bool = True  # sees the depth; without it colour and alpha alone

    def __post_init__(self) -> None:
        if self.factor not in (1, 2, 4, 8):
            raise ValueError(f"refiner.net.factor is {self.factor}; use 1, 2, 4 or 8")
        for name in ("width", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"refiner.net.{name} is {getattr(self, name)}; use at least 1")


class _Block(nn.Module):
    """Two convolutions and a skip, without normalisation: colours must stay (EDSR, section 3.1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.second(functional.silu(self.first(x)))


class RefinerNet(nn.Module):
    """rgb, alpha and depth of a render to rgb and alpha of f times the size: see `forward`.

    A correction to the render resized: an untrained network is the bilinear upsampling.
    """

    def __init__(self, settings: RefinerNetSettings) -> None:
        super().__init__()
        self.settings = settings
        width, factor = settings.width, settings.factor
        self.stem = nn.Conv2d(INPUTS, width, 3, padding=1)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(settings.blocks)))
        up: list[nn.Module] = []
        for _ in range(factor.bit_length() - 1):
            up += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.SiLU()]
        self.up = nn.Sequential(*up)
        self.head = nn.Conv2d(width, OUTPUTS, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, rgb: Tensor, alpha: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """rgb (B, 3, h, w) over white and alpha (B, h, w) in [0, 1], depth (B, h, w) in box units
        from the middle of the box towards the camera, 0 outside the avatar.

        Returns rgb (B, 3, H, W) over white and alpha (B, H, W), not clamped.
        """
        if rgb.ndim != 4 or rgb.shape[1] != 3 or alpha.shape != depth.shape:
            raise ValueError(
                f"the refiner got rgb {tuple(rgb.shape)}, alpha {tuple(alpha.shape)}, depth "
                f"{tuple(depth.shape)}; expected (B, 3, h, w) and twice (B, h, w)"
            )
        depth = depth if self.settings.depth_input else torch.zeros_like(depth)
        rendered = torch.cat([rgb, alpha[:, None]], 1)
        x = self.stem(torch.cat([2 * rendered - 1, depth[:, None]], 1))
        correction = self.head(self.up(x + self.blocks(x)))
        size = correction.shape[-2:]
        resized = functional.interpolate(rendered, size, mode="bilinear", align_corners=False)
        out = resized + correction.float()
        return out[:, :3], out[:, 3]


class FeatureDiscriminator(nn.Module):
    """Real or refined, said of each place of a pretrained network's features at several depths.

    What the network knows of pictures need not be learned from a few people's (Projected GANs,
    arXiv 2111.01007, section 3). Spectral norms keep it smooth (arXiv 1802.05957).
    """

    def __init__(self, channels: Sequence[int], width: int = 64) -> None:
        """`channels` of the features of each depth."""
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(count, width, 1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(width, width, 3, padding=1)),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, 1, 1),
            )
            for count in channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features (B, C, h, w) of each depth -> scores (B, 1, h, w), higher for real ones."""
        scores = []
        for head, each in zip(self.heads, features, strict=True):
            size = each.detach().square().mean((1, 2, 3), keepdim=True).sqrt()
            scores.append(head(each / size.clamp_min(1e-3)))
        return scores
