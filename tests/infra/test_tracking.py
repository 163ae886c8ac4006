"""Runs in a real MLflow on SQLite: created, resumed, shared by processes, without secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra import mlflow_db, tracking
from infra.tracking import Tracking, TrackingError

SETTINGS = {
    "train": {"batch": 4, "rate": 1e-3, "levels": (1, 2)},
    "name": "demo",
    "none": None,
    "s3": {"secret_key": "topsecret", "address": "https://me:topsecret@host/x", "token": "tok"},
    "long": "x" * 7000,
    **{f"knob{index}": index for index in range(120)},
}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture(scope="module")
def first(uri: str) -> Tracking:
    """A run with everything in it."""
    run = Tracking(uri, "rodin-fit", "demo-fit", SETTINGS, tags={"out": "s3://a:b@bucket/x"})
    for step in (10, 20):
        run.log_metrics({"loss": 1.0 / step, "psnr": float(step), "bad": float("nan")}, step)
    run.flush()
    run.log_artifact(b"picture", "sheets/contact.png")
    run.log_dataset("views", "ab" * 32, "runs/x/views")
    return run


def test_params_are_flat_and_without_secrets(first: Tracking) -> None:
    params = first._client.get_run(first.run_id).data.params
    assert params["train.batch"] == "4" and params["train.levels"] == "[1,2]"
    assert params["none"] == "null" and params["knob119"] == "119"
    assert params["s3.secret_key"] == params["s3.token"] == "***"
    assert params["s3.address"] == "https://***@host/x"
    assert len(params["long"]) == 6000
    everything = json.dumps([params, first._client.get_run(first.run_id).data.tags])
    assert "topsecret" not in everything and "a:b@" not in everything


def test_metrics_dataset_and_artifacts(first: Tracking, uri: str) -> None:
    history = first._client.get_metric_history(first.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(10, 0.1), (20, 0.05)]
    assert first._client.get_metric_history(first.run_id, "bad") == []
    (entry,) = first._client.get_run(first.run_id).inputs.dataset_inputs
    assert entry.dataset.name == "views" and entry.dataset.digest == ("ab" * 32)[:36]
    assert json.loads(entry.dataset.source)["digest"] == "ab" * 32
    database = mlflow_db.database_path(uri)
    assert database is not None
    (picture,) = database.parent.rglob("contact.png")
    assert picture.read_bytes() == b"picture" and picture.parent.name == "sheets"
    assert not Path("mlruns").exists()


def test_resume_continues_the_run_without_doubles(first: Tracking) -> None:
    again = Tracking(**first.arguments())
    assert again.run_id == first.run_id and again.last_step("loss") == 20
    assert again.last_step("never") == -1
    changed = {**SETTINGS, "train": {"batch": 8, "new": 1}}
    third = Tracking(**{**first.arguments(), "settings": changed})
    params = third._client.get_run(first.run_id).data.params
    assert params["train.batch"] == "4" and params["train.new"] == "1"
    third.finish("KILLED")
    assert third._client.get_run(first.run_id).info.status == "KILLED"
    fourth = Tracking(**first.arguments())
    assert fourth._client.get_run(first.run_id).info.status == "RUNNING"
    fourth.finish()
    runs = fourth._client.search_runs(
        [fourth._client.get_experiment_by_name("rodin-fit").experiment_id]
    )
    assert [run.info.run_id for run in runs] == [first.run_id]


def test_a_lost_run_begins_anew(first: Tracking, uri: str, capsys) -> None:
    run = Tracking(uri, "rodin-fit", "again", {}, run_id="0" * 32)
    assert run.run_id not in ("0" * 32, first.run_id)
    assert "has lost run" in capsys.readouterr().err
    run._client.delete_run(run.run_id)


RACER = """
import sys
sys.path.insert(0, {root!r})
from infra.tracking import Tracking
import mlflow.store.tracking.sqlalchemy_store
print("ready", flush=True)
sys.stdin.readline()
run = Tracking(sys.argv[1], "race", "run")
for step in range(20):
    run.log_metrics({{"x": float(step)}}, step)
