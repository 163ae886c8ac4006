"""U-Net over tri-planes (Rodin, arXiv 2212.06135, section 4 and appendix A; layout of ADM).

Legend: B batch, C plane channels, S plane size, W width of a level, E embedding, D latent, N images
that a tri-plane is to the network: 3, or 1 where the planes are stacked.

The three planes go through the same weights as 3B images of their own, so every convolution pads,
up- and down-samples each plane alone and nothing crosses the seams of the roll-out. What joins
them is attention over the tokens of the whole roll-out at the low levels, and the 3D-aware
convolution at the levels named by the settings. A learned embedding tells each plane which it is.

For comparison the planes can be stacked along the channels of one image instead (section 4.1 warns
of it: texels at one place of two planes are no neighbours in space).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rodin.nn.aware_conv import PLANES, TriplaneConv2d


@dataclass(frozen=True)
class UNetSettings:
    """Shape of a U-Net. The defaults are the likely paper size of the base (357 M; these 370 M)."""

    plane_channels: int = 32  # channels of the planes it denoises
    condition_channels: int = 0  # channels of condition planes concatenated to them; 0 = none
    width: int = 192  # channels at the top level
    multipliers: tuple[int, ...] = (1, 2, 3, 4)  # width of each level, in units of width
    arrangement: Literal["rollout", "stack"] = "rollout"  # planes side by side, or along channels
    blocks: int = 3  # residual blocks a level on the way down (one more on the way up)
    attention_levels: tuple[int, ...] = (1, 2, 3)  # levels with attention; 0 = top
    head_channels: int = 64  # channels an attention head
    aware_levels: tuple[int, ...] = (0, 1)  # levels with 3D-aware convolutions; 0 = top
    latent_dim: int = 512  # numbers in the latent; 0 = takes none
    strength_input: bool = False  # takes the strength of the condition augmentation too
    learned_variance: bool = False  # twice the output channels: prediction, variance fraction
    patch: int = 1  # texels folded into channels at the input, along each axis
    position_octaves: int = 0  # Fourier octaves of the texel position given as input; 0 = none
    latent_map: int = 0  # texels along planes made of the latent for the stem; 0 = none
    dropout: float = 0.0  # share of features dropped in residual blocks
    checkpointing: bool = False  # recompute blocks when going backward: less memory, slower

    def __post_init__(self) -> None:
        levels = len(self.multipliers)
        if levels == 0 or min(self.multipliers) < 1:
            raise ValueError(f"unet.multipliers is {self.multipliers}; give numbers >= 1")
        for name in ("plane_channels", "width", "blocks", "head_channels", "patch"):
            if getattr(self, name) < 1:
                raise ValueError(f"unet.{name} is {getattr(self, name)}; it must be at least 1")
        if self.arrangement not in {"rollout", "stack"}:
            raise ValueError(f"unet.arrangement is {self.arrangement!r}; use 'rollout' or 'stack'")
        if self.arrangement == "stack" and self.aware_levels:
            raise ValueError(
                f"unet.aware_levels is {self.aware_levels} with arrangement 'stack'; 3D-aware "
                "convolutions need planes of their own: use () or 'rollout'"
            )
        for name in ("attention_levels", "aware_levels"):
            if any(not 0 <= level < levels for level in getattr(self, name)):
                raise ValueError(
                    f"unet.{name} is {getattr(self, name)}; with {levels} multipliers "
                    f"levels run from 0 to {levels - 1}"
                )
        for level in self.attention_levels:
            channels = self.width * self.multipliers[level]
            if channels % self.head_channels:
                raise ValueError(
                    f"unet.head_channels is {self.head_channels}; it must divide the {channels} "
                    f"channels of attention level {level}"
                )
        if self.latent_map < 0 or (self.latent_map and not self.latent_dim):
            raise ValueError(
                f"unet.latent_map is {self.latent_map} and latent_dim {self.latent_dim}; "
                "a map needs a latent: set latent_map to 0, or latent_dim above 0"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"unet.dropout is {self.dropout}; it must lie in [0, 1)")

    @property
    def factor(self) -> int:
        """Plane sizes must be multiples of this."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    @property
    def images(self) -> int:
        """Images that a tri-plane is to the network."""
        return PLANES if self.arrangement == "rollout" else 1


