"""Stage render: seeds -> posed views of synthetic people.

Input    nothing but the settings: person i is drawn from seed first_seed + i.
Output   OUT/views: WebDataset shards, manifest.parquet, dataset.json, a card, contact.png.
Work     one shard of people a unit; a Ray Data pool of workers, each with a Blender process of its
         own that is replaced after some people and may die without harm.
Again    a second run renders only the shards that have no sidecar; --retry-failed also takes
         those in which a person could not be built.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infra import cluster
from infra.edit import planned
from infra.manifest import finalize, is_final
from infra.shards import Failure, KeptSamples, Packed, Unit, commit_unit, pending_units
from infra.storage import Store, open_store
from pipelines import pictures
from pipelines.context import Context, open_context, ray_session, timed
from pipelines.options import Options, entry
from pipelines.settings import RenderStage, RunSettings, as_dict
from pipelines.stage import check_failures, first_samples, plan_line, worker_count
from pipelines.views_card import VIEWS_CARD
from rodin import record, truth

LICENCE = "CC0-1.0"
SHEET_PEOPLE = 24
SHEET_VIEWS = 4


def key_of(seed: int) -> str:
    return f"{seed:09d}"


def plan(store: Store, stage: RenderStage) -> tuple[list[Unit], dict[str, Any]]:
    """(units, lineage to keep): `rodin dataset extend` may have added other people."""
    keys = [key_of(stage.first_seed + i) for i in range(stage.avatars)]
    return planned(store, keys, stage.shard_size, stage.val_fraction)


def identity(stage: RenderStage) -> dict[str, Any]:
    """The settings that decide what a person's sample looks like, and no others."""
    names = (
        "views", "size", "samples", "denoise", "light", "focal_jitter", "centre_jitter", "depth",
        "normals", "labels", "landmarks",
    )  # fmt: skip
    return {name: value for name, value in as_dict(stage).items() if name in names}


def render_person(seed: int, stage: RenderStage, assets: str) -> tuple[dict[str, bytes], dict]:
    """Runs in the Blender process. Returns the members of a views sample and its attributes."""
    from blender.cameras import CameraSettings, sphere_cameras
    from blender.labels import LABELS
    from blender.render import RenderSettings, render_avatar
    from blender.spec import sample_spec

    spec = sample_spec(seed)
    lens = CameraSettings(focal_jitter=stage.focal_jitter, centre_jitter=stage.centre_jitter)
    cameras = sphere_cameras(stage.views, seed, stage.size, lens)
    settings = RenderSettings(
        samples=stage.samples,
        denoise=stage.denoise,
        light=stage.light,
        depth=stage.depth,
        normals=stage.normals,
        labels=stage.labels,
        landmarks=stage.landmarks,
        threads=1,
    )
    result = render_avatar(spec, cameras, settings, Path(assets).expanduser())
    attributes = spec.attributes()
    meta = {
        "seed": seed,
        "identity": spec.to_dict(),
        "attributes": attributes,
        "caption": spec.caption(),
        "captions": spec.captions(),
        "geometry_sha256": result.geometry,
        "licence": LICENCE,
        "settings": identity(stage),
    }
    sample = record.ViewsSample(
        key=key_of(seed),
        meta=meta,
        camera_to_world=cameras.camera_to_world,
        intrinsics=cameras.intrinsics,
        rgba=result.rgba,
        depth=result.depth,
    )
    marks = result.landmarks
    known = truth.GroundTruth(
        normals=result.normals,
        labels=result.labels,
        label_names=LABELS,
        landmarks=None if marks is None else marks.points,
        landmark_pixels=None if marks is None else marks.pixels,
        landmark_visible=None if marks is None else marks.visible,
    )
    members = record.encode(sample) | truth.encode_truth(sample.key, known)
    return dict(sorted(members.items())), {**attributes, "caption": spec.caption(), "seed": seed}


