"""Upsampler diffusion: high-resolution planes from low ones (Rodin, arXiv 2212.06135, section 4.3).

Legend: B batch, C plane channels, S high and s low plane size, K views, P patch size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rodin import triplane
from rodin.decoder import TriplaneDecoder
from rodin.diffusion.augment import AugmentSettings, augment
from rodin.diffusion.base import BaseSystem
from rodin.diffusion.patches import PatchSettings, draw_patches, render_patches
from rodin.diffusion.sampling import Denoiser, Noise, Prediction, SamplerSettings, sample
from rodin.diffusion.schedule import Schedule, ScheduleSettings
from rodin.diffusion.sight import SeenError, Sight, check_share
from rodin.diffusion.statistics import PlaneStatistics, rand, randn_like, required, spread_times
from rodin.diffusion.targets import Output, WeightSettings, check_output, target, to_clean
from rodin.nn.unet import TriplaneUNet, UNetSettings
from rodin.perceptual import PerceptualDistance
from rodin.perceptual import load as load_perceptual


def _paper_unet() -> UNetSettings:
    return UNetSettings(
        condition_channels=32,
        width=128,
        multipliers=(1, 2, 4),
        blocks=2,
        attention_levels=(),
        aware_levels=(0, 1, 2),
        latent_dim=0,
        strength_input=True,
    )


def _paper_schedule() -> ScheduleSettings:
    """About RodinHD's very noisy one: log-SNR 1.7 at the start."""
    return ScheduleSettings(log_snr_start=1.7, log_snr_end=-14.0)


