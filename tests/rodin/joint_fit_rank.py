"""One rank of a joint fit, as a program: RANK COUNT FOLDER -> rankRANK.pt (test_fit_ranks)."""

from __future__ import annotations

import copy
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from rodin.decoder import DecoderConfig
from rodin.fit import FitError, FitSettings, Views, ViewsError, fit_decoder
from rodin.fit_ranks import Ranks

SETTINGS = FitSettings(
    decoder=DecoderConfig(channels=8, hidden=24),
    resolution=32,
    base_resolution=16,
    held_out=2,
    decoder_steps=4,
    subjects_per_step=2,
    rays_per_step=512,
    empty_points=256,
    compact_points=64,
    occupancy_size=32,
    depth_band=0.2,
    surface_band=0.1,
    render_samples=32,
)


def people(folder: Path) -> list[Views]:
    """The subjects, as the test has left them."""
    found = []
    for path in sorted(folder.glob("person*.npz")):
        with np.load(path) as file:
            found.append(Views(**file))
    return found


def found_by(subjects: list[Views], ranks: Ranks, **more: Any) -> dict[str, Any]:
    mine = subjects[ranks.rank :: ranks.count]
    saved: list[dict[str, Any]] = []
    decoder, planes = fit_decoder(
        mine, SETTINGS, seed=0, ranks=ranks, on_checkpoint=saved.append, checkpoint_every=2, **more
    )
    weights = dict(decoder.state_dict())
    return {"weights": weights, "planes": planes, "state": saved[:1]}


def everything(subjects: list[Views], ranks: Ranks) -> dict[str, Any]:
    """All that is asked of two processes, in one go: starting them is what takes long."""
    whole = found_by(subjects, ranks)
    box = whole["state"] if ranks.rank == 0 else [None]
    distributed.broadcast_object_list(box, 0)
    return {
        "whole": whole,
        "resumed": found_by(subjects, ranks, state=box[0]),
        "no views": [refusal(subjects, ranks, bad) for bad in range(ranks.count)],
        "diverged": [refusal(subjects, ranks, bad, box[0]) for bad in range(ranks.count)],
    }


def refusal(
    subjects: list[Views], ranks: Ranks, bad: int, state: dict[str, Any] | None = None
) -> str:
    """What this rank raises when rank `bad` has a subject that cannot be fitted."""
    mine = subjects[ranks.rank :: ranks.count]
    if state is not None:
        planes = [copy.deepcopy(item) for item in state["planes"]]
        for item in planes[bad :: ranks.count]:
            item["table"].fill_(float("nan"))
        state = {**state, "planes": planes}
    elif ranks.rank == bad:
        mine[0] = dataclasses.replace(mine[0], rgba=mine[0].rgba * 0)
    try:
        fit_decoder(mine, SETTINGS, seed=0, ranks=ranks, state=state)
    except (FitError, ViewsError) as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def main() -> None:
    torch.set_num_threads(1)
    rank, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=count
    )
    torch.save(everything(people(folder), Ranks(rank, count)), folder / f"rank{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
