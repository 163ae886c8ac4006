"""Training stages in this process, over a small run: sheets, curves, and how long a batch waits."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from infra.manifest import open_dataset
from infra.storage import open_store
from pipelines import average, data, models, pictures, train, watch
from pipelines.presets import TINY
from rodin.decoder import TriplaneDecoder
from rodin.training import Trainer
from tests.pipelines import small_run

# The upsampler, where no base was trained before it.
ALONE = dataclasses.replace(
    TINY.upsampler, model=dataclasses.replace(TINY.upsampler.model, from_base=0.0)
)


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has tri-planes alone."""
    run = small_run.make(tmp_path_factory.mktemp("runs") / "small")
    shutil.rmtree(run / "models")
    return run


def kill_at(trainer: Trainer, count: int) -> None:
    """This process kills itself, as kill -9 does, before the trainer's step number `count`."""
    step = trainer.step

    def until(batch: Any) -> dict[str, float]:
        if trainer.step_count == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(batch)

    trainer.step = until  # type: ignore[method-assign]


def trained(
    planes: Path,
    out: Path,
    name: str,
    samples: int = 16,
    *,
    stage: Any = None,
    killed_at: int = 0,
    **more: Any,
) -> Path:
    """Trains a stage, by default the preset's, in `out`; returns the folder of its model."""
    torch.set_num_threads(1)
    stage = stage or (ALONE if name == "upsampler" else getattr(TINY, name))
    stage = dataclasses.replace(
        stage, train=dataclasses.replace(stage.train, total_samples=samples), **more
    )
    shards = open_dataset(open_store(str(planes)).child("triplanes"))
    seen = data.TriplaneSamples(shards, "train", data.names_of(stage))
    channels = TINY.fit.engine.decoder.channels
    decoder = models.load_decoder(shards.store)
    system = models.build(stage, torch.zeros(channels), torch.ones(channels), decoder)
    trainer = Trainer(system, stage.train, seed=stage.seed)
    identity = models.identity(stage, {"dataset": "", "decoder": decoder.digest()})
    tracking = {"uri": "none", "experiment": "", "run_name": ""}
    job = train.Job(str(out), name, stage, identity, 1, tracking, None)
    store = open_store(str(out)).child(f"models/{name}")
    train.resume(job, trainer, store)
    if killed_at:
        kill_at(trainer, killed_at)
    train.run(job, trainer, store, seen, 0, 1)
    return out / "models" / name


