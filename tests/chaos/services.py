"""The parts that faults are done to, real ones: an S3 server, an MLflow server, Ray nodes.

Each is a process group of its own on a fixed port of the loopback address, so that it can be ended
with SIGKILL and started again where it was.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.infra.conftest import ACCESS, SECRET, free_port
from tests.infra.proxy import Proxy

ROOT = Path(__file__).parents[2]
BUCKET = "data"
# Processes of Ray's own; a node ends with its agent.
RAYS_OWN = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
STARTS = 5  # tries to start a service, on a busy machine
START_LIMIT = 240.0  # seconds of one of them
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"  # Debian's package faketime


def program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is missing; run `make setup`"
    return found


class Service:
    """A process that listens on a port."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.command, self.port, self.log = command, port, log
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers; several tries, since Ray gives its own parts 30 s to start."""
        for _ in range(STARTS):
            if self._started():
                return
            self.kill()
        raise AssertionError(f"{' '.join(self.command[:3])} does not start: see {self.log}")

    def _started(self) -> bool:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, start_new_session=True, cwd=ROOT,
                env=os.environ | self.environment,
            )  # fmt: skip
        end = time.monotonic() + START_LIMIT
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """SIGKILL to the process and all that it started."""
        if self.process is None:
            return
        for one in family(self.process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait(30)
        self.process = None


def family(pid: int) -> list[psutil.Process]:
    """A process, its descendants, and whoever else is in its session."""
    try:
        parent = psutil.Process(pid)
        found = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        found = []
    for one in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(one.pid) == pid and one not in found:
                found.append(one)
    return found


class RayNode(Service):
    """`ray start --block`: a raylet with its agents and workers; the head has the GCS too."""

    def __init__(self, folder: Path, cpus: int, log: Path, head: int = 0, port: int = 0) -> None:
        command = [
            sys.executable,
            str(Path(__file__).with_name("ray_start.py")),
            "start",
            "--block",
            "--disable-usage-stats",
        ]
        command += [f"--num-cpus={cpus}", "--object-store-memory=80000000"]
        command += ["--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0"]
        # Ports that are given are not waited for: Ray's own 15 s are short on a busy machine.
        for name in ("dashboard-agent-listen", "dashboard-agent-grpc", "metrics-export"):
            command.append(f"--{name}-port={free_port()}")
        command.append(f"--runtime-env-agent-port={free_port()}")
        if head:
            command += [f"--address=127.0.0.1:{head}"]
        else:
            command += ["--head", f"--port={port}", f"--temp-dir={folder}", "--no-monitor"]
            command += ["--include-dashboard=false", f"--dashboard-port={free_port()}"]
            command += [f"--ray-client-server-port={free_port()}"]
        super().__init__(command, port, log)

    def ready(self) -> bool:
        """`ray start` has said that it now waits: its port answers long before."""
        return "--block" in self.log.read_text(errors="replace")

    def raylet(self) -> psutil.Process | None:
        for one in family(self.process.pid) if self.process else []:
            with contextlib.suppress(psutil.Error):
                if one.name() == "raylet":
                    return one
        return None

    def workers(self) -> list[psutil.Process]:
        """Workers that hold an actor or run a task now."""
        found = []
        raylet = self.raylet()
        for one in raylet.children() if raylet else []:
            with contextlib.suppress(psutil.Error):
                title = " ".join(one.cmdline())
                if title.startswith("ray::") and not title.startswith(RAYS_OWN):
                    found.append(one)
        return found


class World:
    """All services, the environment of the drivers, and the proxy that counts S3 requests."""

    def __init__(self, nodes: int = 2, mlflow: bool = True) -> None:
        # Ray's sockets live below it and their paths may have 107 characters: keep it short.
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
        self.bucket = self.folder / "s3" / BUCKET
        self.bucket.mkdir(parents=True)
        self.s3 = self._s3()
        self.mlflow = self._mlflow() if mlflow else None
        self.ray_port, self.token = free_port(), secrets.token_hex(32)
        self.head = RayNode(self.folder / "r", 1, self.folder / "head.log", port=self.ray_port)
        self.nodes = [self._node(i) for i in range(nodes)]
        self.proxy: Proxy | None = None
        self.before: dict[str, str] = {}  # the environment to go back to
        self.keep = False  # its folder, though all went well

    def _s3(self) -> Service:
        port = free_port()
        command = [program("rclone"), "serve", "s3", str(self.bucket.parent)]
        command += ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{ACCESS},{SECRET}"]
        command += ["--config", str(self.folder / "none.conf"), "--log-level", "ERROR"]
        return Service(command, port, self.folder / "s3.log")

    def _mlflow(self) -> Service:
        port = free_port()
        command = [program("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}", "--workers=1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        service = Service(command, port, self.folder / "mlflow.log")
        service.environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        return service

    def _node(self, index: int) -> RayNode:
        return RayNode(self.folder / "r", 2, self.folder / f"node{index}.log", head=self.ray_port)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ray_port}"

    @property
    def tracking(self) -> str:
        return f"http://127.0.0.1:{self.mlflow.port}" if self.mlflow else "none"

    def environment(self) -> dict[str, str]:
        assert self.proxy is not None
        return {
            "AWS_ENDPOINT_URL": self.proxy.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "RAY_prestart_worker_first_driver": "0",
            "RAY_worker_niceness": "0",
            "RAY_BACKEND_LOG_LEVEL": "fatal",
            # A node that is gone is given up after seconds, not a minute.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
        }

    def __enter__(self) -> World:
        self.s3.start()
        self.proxy = Proxy(f"http://127.0.0.1:{self.s3.port}", lambda number, method: "ok")
        self.proxy.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # server down
        self.before = dict(os.environ)
        for name in [n for n in os.environ if n.startswith(("AWS_", "RAY_", "MLFLOW_"))]:
            del os.environ[name]
        os.environ |= self.environment()
        try:
            if self.mlflow is not None:
                self.mlflow.start()
            self.start_ray()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def start_ray(self) -> None:
        self.head.start()
        for node in self.nodes:
            node.start()

    def kill_node(self, index: int, rng: random.Random) -> str:
        """The raylet alone (its workers find out), or the whole machine."""
        node = self.nodes[index]
        raylet = node.raylet()
        if rng.random() < 0.5 and raylet is not None:
            raylet.kill()
            return f"raylet of node {index}"
        node.kill()
        return f"node {index} with its workers"

    def renew_node(self, index: int, skew: str = "") -> None:
        """A fresh node in the place of another; `skew`, such as "+3h", sets its clock wrong."""
        self.nodes[index].kill()
        self.nodes[index] = self._node(index)
        if skew:
            library = self.folder / "sleep.so"
            if not library.exists():
                source = Path(__file__).with_name("sleep.c")
                subprocess.run(
                    ["gcc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, source], check=True
                )
            # Monotonic clocks stay: a wrong clock is a wrong date, not another speed of time.
            self.nodes[index].environment = {
                "LD_PRELOAD": f"{library}:{FAKETIME}", "FAKETIME": skew,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        self.nodes[index].start()

    def renew_head(self) -> None:
        """A new cluster on the old address."""
        for node in (*self.nodes, self.head):
            node.kill()
        self.head = RayNode(self.folder / "r", 1, self.folder / "head.log", port=self.ray_port)
        self.nodes = [self._node(i) for i in range(len(self.nodes))]
        self.start_ray()

    def __exit__(self, *exc: object) -> None:
        for service in (*self.nodes, self.head, self.mlflow, self.s3):
            if service is not None:
                service.kill()
        if self.proxy is not None:
            self.proxy.__exit__()
        os.environ.clear()
        os.environ.update(self.before)
        if exc[0] is None and not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
