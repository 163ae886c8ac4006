"""`rodin evaluate` on a small run of untrained models over analytic heads: all its numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from infra.manifest import open_dataset
from infra.storage import open_store
from pipelines import evaluate
from pipelines.judge import Judge, person
from pipelines.presets import TINY
from tests.pipelines import small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.make(tmp_path_factory.mktemp("runs") / "small")


def test_one_command_measures_all(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--run", str(run), "--avatars", "2", "--tracking", f"sqlite:///{run / 'mlflow.db'}"]
    evaluate.main(words)
    found = json.loads((run / "evaluation.json").read_text())
    metrics = found["metrics"]
    for name in (
        "fd_efficientnet_lite0", "kd_efficientnet_lite0", "precision_efficientnet_lite0",
        "recall_efficientnet_lite0_of_fits", "fd_efficientnet_lite0_of_refined_fits",
        "psnr_fits", "psnr_refined_fits", "psnr_portraits", "ssim_portraits",
        "efficientnet_lite0_distance_portraits", "diversity", "nearest_training_looks",
        "nearest_training_planes", "consistency_psnr", "consistency_psnr_refined",
    ):  # fmt: skip
        assert np.isfinite(metrics[name]), name
    # the refiner of this run is untrained: it resizes
    assert metrics["psnr_refined_fits"] == pytest.approx(metrics["psnr_resized_fits"])
    assert metrics["psnr_resized_fits"] != pytest.approx(metrics["psnr_fits"])
    assert found["facts"]["reference"] == "5 people, 1 of them held out"
    out = capsys.readouterr().out
    assert all(name in out for name in metrics)
    assert (run / "evaluation.png").stat().st_size > 2000
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run / 'mlflow.db'}")
    kept = client.get_run(found["mlflow_run"])
    assert kept.data.metrics["diversity"] == pytest.approx(metrics["diversity"])
    assert kept.data.tags["model_base"] == found["models"]["base"]


def test_copies_are_told_from_new_people(run: Path) -> None:
    store = open_store(str(run))
    shards = open_dataset(store.child("triplanes"))
    judge = Judge(store, shards, TINY.sample, 4, lambda text: None)
    known = torch.stack([p.planes for p in judge.train])
    stranger = person(shards, small_run.VAL[0]).planes
    made = torch.stack([known[2], stranger])
    camera = judge.train[0]
    shown = [
        judge.images(planes, camera.camera_to_world, camera.intrinsics, small_run.SIZE)[0]
        for planes in made
    ]
    copies, index = judge.novelty(made[:1].repeat(2, 1, 1, 1, 1), [shown[0], shown[0]])
    assert index == [2, 2]
    assert copies["nearest_training_planes"] < 1e-3 and copies["diversity"] < 1e-3
    new, _ = judge.novelty(made[1:].repeat(2, 1, 1, 1, 1), [shown[1], shown[1]])
    assert new["nearest_training_planes"] > 0.5


def test_a_run_without_models_names_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["--run", str(tmp_path / "none")])
    assert stop.value.code == 2
    assert "triplanes" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.main(["--run", str(tmp_path), "--avatars", "1"])
    assert "avatars=1: use at least 2" in capsys.readouterr().err
