"""A key in the environment is in nothing that is written: files, tables, errors, pickles."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from infra import registry
from infra.dataset import open_dataset
from infra.jobs import check_public
from infra.registry import RegistryError
from infra.storage import FileStore, StorageError, open_store
from infra.tracking import Tracking, TrackingError
from infra.verify import verify
from tests.infra.people import keys_of, make

KEY, SECRET, TOKEN = "PLANTEDKEYID0001", "planted/secret+0002==", "planted-token-0003"
PLANTED = (KEY, SECRET, TOKEN, "planted%2Fsecret")


@pytest.fixture
def planted(s3, monkeypatch) -> Iterator[str]:
    """Wrong keys for the server: it answers each request by an error that repeats the key id."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_SESSION_TOKEN", TOKEN),
        ("MLFLOW_TRACKING_TOKEN", TOKEN), ("HF_TOKEN", TOKEN),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    yield f"s3://{s3.bucket}/leaks"


def leaks(text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    return [word for word in PLANTED if word.encode() in data]


def test_the_check_finds_what_is_planted(planted: str) -> None:
    assert leaks(f"x {os.environ['AWS_ACCESS_KEY_ID']} y") == [KEY]


def test_errors_of_storage(planted: str, tmp_path: Path) -> None:
    store = open_store(planted)
    (tmp_path / "file").write_bytes(b"x")
    for call in (
        lambda: store.read("k"),
        lambda: store.write("k", b"x"),
        lambda: store.put_file(tmp_path / "file", "k"),
        lambda: store.get_file("k", tmp_path / "back"),
        lambda: list(store.list()),
        lambda: store.size("k"),
        lambda: store.delete("k"),
        lambda: open_dataset(store),
        lambda: open_store(f"s3://{KEY}:{TOKEN}@bucket/x"),
        lambda: open_store(f"s3://bucket/x?X-Amz-Security-Token={TOKEN}"),
    ):
        with pytest.raises((StorageError, ValueError)) as caught:
            call()
        error = caught.value
        assert leaks(str(error)) == [] and leaks(pickle.dumps(error)) == []
        assert error.__cause__ is None and (error.__suppress_context__ or not error.__context__)
    assert leaks(pickle.dumps(store)) == [] and leaks(repr(store)) == []


def model(root: Path) -> Path:
    (root / "model").mkdir()
    (root / "model/model.safetensors").write_bytes(b"weights")
    return root / "model"


def test_everything_that_a_run_writes(planted: str, tmp_path: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        make(FileStore(tmp_path / "data"), keys_of(0, 4))
        verify(open_dataset(FileStore(tmp_path / "data")))
        tracking = Tracking(
            f"sqlite:///{tmp_path}/mlflow.db",
            "rodin-leaks",
            "run",
            {"s3": {"secret_key": SECRET, "access_key_id": KEY}, "api_token": TOKEN},
            tags={"out": f"s3://{KEY}:{TOKEN}@bucket/x", "hf_token": TOKEN},
        )
        tracking.log_metrics({"loss": 1.0}, 1)
        tracking.log_artifact(b"x", "a.txt")
        tracking.log_dataset("views", "ab" * 32, f"s3://{KEY}:{TOKEN}@bucket/x")
        tags = {"out": f"s3://{KEY}:{TOKEN}@bucket/x", "api_token": TOKEN}
        version = registry.register(tracking, "rodin-base", model(tmp_path), tags)
        registry.fetch(version, tracking.uri, tmp_path / "back")
        tracking.finish()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 8
    for path in written:
        assert leaks(path.read_bytes()) == [], path
    assert leaks(out.getvalue() + err.getvalue()) == []


def test_errors_of_mlflow_and_jobs(planted: str) -> None:
    with pytest.raises(TrackingError) as caught:
        Tracking(f"ftp://me:{TOKEN}@127.0.0.1:1", "x", "y")
    assert leaks(str(caught.value)) == []
    with pytest.raises(RegistryError) as lost:
        registry.find("models:/rodin@latest", f"ftp://me:{TOKEN}@127.0.0.1:1")
    assert leaks(str(lost.value)) == [] and lost.value.__cause__ is None
    with pytest.raises(ValueError) as refused:
        check_public(["--note", TOKEN], {})
    assert leaks(str(refused.value)) == []


def test_errors_of_the_registry(planted: str, tmp_path: Path) -> None:
    """Artifacts in S3, whose refusal repeats the key id."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    Tracking(uri, "rodin-other", "run").client.create_experiment("rodin-s3", planted)
    tracking = Tracking(uri, "rodin-s3", "run")
    with pytest.raises(RegistryError, match="rodin-base was not registered") as caught:
        registry.register(tracking, "rodin-base", model(tmp_path), {})
    assert leaks(str(caught.value)) == [] and caught.value.__cause__ is None
    assert "register it again" in str(caught.value)
