"""The shared decoder as a stage: its seal, checkpoints, refusals, and two ranks against one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from infra.manifest import Dataset, finalize, open_dataset
from infra.plan import Unit
from infra.shards import Packed, commit_unit
from infra.storage import open_store
from pipelines import fit_decoder as stage
from pipelines import models
from pipelines.context import Context, open_context
from pipelines.options import Options
from pipelines.settings import FitStage, Resources, RunSettings
from rodin import fit, record
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.fit import FitSettings, Views
from rodin.fit_ranks import Ranks
from tests.rodin import scenes

ENGINE = FitSettings(
    decoder=DecoderConfig(channels=8, hidden=24), resolution=16, base_resolution=8, held_out=2,
    decoder_steps=5, subjects_per_step=2, rays_per_step=256, occupancy_size=32, render_samples=24,
)  # fmt: skip
KEYS = tuple(f"{i:09d}" for i in range(3))


def people() -> list[Views]:
    return [scenes.views(seed, count=8, size=24, samples=2) for seed in range(3)]


@pytest.fixture
def opened(tmp_path: Path) -> tuple[Context, Dataset]:
    """A run with the views of three people, to be fitted by two ranks."""
    store = open_store(str(tmp_path)).child("views")
    packed = []
    for key, views in zip(KEYS, people(), strict=True):
        sample = record.ViewsSample(
            key, {}, views.camera_to_world, views.intrinsics, views.rgba, views.depth
        )
        packed.append(Packed(key, record.encode(sample)))
    unit = Unit("train", 0, KEYS)
    commit_unit(store, unit, packed, settings={})
    finalize(store, dataset="views", units=[unit], settings={}, lineage={"val_fraction": 0.0})
    settings = RunSettings(
        fit=FitStage(engine=ENGINE, subjects=3), resources=Resources(workers=2, decoder_workers=2)
    )
    context = open_context(Options(out=str(tmp_path), tracking="none"), settings)
    return context, open_dataset(store)


def job_of(context: Context, views: Dataset) -> stage.Job:
    identity = stage.decoder_identity(context.settings.fit, views)
    return stage.Job(context.out, views.store.uri, context.settings.fit, identity, 1, None)


def alone(context: Context, views: Dataset) -> list[float]:
    """Trains the decoder in this process; returns the steps that were reported."""
    steps: list[float] = []
    stage.train(
        job_of(context, views), Ranks(), torch.device("cpu"), lambda step, text: steps.append(step)
    )
    return steps


def test_the_seal_tells_the_decoder_and_how_it_renders_the_first_and_the_last(
    opened: tuple[Context, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, views = opened
    monkeypatch.setattr(stage, "CHECKPOINT_STEPS", 3)
    assert alone(context, views) == [1, 5]
    seal = stage.make_decoder(context, views)
    decoder = models.load_decoder(context.child("triplanes"))
    seen = [stage.to_views(record.decode_views(views.read(key))) for key in KEYS]
    expected, planes = fit.fit_decoder(seen, ENGINE, seed=0)
    assert seal["decoder"] == decoder.digest() == expected.digest()
    for name, index in (("first", 0), ("last", 2)):
        _, held_out = seen[index].split(ENGINE.held_out)
        score = fit.evaluate(planes[index], decoder, held_out, samples=ENGINE.render_samples)
        assert seal["psnr"][name] == pytest.approx(score["psnr"], abs=1e-3)
    # Again, from the checkpoint of step 3.
    assert alone(context, views) == [5]
    assert stage.make_decoder(context, views) == seal


def test_another_decoder_or_other_settings_are_refused(opened: tuple[Context, Dataset]) -> None:
    context, views = opened
    alone(context, views)
    settings = dataclasses.replace(
        context.settings, fit=dataclasses.replace(context.settings.fit, seed=1)
    )
    with pytest.raises(models.ModelError, match="seed"):
        stage.make_decoder(dataclasses.replace(context, settings=settings), views)
    wide = TriplaneDecoder(DecoderConfig(channels=12))
    wide.save(Path(context.out) / "triplanes/decoder.safetensors")
    with pytest.raises(models.ModelError, match="is not the decoder that this run trained"):
        stage.make_decoder(context, views)


def test_damaged_views_are_named(opened: tuple[Context, Dataset], tmp_path: Path) -> None:
    context, views = opened
    row = views.row(KEYS[1])
    shard = tmp_path / "views" / row["shard"]
    data = bytearray(shard.read_bytes())
    data[row["offset"] + row["size"] // 2] ^= 255
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=KEYS[1]):
        alone(context, views)
    assert not (tmp_path / "triplanes").exists()


def test_two_ranks_train_the_decoder_that_one_process_trains(
    opened: tuple[Context, Dataset], ray_local: None
) -> None:
    context, views = opened
    stage.launch(context, views, stage.decoder_identity(context.settings.fit, views))
    store = context.child("triplanes")
    found, seal = models.load_decoder(store).state_dict(), context.read_json(stage.SEAL)
    alone(context, views)
    for name, value in models.load_decoder(store).state_dict().items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3)
    for name, psnr in context.read_json(stage.SEAL)["psnr"].items():
        assert seal["psnr"][name] == pytest.approx(psnr, abs=0.05)
