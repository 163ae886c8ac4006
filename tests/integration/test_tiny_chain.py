"""The tiny chain through real Blender, Ray and MLflow: whole, killed and run again, and damaged."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infra.manifest import open_dataset
from infra.storage import open_store
from rodin import record, truth

ROOT = Path(__file__).parents[2]
SCRIPT_LIMIT = 1200  # seconds
pytestmark = pytest.mark.timeout(2 * SCRIPT_LIMIT)
MODELS = ("base", "upsampler", "refiner", "prior")


def command(stage: str, out: Path, assets: Path, *words: str) -> list[str]:
    # relative, as people write it: workers run in other folders
    options = ["--preset", "tiny", "--out", os.path.relpath(out, ROOT), "--assets", str(assets)]
    return [sys.executable, "-m", f"pipelines.{stage}", *options, *words]


def environment() -> dict[str, str]:
    """Beside other tests threads that spin while they wait take the cores from each other."""
    kept = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return kept | {"OMP_WAIT_POLICY": "passive"}


def launch(stage: str, out: Path, assets: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(stage, out, assets, *words),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SCRIPT_LIMIT,
        check=False,
    )


def contents(out: Path) -> dict[str, str]:
    """What a run ends with: the digests of its data sets and the weights of its models."""
    found = {}
    for name in ("views", "triplanes"):
        found[name] = json.loads((out / name / "dataset.json").read_text())["digest"]
    for name in MODELS:
        found[name] = (out / "models" / name / "model.safetensors").read_bytes().hex()[-4000:]
        curve = (out / "models" / name / "history.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in curve]
        found[f"{name} curve"] = str([(row["samples"], row["loss"]) for row in rows])
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, asset_cache: Path) -> Path:
    """A run of the tiny chain that nobody disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    done = launch("run", out, asset_cache)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "report: " in done.stdout
    assert "mlflow ui" in done.stdout
    return out