run.finish()
print(run.run_id)
"""


def test_two_first_processes_share_a_new_database(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    code = RACER.format(root=str(Path(__file__).resolve().parents[2]))
    command = [sys.executable, "-c", code, uri]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as racer:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
        here = Tracking(uri, "race", "run")
        for step in range(20):
            here.log_metrics({"x": float(step)}, step)
        here.finish()
        there = racer.communicate(timeout=120)[0].split()[-1]
    assert racer.returncode == 0 and there != here.run_id
    for run_id in (there, here.run_id):
        assert Tracking(uri, "race", "run", run_id=run_id).last_step("x") == 19
    left = {path.name for path in (tmp_path / "new").iterdir()}
    assert left == {"mlflow.db", ".mlflow.db.lock"}


def test_metrics_wait_while_mlflow_refuses(uri: str, capsys) -> None:
    run = Tracking(uri, "rodin-away", "run")
    run._client.delete_run(run.run_id)
    run.log_metrics({"late": 1.0}, 30)
    run.log_metrics({"late": 2.0}, 40)
    text = capsys.readouterr().err
    assert text.count("metrics wait") == 1 and run.run_id in text
    with pytest.raises(TrackingError, match="2 points could not be sent"):
        run.flush()
    run._client.restore_run(run.run_id)
    run.flush()
    history = run._client.get_metric_history(run.run_id, "late")
    assert [point.step for point in history] == [30, 40]


def test_a_burst_of_units_costs_few_calls(uri: str, monkeypatch) -> None:
    """Whether 300 units or 100,000 end in a second: the driver makes one call."""
    monkeypatch.setattr(tracking, "_PAUSE", 30.0)
    run = Tracking(uri, "rodin-burst", "run")
    sizes: list[int] = []
    send = run._client.log_batch

    def log_batch(run_id: str, metrics: list) -> None:
        sizes.append(len(metrics))
        send(run_id, metrics=metrics)

    monkeypatch.setattr(run._client, "log_batch", log_batch)
    for step in range(300):
        run.log_metrics({"done": float(step)}, step)
    assert sizes == [1]
    assert run.last_step("done") == 299 and sizes == [1, 299]
    monkeypatch.setattr(tracking, "_PAUSE", 0.0)
    run.log_metrics({"done": 300.0}, 300)
    run.log_metrics({"done": 301.0}, 301)  # the first still had to wait for its turn
    run.finish()
    assert run.last_step("done") == 301


def test_the_machines_load_is_logged_until_the_end(uri: str) -> None:
    run = Tracking(uri, "rodin-load", "run")
    run.watch(0.05)
    name, end = "system/cpu_utilization_percentage", time.monotonic() + 60
    while run.last_step(name) < 2:
        assert time.monotonic() < end, "nothing was logged"
        time.sleep(0.05)
    run.finish()
    last = run.last_step(name)
    time.sleep(0.3)
    assert run.last_step(name) == last
    again = Tracking(**run.arguments())
    again.watch(0.05)
    again.finish()
    history = again.client.get_metric_history(run.run_id, name)
    steps = [point.step for point in history]
    assert sorted(steps) == list(range(len(steps)))  # a resumed run has no step twice
    quiet = Tracking(uri, "rodin-load", "quiet")
    quiet.watch(0)
    quiet.finish()
    assert quiet.last_step(name) == -1


def test_off_means_off(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Tracking("none", "x", "y", SETTINGS)
    run.log_metrics({"a": 1.0}, 1)
    run.log_artifact(b"x", "x")
    run.log_dataset("a", "b", "c")
    run.flush()
    run.finish()
    assert run.disabled and run.last_step("a") == -1 and run.run_id == ""
    assert list(tmp_path.iterdir()) == []


def test_errors_name_the_address_and_no_password(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    for uri in (f"sqlite:///{tmp_path}/mlflow.db", "ftp://me:topsecret@host/x"):
        with pytest.raises(TrackingError, match="--tracking none") as caught:
            Tracking(uri, "x", "y")
        assert "\n" not in str(caught.value) and "topsecret" not in str(caught.value)


def test_the_line_that_opens_mlflow(uri: str) -> None:
    line = tracking.ui_command(uri)
    assert line.endswith(f"ui --backend-store-uri {uri}")
    program = line.split()[0]
    assert os.access(program, os.X_OK) or program == "mlflow"
    assert tracking.ui_command("http://me:pw@host:5000") == "open http://***@host:5000"