class RenderWorker:
    """One Ray actor: renders the people of a unit and commits the shard."""

    def __init__(self, out: str, stage: RenderStage, assets: str, per_process: int) -> None:
        self.out, self.stage, self.assets = out, stage, assets
        self.process = cluster.RecycledProcess(tasks_per_child=per_process)

    def person(self, key: str) -> Packed | Failure:
        """A person, or the reason why there is none. A dead Blender gets one more try."""
        from blender import BuildError

        for last in (False, True):
            try:
                members, attributes = self.process.call(
                    render_person, int(key), self.stage, self.assets
                )
                return Packed(key, members, attributes=attributes)
            except BuildError as error:
                return Failure(key, str(error), type(error).__name__)
            except cluster.WorkerDied as error:
                if last:
                    return Failure(key, str(error), type(error).__name__)
        raise AssertionError("unreachable")

    def __call__(self, unit: Unit) -> dict[str, Any]:
        store = open_store(self.out).child("views")
        kept = KeptSamples(store, unit, identity(self.stage))
        people = (kept.get(key) or self.person(key) for key in unit.keys)
        return commit_unit(store, unit, people, settings=identity(self.stage))


def contact_sheet(context: Context, units: Sequence[Unit]) -> bytes:
    """A few views of the first people, a row each."""
    store, stage = context.child("views"), context.settings.render
    rows, labels = [], []
    for unit, packed in first_samples(store, units, identity(stage), SHEET_PEOPLE):
        sample = record.decode_views(packed.members)
        # the portrait, then evenly round the head: views are in the order of their azimuth
        chosen = np.linspace(0, len(sample.rgba), SHEET_VIEWS, endpoint=False).astype(int)
        rows.append([sample.rgba[i] for i in chosen])
        caption = sample.meta["caption"].removeprefix("A portrait of ")
        labels.append(f"{int(packed.key)} {unit.split}: {caption}")
    return pictures.png(pictures.grid(rows, labels, across=2))


def work(context: Context, todo: Sequence[Unit]) -> Iterator[dict[str, Any]]:
    resources = context.settings.resources
    yield from cluster.run_units(
        todo,
        RenderWorker,
        (
            context.out,
            context.settings.render,
            context.assets,
            resources.avatars_per_process,
        ),
        actors=min(worker_count(context), len(todo)),
        cpus_per_actor=resources.cpus_per_worker,
        name="render",
    )


def launch(options: Options, settings: RunSettings) -> None:
    context = open_context(options, settings)
    stage = settings.render
    store = context.child("views")
    units, lineage = plan(store, stage)
    todo = pending_units(store, units, identity(stage), retry_failed=options.retry_failed)
    if options.dry_run or not todo:
        done = not todo and is_final(store, units)
        print(plan_line("render", units, todo, done, f"{stage.views} views of {stage.size} px"))
        if options.dry_run or done:
            return
    context.explain()
    with timed() as seconds, context.tracked("render", as_dict(stage)) as tracking:
        if todo:
            with ray_session(context):
                for count, _ in enumerate(work(context, todo), 1):
                    tracking.log_metrics({"shards_done": count}, step=count)
        sheet = contact_sheet(context, units)
        store.write("contact.png", sheet)
        info = finalize(
            store,
            dataset="views",
            units=units,
            settings=identity(stage),
            lineage={**lineage, "val_fraction": stage.val_fraction},
            contact_sheet="contact.png",
            description=VIEWS_CARD,
        )
        check_failures("render", info, stage.max_failures)
        tracking.log_artifact(sheet, "contact.png")
        tracking.log_dataset("views", info["digest"], store.uri)
    people = sum(len(unit.keys) for unit in todo)
    rate = people * stage.views / seconds[0]
    context.note("render", seconds[0], did=f"{people} people, {rate:.2f} views/s")


def main(argv: Sequence[str] | None = None) -> None:
    entry("render", __doc__ or "", ("render", "resources"), launch, argv)


if __name__ == "__main__":
    main()