def curve(model: Path) -> list[dict[str, float]]:
    """The history without what the clock decides."""
    clock = ("samples_per_second", "input_wait_share")
    rows = [json.loads(line) for line in (model / "history.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in clock} for row in rows]


@pytest.mark.parametrize(
    ("name", "across", "same"),
    [("base", 7, [0, 3, 4]), ("upsampler", 6, [0, 1, 4, 5]), ("refiner", 3, [0, 2])],
)
def test_sheets_change_nothing_and_can_be_compared(
    planes: Path, tmp_path: Path, name: str, across: int, same: list[int]
) -> None:
    watched = trained(planes, tmp_path / "watched", name, sheet_every=8)
    alone = trained(planes, tmp_path / "alone", name, sheet_every=0)
    assert curve(watched) == curve(alone)
    weights = [(model / "model.safetensors").read_bytes() for model in (watched, alone)]
    assert weights[0] == weights[1]
    assert not (alone / "sheets").exists()
    found = sorted(path.name for path in (watched / "sheets").iterdir())
    assert found == ["000000000008.png", "000000000016.png"]
    first, last = (pictures.from_png((watched / "sheets" / file).read_bytes()) for file in found)
    side = small_run.SIZE
    assert first.shape == (side + 16, across * side, 3)
    # What is given and what is true stay as they are; what the model makes of it changes.
    for tile in range(across):
        here = np.s_[:side, tile * side : (tile + 1) * side]
        assert np.array_equal(first[here], last[here]) == (tile in same), tile


def job_of(folder: Path, stage: Any, name: str = "upsampler") -> train.Job:
    tracking = {"uri": "none", "experiment": "", "run_name": ""}
    return train.Job(str(folder), name, stage, {}, 1, tracking, None)


def test_an_upsampler_gets_the_base_that_it_starts_from(
    planes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run.make(tmp_path / "run")
    store = open_store(str(run))
    shards = open_dataset(store.child("triplanes"))
    samples, system = train.begun(job_of(run, TINY.upsampler), shards, store)
    batch = data.joined(samples, 2)
    assert system.loss(batch, torch.Generator().manual_seed(0))["loss"].isfinite()
    assert system._base and not train.begun(job_of(run, ALONE), shards, store)[1]._base
    with pytest.raises(models.ModelError, match="has no trained base; run"):
        train.begun(job_of(planes, TINY.upsampler), shards, store)
    words = ["--preset", "tiny", "--out", str(planes), "--tracking", "none"]
    with pytest.raises(SystemExit):
        train.main(["--stage", "upsampler", *words])
    assert "has no trained base" in capsys.readouterr().err
    train.main(["--stage", "upsampler", *words, "--dry-run"])
    assert "waits for pipelines.train --stage base" in capsys.readouterr().out


def test_an_upsampler_is_told_what_is_seen(planes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured on planes of the base's size, and spread over its own."""
    sizes = []
    measure = models.measure_sight
    monkeypatch.setattr(
        models,
        "measure_sight",
        lambda low, *rest: measure((sizes.append(each.shape[-1]) or each for each in low), *rest),
    )
    model = dataclasses.replace(ALONE.model, sight=0.5, patch_weight=0.0, perceptual_weight=0.0)
    stage = dataclasses.replace(ALONE, model=model)
    store = open_store(str(planes))
    shards = open_dataset(store.child("triplanes"))
    samples, system = train.begun(job_of(planes, stage), shards, store)
    assert set(samples[0]) == {"planes", "portrait"}
    assert set(sizes) == {model.low_size}
    assert system.error.texels.shape[-1] == model.size and system.error.texels.any()
    loss = system.loss(data.joined(samples, 1), torch.Generator().manual_seed(0))
    assert loss["loss"].isfinite() and set(loss) == {"loss", "plane"}


def test_mirror_images_need_a_decoder_without_directions(tmp_path: Path) -> None:
    run = small_run.make(tmp_path / "run")
    store = open_store(str(run))
    path = run / "triplanes/decoder.safetensors"
    config = dataclasses.replace(TINY.fit.engine.decoder, direction_frequencies=2)
    TriplaneDecoder(config).save(path)
    stage = dataclasses.replace(ALONE, mirror=True)
    with pytest.raises(models.ModelError, match=r"--upsampler\.no-mirror"):
        train.begun(job_of(run, stage), open_dataset(store.child("triplanes")), store)


def test_killed_half_way_it_ends_as_undisturbed(planes: Path, tmp_path: Path) -> None:
    """40 steps; and 20, 10 that are lost with kill -9, and from the checkpoint 20 again."""
    how: dict[str, Any] = {
        "log_every": 5, "checkpoint_every": 20, "val_every": 20, "sheet_every": 0,
        "snapshot_every": 0,
    }  # fmt: skip
    one = dataclasses.replace(TINY.base.train, batch_size=1, warmup_samples=2, ema_widths=())
    how["stage"] = dataclasses.replace(TINY.base, train=one, snapshot_every=0)
    straight = trained(planes, tmp_path / "straight", "base", 40, **how)
    killed = multiprocessing.get_context("spawn").Process(
        target=trained, args=(planes, tmp_path / "killed", "base", 40),
        kwargs={**how, "killed_at": 30},
    )  # fmt: skip
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    model = tmp_path / "killed/models/base"
    assert [row["samples"] for row in curve(model)][-1] == 20
    assert not (model / "model.json").exists()
    assert trained(planes, tmp_path / "killed", "base", 40, **how) == model
    assert curve(model) == curve(straight)
    expected, found = (load_file(each / "model.safetensors") for each in (straight, model))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=0)


def test_averages_put_together_equal_tracked_ones(planes: Path, tmp_path: Path) -> None:
    """`rodin average` from widths 0.05 and 0.1 against the same training's average of 0.07."""
    shutil.copytree(planes, tmp_path / "run")
    widths = dataclasses.replace(TINY.base.train, ema_widths=(0.05, 0.07, 0.1))
    base = dataclasses.replace(TINY.base, train=widths)
    model = trained(planes, tmp_path / "run", "base", 96, stage=base, snapshot_every=8)
    ended = load_file(model / "model.safetensors")
    tracked = load_file(model / "averages/000000000096-0.07.safetensors")
    for path in (model / "averages").glob("*-0.07.*"):
        path.unlink()
    latents = (model / "latents.safetensors").read_bytes()
    average.main(["--run", str(tmp_path / "run"), "--width", "0.07"])
    found = load_file(model / "model.safetensors")
    assert json.loads((model / "model.json").read_text())["width"] == 0.07
    assert (model / "latents.safetensors").read_bytes() != latents

    def apart(other: dict[str, torch.Tensor]) -> float:
        pairs = [(other[name], value) for name, value in found.items() if "weight" in name]
        return float(sum((a - b).square().sum() for a, b in pairs)) ** 0.5

    assert apart(tracked) < 0.1 * apart(ended)
    average.main(["--run", str(tmp_path / "run"), "--width", "0"])
    again = load_file(model / "model.safetensors")
    assert all(torch.equal(again[name], value) for name, value in ended.items())
    assert (model / "latents.safetensors").read_bytes() == latents
    assert "width" not in json.loads((model / "model.json").read_text())


def test_averages_that_were_not_stored_are_missed(
    planes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(planes, tmp_path / "run")
    trained(planes, tmp_path / "run", "upsampler", 2)
    with pytest.raises(SystemExit):
        average.main(["--run", str(tmp_path / "run"), "--stage", "upsampler", "--width", "0.07"])
    assert "--upsampler.snapshot-every" in capsys.readouterr().err
    with pytest.raises(ValueError, match="names no average to store"):
        dataclasses.replace(TINY.upsampler, snapshot_every=8)


def test_waiting_for_input_is_told_from_work() -> None:
    class Slow:
        def step(self, batch: dict[str, float]) -> dict[str, float]:
            time.sleep(0.1)
            return {"loss": 1.0}

    def feed(seconds: float) -> Iterator[dict[str, Any]]:
        while True:
            time.sleep(seconds)
            yield {}

    shares = []
    for seconds in (0.0, 0.3):
        meter = watch.Meter()
        meter.step(Slow(), feed(seconds))
        shares.append(meter.row(1, 1)["input_wait_share"])
    assert shares[0] < 0.5 < shares[1] < 1
