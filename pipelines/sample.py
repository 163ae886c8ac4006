"""Stage sample: trained models -> new avatars.

Input    OUT/models/base and OUT/models/upsampler (pipelines.train), OUT/models/refiner where it was
         trained, OUT/triplanes for the decoder and the held-out portraits. Or --sample.models
         models:/rodin@champion, which is copied to OUT; without people --sample.portraits 0.
Output   OUT/samples/DIGEST, named by models and settings: KEY/planes.npy and KEY/views.png for each
         avatar, seeds.png, portraits.png, turntable.webp; with a refiner KEY/refined.png and
         refined.png too. samples/latest.json names the last one.
Work     a few avatars a unit, by a Ray Data pool of workers.
Again    a second run samples only the avatars that are not there; other models or settings go to
         another folder.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from infra import cluster
from infra.canon import settings_hash
from infra.manifest import Dataset, open_dataset
from infra.storage import Store, open_store
from pipelines import data, models, pictures, registry
from pipelines.context import Context, open_context, ray_session, timed
from pipelines.latents import LatentSource
from pipelines.options import Options, entry
from pipelines.settings import RunSettings, SampleStage, as_dict
from pipelines.stage import worker_count
from rodin import record

SWEEP = 60.0  # degrees to either side of the front that the views of a sheet cover
HERO = 6  # avatars on the turntable picture


@dataclasses.dataclass(frozen=True)
class Batch:
    """A unit of sampling: names of the avatars and where their latents come from."""

    id: str
    keys: tuple[str, ...]  # seed-000003 or portrait-KEY


def names(stage: SampleStage, planes: Dataset | None) -> list[str]:
    """All avatars of a stage: seeds first, then portraits (held-out people before others)."""
    seeds = [f"seed-{stage.first_seed + i:06d}" for i in range(stage.count)]
    if planes is None:
        return seeds
    people = planes.keys("val") + planes.keys("train")
    return seeds + [f"portrait-{key}" for key in people[: stage.portraits]]


def seed_of(name: str) -> int:
    """The noise seed of an avatar; a portrait's noise is seed 0's, for all to compare."""
    return int(name.removeprefix("seed-")) if name.startswith("seed-") else 0


class SampleWorker:
    """One Ray actor: draws tri-planes and renders them."""

    def __init__(self, out: str, folder: str, stage: SampleStage, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.out, self.folder, self.stage = open_store(out), folder, stage
        self._people: Dataset | None = None
        self.decoder = models.load_decoder(self.out.child("triplanes"))
        self.base = models.load_system(self.out, "base", self.decoder, self.device)
        self.upsampler = models.load_system(self.out, "upsampler", self.decoder, self.device)
        trained = models.read_meta(self.out.child("models/refiner"))
        self.refiner = (
            models.load_system(self.out, "refiner", self.decoder, "cpu") if trained else None
        )
        self.source = LatentSource(self.out, stage, self.decoder)

    def people(self) -> Dataset:
        """People, for their portraits; a registered model comes without."""
        # No cached_property: its lock would not travel with this class where it is __main__'s.
        self._people = self._people or open_dataset(self.out.child("triplanes"))
        return self._people

    def latent(self, name: str) -> Any:
        """The latent (D,) of an avatar."""
        from rodin.generate import encode_portraits

        if name.startswith("portrait-"):
            sample = record.decode_triplane(self.people().read(name.removeprefix("portrait-")))
            portrait = data.tensors(sample)["portrait"][None]
            return encode_portraits(self.base, portrait)[0].cpu()
        return self.source(seed_of(name))

    def render(self, planes: Any) -> dict[str, list[np.ndarray]]:
        """Views (S, S, 3) in [0, 1] of planes (3, C, R, R) from around the head: "views" of the
        volume, and where there is a refiner "refined" from renders of 1 / factor of their size."""
        import torch

        from rodin import cameras, occupancy
        from rodin.refiner import render_refined
        from rodin.render import render_image

        stage, decoder = self.stage, self.decoder
        grid = occupancy.of_body(planes, decoder)
        angles = torch.linspace(-SWEEP, SWEEP, stage.views) if stage.views > 1 else torch.zeros(1)
        lens = cameras.intrinsics_from_fov(stage.size, stage.size)
        how: dict[str, Any] = {"samples": stage.render_samples, "occupancy": grid}
        found: dict[str, list[np.ndarray]] = {"views": [], "refined": []}
        for camera in cameras.orbit(angles, 0.0):
            image = render_image(planes, decoder, camera, lens, stage.size, stage.size, **how)
            found["views"].append(image.rgb.numpy())
            if self.refiner is not None:
                rgb, _ = render_refined(
                    planes, decoder, self.refiner, camera, lens, stage.size, stage.size, **how
                )
                found["refined"].append(rgb.numpy())
        return found

    def __call__(self, batch: Batch) -> dict[str, Any]:
        import torch

        from rodin.generate import generate

        drawn = generate(
            self.base,
            self.upsampler,
            [seed_of(name) for name in batch.keys],
            latents=torch.stack([self.latent(name) for name in batch.keys]),
            settings=self.stage.generate,
        )
        store = self.out.child(self.folder)
        for name, planes in zip(batch.keys, drawn, strict=True):
            stream = io.BytesIO()
            np.save(stream, planes.numpy().astype(np.float16), allow_pickle=False)
            store.write(f"{name}/planes.npy", stream.getvalue())
            rendered = self.render(planes)
            # the views last: they say that the avatar is done
            for kind in ("refined", "views"):
                if rendered[kind]:
                    store.write(f"{name}/{kind}.png", pictures.png(pictures.grid([rendered[kind]])))
        return {"unit": batch.id, "samples": len(batch.keys)}


def load_planes(store: Store, name: str) -> Any:
    import torch

    stream = io.BytesIO(store.read(f"{name}/planes.npy"))
    return torch.from_numpy(np.load(stream, allow_pickle=False).astype(np.float32))


def turntable(context: Context, store: Store, keys: Sequence[str]) -> bytes:
    """An animated WebP of some avatars side by side, a full turn."""
    from rodin import export

    stage = context.settings.sample
    decoder = models.load_decoder(context.child("triplanes"))
    turns = [
        export.frames(
            load_planes(store, name),
            decoder,
            count=stage.frames,
            size=stage.size,
            samples=stage.render_samples,
        )
        for name in keys[:HERO]
    ]
    frames = [pictures.grid([[turn[i] for turn in turns]]) for i in range(stage.frames)]
    stream = io.BytesIO()
    frames[0].save(
        stream, "WEBP", save_all=True, append_images=frames[1:], duration=80, loop=0, quality=85
    )
    return stream.getvalue()


def strip(store: Store, key: str) -> list[np.ndarray]:
    """The square pictures of a file that holds them side by side."""
    pixels = pictures.from_png(store.read(key))
    return list(np.split(pixels, pixels.shape[1] // pixels.shape[0], axis=1))


def sheets(
    context: Context, store: Store, keys: Sequence[str], *, refined: bool
) -> dict[str, bytes]:
    """The contact sheets: avatars from seeds, portraits beside what they became, and with
    `refined` both beside the same views refined."""
    seeds, portraits, seed_names, portrait_names = [], [], [], []
    pairs, pair_names = [], []
    people: Dataset | None = None
    for name in keys:
        row = strip(store, f"{name}/views.png")
        if refined:
            pairs += [row, strip(store, f"{name}/refined.png")]
            pair_names += [f"{name}, volume rendered", "the same views, refined"]
        if name.startswith("seed-"):
            seeds.append(row)
            seed_names.append(f"seed {seed_of(name)}")
        else:
            key = name.removeprefix("portrait-")
            people = people or open_dataset(context.child("triplanes"))
            sample = record.decode_triplane(people.read(key))
            portraits.append([sample.portrait, *row])
            portrait_names.append(f"portrait of {int(key)}, then the avatar made from it")
    found = {"seeds.png": pictures.png(pictures.grid(seeds, seed_names, across=2))}
    if portraits:
        found["portraits.png"] = pictures.png(pictures.grid(portraits, portrait_names, across=2))
    if pairs:
        found["refined.png"] = pictures.png(pictures.grid(pairs, pair_names, across=2))
    return found


def identity(context: Context, metas: dict[str, Any]) -> dict[str, Any]:
    """What decides an avatar: the models and how they are sampled."""
    stage = as_dict(context.settings.sample)
    for name in registry.WHICH:
        del stage[name]
    drawn_with = {
        name: meta["identity"] | {"width": meta.get("width")} for name, meta in metas.items()
    }
    return {"settings": stage, "models": drawn_with}


def remaining(store: Store, keys: Sequence[str]) -> list[str]:
    return [name for name in keys if not store.exists(f"{name}/views.png")]


def work(context: Context, folder: str, todo: Sequence[str]) -> Iterator[dict[str, Any]]:
    size = context.settings.sample.shard_size
    units = [
        Batch(f"{i // size:06d}", tuple(todo[i : i + size])) for i in range(0, len(todo), size)
    ]
    resources = context.settings.resources
    threads = max(1, int(resources.cpus_per_worker))
    yield from cluster.run_units(
        units,
        SampleWorker,
        (context.out, folder, context.settings.sample, threads),
        actors=min(worker_count(context), len(units)),
        cpus_per_actor=resources.cpus_per_worker,
        gpus_per_actor=resources.gpus_per_fit,
        name="sample",
    )


def launch(options: Options, settings: RunSettings) -> None:
    context = open_context(options, settings)
    stage = settings.sample
    plan = f"sample: {stage.count} avatars from seeds, {stage.portraits} from portraits"
    if stage.models and not options.dry_run:
        registry.adopt(context.store, stage.models, context.tracking_uri)
    metas = {
        name: meta
        for name in models.KINDS
        if (meta := models.read_meta(context.child(f"models/{name}")))
    }
    missing = [name for name in models.NEEDED if name not in metas]
    if missing and options.dry_run:
        print(f"{plan}; waits for pipelines.train --stage {missing[0]}")
        return
    if missing:
        raise models.ModelError(
            f"{context.out} has no trained {missing[0]}; run python -m pipelines.train --stage"
            f" {missing[0]} --out {context.out}"
        )
    planes = open_dataset(context.child("triplanes")) if stage.portraits else None
    keys = names(stage, planes)
    wanted = identity(context, metas)
    folder = f"samples/{settings_hash(wanted)[:8]}"
    store = context.child(folder)
    todo = remaining(store, keys)
    done = not todo and store.exists("turntable.webp")
    if options.dry_run or done:
        print(f"{plan}; {'nothing to do' if done else f'{len(todo)} avatars remain'}")
        return
    context.explain()
    context.write_json(f"{folder}/samples.json", wanted)
    context.write_json("samples/latest.json", {"folder": folder})
    with timed() as seconds, context.tracked("sample", as_dict(stage)) as tracking:
        if planes is not None:
            tracking.log_dataset("triplanes", planes.digest, planes.store.uri)
        if todo:
            with ray_session(context):
                for _ in work(context, folder, todo):
                    pass
        for name, picture in sheets(context, store, keys, refined="refiner" in metas).items():
            store.write(name, picture)
            tracking.log_artifact(picture, name)
        clip = turntable(context, store, keys)
        store.write("turntable.webp", clip)
        tracking.log_artifact(clip, "turntable.webp")
        registry.announce(registry.register_generator, context.store, tracking)
    each = seconds[0] / max(1, len(todo))
    context.note("sample", seconds[0], did=f"{len(todo)} avatars, {each:.1f} s each")


def main(argv: Sequence[str] | None = None) -> None:
    entry("sample", __doc__ or "", ("sample", "resources"), launch, argv)


if __name__ == "__main__":
    # By its own name: workers could not unpickle a Batch of `__main__`.
    importlib.import_module("pipelines.sample").main()
