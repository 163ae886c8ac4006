"""One avatar: look at it, keep it, change it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rodin import cameras, export, occupancy
from rodin.decoder import TriplaneDecoder
from rodin.plane_file import PlaneFile
from rodin.refiner import RefinerSystem

if TYPE_CHECKING:
    from rodin.model import Model

MAX_SIZE = 2048  # px, side of an image
FILES = (".npz", ".glb", ".ply", ".webp", ".gif", ".mp4", ".png")  # what `Avatar.save` writes


class AvatarError(ValueError):
    """A wish that cannot be met; the message names the value, the limit and the fix."""


@dataclass(frozen=True, eq=False)
class Avatar:
    """One head: planes (3, C, R, R) float32 on the CPU, and what renders them."""

    planes: Tensor
    decoder: TriplaneDecoder
    latent: Tensor | None = None  # (D,) that it was made from
    seed: int = 0  # of its noise
    facts: dict[str, Any] = field(default_factory=dict)  # plain JSON: text, model, settings
    model: Model | None = None  # that made it: what `edit` and refined views need

    @cached_property
    def occupancy(self) -> Tensor:
        """Where matter is: (G, G, G) bool. Specks that float beside the avatar are none of it."""
        return occupancy.of_body(self.planes, self.decoder)

    @property
    def refiner(self) -> RefinerSystem | None:
        """That of the model that made it."""
        return self.model.bundle.refiner if self.model else None

    def render(
        self,
        azimuth: float = 0.0,
        elevation: float = 0.0,
        size: int = 256,
        *,
        radius: float = cameras.DEFAULT_RADIUS,
        samples: int | None = None,
        background: float = 1.0,
        refine: bool | None = None,
    ) -> Any:
        """A PIL image (size x size) from an orbit about the head.

        azimuth 0 is the front, 90 the viewer's right; elevation above 0 looks down, degrees. radius
        is the camera's distance in box units; `samples` lie along a ray (None: 3 for 2 texels of a
        plane, up to 128). `refine` uses the model's refiner, None: where it has one. AvatarError.
        """
        from PIL import Image

        _check_size(size)
        samples = self.samples() if samples is None else samples
        camera = cameras.orbit(azimuth, elevation, radius)
        lens = cameras.intrinsics_from_fov(size, size)
        if refine and self.refiner is None:
            raise AvatarError("this avatar's model has no refiner; leave refine out")
        rgb = export.view(
            self.planes, self.decoder, camera, lens, size, size, samples=samples,
            background=background, occupancy=self.occupancy,
            refiner=None if refine is False else self.refiner,
        )  # fmt: skip
        return Image.fromarray((rgb.clamp(0, 1) * 255).round().byte().numpy())

    def turntable(self, path: Path | str, *, size: int = 256, frames: int = 36) -> Path:
        """A full turn of 3 s as .webp, .gif or .mp4."""
        _check_size(size)
        return export.turntable(
            self.planes, self.decoder, path, count=frames, size=size, seconds=3,
            samples=self.samples(96, 0.75), occupancy=self.occupancy, refiner=self.refiner,
        )  # fmt: skip

    def samples(self, most: int = 128, a_texel: float = 1.5) -> int:
        """Along a ray: `a_texel` for each texel of a plane's side, at least 32 and up to `most`."""
        return min(most, max(32, round(a_texel * self.planes.shape[-1])))

    def mesh(self, path: Path | str, *, size: int = 192) -> Path:
        """The surface with vertex colours as .glb or .ply, metres, y up; `size` voxels a side."""
        return export.mesh(self.planes, self.decoder, path, size=size)

    def save(self, path: Path | str, *, size: int | None = None) -> Path:
        """Writes what the name says: .npz planes, .glb .ply mesh, .webp .gif .mp4 film, .png views.

        size: pixels of a view (None: 256), voxels of the mesh (None: 192), a side. Beside an .npz
        lies `decoder.safetensors`, so that `rodin export` finds it.
        """
        path = Path(path)
        if path.suffix not in FILES:
            raise AvatarError(f"{path.name}: unknown suffix; use one of {' '.join(FILES)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".glb", ".ply"):
            return self.mesh(path, size=size or 192)
        if path.suffix in (".webp", ".gif", ".mp4"):
            return self.turntable(path, size=size or 256)
        if path.suffix == ".png":
            return export.pictures(
                self.planes,
                self.decoder,
                path,
                size=size or 256,
                samples=self.samples(),
                occupancy=self.occupancy,
                refiner=self.refiner,
            )
        facts = {**self.facts, "seed": self.seed}
        PlaneFile(self.planes.numpy(), self.decoder.digest(), facts).save(path)
        self.decoder.save(path.parent / "decoder.safetensors")
        return path

    def edit(self, text: str, strength: float = 1.0, *, guidance: float = 2.0) -> Avatar:
        """The same avatar with what `text` says, its noise held fixed ("with sunglasses").

        strength 0 changes nothing, 1 is the whole step. See `Model.direction`.
        """
        if self.model is None or self.latent is None:
            raise AvatarError("this avatar was not generated by a model here; it cannot be edited")
        if not 0 <= strength <= 3:
            raise AvatarError(f"strength is {strength}; it lies in [0, 3]")
        step = self.model.direction(text, guidance=guidance)
        return self.model.from_latent(
            self.latent + strength * step,
            self.seed,
            facts={**self.facts, "edit": text},
            **self._sampled(),
        )

    def towards(self, other: Avatar, share: float) -> Avatar:
        """Between this avatar (share 0) and another one (1), with this one's noise."""
        if self.model is None or self.latent is None or other.latent is None:
            raise AvatarError("both avatars must come from a model here to be mixed")
        if not 0 <= share <= 1:
            raise AvatarError(f"share is {share}; it lies in [0, 1]")
        latent = torch.lerp(self.latent, other.latent, share)
        return self.model.from_latent(latent, self.seed, facts=self.facts, **self._sampled())

    def _sampled(self) -> dict[str, Any]:
        """How this avatar's planes were drawn: what is made of it is drawn alike."""
        return {name: self.facts[name] for name in ("guidance", "steps") if name in self.facts}


def _check_size(size: int) -> None:
    if not 16 <= size <= MAX_SIZE:
        raise AvatarError(f"size is {size} px; use 16 to {MAX_SIZE}")
