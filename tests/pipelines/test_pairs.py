"""What the refiner learns from: generated planes, other views, mirror images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from infra.manifest import Dataset, finalize, open_dataset
from infra.plan import Unit
from infra.shards import Packed, commit_unit
from infra.storage import open_store
from pipelines import data, models, train
from pipelines.pairs import Pairs
from pipelines.presets import BUILTIN, TINY
from pipelines.train_job import Job, begun, needs
from rodin import record
from rodin.generate import encode_portraits, generate
from tests.pipelines import small_run
from tests.rodin import scenes

LARGE = 48  # px; those kept with the planes have fewer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with large views of two of its four people, and of the one held out."""
    folder = small_run.make(tmp_path_factory.mktemp("pairs") / "run")
    store = open_store(str(folder / "large/views"))
    units = [Unit("train", 0, tuple(small_run.TRAIN[1:3])), Unit("val", 0, tuple(small_run.VAL))]
    for unit in units:
        members = [Packed(key, large(key), {}) for key in unit.keys]
        commit_unit(store, unit, members, settings={})
    finalize(store, dataset="views", units=units, settings={})
    return folder


def large(key: str) -> dict[str, bytes]:
    views = scenes.views(seed=int(key), count=6, size=LARGE, samples=1)
    to_world, lenses = (x.astype(np.float64) for x in (views.camera_to_world, views.intrinsics))
    return record.encode(record.ViewsSample(key, {}, to_world, lenses, views.rgba))


def shards(run: Path, name: str = "triplanes") -> Dataset:
    return open_dataset(open_store(str(run / name)))


def test_views_of_another_data_set_take_the_place_of_the_kept_ones(run: Path) -> None:
    pairs = Pairs(shards(run), "train", views=shards(run, "large/views"), mirror=True)
    assert (pairs.people, len(pairs)) == (2, 4), "people without such views are left out"
    kept = data.TriplaneSamples(shards(run), "train")
    found = pairs[0]
    assert found["views"].shape == (6, 4, LARGE, LARGE)
    assert found["camera_to_world"].shape == (6, 4, 4)
    assert torch.equal(found["planes"], kept[1]["planes"])
    turned, expected = pairs[2], data.mirrored(found)
    assert set(turned) == set(kept[0])
    for name, value in turned.items():
        assert torch.equal(value, expected[name]), name
    held_out = pairs.held_out(8)
    assert held_out is not None and held_out["views"].shape == (1, 6, 4, LARGE, LARGE)
    with pytest.raises(IndexError):
        pairs[4]
    plain = Pairs(shards(run), "train")
    assert all(torch.equal(v, kept[0][k]) for k, v in plain[0].items()) and len(plain) == 4


def test_generated_planes_are_what_the_models_make_of_the_portrait(run: Path) -> None:
    decoder = models.load_decoder(open_store(str(run / "triplanes")))
    base, upsampler = (
        models.load_system(open_store(str(run)), name, decoder, "cpu")
        for name in ("base", "upsampler")
    )
    sampling = TINY.sample.generate
    pairs = Pairs(shards(run), "train", mirror=True, models=(base, upsampler), sampling=sampling)
    for index in (1, 5):
        found = pairs[index]
        latents = encode_portraits(base, found["portrait"][None]).cpu()
        made = generate(base, upsampler, [index], latents=latents, settings=sampling)[0]
        assert torch.equal(found["planes"], made.half().float())
    assert list(pairs.generated.values) == [1, 5], "made once, then kept"
    assert not torch.equal(
        pairs[1]["planes"], data.TriplaneSamples(shards(run), "train")[1]["planes"]
    )


def test_a_refiner_is_given_what_it_asks_for(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert needs(TINY.refiner) == () and needs(BUILTIN.refiner) == ("base", "upsampler")
    stage = dataclasses.replace(
        TINY.refiner, generated=True, sampling=TINY.sample.generate, views="large/views"
    )
    tracking = {"uri": "none", "experiment": "", "run_name": ""}
    job = Job(str(run), "refiner", stage, {}, 1, tracking, None, views=str(run / "large/views"))
    pairs, system = begun(job, shards(run), open_store(str(run)))
    loss = system.loss(data.joined(pairs, 2), torch.Generator().manual_seed(0))["loss"]
    assert loss.isfinite() and pairs.models is not None and pairs.people == 2
    words = ["--stage", "refiner", "--preset", "tiny", "--out", str(run), "--tracking", "none"]
    with pytest.raises(SystemExit):
        train.main([*words, "--refiner.views", "other/views"])
    said = capsys.readouterr().err
    assert f"no dataset at {run}/other/views" in said and f"--out {run}/other" in said
