"""A run's models in a real MLflow registry: registered, served, sampled from, measured."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra import registry as versions
from infra.canon import sha256_hex
from infra.registry import RegistryError
from infra.storage import FileStore
from infra.tracking import Tracking
from pipelines import evaluate, models, pictures, register, registry, tool
from pipelines.presets import TINY
from tests.infra.conftest import free_port
from tests.pipelines import small_run

SECRET = "planted-secret-in-the-registry"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.make(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="module")
def registered(run: Path, uri: str) -> str:
    """The run's models in the registry, put there while a key is in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        register.main([str(run)])
        register.main([str(run), "--champion"])  # again: nothing new
    return uri


def client(uri: str) -> Any:
    return Tracking(uri, "rodin-look", "look").client


def test_every_part_has_one_version_with_its_lineage(registered: str, run: Path) -> None:
    found = {model.name: model for model in client(registered).search_registered_models()}
    parts = ("decoder", "base", "upsampler", "refiner", "prior")
    assert set(found) == {"rodin", *(f"rodin-{part}" for part in parts)}
    for name, model in found.items():
        assert {k: int(v) for k, v in model.aliases.items()} == {"champion": 1}
        version = versions.find(f"models:/{name}@latest", registered)
        assert version.number == 1 and version.run_id
        decoder = models.load_decoder(FileStore(run / "triplanes")).digest()
        assert version.tags["decoder"] == decoder and version.tags["out"] == str(run)
        assert version.tags["code"]
        assert "dataset" in version.tags and version.tags["digest"]


def test_nothing_is_pickled_and_no_key_is_kept(registered: str) -> None:
    root = Path(registered.removeprefix("sqlite:///")).parent
    files = [path for path in root.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files if "/code/" not in str(path)}
    assert kinds <= {".db", ".lock", ".safetensors", ".json", ".py", ".yaml", ".txt", ""}
    assert not {".pkl", ".pt", ".pth", ".pickle"} & {path.suffix for path in files}
    assert not any(SECRET.encode() in path.read_bytes() for path in files)


def test_a_decoder_is_found_by_its_alias(
    registered: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered)
    own = models.load_decoder(FileStore(run / "triplanes")).digest()
    for name in ("rodin-decoder@latest", "rodin/1"):
        assert tool.find_decoder(f"models:/{name}").digest() == own


def test_a_registered_model_is_measured_on_the_people_that_it_was_trained_on(
    registered: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(run.rglob("*"))
    words = ["--run", "models:/rodin@champion", "--tracking", registered]
    evaluate.main([*words, "--avatars", "2", "--people", "2", "--portraits", "0"])
    shown = capsys.readouterr().out
    assert "diversity" in shown and "mlflow" in shown
    assert sorted(run.rglob("*")) == before
    mlflow = client(registered)
    experiment = mlflow.get_experiment_by_name("rodin-evaluate").experiment_id
    (found,) = mlflow.search_runs([experiment])
    assert found.data.tags["out"] == "models:/rodin@champion"
    assert found.data.tags["data"] == str(run) and "diversity" in found.data.metrics


def test_a_run_adopts_registered_models_once(registered: str, run: Path, tmp_path: Path) -> None:
    out = FileStore(tmp_path / "out")
    for _ in range(2):
        registry.adopt(out, "models:/rodin@champion", registered)
    for part in models.KINDS:
        name = f"models/{part}/model.safetensors"
        assert out.read(name) == (run / name).read_bytes()
    out.write("models/base/model.safetensors", b"others")
    with pytest.raises(RegistryError, match="is not that of models:/rodin@champion"):
        registry.adopt(out, "models:/rodin@champion", registered)
    with pytest.raises(RegistryError, match="has no upsampler; sampling takes"):
        registry.adopt(FileStore(tmp_path / "other"), "models:/rodin-base@latest", registered)


def test_a_refusal_does_not_undo_a_stage(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", "rodin-train-base", "x")
    tracking.client.delete_run(tracking.run_id)
    tracking.run_id = "0" * 32
    registry.announce(registry.register_part, FileStore(run), "base", tracking)
    said = capsys.readouterr().err
    assert "rodin-base was not registered" in said and f"rodin register {run}" in said
    registry.announce(registry.register_part, FileStore(run), "base", Tracking("none", "", ""))
    assert capsys.readouterr() == ("", "")


@pytest.fixture(scope="module")
def served(registered: str) -> Iterator[str]:
    """`mlflow models serve` of the champion, as people run it."""
    port = free_port()
    words = ["models", "serve", "-m", "models:/rodin@champion", "--env-manager", "local"]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("mlflow")), *words, "-p", str(port)],
        env={
            **os.environ, "MLFLOW_TRACKING_URI": registered, "AWS_SECRET_ACCESS_KEY": SECRET,
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 400
    try:
        while True:
            assert process.poll() is None and time.monotonic() < end, "the server did not start"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                break
            except OSError:
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def post(address: str, body: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        address, body.encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    assert SECRET.encode() not in text
    return status, json.loads(text)


def test_a_seed_becomes_pictures(served: str, run: Path) -> None:
    """The same pictures as the sampling stage draws; refusals say why; other limits hold."""
    ask = {"seed": 3, "size": 32, "views": 2}
    status, answer = post(served, json.dumps({"inputs": [ask]}))
    assert status == 200, answer
    (found,) = answer["predictions"]
    images = [pictures.from_png(base64.b64decode(text)) for text in found["images"]]
    assert found["seed"] == 3 and [image.shape for image in images] == [(32, 32, 3)] * 2
    assert not np.array_equal(*images)
    same = post(served, json.dumps({"inputs": [ask]}))[1]["predictions"][0]["images"]
    assert [sha256_hex(text.encode()) for text in same] == [
        sha256_hex(text.encode()) for text in found["images"]
    ]
    stage = dataclasses.replace(TINY.sample, size=32, views=2)
    assert np.array_equal(images[0], sampled(run, stage))
    for body, reason in (
        ('{"inputs": [{"seed": 3, "size": 4096}]}', "less than or equal to 512"),
        ('{"inputs": [{"seed": 3, "steps": 100000}]}', "less than or equal to 250"),
        ('{"inputs": [{"seed": 3, "views": 99}]}', "less than or equal to 12"),
        ('{"inputs": [{"seed": -1}]}', "greater than or equal to 0"),
        ('{"inputs": [{"seed": "x"}]}', "valid integer"),
        ('{"inputs": [{"seed": 3, "path": "/etc"}]}', "Extra inputs"),
        (json.dumps({"inputs": [{"seed": 0}] * 9}), "9 avatars in one request; send 1 to 8"),
        ('{"seed": 3}', "'inputs' key"),
        ("no json", "valid JSON"),
    ):
        status, answer = post(served, body)
        assert status == 400 and reason in answer["message"], (body, answer)


def sampled(run: Path, stage: Any) -> np.ndarray:
    """The first view of seed 3 as the sampling stage's own worker draws it."""
    from pipelines.sample import Batch, SampleWorker

    SampleWorker(str(run), "samples/x", stage, 1)(Batch("0", ("seed-000003",)))
    strip = pictures.from_png((run / "samples/x/seed-000003/refined.png").read_bytes())
    return strip[:, : strip.shape[0]]