def test_the_chain_leaves_what_it_should(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert page.count("data:image/") >= 5
    assert 'src="http' not in page
    latest = json.loads((finished / "samples/latest.json").read_text())["folder"]
    for name in ("seeds.png", "portraits.png", "refined.png", "turntable.webp"):
        assert (finished / latest / name).stat().st_size > 500
    (quality,) = re.findall(r'<a href="([^"]+)"', page)
    assert "worst decile" in (finished / quality).read_text()
    assert (finished.parent / "mlflow.db").exists()
    lines = (finished / "stats.jsonl").read_text().splitlines()
    stages = [json.loads(line)["stage"] for line in lines]
    assert stages == ["render", "fit", *(f"train {name}" for name in MODELS), "sample"]


def test_the_records_hold_people(finished: Path) -> None:
    """Not a blob: opaque, in the box, coloured, with the depth of a surface."""
    views = open_dataset(open_store(str(finished / "views")))
    assert len(views) == 3
    for row in views.rows():
        sample = record.decode_views(views.read(row["key"]))
        portrait = sample.rgba[0]
        share = (portrait[..., 3] > 128).mean()
        assert 0.15 < share < 0.9
        assert portrait[portrait[..., 3] > 200][:, :3].std(0).min() > 8
        assert sample.depth is not None
        assert (np.abs(sample.depth[sample.depth > 0] - 4.8) < 1.75).all()
        known = truth.decode_truth(views.read(row["key"]))
        assert known.labels is not None and known.normals is not None
        assert ((known.labels > 0) == (sample.depth > 0)).all()
        assert (known.normals.any(axis=-1) == (sample.depth > 0)).mean() > 0.99
        assert known.landmark_visible is not None and known.landmark_visible[0].sum() > 40
        assert len(sample.meta["captions"]) == 6
        assert row["attr_caption"] == sample.meta["caption"]
    planes = open_dataset(open_store(str(finished / "triplanes")))
    assert {row["split"] for row in planes.rows()} <= {"train", "val"}
    for row in planes.rows():
        # a white page scores under 11 dB on these people, a one-coloured silhouette about 14
        assert row["metric_psnr"] > 16


def test_mlflow_has_a_run_of_each_stage(finished: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{finished.parent / 'mlflow.db'}")
    experiments = {e.name: e.experiment_id for e in client.search_experiments()}
    for stage in ("render", "fit", *(f"train-{name}" for name in MODELS), "sample"):
        runs = client.search_runs([experiments[f"rodin-{stage}"]])
        mine = [run for run in runs if run.data.tags.get("out") == str(finished)]
        assert [run.info.status for run in mine] == ["FINISHED"], stage
        assert mine[0].data.params
        if stage.startswith(("fit", "train")):
            assert mine[0].inputs.dataset_inputs[0].dataset.digest
        if stage.startswith("train"):
            points = client.get_metric_history(mine[0].info.run_id, "loss")
            steps = [point.step for point in points]
            assert len(steps) >= 4
            assert steps == sorted(set(steps))


def test_a_second_run_has_nothing_to_do(finished: Path, asset_cache: Path) -> None:
    files = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    done = launch("run", finished, asset_cache)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("nothing to do") == 8
    assert files == {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}


def kill_when(out: Path, assets: Path, ready: Callable[[], bool]) -> None:
    """Starts the chain, kills the driver with SIGKILL once `ready`, waits for Ray to go."""
    log = out.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            command("run", out, assets),
            cwd=ROOT,
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + SCRIPT_LIMIT
    while not ready():
        assert process.poll() is None, (
            f"it ended before it could be killed: {log.read_text()[-3000:]}"
        )
        assert time.monotonic() < end, "the chain did not get to where it was to be killed"
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    time.sleep(3)


@pytest.mark.timeout(1500)
def test_killed_and_run_again_it_ends_the_same(
    finished: Path, tmp_path: Path, asset_cache: Path
) -> None:
    """Killed while it renders, fits its decoder and trains; pixels come from the first run where
    the denoiser may differ by 1/255, so that the rest must agree to the last byte."""
    out = tmp_path / "killed"
    kill_when(out, asset_cache, lambda: any(out.glob("views/*/*.json")))
    assert not (out / "views/dataset.json").exists()
    shutil.rmtree(out / "views")
    shutil.copytree(finished / "views", out / "views")
    last = sorted((out / "views/train").glob("*.json"))[-1]
    last.unlink()  # as if killed between the shard and its sidecar
    (out / "views/dataset.json").unlink()
    shutil.copytree(finished / "views", tmp_path / "kept")
    kill_when(out, asset_cache, lambda: any(out.glob("triplanes/*/*.json")))
    shutil.rmtree(out / "views")
    shutil.copytree(tmp_path / "kept", out / "views")
    kill_when(out, asset_cache, lambda: any(out.glob("models/base/checkpoints/latest.json")))
    # To spare time only the base is trained again; these are taken as long as the data's digest,
    # which they carry, is the same.
    for name in ("upsampler", "refiner", "prior"):
        shutil.copytree(finished / "models" / name, out / "models" / name)
    done = launch("run", out, asset_cache)
    assert done.returncode == 0, done.stderr[-4000:]
    assert contents(out) == contents(finished)


def damaged(finished: Path, tmp_path: Path) -> Path:
    out = tmp_path / "damaged"
    shutil.copytree(finished, out)
    return out


def refused(done: subprocess.CompletedProcess[str], *texts: str) -> None:
    assert done.returncode == 2, done.stdout[-1000:] + done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr[-2000:]
    for text in texts:
        assert text in lines[0]


def test_a_missing_dataset_names_the_command(tmp_path: Path, asset_cache: Path) -> None:
    refused(launch("fit", tmp_path / "none", asset_cache), "views", "pipelines.render")
    refused(launch("train", tmp_path / "none", asset_cache), "triplanes", "pipelines.fit")
    refused(launch("sample", tmp_path / "none", asset_cache), "base", "pipelines.train")


def test_another_schema_version_is_refused(
    finished: Path, tmp_path: Path, asset_cache: Path
) -> None:
    out = damaged(finished, tmp_path)
    path = out / "views/dataset.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, "schema_version": 99}))
    refused(launch("fit", out, asset_cache), "99", "views")


def test_a_truncated_shard_is_refused(finished: Path, tmp_path: Path, asset_cache: Path) -> None:
    out = damaged(finished, tmp_path)
    shutil.rmtree(out / "models/base")
    shard = next((out / "triplanes/train").glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:3000])
    refused(launch("train", out, asset_cache, "--stage", "base"), "truncated", shard.name)


def test_planes_of_another_decoder_are_refused(
    finished: Path, tmp_path: Path, asset_cache: Path
) -> None:
    from rodin.decoder import TriplaneDecoder

    out = damaged(finished, tmp_path)
    path = out / "triplanes/decoder.safetensors"
    decoder = TriplaneDecoder.load(path)
    decoder.density.bias.data += 0.5
    decoder.save(path)
    shutil.rmtree(out / "models/base")
    refused(launch("train", out, asset_cache, "--stage", "base"), "decoder")


def test_other_settings_on_old_work_are_refused(
    finished: Path, tmp_path: Path, asset_cache: Path
) -> None:
    before = contents(finished)
    refused(launch("render", finished, asset_cache, "--render.samples", "3"), "samples", "--out")
    refused(launch("fit", finished, asset_cache, "fit.engine.steps=61"), "steps", "--out")
    refused(
        launch("train", finished, asset_cache, "--stage", "base", "base.seed=1"), "seed", "--out"
    )
    assert contents(finished) == before


def readme_block(language: str, marker: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    found = [block for block in blocks if marker in block]
    assert len(found) == 1
    return found[0]


def test_the_scripts_of_the_readme_read_the_shards(finished: Path) -> None:
    script = readme_block("python", "import webdataset")
    script = script.replace("runs/demo", str(finished))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "(3, 8, 32, 32)" in done.stdout
    assert " dB A portrait of" in done.stdout
    shell = readme_block("sh", "tar -tf").replace("runs/demo", str(finished))
    done = subprocess.run(["bash", "-euc", shell], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "000000000.view000.webp" in done.stdout
    assert '"attributes"' in done.stdout
