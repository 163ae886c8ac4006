"""Export a tri-plane: a mesh, a film or a picture, as the name of --out says.

Input    TRIPLANE: a .npz of rodin fit-one, or a data set of tri-planes (a folder or s3://...) with
         --key. The decoder lies beside it, or is named by --decoder.
Output   --out x.glb or x.ply (mesh with vertex colours, metres, y up), x.webp, x.gif or x.mp4 (a
         full turn), x.png (views from around).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from infra.manifest import open_dataset
from infra.storage import open_store
from pipelines.options import UsageError, whole
from pipelines.tool import command, find_decoder
from rodin import export, record
from rodin.decoder import TriplaneDecoder
from rodin.plane_file import PlaneFile, check_planes
from rodin.surface import SURFACE_SIGMA

MESHES, FILMS, PICTURES = (".glb", ".ply"), (".webp", ".gif", ".mp4"), (".png",)


@dataclass(frozen=True)
class Export:
    """What `rodin export` takes."""

    # a .npz of rodin fit-one, or the address of a data set of tri-planes
    triplane: Annotated[str, tyro.conf.Positional]
    # file to write: .glb .ply .webp .gif .mp4 .png
    out: str
    # the avatar's key in the data set, as its manifest has it
    key: str = ""
    # decoder.safetensors, or a data set or run that holds it; default: beside the tri-plane
    decoder: str = ""
    # voxels a side of the mesh's grid, or pixels a side of a view; 0: 256
    size: int = 0
    # frames of a film, or views of a picture; 0: 48 and 6
    count: int = 0
    # length of a film, seconds
    seconds: float = 4.0
    # density, per box unit, at which the mesh's surface lies
    sigma: float = SURFACE_SIGMA
    # samples along a ray of a film or a picture
    samples: int = 128

    def __post_init__(self) -> None:
        suffix = Path(self.out).suffix
        if suffix not in MESHES + FILMS + PICTURES:
            raise UsageError(
                f"--out {self.out} has no suffix that is known; use one of"
                f" {' '.join(MESHES + FILMS + PICTURES)}"
            )
        for name, low in (("size", 0), ("count", 0), ("samples", 2), ("seconds", 0.1)):
            if getattr(self, name) < low:
                raise UsageError(f"--{name} is {getattr(self, name)}; use at least {low}")


def load(args: Export) -> tuple[torch.Tensor, TriplaneDecoder]:
    """Planes (3, C, R, R) float32 and the decoder that they belong to."""
    if args.triplane.endswith(".npz"):
        file = PlaneFile.load(args.triplane)
        planes, digest, beside = file.planes, file.decoder, str(Path(args.triplane).parent)
    else:
        data = open_dataset(open_store(whole(args.triplane)), command="python -m pipelines.fit")
        if not args.key:
            keys = data.keys()
            raise UsageError(
                f"{args.triplane} holds {len(keys)} avatars; name one: --key {keys[0]}"
            )
        sample = record.decode_triplane(data.read(args.key))
        planes, digest, beside = sample.triplane, sample.meta["decoder"], args.triplane
    decoder = find_decoder(args.decoder or beside)
    check_planes(planes, digest, decoder)
    return torch.from_numpy(planes.astype(np.float32)), decoder


def work(args: Export) -> None:
    planes, decoder = load(args)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    size = args.size or 256
    if out.suffix in MESHES:
        export.mesh(planes, decoder, out, size=size, sigma=args.sigma)
    elif out.suffix in FILMS:
        export.turntable(
            planes,
            decoder,
            out,
            count=args.count or 48,
            size=size,
            seconds=args.seconds,
            samples=args.samples,
        )
    else:
        export.pictures(
            planes, decoder, out, count=args.count or 6, size=size, samples=args.samples
        )
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


def main(argv: Sequence[str] | None = None) -> None:
    command(Export, "rodin export", work, argv, __doc__ or "")


if __name__ == "__main__":
    main()
