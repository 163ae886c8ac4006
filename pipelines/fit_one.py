"""Fit one subject: a folder of posed images -> a tri-plane, a mesh, a turntable.

Input    VIEWS, a folder with a transforms.json (nerfstudio, instant-ngp, NeRF data sets, or
         `python -m blender --seed 7 --views 60 --out VIEWS`), and a decoder.
Output   --out: triplane.npz, decoder.safetensors, mesh.glb, mesh.ply, turntable.webp, sheet.png
         (held-out views: truth | fit | error), metrics.json.
Work     in this process, some minutes; no cluster.
Again    a second run fits again and replaces the files.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from infra.storage import Store, open_store
from pipelines import quality
from pipelines.options import UsageError, whole
from pipelines.tool import DECODER, command, find_decoder, write_file
from rodin import export
from rodin.decoder import TriplaneDecoder
from rodin.fit import FitSettings, evaluate, fit_decoder, fit_planes
from rodin.plane_file import PlaneFile
from rodin.posed_images import PosedImageSettings, read_posed_images
from rodin.views import Views


@dataclass(frozen=True)
class FitOne:
    """What `rodin fit-one` takes."""

    # a folder with transforms.json, or such a file
    views: Annotated[str, tyro.conf.Positional]
    # decoder.safetensors, or a data set or run that holds one: the planes then go with all others
    # of that decoder
    decoder: str = ""
    # fit a decoder along with the planes: best for this subject alone, of no use to others
    train_decoder: bool = False
    # folder or s3://bucket/prefix to write to; default: beside the views, NAME-fit
    out: str = ""
    # of the rays and the initial values
    seed: int = 0
    # voxels a side for the mesh
    mesh_size: int = 256
    # frames of the turntable
    frames: int = 48
    # how the images are read
    images: tyro.conf.OmitArgPrefixes[PosedImageSettings] = field(
        default_factory=PosedImageSettings
    )
    # knobs of the fit; its decoder's shape counts with --train-decoder alone
    engine: FitSettings = field(
        default_factory=lambda: FitSettings(
            resolution=128, steps=1000, decoder_steps=1000, rays_per_step=4096
        )
    )

    def __post_init__(self) -> None:
        if bool(self.decoder) == self.train_decoder:
            raise UsageError("give either --decoder FILE-OR-RUN or --train-decoder")


def fit(
    args: FitOne, views: Views, progress: Any
) -> tuple[torch.Tensor, TriplaneDecoder, dict[str, float]]:
    """Planes (3, C, R, R), their decoder, and the metrics of the held-out views."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.train_decoder:
        decoder, planes = fit_decoder(
            [views], args.engine, seed=args.seed, progress=progress, device=device
        )
        _, held_out = views.split(args.engine.held_out)
        scores = evaluate(planes[0], decoder, held_out, samples=args.engine.render_samples)
        return planes[0].cpu(), decoder.cpu(), scores
    decoder = find_decoder(args.decoder)
    engine = args.engine
    if engine.decoder.channels == FitSettings().decoder.channels:  # left as it is: the file decides
        engine = replace(engine, decoder=decoder.config)
    result = fit_planes(views, decoder.to(device), engine, seed=args.seed, progress=progress)
    return result.planes.cpu(), decoder.cpu(), result.metrics


def write(
    args: FitOne, store: Store, views: Views, decoder: TriplaneDecoder, file: PlaneFile
) -> None:
    """All files but metrics.json, from the planes as they are stored."""
    planes = torch.from_numpy(file.planes.astype(np.float32))
    write_file(store, "triplane.npz", file.save)
    write_file(store, DECODER, decoder.save)
    _, held_out = views.split(args.engine.held_out)
    row = quality.strips(planes, decoder, held_out, count=4)
    store.write("sheet.png", quality.sheet_of(row))
    write_file(store, "turntable.webp", lambda path: export.turntable(
        planes, decoder, path, count=args.frames, size=views.rgba.shape[1],
        seconds=args.frames / 12,
    ))  # fmt: skip
    for name in ("mesh.glb", "mesh.ply"):
        write_file(
            store, name, lambda path: export.mesh(planes, decoder, path, size=args.mesh_size)
        )


def work(args: FitOne) -> None:
    from tqdm import tqdm

    views, placement, names = read_posed_images(args.views, args.images)
    height, width = views.rgba.shape[1:3]
    extra = "" if views.depth is None else ", with depth"
    print(f"{len(views)} views of {width} x {height} px{extra}; {placement.text}")
    folder = Path(args.views)
    folder = folder if folder.is_dir() else folder.parent
    store = open_store(whole(args.out or f"{folder.resolve()}-fit"))
    total = args.engine.decoder_steps if args.train_decoder else args.engine.steps
    begin = time.perf_counter()
    with tqdm(total=total, desc="fit", unit="step", dynamic_ncols=True) as bar:

        def progress(step: int, steps: int, terms: dict[str, float]) -> None:
            bar.set_postfix_str(f"loss {terms['total']:.4f}", refresh=False)
            bar.update(step - bar.n)

        planes, decoder, scores = fit(args, views, progress)
    seconds = time.perf_counter() - begin
    place = {
        "scale": placement.scale,
        "rotation": placement.rotation.tolist(),
        "offset": placement.offset.tolist(),
    }
    facts = {"metrics": scores, "placement": place, "views": len(views), "seed": args.seed}
    file = PlaneFile(planes.numpy(), decoder.digest(), facts)
    write(args, store, views, decoder, file)
    _, held_out = views.split(args.engine.held_out)
    content = {**facts, "seconds": round(seconds, 1), "decoder": decoder.digest()}
    content["how placed"] = placement.text
    content["first view"] = names[0]
    store.write("metrics.json", (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
    listed = ", ".join(f"{name} {value:.4g}" for name, value in sorted(scores.items()))
    print(f"held out ({len(held_out)} views): {listed}; {seconds:.0f} s")
    print(f"wrote {store.uri}")


def main(argv: Sequence[str] | None = None) -> None:
    command(FitOne, "rodin fit-one", work, argv, __doc__ or "")


if __name__ == "__main__":
    main()
