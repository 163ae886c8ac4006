"""Avatars for people: from seeds, from a description or from a portrait.

Input    MODEL: a bundle (rodin pack), a run, s3://..., or models:/rodin@champion; without one, the
         package's own weights, where it has them.
Output   --out FOLDER: for each avatar NAME.glb (mesh), NAME.webp (a full turn), NAME.npz (the
         tri-plane), or what --files says; all of them from five sides in sheet.png; generate.json.
Work     one process; on two cores some seconds an avatar.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from pipelines import pictures
from pipelines.options import UsageError
from pipelines.tool import command, say
from rodin.avatar import Avatar
from rodin.conventions import WHOLE_RADIUS
from rodin.model import BUILTIN, MAX_AVATARS, Model, load

AZIMUTHS = (-60.0, -30.0, 0.0, 30.0, 60.0)  # of a row of the sheet
File = Literal["png", "glb", "ply", "webp", "gif", "mp4", "npz"]


@dataclass(frozen=True)
class Generate:
    """What `rodin generate` takes."""

    # folder for the files
    out: str
    # a bundle's folder, a run, s3://bucket/prefix or models:/rodin@champion; default: the package's
    model: Annotated[str, tyro.conf.Positional] = ""
    # seed of the first avatar; the others follow
    seed: int = 0
    # avatars to make
    count: int = 1
    # who it should be: "old man with a grey beard and round glasses"
    text: str = ""
    # image of somebody: RGBA, or before a plain background
    portrait: str = ""
    # bring the avatar nearer to the portrait by rendering: takes longer
    match: bool = False
    # how closely the base follows the latent; 1 as trained
    guidance: float = 1.0
    # how closely the latent follows the text; 1 as trained
    text_guidance: float = 1.25
    # steps of each diffusion; default: as many as the model was made for
    steps: int | None = None
    # px, side of a picture and of a film
    size: int = 256
    # voxels a side of the mesh's grid
    voxels: int = 192
    # what to write of each avatar; png: six views from all around
    files: tuple[File, ...] = ("glb", "webp", "npz")
    # pictures and films through the model's refiner, where it has one; without: renders of the
    # volume alone, softer, the same from all sides
    refiner: bool = True
    # MLflow server or sqlite:///FILE of a registered model; default: MLFLOW_TRACKING_URI
    tracking: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_AVATARS:
            raise UsageError(f"--count is {self.count}; use 1 to {MAX_AVATARS}")
        if self.text and self.portrait:
            raise UsageError("--text and --portrait exclude each other; give one of them")
        if self.match and not self.portrait:
            raise UsageError("--match brings an avatar nearer to a portrait; give --portrait too")


@contextmanager
def open_model(address: str, tracking: str = "", device: str = "cpu") -> Iterator[Model]:
    """The model of a bundle's folder, a run or a registered model; "": that of the package."""
    if not address or (Path(address) / "bundle.json").is_file():
        yield load(address or BUILTIN, device=device)
        return
    from pipelines.pack import bundle_of
    from pipelines.registry import opened

    with opened(address, tracking) as (run, _):
        yield Model(bundle_of(run, device))


def name_of(avatar: Avatar, args: Generate) -> str:
    """File name of an avatar, without suffix: what it was made from, and its seed."""
    if args.portrait:
        return f"{Path(args.portrait).stem[:40]}-{avatar.seed:06d}"
    return f"{'text' if args.text else 'seed'}-{avatar.seed:06d}"


def views(avatar: Avatar, size: int) -> list[np.ndarray]:
    """A row of the sheet: pictures (size, size, 3) uint8 from the viewer's left to the right."""
    return [np.asarray(avatar.render(angle, 0, size, radius=WHOLE_RADIUS)) for angle in AZIMUTHS]


def work(args: Generate) -> None:
    began = time.perf_counter()
    with open_model(args.model, args.tracking) as model:
        loaded = time.perf_counter()
        if not args.refiner:
            model.bundle = replace(model.bundle, refiner=None)
        avatars = model.generate_many(
            range(args.seed, args.seed + args.count),
            args.text or None,
            args.portrait or None,
            match=args.match,
            guidance=args.guidance,
            text_guidance=args.text_guidance,
            steps=args.steps,
            progress=lambda stage, done, total: say(f"{stage} {done} of {total}"),
        )
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[list[np.ndarray]] = []
    names: list[str] = []
    for avatar in avatars:
        name = name_of(avatar, args)
        say(f"writing {name}: {len(names) + 1} of {len(avatars)}")
        for suffix in args.files:
            mesh = suffix in ("glb", "ply")
            avatar.save(out / f"{name}.{suffix}", size=args.voxels if mesh else args.size)
        rows.append(views(avatar, args.size))
        names.append(name)
    say()
    sheet = pictures.png(pictures.grid(rows, names, across=1 if len(rows) < 4 else 2))
    (out / "sheet.png").write_bytes(sheet)
    facts = {name: avatar.facts for name, avatar in zip(names, avatars, strict=True)}
    (out / "generate.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    took = time.perf_counter() - loaded
    print(
        f"wrote {len(avatars)} avatar{'s' * (len(avatars) > 1)} to {out}: look at"
        f" {out / 'sheet.png'} ({loaded - began:.0f} s to load, {took / len(avatars):.1f} s each)"
    )


def main(argv: Sequence[str] | None = None) -> None:
    command(Generate, "rodin generate", work, argv, __doc__ or "")


if __name__ == "__main__":
    main()
