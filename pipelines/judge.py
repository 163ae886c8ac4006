"""What `pipelines.evaluate` measures: the models of a run against its people.

Legend: V views, S pixels along an image.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from infra.manifest import Dataset
from infra.storage import Store
from pipelines import attributes, data, models
from pipelines.latents import LatentSource, portrait_of
from pipelines.settings import SampleStage
from rodin import cameras, distances, metrics, perceptual, record
from rodin import occupancy as occupancies
from rodin.consistency import consistency
from rodin.generate import encode_portraits, generate
from rodin.nn.encoder import over_white
from rodin.refiner import RefinerSystem, render_refined
from rodin.render import render_image

ENOUGH = 8  # held-out people that stand for all; with fewer, all people are the reference
ARC = (-16.0, 16.0)  # degrees about the front that near views are taken from
NEAR_VIEWS = 5  # near views of an avatar: 8 degrees apart
JUDGED = 4  # avatars whose near views are compared, at most
PORTRAITS = 4_000  # of a data set of views, that attributes are learned from at most: memory

Report = Callable[[str], None]


@dataclass(frozen=True)
class Person:
    """A person of the data set: fitted planes and real views."""

    key: str
    planes: Tensor  # (3, C, R, R)
    portrait: Tensor  # (4, P, P)
    real: Tensor  # (V, S, S, 3) over white
    camera_to_world: Tensor  # (V, 4, 4)
    intrinsics: Tensor  # (V, 3, 3)
    classes: dict[str, str]  # of `pipelines.attributes`; {} where the data set has none


def person(shards: Dataset, key: str) -> Person:
    sample = record.decode_triplane(shards.read(key))
    found = data.tensors(sample)
    views = found["views"].movedim(1, -1)
    return Person(
        key,
        found["planes"],
        found["portrait"],
        metrics.over(views),
        found["camera_to_world"],
        found["intrinsics"],
        attributes.classes(sample.meta.get("attributes", {})),
    )


def portraits_of(
    views: Dataset, split: str, side: int, most: int = PORTRAITS
) -> Iterator[tuple[Tensor, dict[str, str]]]:
    """Portraits (S, S, 3) over white, and classes, of the first people of a data set of views."""
    for row in itertools.islice(views.rows(split), most):
        _, image, meta = portrait_of(views, row)
        small = functional.interpolate(
            over_white(image[None]), (side, side), mode="bilinear", antialias=True
        )
        yield small[0].movedim(0, -1), attributes.classes(meta.get("attributes", {}))


class Judge:
    """Models, decoder and people of a run, and the measures of them."""

    def __init__(
        self, out: Store, shards: Dataset, stage: SampleStage, people: int, report: Report
    ) -> None:
        """`people` limits how many of either split are looked at."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.stage, self.report = stage, report
        self.decoder = models.load_decoder(shards.store)
        self.base = models.load_system(out, "base", self.decoder, device)
        self.upsampler, self.refiner = (
            models.load_system(out, name, self.decoder, kind)
            if models.read_meta(out.child(f"models/{name}"))
            else None
            for name, kind in (("upsampler", device), ("refiner", "cpu"))
        )
        self.latent = LatentSource(out, stage, self.decoder)
        self.network = perceptual.load()
        self.train = [person(shards, key) for key in shards.keys("train")[:people]]
        self.held_out = [person(shards, key) for key in shards.keys("val")[:people]]
        few = len(self.held_out) < ENOUGH
        self.reference = self.held_out + self.train if few else self.held_out

    def draw(self, seeds: Sequence[int], latents: Sequence[Tensor]) -> Tensor:
        """Planes of avatars, as the run's own settings sample them."""
        return generate(
            self.base,
            self.upsampler,
            seeds,
            latents=torch.stack(list(latents)),
            settings=self.stage.generate,
        )

    def images(
        self, planes: Tensor, matrices: Tensor, intrinsics: Tensor, side: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images (V, S, S, 3), their depths (V, S, S) and the occupancy grid of one avatar."""
        grid = occupancies.from_density(planes[None], self.decoder)[0]
        found = [
            render_image(
                planes,
                self.decoder,
                *camera,
                side,
                side,
                samples=self.stage.render_samples,
                occupancy=grid,
            )
            for camera in zip(matrices, intrinsics, strict=True)
        ]
        rgb = torch.stack([out.rgb.clamp(0, 1) for out in found])
        return rgb, torch.stack([out.depth for out in found]), grid

    def of_person(self, planes: Tensor, who: Person) -> Tensor:
        """Images (V, S, S, 3) of planes, seen as a person was."""
        return self.images(planes, *_cameras(who))[0]

    def of_portrait(self, planes: Tensor, who: Person) -> Tensor:
        """The image (S, S, 3) of planes seen as a person's portrait was."""
        return self.images(planes, *_cameras(who, 1))[0][0]

    def refined(
        self,
        refiner: RefinerSystem,
        planes: Tensor,
        matrices: Tensor,
        intrinsics: Tensor,
        side: int,
        grid: Tensor,
    ) -> Tensor:
        """The same images (V, S, S, 3) through a refiner."""
        found = [
            render_refined(
                planes,
                self.decoder,
                refiner,
                *camera,
                side,
                side,
                samples=self.stage.render_samples,
                occupancy=grid,
            )[0]
            for camera in zip(matrices, intrinsics, strict=True)
        ]
        return torch.stack(found)

    def embed(self, images: Tensor) -> Tensor:
        return distances.embed(images.movedim(-1, 1), self.network)

    def sets(self, made: Sequence[Tensor]) -> tuple[dict[str, float], list[Tensor]]:
        """Generated and real views as sets: the metrics and each avatar's images.

        Avatar i is seen by the cameras of person i.
        """
        shown = []
        for i, planes in enumerate(made):
            self.report(f"renders of avatar {i + 1} of {len(made)}")
            like = self.reference[i % len(self.reference)]
            shown.append(self.of_person(planes, like))
        return distances.set_distances(self.embed(torch.cat(shown)), self._real()), shown

    def _real(self) -> Tensor:
        return self.embed(torch.cat([p.real for p in self.reference]))

    def fits(self) -> dict[str, float]:
        """What is measured of avatars, of renders of the real people's own planes: whole, and at
        the refiner's size, resized and refined."""
        self.report(f"renders of {len(self.reference)} people's planes")
        fitted = [self.images(p.planes, *_cameras(p)) for p in self.reference]
        real = self._real()
        floor = distances.set_distances(self.embed(torch.cat([f[0] for f in fitted])), real)
        found = {f"{name}_of_fits": value for name, value in floor.items()}
        found |= self.quality("fits", [f[0] for f in fitted], self.reference)
        if self.refiner is not None:
            # An untrained refiner resizes what it gets: what the trained one has to be better than.
            resizing = RefinerSystem(self.refiner.settings)
            for name, refiner in (("resized", resizing), ("refined", self.refiner)):
                fine = [
                    self.refined(refiner, p.planes, *_cameras(p), f[2])
                    for p, f in zip(self.reference, fitted, strict=True)
                ]
                found |= self.quality(f"{name}_fits", fine, self.reference)
                apart = distances.set_distances(self.embed(torch.cat(fine)), real)
                found |= {f"{key}_of_{name}_fits": value for key, value in apart.items()}
        return found

    def quality(
        self, name: str, images: Sequence[Tensor], people: Sequence[Person]
    ) -> dict[str, float]:
        """PSNR, SSIM and perceptual distance of images to the people's real views."""
        psnr, ssim, apart = [], [], []
        for image, target in zip(images, people, strict=True):
            psnr.append(metrics.psnr(image, target.real).mean())
            ssim.append(metrics.ssim(image, target.real).mean())
            with torch.no_grad():
                pair = image.movedim(-1, 1), target.real.movedim(-1, 1)
                apart.append(self.network(*pair).mean())
        return {
            f"psnr_{name}": float(torch.stack(psnr).mean()),
            f"ssim_{name}": float(torch.stack(ssim).mean()),
            f"{distances.FEATURES}_distance_{name}": float(torch.stack(apart).mean()),
        }

    def reader(self, portraits: Dataset | None = None) -> attributes.Reader:
        """Learned from real portraits of training people and renders of their planes, refined too
        where there is a refiner, and from the `portraits` of a data set of views; ValueError where
        they are too few."""
        images = [who.real[0] for who in self.train]
        for who in self.train:
            found, _, grid = self.images(who.planes, *_cameras(who, 1))
            images.append(found[0])
            if self.refiner is not None:
                images.append(self.refined(self.refiner, who.planes, *_cameras(who, 1), grid)[0])
        classes_of = [who.classes for who in self.train]
        drawn = 1 if self.refiner is None else 2
        known = classes_of + [one for one in classes_of for _ in range(drawn)]
        if portraits is not None:
            for image, classes in portraits_of(portraits, "train", len(images[0])):
                images.append(image)
                known.append(classes)
        return attributes.Reader(self.network).learn(torch.stack(images), known)

    def attributes(self, portraits: Sequence[Tensor]) -> dict[str, float]:
        """Whether avatars of held-out portraits have the attributes of their people.

        Means over the groups, by a reader that learned from the training people's real views and
        the renders of their planes. Beside it what it reads of the real portraits, which is the
        most that can be reached, and of other people's, which is chance. {} with too few people.
        """
        people = self.held_out[: len(portraits)]
        if not all(who.classes for who in [*self.train, *people]):
            return {}
        self.report("attributes of portraits")
        try:
            reader = self.reader()
        except ValueError:
            return {}
        wanted = [who.classes for who in people]
        avatars = reader.read(torch.stack([views[0] for views in portraits]))
        real = reader.read(torch.stack([who.real[0] for who in people]))
        others = wanted[1:] + wanted[:1]
        shares = {
            "of_portraits": attributes.agreement(avatars, wanted),
            "of_real_portraits": attributes.agreement(real, wanted),
            "of_other_portraits": attributes.agreement(avatars, others),
        }
        return {
            f"attributes_{name}": float(np.mean(list(found.values())))
            for name, found in shares.items()
            if found
        }

    def portraits(self, people: Sequence[Person]) -> tuple[dict[str, float], list[Tensor]]:
        """Avatars made from portraits against the real views of their people."""
        latents = [encode_portraits(self.base, p.portrait[None])[0].cpu() for p in people]
        made = self.draw([0] * len(people), latents)
        images = []
        for i, (planes, like) in enumerate(zip(made, people, strict=True)):
            self.report(f"portrait {i + 1} of {len(people)}")
            images.append(self.of_person(planes, like))
        return self.quality("portraits", images, people), images

    def agreement(self, made: Sequence[Tensor], side: int) -> tuple[dict[str, float], list[Any]]:
        """How far near views agree, in dB, with and without the refiner; and pictures of both."""
        matrices = cameras.orbit(torch.linspace(*ARC, NEAR_VIEWS), 0.0)
        intrinsics = cameras.intrinsics_from_fov(side, side).expand(NEAR_VIEWS, 3, 3)
        plain, fine, pictures = [], [], []
        for i, planes in enumerate(made[:JUDGED]):
            self.report(f"near views of avatar {i + 1}")
            images, depths, grid = self.images(planes, matrices, intrinsics, side)
            plain.append(consistency(images, depths, matrices, intrinsics)[0])
            pictures.append(images)
            if self.refiner is not None:
                refined = self.refined(self.refiner, planes, matrices, intrinsics, side, grid)
                fine.append(consistency(refined, depths, matrices, intrinsics)[0])
                pictures.append(refined)
        found = {"consistency_psnr": float(np.mean(plain))}
        if fine:
            found["consistency_psnr_refined"] = float(np.mean(fine))
        return found, pictures

    def novelty(self, made: Tensor, shown: Sequence[Tensor]) -> tuple[dict[str, float], list[int]]:
        """Are avatars unlike each other, and unlike the people trained on?

        Shares of what training people are among themselves: 0 = all alike, or copies; 1 = as people
        differ. Looks are compared by features of the first view, where blur is a difference too;
        planes as the base normalises them, where blur brings all nearer. Returns the index of the
        training person that looks nearest to each avatar too.
        """
        seen = self.embed(torch.stack([images[0] for images in shown]))
        known = [self.images(p.planes, *_cameras(p, 1))[0][0] for p in self.train]
        people = self.embed(torch.stack(known))
        device = self.base.statistics.mean.device
        flat = [
            self.base.prepare(planes.to(device)).cpu().flatten(1)
            for planes in (made, torch.stack([p.planes for p in self.train]))
        ]
        looks, index = _apart(seen, people)
        planes, _ = _apart(*flat)
        found = {
            "diversity": distances.spread(seen) / distances.spread(people),
            "nearest_training_looks": looks,
            "nearest_training_planes": planes,
        }
        return found, index


def _apart(found: Tensor, known: Tensor) -> tuple[float, list[int]]:
    """Mean distance of rows (N, D) to the nearest of (M, D), in the mean distance of the latter to
    each other's nearest; and which those are."""
    between = torch.cdist(known, known).fill_diagonal_(torch.inf)
    distance, index = distances.nearest(found, known)
    return float(distance.mean() / between.amin(1).mean()), index.tolist()


def _cameras(who: Person, count: int | None = None) -> tuple[Tensor, Tensor, int]:
    """Cameras of a person's first views, and the side of their images."""
    return who.camera_to_world[:count], who.intrinsics[:count], who.real.shape[1]
