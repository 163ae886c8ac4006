"""MLflow runs through an explicit client: no global state, resumable by run id.

Default is a SQLite file with its artifacts beside it; a server by its URI otherwise; "none" turns
tracking off. Metrics that cannot be sent wait and are sent later: a tracking server that is down
must not end a training.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from infra.canon import canonical_json, sha256_hex
from infra.mlflow_db import artifact_root, database_path, prepare_database

T = TypeVar("T")

_SECRET = re.compile(
    r"(^|[_.\-])(secret|password|passwd|token|credentials?|api_?key|access_?key)(s?$|[_.\-])", re.I
)
_IN_URI = re.compile(r"(\w+://)[^/@\s]*@")
_SECRET_LENGTH = 8  # characters; a shorter value would blank ordinary words
_TRIES = 5
_PAUSE = 1.0  # seconds between two calls with metrics
_MAX_WAITING = 100_000  # points kept while the server is down


class TrackingError(RuntimeError):
    """MLflow cannot be reached or refuses; one line with the fix."""


class Tracking:
    """One MLflow run: created, or continued when `run_id` is given and still known.

    `settings` become params (nested names joined by dots), secrets are masked. Only one process
    of a training may write; pass `arguments()` to open the same run there.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        run_name: str,
        settings: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.uri, self.experiment, self.run_name = uri, experiment, run_name
        self.run_id: str = run_id or ""
        self._waiting: list[Any] = []
        self._next_try = 0.0
        self._client: Any = None
        self._monitor: Any = None
        if uri == "none":
            return
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        prepare_database(uri)
        try:
            from mlflow.tracking import MlflowClient

            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            self._open(dict(tags or {}))
            self._log_params(settings or {})
        except Exception as error:
            raise TrackingError(
                f"MLflow at {mask(uri)}: {brief(error)}; check the address, or use --tracking none"
            ) from error

    @property
    def disabled(self) -> bool:
        return self._client is None

    @property
    def client(self) -> Any:
        """MLflow's own client of this server, for what this class does not do."""
        return self._client

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments that open this very run in another process."""
        return {
            "uri": self.uri,
            "experiment": self.experiment,
            "run_name": self.run_name,
            "run_id": self.run_id or None,
        }

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log numbers at `step` (samples seen) in one call; what fails is sent with the next.

        So is what comes within a second of the call before: thousands of short units, or a server
        that is slow, must not hold up the driver.
        """
        if self.disabled:
            return
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for name, value in metrics.items():
            if math.isfinite(value):  # SQLite keeps no infinities
                self._waiting.append(Metric(name, float(value), now, int(step)))
        if time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + _PAUSE
            self._send()

    def flush(self) -> None:
        """Send what waits. Raises TrackingError when MLflow stays away."""
        self._send()
        if self._waiting:
            raise TrackingError(
                f"MLflow at {mask(self.uri)}: {len(self._waiting)} points could not be sent; "
                "check the server, the run directory has them too"
            )

    def _send(self) -> None:
        while self._waiting and not self.disabled:
            part = self._waiting[:1000]
            try:
                _retry(partial(self._client.log_batch, self.run_id, metrics=part))
            except Exception as error:
                print(f"MLflow is away ({brief(error)}); metrics wait", file=sys.stderr)
                self._next_try = time.monotonic() + 10.0
                del self._waiting[:-_MAX_WAITING]
                return
            del self._waiting[: len(part)]

    def watch(self, seconds: float) -> None:
        """Log this machine's load as `system/...` every `seconds` until `finish`; 0: never."""
        if self.disabled or not seconds:
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        self._monitor = SystemMetricsMonitor(
            self.run_id, sampling_interval=seconds, resume_logging=True, tracking_uri=self.uri
        )
        self._monitor.start()

    def log_artifact(self, source: bytes | str | os.PathLike[str], name: str = "") -> None:
        """Keep a file (its path, or bytes that need a `name` such as `sheets/0.png`)."""
        if self.disabled:
            return
        if isinstance(source, bytes):
            if not name:
                raise ValueError("bytes need a name; pass log_artifact(data, 'sheet.png')")
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / Path(name).name
                path.write_bytes(source)
                self._put(path, os.path.dirname(name))
            return
        path = Path(source)
        if not path.exists():
            raise ValueError(f"{path}: no such file to keep as an artifact")
        if name and Path(name).name != path.name:
            self.log_artifact(path.read_bytes(), name)
        else:
            self._put(path, os.path.dirname(name))

    def _put(self, path: Path, folder: str) -> None:
        try:
            _retry(lambda: self._client.log_artifact(self.run_id, str(path), folder or None))
        except Exception as error:
            raise TrackingError(
                f"MLflow at {mask(self.uri)}: artifact {path.name} refused ({brief(error)}); "
                "check the artifact store"
            ) from error

    def log_dataset(self, name: str, digest: str, source: str, context: str = "input") -> None:
        """Record a dataset that this run reads or makes, by its digest."""
        if self.disabled:
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entry = Dataset(
            name=name[:500],
            digest=digest[:36],
            source_type="rodin-shards",
            source=json.dumps({"uri": mask(source), "digest": digest}),
        )
        tag = InputTag(key="mlflow.data.context", value=context)
        _retry(lambda: self._client.log_inputs(self.run_id, [DatasetInput(entry, [tag])]))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        if self.disabled or not tags:
            return
        from mlflow.entities import RunTag

        entries = [RunTag(key[:250], hide(key, value)[:8000]) for key, value in tags.items()]
        _retry(lambda: self._client.log_batch(self.run_id, tags=entries))

    def last_step(self, metric: str) -> int:
        """The largest step at which `metric` was logged; -1 where it never was."""
        if self.disabled:
            return -1
        self._send()
        history = _retry(lambda: self._client.get_metric_history(self.run_id, metric))
        return max((point.step for point in history), default=-1)

    def finish(self, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED or KILLED. Never raises: the work itself is done."""
        if self.disabled:
            return
        try:
            if self._monitor is not None:
                self._monitor.finish()
            self._send()
            _retry(lambda: self._client.set_terminated(self.run_id, status))
        except Exception as error:
            print(f"MLflow is away ({brief(error)}); the run stays open there", file=sys.stderr)

    def ui_command(self) -> str:
        """The line that opens this run's MLflow in a browser."""
        return ui_command(self.uri)

    def _open(self, tags: dict[str, str]) -> None:
        """Continue `run_id`, or create a run when there is none or MLflow has lost it."""
        from mlflow.exceptions import MlflowException

        if self.run_id:
            try:
                _retry(lambda: self._client.update_run(self.run_id, status="RUNNING"))
                self.set_tags(tags)
                return
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                print(f"MLflow has lost run {self.run_id}; a new one begins", file=sys.stderr)
        experiment = _retry(self._experiment)
        run = _retry(lambda: self._client.create_run(experiment, run_name=self.run_name))
        self.run_id = run.info.run_id
        self.set_tags(tags)

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            path = database_path(self.uri)
            root = None
            if path is not None:
                root = (artifact_root(path) / _slug(self.experiment)).as_uri()
            try:
                return self._client.create_experiment(self.experiment, artifact_location=root)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(self.experiment)
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def _log_params(self, settings: Mapping[str, Any]) -> None:
        """Params never change in MLflow: a resumed run keeps those it has."""
        from mlflow.entities import Param

        flat = flatten(settings)
        if not flat:
            return
        known = _retry(lambda: self._client.get_run(self.run_id)).data.params
        fresh = [Param(name, value) for name, value in flat.items() if name not in known]
        for start in range(0, len(fresh), 100):
            part = fresh[start : start + 100]
            _retry(partial(self._client.log_batch, self.run_id, params=part))


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as `{"render.size": "64"}`; lists as JSON, secrets masked, lengths cut."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}."))
            continue
        text = value if isinstance(value, str) else canonical_json(value).decode()
        safe = re.sub(r"[^\w\-. /:]", "_", name)
        if len(safe) > 250:
            safe = f"{safe[:230]}.{sha256_hex(name.encode())[:16]}"
        flat[safe] = hide(name, text)[:6000]
    return flat


