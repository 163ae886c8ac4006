"""Pack what makes avatars into one folder: the models of a run without its data.

Input    RUN with triplanes and models (pipelines.fit, pipelines.train), or models:/rodin@champion.
Output   --out FOLDER: bundle.json and safetensors files, in half precision unless --whole. It is
         all that rodin generate, rodin.load and other programs need.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from infra.canon import settings_hash
from infra.storage import Store
from pipelines import models
from pipelines.context import sample_stage
from pipelines.registry import opened
from pipelines.settings import as_dict
from pipelines.tool import command
from rodin.bundle import Bundle


@dataclass(frozen=True)
class Pack:
    """What `rodin pack` takes."""

    # the run: a folder, s3://bucket/prefix or models:/rodin@champion
    run: Annotated[str, tyro.conf.Positional]
    # folder to write
    out: str
    # weights in single precision: twice the size, the run's very numbers
    whole: bool = False
    # MLflow server or sqlite:///FILE of a registered model; default: MLFLOW_TRACKING_URI
    tracking: str = ""


def bundle_of(run: Store, device: str = "cpu") -> Bundle:
    """The finished models of a run; raises ModelError where it has no base."""
    decoder = models.load_decoder(run.child("triplanes"))
    parts: dict[str, Any] = {}
    made_from: dict[str, Any] = {}
    for name in models.KINDS:
        meta = models.read_meta(run.child(f"models/{name}"))
        if meta is None and name != "base":
            continue
        parts[name] = models.load_system(run, name, decoder, device)
        assert meta is not None
        if name == "refiner":
            parts[name] = parts[name].to_use()
        made_from[name] = {**meta["identity"]["data"], "model": settings_hash(meta["identity"])}
    latents = models.load_tensors(run.child("models/base"), "latents.safetensors")["latents"]
    facts: dict[str, Any] = {
        "made_from": made_from,
        "sampling": as_dict(sample_stage(run).generate),
    }
    if meta := models.read_meta(run.child("models/prior")):
        facts["text_encoder"] = meta["identity"]["settings"]["text"]
        if (store := run.child("models/prior")).exists("traits.json"):
            facts["traits"] = json.loads(store.read("traits.json"))
    return Bundle(decoder=decoder, latents=latents, facts=facts, **parts)


def work(args: Pack) -> None:
    with opened(args.run, args.tracking) as (run, _):
        bundle = bundle_of(run)
    folder = bundle.save(Path(args.out), half=not args.whole)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"wrote {folder}: decoder, {', '.join(bundle.systems)} ({size:.1f} MB)")


def main(argv: Sequence[str] | None = None) -> None:
    command(Pack, "rodin pack", work, argv, __doc__ or "")


if __name__ == "__main__":
    main()