@dataclass(frozen=True)
class UpsamplerSettings:
    """The upsampler. The defaults are about the published scale."""

    size: int = 256  # texels along a plane it makes
    low_size: int = 64  # texels along a plane it starts from: the base's size
    unet: UNetSettings = field(default_factory=_paper_unet)  # network; strength_input is needed
    schedule: ScheduleSettings = field(default_factory=_paper_schedule)  # noise
    augment: AugmentSettings = field(default_factory=AugmentSettings)  # spoiling of the condition
    patch: PatchSettings = field(default_factory=PatchSettings)  # rendered patches
    output: Output = "x0"  # what the network predicts; v = alpha eps - sigma x0
    weight: WeightSettings = field(default_factory=WeightSettings)  # of the levels of noise
    plane_weight: float = 1.0  # of the squared error of what the network predicts
    patch_weight: float = 1.0  # of the squared error of rendered patches; 0 = render none
    perceptual_weight: float = 0.5  # of the perceptual distance of the patches; 0 = none
    sight: float = 0.0  # share of planes' errors that is counted as seen; not in the paper
    from_base: float = 0.0  # share of samples begun with what the base makes; not in the paper
    base_steps: int = 2  # that the base takes to make them

    def __post_init__(self) -> None:
        unet = self.unet
        if self.size % unet.factor:
            raise ValueError(
                f"upsampler.size is {self.size}; with this U-Net it must be a multiple of "
                f"{unet.factor}"
            )
        if not 1 <= self.low_size < self.size:
            raise ValueError(
                f"upsampler.low_size is {self.low_size}; it must be at least 1 and below "
                f"size = {self.size}"
            )
        if unet.condition_channels != unet.plane_channels or not unet.strength_input:
            raise ValueError(
                f"upsampler.unet.condition_channels is {unet.condition_channels} and "
                f"strength_input {unet.strength_input}; use {unet.plane_channels}, its "
                "plane_channels, and True"
            )
        if unet.latent_dim or unet.learned_variance:
            raise ValueError(
                f"upsampler.unet.latent_dim is {unet.latent_dim} and learned_variance "
                f"{unet.learned_variance}; the upsampler takes neither: use 0 and False"
            )
        check_output("upsampler", self.output)
        check_share("upsampler", self.sight)
        for name in ("plane_weight", "patch_weight", "perceptual_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"upsampler.{name} is {getattr(self, name)}; it must be >= 0")

        if not 0 <= self.from_base <= 1:
            raise ValueError(f"upsampler.from_base is {self.from_base}; it lies in [0, 1]")
        if self.base_steps < 1:
            raise ValueError(f"upsampler.base_steps is {self.base_steps}; it must be at least 1")

    @property
    def renders(self) -> bool:
        """Whether training needs a decoder and views."""
        return self.patch_weight > 0 or self.perceptual_weight > 0


class UpsamplerSystem(nn.Module):
    """U-Net and plane statistics: the loss, and the denoiser for sampling.

    Where the network predicts y_0 (as in Rodin), it does so as a correction to the condition: an
    untrained one returns the condition resized. The decoder, the perceptual network and the base
    that the loss needs are frozen and not part of the state; give them with `attach`.
    """

    def __init__(
        self,
        settings: UpsamplerSettings,
        mean: Tensor | Sequence[float],
        std: Tensor | Sequence[float],
        decoder: TriplaneDecoder | None = None,
    ) -> None:
        """`mean` and `std` of the dataset: see PlaneStatistics; its mean map may have any size.

        `decoder` is what `attach` takes; sampling needs none.
        """
        super().__init__()
        self.settings = settings
        self.schedule = Schedule(settings.schedule, settings.size)
        self.statistics = PlaneStatistics(mean, std, settings.unet.plane_channels, settings.size)
        self.unet = TriplaneUNet(settings.unet)
        channels = settings.unet.plane_channels
        self.error = SeenError("upsampler", settings.sight, channels, settings.size)
        # In a tuple, so that they are no submodules: not saved, averaged or trained.
        self._frozen: tuple[TriplaneDecoder, PerceptualDistance | None] | None = None
        self._base: tuple[BaseSystem, ...] = ()
        if decoder is not None:
            self.attach(decoder)

    @property
    def plane_shape(self) -> tuple[int, int, int, int]:
        """(3, C, S, S) of one sample."""
        s = self.settings
        return (3, s.unet.plane_channels, s.size, s.size)

    def attach(
        self,
        decoder: TriplaneDecoder,
        perceptual: PerceptualDistance | None = None,
        base: BaseSystem | None = None,
        sight: Sight | None = None,
    ) -> UpsamplerSystem:
        """Give the frozen decoder that renders patches, the network that compares them, the base,
        and what `settings.sight` measures errors with.

        perceptual None = EfficientNet-lite0, loaded at the first loss that needs it. `base` is
        needed where `from_base` is above 0. ValueError when either is of other planes.
        """
        channels = self.settings.unet.plane_channels
        if decoder.config.channels != channels:
            raise ValueError(
                f"the decoder takes {decoder.config.channels} channels but the upsampler makes "
                f"{channels}; attach the decoder that is stored beside the planes"
            )
        if base is not None:
            shape, low = base.plane_shape, self.settings.low_size
            if shape != (3, channels, low, low):
                raise ValueError(
                    f"the base makes planes of {shape[2]} texels and {shape[1]} channels, the"
                    f" upsampler starts from {low} and {channels}; use systems made for each other"
                )
            self._base = (base.eval().requires_grad_(False),)
        if sight is not None:
            self.error.take(sight)
        self._frozen = (decoder.eval().requires_grad_(False), perceptual)
        return self

    def forward(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """The loss: what a wrapper such as DistributedDataParallel calls."""
        return self.loss(batch, generator)

    def loss(
        self,
        batch: Mapping[str, Tensor],
        generator: torch.Generator,
        t: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Scalars: "loss" (to minimise) and its unweighted parts.

        "plane" = squared error of what is predicted of normalised planes, weighted by the level of
        noise; "patch" = |x - x_hat|^2 of rendered colour and alpha; "perceptual" their distance.
        batch: "planes" (B, 3, C, R, R) raw, and for the patches "views" (B, K, 4, H, W),
        "camera_to_world" (B, K, 4, 4), "intrinsics" (B, K, 3, 3). `t` (B,) is drawn where None.
        With `from_base` "portrait" (B, 4, P, P): see `_of_base`.
        """
        s = self.settings
        (planes,) = required(batch, "planes")
        raw = triplane.resize(planes.float(), s.size)
        clean = self.statistics.normalise(raw)
        low = triplane.resize(clean, s.low_size)
        if s.from_base:
            low = self._of_base(low, batch, generator)
        count, device = clean.shape[0], clean.device
        strength = rand(count, generator, device)
        condition = augment(low, strength, s.augment, generator)
        t = spread_times(count, generator, device) if t is None else t.to(device)
        noise = randn_like(clean, generator)
        noisy = self.schedule.add_noise(clean, noise, t)
        found = self._predict(noisy, t, condition, strength)
        error = self.error(found - target(self.schedule, clean, noise, t, s.output))
        weight = s.weight(self.schedule.log_snr(t), s.output)
        parts = {"plane": (weight * error).mean()}
        loss = s.plane_weight * parts["plane"]
        if s.renders:
            estimate = to_clean(self.schedule, noisy, found, t, s.output)
            parts |= self._image_loss(self.statistics.denormalise(estimate), raw, batch, generator)
            loss = loss + s.patch_weight * parts["patch"]
            if s.perceptual_weight:
                loss = loss + s.perceptual_weight * parts["perceptual"]
        return {"loss": loss, **parts}

    def _image_loss(
        self,
        planes: Tensor,
        reference: Tensor,
        batch: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Errors of patches rendered from raw planes (B, 3, C, S, S), of the first few samples."""
        s = self.settings
        if self._frozen is None:
            raise ValueError(
                "the upsampler has no decoder to render patches with; call attach(decoder), "
                "or set patch_weight and perceptual_weight to 0"
            )
        decoder, perceptual = self._frozen
        if perceptual is None and s.perceptual_weight:
            perceptual = load_perceptual()
            self._frozen = (decoder, perceptual)
        decoder = decoder.to(planes.device)
        count = min(planes.shape[0], s.patch.subjects or planes.shape[0])
        target = draw_patches(batch, count, s.patch, generator)
        with torch.autocast(planes.device.type, enabled=False):
            found = render_patches(
                planes[:count],
                reference[:count],
                decoder,
                target,
                s.patch.samples,
                s.patch.occupancy,
                generator,
            )
            error = (found.rgb - target.rgb).square().mean()
            error = error + (found.alpha - target.alpha).square().mean()
            parts = {"patch": error}
            if s.perceptual_weight:
                assert perceptual is not None
                parts["perceptual"] = perceptual.to(planes.device)(found.rgb, target.rgb).mean()
        return parts

    @torch.no_grad()
    def _of_base(
        self, low: Tensor, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        """Normalised low planes (B, 3, C, s, s), a share of them replaced by what the base makes of
        the portraits: where it leaves out detail, the upsampler learns to put it in."""
        if not self._base:
            raise ValueError(
                "the upsampler has no base to start from; call attach(decoder, base=base), or set"
                " from_base to 0"
            )
        (base,) = self._base
        count, device = low.shape[0], low.device
        chosen = rand(count, generator, device) < self.settings.from_base
        seeds = torch.randint(2**62, (count,), generator=generator, device=generator.device)
        base = base.to(device)
        made = sample(
            base.denoiser(base.encode(*required(batch, "portrait"))),
            base.schedule,
            base.plane_shape,
            Noise(seeds.tolist(), device),
            SamplerSettings(steps=self.settings.base_steps),
        )
        made = self._normalise_low(base.statistics.denormalise(made))
        return torch.where(chosen[:, None, None, None, None], made.to(low.dtype), low)

    def _normalise_low(self, low: Tensor) -> Tensor:
        """Raw low-resolution planes, normalised by the statistics as they are at that size."""
        mean = triplane.resize(self.statistics.mean[None], self.settings.low_size)
        return (low - mean) / self.statistics.std

    def _predict(self, noisy: Tensor, t: Tensor, condition: Tensor, strength: Tensor) -> Tensor:
        """What the settings' output names, (B, 3, C, S, S) in float32."""
        resized = triplane.resize(condition, self.settings.size)
        found = self.unet(noisy, t.float(), None, resized, strength).float()
        return resized + found if self.settings.output == "x0" else found

    def denoiser(self, low: Tensor, strength: float = 0.0) -> Denoiser:
        """What the samplers call: low (B, 3, C, s, s) raw planes, as the base makes them.

        `strength` in [0, 1] tells the network how spoilt to take them for; nothing is added.
        """
        if not 0 <= strength <= 1:
            raise ValueError(f"upsampler strength is {strength}; it must lie in [0, 1]")
        low = triplane.resize(low.float(), self.settings.low_size)
        condition = self._normalise_low(low)
        told = condition.new_full((condition.shape[0],), strength)

        def denoise(noisy: Tensor, t: Tensor) -> Prediction:
            found = self._predict(noisy, t, condition, told)
            return Prediction(to_clean(self.schedule, noisy, found, t, self.settings.output))

        return denoise
