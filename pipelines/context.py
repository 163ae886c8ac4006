"""A run: where it lives, how it is tracked, and the notes that explain it without MLflow.

A run directory holds
    config.json     the settings of the last launch and their digest
    meta.json       versions and machine
    stats.jsonl     one line per stage launch: seconds, counts, metrics
    views/ triplanes/ models/ samples/ report.html
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from infra import cluster
from infra.storage import Store, open_store
from infra.tracking import Tracking, ui_command
from pipelines.options import Options
from pipelines.settings import RunSettings, SampleStage, as_dict, digest

CODE = "RODIN_CODE"  # environment variable: the version of the code of a job


def default_tracking(out: str) -> str:
    """MLflow's own variable, else a SQLite file beside the run (so that runs compare)."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return whole_uri(uri)
    folder = Path("runs") if ":/" in out else Path(out).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder.absolute() / 'mlflow.db'}"


def whole_uri(uri: str) -> str:
    """A SQLite file made absolute: workers run in folders of their own."""
    prefix = "sqlite:///"
    return prefix + os.path.abspath(uri[len(prefix) :]) if uri.startswith(prefix) else uri


def code_version() -> str:
    """What RODIN_CODE says (set for jobs, whose folder has no history), else the commit of the
    source tree when there is one, else the package version."""
    if told := os.environ.get(CODE):
        return told
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
        return found.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return importlib.metadata.version("rodin")


@dataclasses.dataclass(frozen=True)
class Context:
    """What a stage needs besides its settings."""

    options: Options
    settings: RunSettings
    store: Store
    tracking_uri: str

    @property
    def out(self) -> str:
        return self.options.out

    @property
    def assets(self) -> str:
        """Where the body model is cached, on whatever machine renders."""
        return self.options.assets or "~/.cache/rodin"

    def ui_command(self) -> str:
        return ui_command(self.tracking_uri)

    def child(self, name: str) -> Store:
        return self.store.child(name)

    def read_json(self, name: str, default: Any = None) -> Any:
        return json.loads(self.store.read(name)) if self.store.exists(name) else default

    def write_json(self, name: str, value: Any) -> None:
        self.store.write(name, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())

    def explain(self) -> None:
        """Writes config.json and meta.json; a later launch overwrites them with its own."""
        self.write_json(
            "config.json",
            {"settings": as_dict(self.settings), "digest": digest(self.settings)},
        )
        names = ("torch", "numpy", "ray", "mlflow", "bpy")
        versions = {}
        for name in names:
            with suppress(importlib.metadata.PackageNotFoundError):
                versions[name] = importlib.metadata.version(name)
        self.write_json(
            "meta.json",
            {
                "code": code_version(),
                "python": platform.python_version(),
                "packages": versions,
                "machine": f"{platform.machine()}, {os.cpu_count()} CPU",
            },
        )

    def note(self, stage: str, seconds: float, **facts: Any) -> None:
        """Appends a line to stats.jsonl (objects cannot be appended to, so it is rewritten)."""
        old = self.store.read("stats.jsonl") if self.store.exists("stats.jsonl") else b""
        line = json.dumps({"stage": stage, "seconds": round(seconds, 1), **facts}, sort_keys=True)
        self.store.write("stats.jsonl", old + line.encode() + b"\n")

    def stats(self) -> list[dict[str, Any]]:
        if not self.store.exists("stats.jsonl"):
            return []
        return [json.loads(line) for line in self.store.read("stats.jsonl").splitlines() if line]

    @contextmanager
    def tracked(
        self, stage: str, settings: dict[str, Any], *, resume: str = ""
    ) -> Iterator[Tracking]:
        """An MLflow run for this launch; `resume` continues a run by its id."""
        tracking = Tracking(
            self.tracking_uri,
            experiment=f"rodin-{stage}",
            run_name=f"{Path(self.out).name}-{stage}",
            settings=settings,
            run_id=resume or None,
            tags={"out": self.out, "settings": digest(self.settings), "code": code_version()},
        )
        tracking.watch(self.settings.resources.system_metrics)
        try:
            yield tracking
        except BaseException as error:
            tracking.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        tracking.finish("FINISHED")


def sample_stage(out: Store) -> SampleStage:
    """How a run samples; the defaults where its config does not say."""
    from pydantic import TypeAdapter

    if not out.exists("config.json"):
        return SampleStage()
    found = json.loads(out.read("config.json"))["settings"].get("sample", {})
    return TypeAdapter(SampleStage).validate_python(found)


@contextmanager
def timed() -> Iterator[list[float]]:
    """Yields a list that holds the seconds once the block has ended."""
    box = [0.0]
    start = time.perf_counter()
    try:
        yield box
    finally:
        box[0] = time.perf_counter() - start


def open_context(options: Options, settings: RunSettings) -> Context:
    tracking = whole_uri(options.tracking) or default_tracking(options.out)
    return Context(options, settings, open_store(options.out), tracking)


_outer: ExitStack | None = None


@contextmanager
def one_ray() -> Iterator[None]:
    """Stages inside the block share one Ray, started by the first of them that needs it."""
    global _outer  # noqa: PLW0603
    with ExitStack() as stack:
        _outer = stack
        try:
            yield
        finally:
            _outer = None


@contextmanager
def ray_session(context: Context) -> Iterator[None]:
    """The cluster of a job or `--address`, otherwise a local Ray."""
    import ray

    if not ray.is_initialized():
        print("ray: connecting (a local Ray takes some 20 s to start)", flush=True)
    session = cluster.connect(address=context.options.address or None)
    if _outer is None:
        with session:
            yield
    else:
        _outer.enter_context(session)
        yield
