"""Base diffusion: low-resolution planes from a latent (Rodin, arXiv 2212.06135, section 4.2).

Legend: B batch, C plane channels, R raw plane size, S base size, P portrait size, D latent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rodin import triplane
from rodin.diffusion.sampling import Denoiser, Prediction, guided
from rodin.diffusion.schedule import Schedule, ScheduleSettings
from rodin.diffusion.sight import SeenError, Sight, check_share
from rodin.diffusion.statistics import PlaneStatistics, rand, randn_like, required, spread_times
from rodin.diffusion.targets import Output, WeightSettings, check_output, target, to_clean
from rodin.nn.eigenfaces import ridge
from rodin.nn.encoder import EIGENFACES, EncoderSettings, PortraitEncoder
from rodin.nn.unet import TriplaneUNet, UNetSettings

VLB_STEP = 1e-3  # length of the reverse step whose variance is learned: one of 1,000


@dataclass(frozen=True)
class BaseSettings:
    """The base system. The defaults are the published scale."""

    size: int = 64  # texels along a plane
    unet: UNetSettings = field(default_factory=UNetSettings)  # network
    encoder: EncoderSettings = field(default_factory=EncoderSettings)  # portrait to latent
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)  # noise
    output: Output = "eps"  # what the network predicts; v = alpha eps - sigma x0
    weight: WeightSettings = field(default_factory=WeightSettings)  # of the levels of noise
    latent_dropout: float = 0.2  # share of samples trained without their latent
    vlb_weight: float = 1.0  # of the bound in nats a value, where the variance is learned
    sight: float = 0.0  # share of the loss that counts errors as they are seen; not in the paper
    lead: bool = False  # answers on top of a linear guess from the latent; not in the paper

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % self.unet.factor:
            raise ValueError(
                f"base.size is {self.size}; with this U-Net it must be a multiple of "
                f"{self.unet.factor}"
            )
        check_output("base", self.output)
        if not 0 <= self.latent_dropout <= 1:
            raise ValueError(f"base.latent_dropout is {self.latent_dropout}; it lies in [0, 1]")
        check_share("base", self.sight)
        if self.lead and (self.output != "x0" or self.encoder.frozen != EIGENFACES):
            raise ValueError(
                f"base.lead is True with output {self.output!r} and encoder.frozen"
                f" {self.encoder.frozen!r}; it takes 'x0' and {EIGENFACES!r}"
            )
        if self.unet.latent_dim != self.encoder.latent_dim:
            raise ValueError(
                f"base.unet.latent_dim is {self.unet.latent_dim} but encoder.latent_dim is "
                f"{self.encoder.latent_dim}; make them equal"
            )


class BaseSystem(nn.Module):
    """U-Net, portrait encoder and plane statistics: the loss, and the denoiser for sampling."""

    lead: Tensor

    def __init__(
        self,
        settings: BaseSettings,
        mean: Tensor | Sequence[float],
        std: Tensor | Sequence[float],
    ) -> None:
        """`mean` and `std` of the dataset: see PlaneStatistics; its mean map may have any size."""
        super().__init__()
        self.settings = settings
        self.schedule = Schedule(settings.schedule, settings.size)
        self.statistics = PlaneStatistics(mean, std, settings.unet.plane_channels, settings.size)
        self.unet = TriplaneUNet(settings.unet)
        self.encoder = PortraitEncoder(settings.encoder)
        guessed = math.prod(self.plane_shape) if settings.lead else 0
        lead = torch.zeros(settings.encoder.latent_dim, guessed)
        self.register_buffer("lead", lead, persistent=settings.lead)
        channels = settings.unet.plane_channels
        self.error = SeenError("base", settings.sight, channels, settings.size)

    @torch.no_grad()
    def measure(
        self, portraits: Sequence[Tensor], planes: Sequence[Tensor], people: Sequence[int]
    ) -> None:
        """Eigenfaces of the portraits (C, H, W) and, with `lead`, the guess of planes (3, C, S, S).

        `people` says whom each shows: somebody and the mirror image are one.
        """
        self.encoder.measure(portraits)
        if not self.settings.lead:
            return
        latents = torch.cat([self.encode(each[None]) for each in portraits])
        targets = self.statistics.normalise(torch.stack(list(planes))).flatten(1)
        self.lead.copy_(ridge(latents, targets, people, self.encoder.deviations))

    def attach(self, sight: Sight) -> None:
        """What training with `settings.sight` measures errors with; see `measure_sight`."""
        self.error.take(sight)

    @property
    def plane_shape(self) -> tuple[int, int, int, int]:
        """(3, C, S, S) of one sample."""
        s = self.settings
        return (3, s.unet.plane_channels, s.size, s.size)

    def encode(self, portrait: Tensor) -> Tensor:
        """Portrait (B, 4, P, P) RGBA or (B, 3, P, P) RGB in [0, 1] -> latent (B, D)."""
        return self.encoder(portrait)

    def prepare(self, planes: Tensor) -> Tensor:
        """Raw planes (B, 3, C, R, R) -> normalised planes of base size (B, 3, C, S, S)."""
        return self.statistics.normalise(triplane.resize(planes.float(), self.settings.size))

    def forward(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """The loss: what a wrapper such as DistributedDataParallel calls."""
        return self.loss(batch, generator)

    def loss(
        self,
        batch: Mapping[str, Tensor],
        generator: torch.Generator,
        t: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Scalars: "loss" (to minimise) and, with learned variance, its parts "simple" and "vlb".

        batch: "planes" (B, 3, C, R, R) raw float32, and "portrait" (B, 4, P, P) in [0, 1] or, from
        an encoder of another kind, "latent" (B, D). L_simple = |eps - eps_hat|^2 (DDPM, eq. 14).
        `t` (B,) in [0, 1] is drawn where None.
        """
        (planes,) = required(batch, "planes")
        clean = self.prepare(planes)
        count, device = clean.shape[0], clean.device
        t = spread_times(count, generator, device) if t is None else t.to(device)
        noise = randn_like(clean, generator)
        kept = rand(count, generator, device) >= self.settings.latent_dropout
        latent = batch.get("latent")
        if latent is None:
            latent = self.encode(*required(batch, "portrait"))
        latent = latent * kept[:, None]
        noisy = self.schedule.add_noise(clean, noise, t)
        output, variance = self._network(noisy, t, latent)
        error = output - target(self.schedule, clean, noise, t, self.settings.output)
        weight = self.settings.weight(self.schedule.log_snr(t), self.settings.output)
        simple = (weight * self.error(error)).mean()
        if variance is None:
            return {"loss": simple}
        bound = self._bound(clean, noisy, self._clean(noisy, output.detach(), t), variance, t)
        loss = simple + self.settings.vlb_weight * bound
        return {"loss": loss, "simple": simple, "vlb": bound}

    def denoiser(
        self,
        latent: Tensor | None,
        guidance: float = 1.0,
        interval: tuple[float, float] = (0.0, 1.0),
    ) -> Denoiser:
        """What the samplers call: latent (B, D), or None for unconditional planes.

        `guidance` acts at times in `interval`; see `guided`.
        """
        unconditional = self._denoiser(None)
        if latent is None:
            return unconditional
        return guided(self._denoiser(latent), unconditional, guidance, interval)

    def _denoiser(self, latent: Tensor | None) -> Denoiser:
        def denoise(noisy: Tensor, t: Tensor) -> Prediction:
            output, variance = self._network(noisy, t, latent)
            return Prediction(self._clean(noisy, output, t), variance)

        return denoise

    def _network(
        self, noisy: Tensor, t: Tensor, latent: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Output in float32, and the variance fraction where it is learned."""
        output = self.unet(noisy, t.float(), latent).float()
        if latent is not None and self.settings.lead:
            output = output + (latent.float() @ self.lead.float()).view_as(output)
        if not self.settings.unet.learned_variance:
            return output, None
        output, variance = output.chunk(2, dim=2)
        return output, (variance + 1) / 2

    def _clean(self, noisy: Tensor, output: Tensor, t: Tensor) -> Tensor:
        return to_clean(self.schedule, noisy, output, t, self.settings.output)

    def _bound(
        self, clean: Tensor, noisy: Tensor, estimate: Tensor, variance: Tensor, t: Tensor
    ) -> Tensor:
        """L_VLB (Improved DDPM, section 3.1): KL of the true reverse step to the predicted one.

        Nats a value, mean over the batch. `estimate` carries no gradient: only the variance learns.
        """
        q = self.schedule.posterior((t - VLB_STEP).clamp_min(0), t.clamp_min(VLB_STEP), clean.ndim)
        log_variance = variance * q.log_variance_max + (1 - variance) * q.log_variance
        gap = q.of_clean * (clean - estimate)
        kl = 0.5 * (
            log_variance
            - q.log_variance
            + (q.log_variance - log_variance).exp()
            + gap.square() * (-log_variance).exp()
            - 1
        )
        return kl.mean()