def sinusoid(value: Tensor, channels: int, period: float = 10_000.0) -> Tensor:
    """Embed numbers (B,) as (B, channels): cosines, then sines, of falling frequency."""
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32, device=value.device) / half
    phase = value.float()[:, None] * torch.exp(-math.log(period) * steps)
    return torch.cat([phase.cos(), phase.sin()], dim=1)


def _norm(channels: int) -> nn.GroupNorm:
    """At most 32 groups of at least 4 channels each."""
    fitting = [g for g in range(2, 33) if channels % g == 0 and channels // g >= 4]
    return nn.GroupNorm(max(fitting, default=1), channels)


def _zero(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def _mlp(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels_in, channels_out), nn.SiLU(), nn.Linear(channels_out, channels_out)
    )


class _Conv(nn.Module):
    """3x3 convolution of (3B, C, S, S): plain on each plane, or 3D-aware."""

    def __init__(self, channels_in: int, channels_out: int, aware: bool) -> None:
        super().__init__()
        self.aware = TriplaneConv2d(channels_in, channels_out, 3) if aware else None
        self.plain = None if aware else nn.Conv2d(channels_in, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.aware is not None:
            return self.aware(x.unflatten(0, (-1, PLANES))).flatten(0, 1)
        assert self.plain is not None
        return self.plain(x)


class _ResidualBlock(nn.Module):
    """GroupNorm, SiLU, [resample], conv, AdaGN, SiLU, dropout, zero-initialised conv, plus skip.

    AdaGN (Rodin, section 4.2): GroupNorm(h) * (1 + scale) + shift, both linear in the embedding of
    time, latent and plane. x (3B, C, S, S), embedding (3B, E).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        embedding: int,
        dropout: float,
        aware: bool,
        resample: str = "none",
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm_in = _norm(channels_in)
        self.conv_in = _Conv(channels_in, channels_out, aware)
        self.modulation = nn.Linear(embedding, 2 * channels_out)
        self.norm_out = _norm(channels_out)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = _zero(_Conv(channels_out, channels_out, aware))
        same = channels_in == channels_out
        self.skip: nn.Module = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return functional.avg_pool2d(x, 2)
        if self.resample == "up":
            return functional.interpolate(x, scale_factor=2, mode="nearest")
        return x

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv_in(self._resampled(functional.silu(self.norm_in(x))))
        scale, shift = self.modulation(embedding)[..., None, None].chunk(2, dim=1)
        h = functional.silu(torch.addcmul(shift, self.norm_out(h), 1 + scale))
        return self.skip(self._resampled(x)) + self.conv_out(self.dropout(h))


class _Attention(nn.Module):
    """Self-attention over the tokens of the whole tri-plane: x (N B, C, S, S)."""

    def __init__(self, channels: int, head_channels: int, images: int) -> None:
        super().__init__()
        self.images = images
        self.heads = max(1, channels // head_channels)
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        count, channels, _, width = x.shape
        shape = (count // self.images, self.images, 3, self.heads, -1, width**2)
        tokens = self.qkv(self.norm(x)).view(shape)
        # (B, N images, qkv, heads, d, S * S) -> qkv of (B, heads, N * S * S, d)
        q, k, v = tokens.permute(2, 0, 3, 1, 5, 4).flatten(3, 4)
        out = functional.scaled_dot_product_attention(q, k, v)
        out = out.unflatten(2, (self.images, -1)).permute(0, 2, 1, 4, 3)
        return x + self.out(out.reshape(count, channels, width, width))


class _Stage(nn.Module):
    """One residual block and, where the level has it, attention."""

    def __init__(
        self, block: _ResidualBlock, attention: _Attention | None, recompute: bool
    ) -> None:
        super().__init__()
        self.block = block
        self.attention = attention
        self.recompute = recompute

    def _run(self, x: Tensor, embedding: Tensor) -> Tensor:
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        if self.recompute and self.training and torch.is_grad_enabled():
            return checkpoint(self._run, x, embedding, use_reentrant=False)
        return self._run(x, embedding)


class TriplaneUNet(nn.Module):
    """(planes, t, latent, condition) -> prediction; see `forward`."""

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.embedding_dim = e = 4 * s.width
        self.embed_time = _mlp(s.width, e)
        self.embed_plane = nn.Parameter(torch.empty(s.images, e).normal_(std=0.5))
        self.embed_latent = _mlp(s.latent_dim, e) if s.latent_dim else None
        self.embed_strength = _mlp(s.width, e) if s.strength_input else None
        planes = PLANES // s.images  # in an image
        channels_in = planes * (s.plane_channels + s.condition_channels) * s.patch**2
        self.stem = nn.Conv2d(channels_in + 4 * s.position_octaves, s.width, 3, padding=1)
        self.map_latent = None
        if s.latent_map:
            self.map_latent = nn.Linear(
                s.latent_dim, s.images * s.width * s.latent_map**2, bias=False
            )
        self._build_levels()
        self.head_norm = _norm(s.width * s.multipliers[0])
        channels_out = planes * s.plane_channels * s.patch**2 * (2 if s.learned_variance else 1)
        self.head = _zero(nn.Conv2d(s.width * s.multipliers[0], channels_out, 3, padding=1))

    def _stage(self, channels_in: int, level: int, resample: str = "none") -> _Stage:
        s = self.settings
        channels = s.width * s.multipliers[level]
        block = _ResidualBlock(
            channels_in, channels, self.embedding_dim, s.dropout, level in s.aware_levels, resample
        )
        attends = level in s.attention_levels and resample == "none"
        attention = _Attention(channels, s.head_channels, s.images) if attends else None
        return _Stage(block, attention, s.checkpointing)

    def _build_levels(self) -> None:
        s = self.settings
        last = len(s.multipliers) - 1
        channels = s.width
        skips = [channels]
        self.down = nn.ModuleList()
        for level, multiplier in enumerate(s.multipliers):
            for _ in range(s.blocks):
                self.down.append(self._stage(channels, level))
                channels = s.width * multiplier
                skips.append(channels)
            if level < last:
                self.down.append(self._stage(channels, level, "down"))
                skips.append(channels)
        self.middle = nn.ModuleList([self._stage(channels, last) for _ in range(2)])
        self.up = nn.ModuleList()
        self._takes_skip: list[bool] = []
        for level in range(last, -1, -1):
            for _ in range(s.blocks + 1):
                self.up.append(self._stage(channels + skips.pop(), level))
                channels = s.width * s.multipliers[level]
            self._takes_skip += [True] * (s.blocks + 1)
            if level:
                self.up.append(self._stage(channels, level, "up"))
                self._takes_skip.append(False)
        assert not skips

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        latent: Tensor | None = None,
        condition: Tensor | None = None,
        strength: Tensor | None = None,
    ) -> Tensor:
        """Noisy planes to a prediction of the same shape.

        x (B, 3, C, S, S); t (B,) in [0, 1]; latent (B, D), None = zeros = unconditional; condition
        (B, 3, C', s, s), resized to S per plane; strength (B,) in [0, 1] of its augmentation, None
        = zeros. Returns (B, 3, C, S, S), or (B, 3, 2C, S, S) with learned_variance. ValueError for
        shapes that do not fit the settings.
        """
        self._check(x, latent, condition)
        inputs = self._images(x)
        if condition is not None:
            inputs = torch.cat([inputs, _resized(self._images(condition), x.shape[-1])], dim=1)
        inputs = functional.pixel_unshuffle(inputs, self.settings.patch)
        inputs = torch.cat([inputs, *self._position(inputs)], dim=1)
        h = self.stem(inputs)
        if self.map_latent is not None and latent is not None:
            h = h + self._latent_map(latent, h.shape[-1])
        embedding = self._embedding(x, t, latent, strength)
        skips = [h]
        for stage in self.down:
            h = stage(h, embedding)
            skips.append(h)
        for stage in self.middle:
            h = stage(h, embedding)
        for stage, takes_skip in zip(self.up, self._takes_skip, strict=True):
            h = stage(torch.cat([h, skips.pop()], dim=1) if takes_skip else h, embedding)
        h = self.head(functional.silu(self.head_norm(h)))
        h = functional.pixel_shuffle(h, self.settings.patch)
        return h.reshape(x.shape[0], PLANES, -1, *h.shape[-2:])

    def _images(self, planes: Tensor) -> Tensor:
        """Planes (B, 3, C, S, S) -> (3B, C, S, S), or stacked (B, 3C, S, S)."""
        return planes.flatten(0, 1) if self.settings.images > 1 else planes.flatten(1, 2)

    def _embedding(
        self, x: Tensor, t: Tensor, latent: Tensor | None, strength: Tensor | None
    ) -> Tensor:
        """SiLU of the sum of what conditions every block: (N B, E)."""
        width = self.settings.width
        embedding = self.embed_time(sinusoid(1000 * t, width))
        if self.embed_latent is not None:
            if latent is None:
                latent = x.new_zeros(x.shape[0], self.settings.latent_dim)
            embedding = embedding + self.embed_latent(latent)
        if self.embed_strength is not None:
            strength = x.new_zeros(x.shape[0]) if strength is None else strength
            embedding = embedding + self.embed_strength(sinusoid(1000 * strength, width))
        embedding = embedding[:, None] + self.embed_plane
        return functional.silu(embedding.flatten(0, 1))

    def _latent_map(self, latent: Tensor, size: int) -> Tensor:
        """Planes of features (N B, W, size, size) that are linear in the latent: where is what.

        AdaGN says the same to every texel; without this a network that must remember avatars finds
        their layout only slowly.
        """
        assert self.map_latent is not None
        side = self.settings.latent_map
        maps = self.map_latent(latent).view(-1, self.settings.width, side, side)
        return _resized(maps, size)

    def _position(self, inputs: Tensor) -> list[Tensor]:
        """Fourier features of the texel centres: [(3B, 4 * octaves, S, S)], [] without octaves."""
        octaves = self.settings.position_octaves
        if not octaves:
            return []
        size = inputs.shape[-1]
        centre = (torch.arange(size, dtype=torch.float32, device=inputs.device) + 0.5) / size
        phase = centre * (math.pi * 2.0 ** torch.arange(octaves, device=inputs.device))[:, None]
        line = torch.cat([phase.cos(), phase.sin()])  # (2 * octaves, S)
        rows = line[:, :, None].expand(-1, -1, size)
        position = torch.cat([rows, rows.transpose(1, 2)])
        return [position.to(inputs.dtype).expand(inputs.shape[0], -1, -1, -1)]

    def _check(self, x: Tensor, latent: Tensor | None, condition: Tensor | None) -> None:
        s = self.settings
        if x.ndim != 5 or x.shape[1:3] != (PLANES, s.plane_channels) or x.shape[3] != x.shape[4]:
            raise ValueError(
                f"U-Net got planes {tuple(x.shape)}; expected (B, 3, {s.plane_channels}, S, S)"
            )
        if x.shape[-1] % s.factor:
            raise ValueError(
                f"U-Net got planes of {x.shape[-1]} texels; with patch {s.patch} and "
                f"{len(s.multipliers)} levels the size must be a multiple of {s.factor}"
            )
        if latent is not None and latent.shape != (x.shape[0], s.latent_dim):
            raise ValueError(
                f"U-Net got a latent {tuple(latent.shape)}; expected ({x.shape[0]}, {s.latent_dim})"
            )
        channels = 0 if condition is None else condition.shape[2]
        if channels != s.condition_channels:
            raise ValueError(
                f"U-Net got {channels} condition channels; expected {s.condition_channels}"
            )


def _resized(images: Tensor, size: int) -> Tensor:
    """(N, C, s, s) -> (N, C, size, size), bilinear."""
    if images.shape[-1] == size:
        return images
    return functional.interpolate(images, (size, size), mode="bilinear", align_corners=False)