def is_secret(name: str) -> bool:
    """Whether a setting or variable of this name holds a key or password."""
    return bool(_SECRET.search(name))


def mask(text: str) -> str:
    """The text with user names and passwords cut out of its URIs."""
    return _IN_URI.sub(r"\1***@", text)


def hide(name: str, value: str) -> str:
    """The value of a setting or tag as it may be shown."""
    return "***" if is_secret(name) and value else mask(str(value))


def brief(error: BaseException) -> str:
    """The first line of an error, without what this process was given to keep secret."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    for name, value in os.environ.items():
        if is_secret(name) and len(value) >= _SECRET_LENGTH:
            line = line.replace(value, "***")
    return mask(line)[:200]


def _slug(name: str) -> str:
    return re.sub(r"[^\w\-]", "_", name)


def _retry(call: Callable[[], T]) -> T:
    """Run an idempotent call again while the database is locked or the server stumbles."""
    from mlflow.exceptions import MlflowException

    for attempt in range(_TRIES):
        try:
            return call()
        except MlflowException as error:
            text = str(error).lower()
            passing = error.error_code == "TEMPORARILY_UNAVAILABLE" or "locked" in text
            if not passing or attempt == _TRIES - 1:
                raise
        time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")


def ui_command(uri: str) -> str:
    """The line that opens MLflow for a tracking URI."""
    if uri == "none":
        return "(tracking is off)"
    if uri.startswith(("http://", "https://")):
        return f"open {mask(uri)}"
    beside = Path(sys.executable).with_name("mlflow")
    program = "mlflow" if shutil.which("mlflow") or not beside.exists() else str(beside)
    return f"{program} ui --backend-store-uri {mask(uri)}"
