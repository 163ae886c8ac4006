"""A small diffusion over latents, free or led by a sentence (Rodin, section 4.4; unCLIP's prior).

Seeds become latents here, latents become planes in the base diffusion. What the base was trained
to read is a portrait's latent; this says which latents people have, and which ones a text asks for.

Numbers of a latent do not matter alike: of eigenfaces the first make whole hats, the last single
pixels. Where each had noise of its own deviation, few people taught hardly more than a Gaussian. So
numbers are as large here as what they change of a portrait, and noise drowns them one after the
other, as an image's frequencies.

Legend: B batch, D latent, E text embedding, K descriptions of one person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from rodin.diffusion.sampling import Denoiser, Noise, Prediction, SamplerSettings, guided, sample
from rodin.diffusion.schedule import Schedule, ScheduleSettings
from rodin.diffusion.statistics import rand, randn_like, required, spread_times
from rodin.nn.unet import sinusoid

_TIME_CHANNELS = 64
_FLOOR = 0.02  # variance, of a mean one of 1: finer errors count less
PRIOR_SAMPLER = SamplerSettings(method="dpm2m", steps=25)  # enough for a vector


@dataclass(frozen=True)
class PriorSettings:
    """The diffusion over latents."""

    latent_dim: int = 512  # numbers in the latent: the base's encoder.latent_dim
    text_dim: int = 384  # numbers in a text embedding (MiniLM: 384); 0 = takes no text
    width: int = 512  # features of the network
    blocks: int = 6  # residual blocks
    dropout: float = 0.1  # share of features dropped in the blocks
    text_dropout: float = 0.2  # share of samples trained without their text
    jitter: float = 0.1  # deviation of noise added to the training latents, in their own deviations
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)

    def __post_init__(self) -> None:
        for name in ("latent_dim", "width", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"prior.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("text_dim", "jitter"):
            if getattr(self, name) < 0:
                raise ValueError(f"prior.{name} is {getattr(self, name)}; it must be >= 0")
        for name in ("dropout", "text_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"prior.{name} is {getattr(self, name)}; it must lie in [0, 1)")


@dataclass(frozen=True)
class TextStatistics:
    """What the training texts have in common, and what of the latents is linear in them."""

    mean: Tensor  # (E,) of the unit embeddings
    std: Tensor  # (E,) > 0
    lead: Tensor  # (E, D): standardised embedding -> latent, in its deviations from its mean


class _Block(nn.Module):
    """Residual block of two layers, its normalised input scaled and shifted by the condition."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(width, 2 * width)
        last = nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), last)
        # Blocks begin as the identity.
        for layer in (self.modulate, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.modulate(condition).chunk(2, dim=-1)
        return x + self.layers(self.norm(x) * (1 + scale) + shift)


class LatentPrior(nn.Module):
    """Denoises latents (B, D), with or without a text (B, E); predicts x0."""

    mean: Tensor
    std: Tensor
    scale: Tensor
    text_mean: Tensor
    text_std: Tensor
    lead: Tensor

    def __init__(
        self,
        settings: PriorSettings,
        mean: Tensor,
        std: Tensor,
        texts: TextStatistics | None = None,
        scale: Tensor | None = None,
    ) -> None:
        """`mean` and `std` (D,) of the training latents: see `measure_latents`.

        `scale` (D,) > 0: how much a deviation of each number changes of a portrait, of a mean
        square of 1; None for alike. Without `texts` embeddings are taken as they are and nothing
        is linear in them.
        """
        super().__init__()
        self.settings = settings
        self.schedule = Schedule(settings.schedule)
        scale = torch.ones_like(std) if scale is None else scale
        for name, value in (("mean", mean), ("std", std), ("scale", scale)):
            if value.shape != (settings.latent_dim,):
                raise ValueError(
                    f"latent {name} is {tuple(value.shape)}; expected ({settings.latent_dim},), as "
                    "prior.latent_dim says"
                )
            self.register_buffer(name, value.float().clone())
        width = settings.width
        self.enter = nn.Linear(2 * settings.latent_dim, width)
        self.time = nn.Sequential(
            nn.Linear(_TIME_CHANNELS, width), nn.SiLU(), nn.Linear(width, width)
        )
        if settings.text_dim:
            self.text = nn.Sequential(
                nn.Linear(settings.text_dim, width), nn.SiLU(), nn.Linear(width, width)
            )
            self.no_text = nn.Parameter(torch.zeros(width))
            self._keep(texts)
        self.blocks = nn.ModuleList(_Block(width, settings.dropout) for _ in range(settings.blocks))
        last = nn.Linear(width, settings.latent_dim)
        nn.init.zeros_(last.weight)  # begins as the guess
        nn.init.zeros_(last.bias)
        self.leave = nn.Sequential(nn.LayerNorm(width), last)

    def _keep(self, texts: TextStatistics | None) -> None:
        said, wide = self.settings.text_dim, self.settings.latent_dim
        if texts is None:
            unit = torch.full((said,), said**-0.5)  # the deviation of a unit vector's numbers
            texts = TextStatistics(torch.zeros(said), unit, torch.zeros(said, wide))
        shapes = {"text_mean": (said,), "text_std": (said,), "lead": (said, wide)}
        values = (texts.mean, texts.std, texts.lead)
        for (name, shape), value in zip(shapes.items(), values, strict=True):
            if value.shape != shape:
                raise ValueError(
                    f"{name} is {tuple(value.shape)}; expected {shape}, as prior.text_dim and"
                    " latent_dim say"
                )
            self.register_buffer(name, value.float().clone())

    def forward(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """The loss: what a wrapper such as DistributedDataParallel calls."""
        return self.loss(batch, generator)

    def loss(
        self,
        batch: Mapping[str, Tensor],
        generator: torch.Generator,
        t: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The scalar "loss", to minimise.

        batch: "latent" (B, D) and, with text_dim, "text" (B, K, E): one of the K descriptions of
        each person is drawn. `t` (B,) in [0, 1] is drawn where None.
        """
        (latent,) = required(batch, "latent")
        clean = (latent - self.mean) / self.std * self.scale
        if self.training:
            clean = clean + self.settings.jitter * self.scale * randn_like(clean, generator)
        count, device = len(clean), clean.device
        t = spread_times(count, generator, device) if t is None else t.to(device)
        noise = randn_like(clean, generator)
        text = kept = None
        if self.settings.text_dim:
            (texts,) = required(batch, "text")
            pick = (rand(count, generator, device) * texts.shape[1]).long()
            text = texts[torch.arange(count, device=device), pick]
            kept = rand(count, generator, device) >= self.settings.text_dropout
        found = self._network(self.schedule.add_noise(clean, noise, t), t, text, kept)
        # in shares of what the Gaussian leaves open, which is what remains to be said
        alpha, sigma = self.schedule.alpha_sigma(t, 2)
        left = self._open(alpha, sigma)
        return {"loss": ((found - clean).square() / (left + _FLOOR)).mean()}

    def _open(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Variance (B, D) of a Gaussian's x0 given y = alpha x0 + sigma eps (B, 1)."""
        own = self.scale.square()
        return own * sigma.square() / (alpha.square() * own + sigma.square())

    def denoiser(
        self,
        text: Tensor | None,
        guidance: float = 1.0,
        interval: tuple[float, float] = (0.0, 1.0),
        toward: Tensor | None = None,
    ) -> Denoiser:
        """What the samplers call: text embeddings (B, E), or None for any person.

        `toward` (D,) is a step in the latent that the drawn ones shall have taken: the Gaussian
        that the network answers on top of is moved by it, so that what comes still looks like
        somebody, which latents that are moved afterwards do not always.
        """
        if text is not None and not self.settings.text_dim:
            raise ValueError("this prior was trained without texts (text_dim is 0); leave text out")
        free = self._denoiser(None, toward)
        if text is None:
            return free
        return guided(self._denoiser(text, toward), free, guidance, interval)

    def _denoiser(self, text: Tensor | None, toward: Tensor | None) -> Denoiser:
        moved = None if toward is None else toward.to(self.std.device) / self.std
        return lambda noisy, t: Prediction(self._network(noisy, t, text, None, moved))

    def _network(
        self,
        noisy: Tensor,
        t: Tensor,
        text: Tensor | None,
        kept: Tensor | None,
        moved: Tensor | None = None,
    ) -> Tensor:
        """x0 (B, D) in float32; samples that are not `kept` (B,) do without their text.

        The network answers on top of the best guess of a Gaussian about what is linear in the text
        (EDM, arXiv 2206.00364, section 5): few people teach it less than a regression tells.
        """
        alpha, sigma = self.schedule.alpha_sigma(t, 2)
        left = self._open(alpha, sigma)
        guess = left * alpha / sigma.square() * noisy
        condition = self.time(sinusoid(1000 * t.float(), _TIME_CHANNELS))
        if self.settings.text_dim:
            said = self.no_text.expand(len(noisy), -1)
            if text is not None:
                words = functional.normalize(text.float(), dim=-1)
                words = (words - self.text_mean) / self.text_std
                said = self.text(words)
                linear = left / self.scale * (words @ self.lead)
                if kept is not None:
                    said = torch.where(kept[:, None], said, self.no_text)
                    linear = linear * kept[:, None]
                guess = guess + linear
            condition = condition + said
        if moved is not None:
            guess = guess + left / self.scale * moved
        # once with numbers alike, once as they are to each other
        own = self.scale.square()
        each = (alpha.square() * own + sigma.square()).sqrt()
        x = self.enter(torch.cat([noisy / each, noisy / each.square().mean(1, True).sqrt()], 1))
        for block in self.blocks:
            x = block(x, functional.silu(condition))
        return guess + left.sqrt() * self.leave(x).float()

    @torch.no_grad()
    def draw(
        self,
        seeds: Sequence[int],
        text: Tensor | None = None,
        settings: SamplerSettings | None = None,
        toward: Tensor | None = None,
    ) -> Tensor:
        """Latents (len(seeds), D), float32 on the CPU; text (E,) or (len(seeds), E), toward (D,).

        Latent i depends on seed i and text i alone. Puts the network in evaluation mode.
        """
        settings = settings or SamplerSettings()
        noise = Noise(seeds, self.mean.device)
        if text is not None:
            text = text.to(self.mean.device).expand(len(seeds), -1)
        denoiser = self.eval().denoiser(text, settings.guidance, settings.guidance_interval, toward)
        drawn = sample(denoiser, self.schedule, self.mean.shape, noise, settings)
        return (drawn / self.scale * self.std + self.mean).cpu()


def measure_latents(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,) of latents (N, D); numbers that never change get deviation 1e-6."""
    if latents.ndim != 2 or not len(latents):
        raise ValueError(f"latents are {tuple(latents.shape)}; expected (N, D) with N at least 1")
    exact = latents.double()
    return exact.mean(0).float(), exact.std(0, correction=0).clamp_min(1e-6).float()
