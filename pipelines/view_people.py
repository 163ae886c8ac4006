"""The people of a data set, for the viewer: the truth beside the fit, through the same camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infra.manifest import Dataset, open_dataset
from infra.registry import is_registered
from infra.storage import open_store
from pipelines import pictures
from pipelines.options import whole
from rodin import record
from rodin.avatar import Avatar
from rodin.decoder import TriplaneDecoder
from rodin.render import render_image

MAX_KEYS = 500  # people of each split that a page lists
_SAMPLES = 96  # along a ray of a pair's fit
_TILE = 192  # px, side of each half of a pair: about what the panel shows


@dataclass(frozen=True, eq=False)
class Person:
    """A fitted person and the views that the fit was made from."""

    avatar: Avatar
    sample: record.TriplaneSample

    @property
    def views(self) -> int:
        return len(self.sample.rgba)

    def camera(self, index: int) -> np.ndarray:
        """Place (3,) of a view's camera; all of a data set look at the box centre."""
        return self.sample.camera_to_world[index][:3, 3]

    def pair(self, index: int) -> np.ndarray:
        """Truth and fit side by side through the view's own camera, named, (H, W, 3) uint8."""
        truth = self.sample.rgba[index]
        fit = render_image(
            self.avatar.planes, self.avatar.decoder,
            torch.from_numpy(self.sample.camera_to_world[index]).float(),
            torch.from_numpy(self.sample.intrinsics[index]).float(),
            *truth.shape[:2], samples=_SAMPLES, occupancy=self.avatar.occupancy,
        ).rgb.numpy()  # fmt: skip
        return np.asarray(pictures.grid([[truth], [fit]], ("truth", "fit"), tile=_TILE, across=2))

    @property
    def text(self) -> str:
        """A line about the person: what the caption says, and how good the fit is."""
        said: dict[str, Any] = self.sample.meta
        psnr = said.get("metrics", {}).get("psnr")
        quality = f"Fit: {psnr:.1f} dB on held-out views." if psnr is not None else ""
        return f"{said.get('caption', '')} {quality}".strip()


class People:
    """The tri-planes of a run, one person at a time."""

    def __init__(self, shards: Dataset, decoder: TriplaneDecoder) -> None:
        self.shards, self.decoder = shards, decoder
        # held-out people first
        self.keys = [key for split in ("val", "train") for key in shards.keys(split)[:MAX_KEYS]]

    def load(self, key: str) -> Person:
        """Raises RecordError or StorageError where the sample cannot be read."""
        sample = record.decode_triplane(self.shards.read(key))
        planes = torch.from_numpy(sample.triplane.astype(np.float32))
        facts = {"from": "fit", "person": key}
        return Person(Avatar(planes, self.decoder, facts=facts), sample)


def people_of(address: str, decoder: TriplaneDecoder) -> People | None:
    """The people of a run; None for bundles (that of the package too) and registered models."""
    if not address or is_registered(address) or (Path(address) / "bundle.json").is_file():
        return None
    store = open_store(whole(address)).child("triplanes")
    if not store.exists("dataset.json"):
        return None
    return People(open_dataset(store), decoder)
