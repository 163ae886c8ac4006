"""The Python interface: load a model, make avatars.

    import rodin
    model = rodin.load("bundle/")  # without a name: the package's own weights, if it has any
    avatar = model.generate(seed=3)
    avatar.save("three.glb")
    avatar.render(azimuth=30).save("three.png")

Legend: D latent.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rodin.avatar import Avatar, AvatarError
from rodin.bundle import Bundle, BundleError, read_settings
from rodin.decoder import TriplaneDecoder
from rodin.generate import GenerateSettings, encode_portraits, gaussian_latent, generate
from rodin.inversion import InversionSettings, invert_latent, invert_planes
from rodin.nn.encoder import over_white
from rodin.portrait import prepare_portrait
from rodin.prior import PRIOR_SAMPLER
from rodin.text import TextEncoder, TextError, open_encoder

MAX_AVATARS = 64  # of one call
MAX_STEPS = 1000  # of a diffusion
BUILTIN = Path(__file__).parent / "weights"  # a bundle that comes with the package
_BASE = {"method": "dpm2m", "steps": 10}  # of a bundle that does not say
_PARTS = re.compile(r"[,;.]|\b(?:and|with|in|wearing)\b")  # what a description's parts lie between
# Of a label's step, where a description names one; of several, all together go hardly farther.
NAMED = 1.9
SAME = 0.7  # cosine of two texts' embeddings from which they mean the same
ALSO = 0.05  # how much farther a second label's words may be: a blue suit is blue, and a suit
SPREAD = 0.8  # deviations of the portraits' Gaussian that latents are drawn with, without a prior


class Model:
    """A bundle that makes avatars."""

    def __init__(self, bundle: Bundle, *, text_encoder: str = "") -> None:
        """`text_encoder` overrides the one that the prior was trained with; see `rodin.text`."""
        self.bundle = bundle
        self._text_name = text_encoder or str(bundle.facts.get("text_encoder", ""))

    @property
    def batch(self) -> int:
        """Avatars at a time. One on a CPU: as fast, and the same to the last bit as made alone."""
        return 1 if self.bundle.base.statistics.mean.device.type == "cpu" else 8

    @cached_property
    def decoder(self) -> TriplaneDecoder:
        """On the CPU, as the planes of avatars are, wherever the models are."""
        return copy.deepcopy(self.bundle.decoder).cpu()

    @cached_property
    def sampling(self) -> GenerateSettings:
        """How planes are drawn where nothing else is asked for: as the bundle says."""
        found = self.bundle.facts.get("sampling", {"base": _BASE, "upsampler": _BASE})
        settings = read_settings("bundle.json: sampling", GenerateSettings, found)
        if (steps := max(settings.base.steps, settings.upsampler.steps)) > MAX_STEPS:
            raise BundleError(f"the bundle asks for {steps} steps, past {MAX_STEPS}; pack it again")
        return replace(settings, batch=self.batch)

    def _sampling(self, steps: int | None, guidance: float) -> GenerateSettings:
        if steps is not None and not 1 <= steps <= MAX_STEPS:
            raise AvatarError(f"steps is {steps}; use 1 to 1,000, or none for the model's own")
        if not 0 <= guidance <= 20:
            raise AvatarError(f"guidance is {guidance}; use 0 to 20 (1 is as trained)")
        own = self.sampling
        base, upsampler = replace(own.base, guidance=guidance), own.upsampler
        if steps is not None:
            base, upsampler = replace(base, steps=steps), replace(upsampler, steps=steps)
        return replace(own, base=base, upsampler=upsampler)

    @cached_property
    def texts(self) -> TextEncoder:
        """The encoder of descriptions; loaded when first asked for."""
        if not self._text_name or self.bundle.prior is None:
            raise TextError("this model was trained without texts; give a seed or a portrait")
        return open_encoder(self._text_name)

    def generate(
        self,
        seed: int = 0,
        text: str | None = None,
        portrait: Any = None,
        *,
        match: bool = False,
        guidance: float = 1.0,
        text_guidance: float = 1.25,
        steps: int | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Avatar:
        """One avatar from a seed alone, from a description, or from a portrait.

        portrait: path, PIL image or array (H, W, 3 or 4) uint8; see `rodin.portrait`. With `match`
        latent and planes are brought nearer to it by rendering: see `Model.match`. guidance acts in
        the base diffusion (1 = as trained), text_guidance in the prior; steps of each diffusion,
        None = as many as the model was made for.
        The same arguments give the same planes on one machine. Raises AvatarError, TextError.
        """
        return self.generate_many(
            [seed], text, portrait, match=match, guidance=guidance, text_guidance=text_guidance,
            steps=steps, progress=progress,
        )[0]  # fmt: skip

    def generate_many(
        self,
        seeds: Sequence[int],
        text: str | None = None,
        portrait: Any = None,
        *,
        match: bool = False,
        guidance: float = 1.0,
        text_guidance: float = 1.25,
        steps: int | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> list[Avatar]:
        """`generate` for several seeds at once; each avatar equals the one made alone."""
        if not 1 <= len(seeds) <= MAX_AVATARS:
            raise AvatarError(f"{len(seeds)} seeds; ask for 1 to {MAX_AVATARS} at a time")
        if min(seeds) < 0 or max(seeds) >= 2**63:
            raise AvatarError(f"seed {min(seeds)} to {max(seeds)}; use 0 to 2^63 - 1")
        if text is not None and portrait is not None:
            raise AvatarError("give a text or a portrait, not both: edit the portrait's avatar")
        if match and portrait is None:
            raise AvatarError("match needs a portrait to match; give one, or leave match out")
        facts: dict[str, Any] = {"guidance": guidance, "steps": steps}
        if portrait is not None:
            latents = self.latent_of(portrait).expand(len(seeds), -1)
            facts["from"] = "portrait"
        else:
            latents = self.draw_latents(seeds, text, guidance=text_guidance)
            facts |= {"from": "seed"} if text is None else {"from": "text", "text": text}
        avatars = self.from_latents(
            latents, seeds, guidance=guidance, steps=steps, facts=[facts] * len(seeds),
            progress=progress,
        )  # fmt: skip
        if match:
            image = prepare_portrait(portrait)
            avatars = [self.match(each, image, progress=progress) for each in avatars]
        return avatars

    def match(
        self,
        avatar: Avatar,
        portrait: Any,
        settings: InversionSettings | None = None,
        *,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Avatar:
        """The avatar with latent and planes brought nearer to a portrait, by rendering.

        What is made of it later by `edit` or `towards` starts from its latent:
        the planes' part of the likeness is lost there. See `rodin.inversion`.
        """
        if avatar.latent is None:
            raise AvatarError("this avatar has no latent; match one that a model here has made")
        settings = settings or InversionSettings()
        image = portrait if isinstance(portrait, Tensor) else prepare_portrait(portrait)
        latent = invert_latent(
            self.bundle.base, self.bundle.decoder, image, avatar.latent, settings,
            seed=avatar.seed, progress=progress,
        )  # fmt: skip
        facts = {**avatar.facts, "matched": True}
        how = {name: facts[name] for name in ("guidance", "steps") if name in facts}
        found = self.from_latent(latent, avatar.seed, facts=facts, **how)
        planes = invert_planes(
            found.planes, self.decoder, image, settings, seed=avatar.seed, progress=progress
        )
        return replace(found, planes=planes)

    def from_latents(
        self,
        latents: Tensor,
        seeds: Sequence[int],
        *,
        guidance: float = 1.0,
        steps: int | None = None,
        facts: Sequence[dict[str, Any]],
        progress: Callable[[str, int, int], None] | None = None,
    ) -> list[Avatar]:
        """The avatars of latents (N, D) with the noises of N seeds; each as made alone."""
        planes = generate(
            self.bundle.base, self.bundle.upsampler, seeds, latents=latents,
            settings=self._sampling(steps, guidance), progress=progress,
        )  # fmt: skip
        return [
            Avatar(planes[i], self.decoder, latents[i], int(seed), facts[i], self)
            for i, seed in enumerate(seeds)
        ]

    def from_latent(
        self,
        latent: Tensor,
        seed: int = 0,
        *,
        guidance: float = 1.0,
        steps: int | None = None,
        facts: dict[str, Any] | None = None,
    ) -> Avatar:
        """The avatar of a latent (D,) with the noise of a seed."""
        return self.from_latents(
            latent[None], [seed], guidance=guidance, steps=steps, facts=[facts or {}]
        )[0]

    def draw_latents(
        self, seeds: Sequence[int], text: str | None = None, *, guidance: float = 1.25
    ) -> Tensor:
        """Latents (len(seeds), D): by the prior, or of the training portraits' Gaussian.

        What the text names of the labels that the model knows is a step that they shall have
        taken, each: the prior alone hears little of them (docs/benchmarks.md). Nothing is named,
        at a guidance of 0.
        """
        prior = self.bundle.prior
        if prior is None and text is None:
            return torch.stack(
                [gaussian_latent(self.bundle.latents, seed, SPREAD) for seed in seeds]
            )
        said = None if text is None else self.texts([text])[0]
        assert prior is not None  # `texts` has refused
        how = replace(PRIOR_SAMPLER, guidance=1.0 if text is None else guidance)
        toward = None
        if text is not None and guidance and (named := self.traits(text)):
            steps = torch.stack([self.step(name) for name in named])
            toward = NAMED * len(named) ** -0.75 * steps.sum(0)
        return torch.cat([prior.draw([seed], said, how, toward) for seed in seeds])

    def latent_of(self, portrait: Any) -> Tensor:
        """Latent (D,) of a portrait: path, PIL image or array; see `rodin.portrait`."""
        image = prepare_portrait(portrait)
        return encode_portraits(self.bundle.base, over_white(image[None]))[0].cpu()

    def direction(self, text: str, *, guidance: float = 2.0, count: int = 16) -> Tensor:
        """Step (D,) in the latent that `text` asks for.

        What people are labelled with has a step of its own, which leaves the rest alone; the one
        whose words are nearest is taken, from a cosine of SAME on. Of other texts the step is the
        mean over noises of avatars with less avatars without. Raises TextError where the model
        takes no text.
        """
        said = self.texts([text])[0]
        prior = self.bundle.prior
        assert prior is not None  # `texts` has refused
        if found := self._nearest([text]):
            return self.step(found[0])
        seeds, how = range(count), replace(PRIOR_SAMPLER, guidance=guidance)
        return (prior.draw(seeds, said, how) - prior.draw(seeds, None, PRIOR_SAMPLER)).mean(0)

    def step(self, trait: str) -> Tensor:
        """The step (D,) of a label, such as "glasses: yes", from people without it."""
        return torch.tensor(self._traits[0][trait])

    def traits(self, text: str) -> list[str]:
        """The known labels that a description names, whole or in its parts, as "glasses: yes".

        Raises TextError where the model takes no text.
        """
        return self._nearest([text, *filter(None, map(str.strip, _PARTS.split(text)))])

    def _nearest(self, texts: Sequence[str]) -> list[str]:
        """The labels whose words are nearest to each text, from a cosine of SAME on, and within
        ALSO of the nearest; the nearest of each kind of label ("glasses") alone, nearest first."""
        _, names, words = self._traits
        if not names:
            return []
        near = functional.normalize(self.texts(list(texts)), dim=-1) @ words.T
        best = [
            (float(cosine), names[i])
            for cosines in near
            for i, cosine in enumerate(cosines)
            if cosine >= max(SAME, float(cosines.max()) - ALSO)
        ]
        found: dict[str, str] = {}
        for _, name in sorted(best, reverse=True):
            found.setdefault(name.partition(":")[0], name)
        return list(found.values())

    @cached_property
    def _traits(self) -> tuple[dict[str, list[float]], list[str], Tensor]:
        """Steps by name; of each text that names one the name and the unit embedding (M, E)."""
        facts = read_settings(
            "bundle.json: traits", dict[str, Trait], self.bundle.facts.get("traits", {})
        )
        wide = self.bundle.latents.shape[1]
        for name, trait in facts.items():
            if len(trait.step) != wide:
                raise BundleError(
                    f"bundle.json: traits: {name[:40]!r} has {len(trait.step)} numbers, latents"
                    f" have {wide}; pack the run again"
                )
        pairs = [(name, text) for name, trait in facts.items() for text in trait.texts]
        words = self.texts([text for _, text in pairs]) if pairs else torch.zeros(0, 1)
        steps = {name: trait.step for name, trait in facts.items()}
        return steps, [name for name, _ in pairs], functional.normalize(words, dim=-1)


@dataclass(frozen=True)
class Trait:
    """Something that people are labelled with."""

    texts: list[str]  # what it is called
    step: list[float]  # (D,) in the latent, from people without it


def load(source: Path | str = BUILTIN, *, device: str = "cpu", text_encoder: str = "") -> Model:
    """The model in a bundle's folder (`rodin pack` makes one from a run), or the package's own.

    Raises BundleError, also where the package has none.
    """
    if Path(source) == BUILTIN and not (BUILTIN / "bundle.json").is_file():
        raise BundleError(
            "this package has no weights of its own; name a bundle or a run (make demo trains one)"
        )
    return Model(Bundle.load(source, device), text_encoder=text_encoder)
