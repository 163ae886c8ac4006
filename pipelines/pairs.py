"""What the refiner learns from: people's planes, fitted or generated, beside their real views.

Views come with the tri-planes, a few of each person, or from a data set of views: the run's own,
with all of them, or one of the same people in larger pictures.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset

from infra.manifest import Dataset as Shards
from pipelines import data
from rodin import record
from rodin.diffusion.base import BaseSystem
from rodin.diffusion.upsampler import UpsamplerSystem
from rodin.generate import GenerateSettings, encode_portraits, generate


class Pairs(Dataset[dict[str, torch.Tensor]]):
    """As `data.TriplaneSamples`; planes and views stay in memory once they are made."""

    def __init__(
        self,
        shards: Shards,
        split: str,
        *,
        mirror: bool = False,
        views: Shards | None = None,
        models: tuple[BaseSystem, UpsamplerSystem | None] | None = None,
        sampling: GenerateSettings | None = None,
    ) -> None:
        """With `views` those people alone who have some there, seen as there.

        With `models` planes are what base and upsampler make of the person's portrait, as
        `sampling` says: what the refiner will meet. The noise is the person's own.
        """
        self.shards, self.mirror = shards, mirror
        self.views, self.models, self.sampling = views, models, sampling
        self.rows = {}
        if views is not None:
            self.rows = {str(row["key"]): row for row in views.rows(split)}
        names = ("planes", "portrait") if views is not None else ()
        self.samples = data.TriplaneSamples(
            shards, split, names, only=None if views is None else self.rows
        )
        self.seen = data.Kept(self._views, lambda found: found.rgba.nbytes)
        self.generated = data.Kept(self._planes, lambda found: found.nbytes)

    @property
    def people(self) -> int:
        """Sample i and sample i + people show one person, in mirror image."""
        return len(self.samples)

    def __len__(self) -> int:
        return self.people * (1 + self.mirror)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        turned, place = divmod(index, self.people)
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        found = dict(self.samples[place])
        if self.views is not None:
            some = self.seen(place)
            found["views"] = data.image(some.rgba)
            for name in ("camera_to_world", "intrinsics"):
                found[name] = data.floats(getattr(some, name))
        if turned:
            found = data.mirrored(found)
        if self.models is not None:
            found["planes"] = self.generated(index).float()
        return found

    def _views(self, place: int) -> Any:
        assert self.views is not None
        row = self.rows[str(self.samples.rows[place]["key"])]
        return record.decode_views(self.views.read_row(row))

    def _planes(self, index: int) -> torch.Tensor:
        """What the models make of somebody, in half precision, as planes are stored."""
        assert self.models is not None
        turned, place = divmod(index, self.people)
        portrait = data.image(self.samples.sample(place).portrait)
        portrait = portrait.flip(-1) if turned else portrait
        base, upsampler = self.models
        latents = encode_portraits(base, portrait[None]).cpu()
        made = generate(base, upsampler, [index], latents=latents, settings=self.sampling)
        return made[0].half()

    def held_out(self, count: int) -> dict[str, torch.Tensor] | None:
        """The first `count` people held out from training as a batch; None where there are none."""
        return self.first("val", count) if self._of("val") else None

    def first(self, split: str, count: int) -> dict[str, torch.Tensor]:
        """The first `count` people of a split as a batch of all tensors."""
        others = Pairs(
            self.shards, split, views=self.views, models=self.models, sampling=self.sampling
        )
        return data.joined(others, count)

    def _of(self, split: str) -> set[str]:
        known = set(self.shards.keys(split))
        return known if self.views is None else known & set(self.views.keys(split))
