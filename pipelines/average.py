"""Another average of a trained model's weights, from those stored while it was trained.

Input    RUN/models/STAGE/averages, which training leaves where snapshot_every is not 0.
Output   RUN/models/STAGE/model.safetensors of the width asked for; model.json says which it is.
Work     one process, seconds.
Again    any other width, or 0 for the average of train.ema_halflife that training ends with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from infra.checkpoint import load_checkpoint
from infra.manifest import open_dataset
from infra.storage import Store, open_store
from pipelines import data, models, train
from pipelines.options import whole
from pipelines.tool import command
from rodin.ema import combine, mix

NAME = re.compile(r"averages/(\d{12})-([\d.]+)\.safetensors")


@dataclass(frozen=True)
class Average:
    """Which average."""

    run: str  # the run: a folder or s3://bucket/prefix
    width: float  # standard deviation of the average in shares of the samples seen; 0 = as trained
    stage: str = "base"  # base, upsampler or refiner

    def __post_init__(self) -> None:
        if self.stage not in models.KINDS:
            raise ValueError(f"unknown stage {self.stage!r}; choose one of: {list(models.KINDS)}")


def stored(store: Store) -> dict[str, tuple[int, float]]:
    """Keys of the stored averages of a model: (samples, width) of each."""
    found = {}
    for key in store.list("averages/"):
        if match := NAME.fullmatch(key):
            found[key] = (int(match[1]), float(match[2]))
    return found


def average(args: Average) -> None:
    out = open_store(whole(args.run))
    store = out.child(f"models/{args.stage}")
    shards = open_dataset(out.child("triplanes"))
    system = models.load_system(out, args.stage, models.load_decoder(shards.store), "cpu")
    meta = {name: value for name, value in (models.read_meta(store) or {}).items()}
    meta.pop("width", None)
    if args.width:
        found = stored(store)
        if not found:
            raise models.ModelError(
                f"{store.uri} has no averages; train it with --{args.stage}.snapshot-every and"
                f" --{args.stage}.train.ema-widths 0.05 0.1"
            )
        weights = mix(list(found.values()), meta["samples"], args.width)
        state = combine(weights, (models.load_tensors(store, key) for key in found))
        meta["width"] = args.width
    else:
        checkpoint = load_checkpoint(store.child("checkpoints"))
        if checkpoint is None:
            raise models.ModelError(f"{store.uri} has no checkpoint to take the average from")
        kept = checkpoint[0]["ema"]
        state = {name.removeprefix("module."): kept[name] for name in kept if "." in name}
    system.load_state_dict(state)
    turned = meta["identity"]["settings"].get("mirror", False)
    train.finish(store, system, data.TriplaneSamples(shards, "train", mirror=turned), meta)
    print(f"average: {store.location('model.safetensors')}, width {args.width or 'as trained'}")


def main(argv: Sequence[str] | None = None) -> None:
    command(Average, "rodin average", average, argv, __doc__ or "")


if __name__ == "__main__":
    main()
