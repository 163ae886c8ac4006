"""Jobs on a Ray cluster: submitted once, followed to their end, their exit codes handed on.

What is submitted is stored by the cluster and shown to all who may see its dashboard. Therefore no
job carries a key: `check_public` refuses what looks like one, and keys belong to the nodes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.canon import canonical_json, sha256_hex
from infra.tracking import is_secret, mask

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_MARK = "rodin"  # key of the metadata that tells a job by its content
_RECONNECTS = 20  # of a log stream that breaks off while the job goes on
_TRIES = 5  # of what the network drops, or a submission that no agent is there for yet
_STARTING = "No available agent"  # Ray's words while a head node starts or is very busy
_NOISY = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
    "ray._private.runtime_env.working_dir",
)
_WAIT = 2.0  # seconds between two looks at a job
_ADDRESS = re.compile(r"https?://[\w.\-]+(:\d+)?(/[\w.\-/]*)?")
# Never part of a job: data, environments, history, what people keep in dotfiles.
EXCLUDED = (
    ".git", ".venv", "runs", "docs", "tests", "build", "dist", "**/__pycache__", ".mypy_cache",
    ".ruff_cache", ".pytest_cache", ".hypothesis", "**/.env*", "*.tar", "*.pt", "*.safetensors",
    "*.db", "*.egg-info",
    "!rodin/weights/*.safetensors",  # the package's own model
)  # fmt: skip


class JobError(RuntimeError):
    """The cluster refuses or cannot be reached; one line with the fix."""


@dataclass(frozen=True)
class Spec:
    """One job: a name for people, the command as words, public environment variables."""

    name: str  # letters, digits and dashes
    words: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str = ""  # folder of code that travels along; empty: the image has it

    @property
    def entrypoint(self) -> str:
        return shlex.join(self.words)

    @property
    def mark(self) -> str:
        """16 hex digits: the same command on the same output is the same job."""
        return sha256_hex(canonical_json([self.name, list(self.words)]))[:16]


def check_public(words: Sequence[str], env: Mapping[str, str]) -> None:
    """Raises ValueError where a job would carry a key: by its name, in an address, or its value."""
    fix = "keys belong to the nodes (a Kubernetes secret, an instance role), not into a job"
    for name in env:
        if is_secret(name):
            raise ValueError(
                f"--env {name} looks like a key, which the dashboard would show; {fix}"
            )
    hidden = [v for name, v in os.environ.items() if is_secret(name) and len(v) >= 8]
    for text in [*words, *env.values()]:
        if mask(text) != text:
            raise ValueError(f"{mask(text)[:200]} holds a password; {fix}")
        if any(value in text for value in hidden):
            raise ValueError(f"a word of the command holds a key of this environment; {fix}")


class Jobs:
    """A cluster's job server at `address`, `http://host:8265`.

    The token comes from RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token, as Ray has it;
    it is asked for unless RAY_AUTH_MODE=disabled. Raises JobError.
    """

    def __init__(self, address: str) -> None:
        if not _ADDRESS.fullmatch(address):
            raise ValueError(
                f"{mask(address)[:120]!r} is no job server; write http://host:8265 (`ray dashboard`"
                " or `kubectl port-forward service/rodin-head-svc 8265` makes one)"
            )
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        from ray.job_submission import JobSubmissionClient

        for name in _NOISY:  # they tell of every ignored file
            logging.getLogger(name).setLevel(logging.ERROR)
        self.address = address
        self._client = self._ask(lambda: JobSubmissionClient(address), tries=1)

    def submit(self, spec: Spec) -> tuple[str, bool]:
        """(id, whether it is new): a job of the same mark that still runs is joined."""
        check_public(spec.words, spec.env)
        jobs = self._ask(self._client.list_jobs)
        mine = [job for job in jobs if (job.metadata or {}).get(_MARK) == spec.mark]
        for job in mine:
            if str(job.status) not in ENDED:
                return str(job.submission_id), False
        runtime: dict[str, Any] = {"env_vars": dict(spec.env)}
        if spec.working_dir:
            runtime |= {"working_dir": spec.working_dir, "excludes": list(EXCLUDED)}
        name = f"{spec.name}-{spec.mark[:8]}-{len(mine) + 1}"
        for attempt in range(_TRIES):
            try:
                self._client.submit_job(
                    entrypoint=spec.entrypoint,
                    submission_id=name,
                    runtime_env=dict(runtime),  # the client replaces the folder by its package
                    metadata={_MARK: spec.mark, "stage": spec.name},
                )
                break
            except Exception as error:
                if attempt and "already" in str(error):  # a try whose answer was lost
                    break
                passing = isinstance(error, OSError) or _STARTING in str(error)
                if not passing or attempt == _TRIES - 1:
                    raise JobError(self._line(error)) from None
            time.sleep(_WAIT * 2**attempt)
        return name, True

    async def follow(self, job: str, write: Callable[[str], Any]) -> int:
        """Give the job's output to `write` as it comes; returns the exit code of its command.

        1 where the job was stopped or never started. A stream that breaks off is taken up again.
        """
        given = 0
        for attempt in range(_RECONNECTS):
            seen = 0
            try:
                async for text in self._client.tail_job_logs(job):
                    fresh = text[max(0, given - seen) :]
                    seen += len(text)
                    if fresh:
                        write(fresh)
                        given = max(given, seen)
            except Exception as error:
                if attempt == _RECONNECTS - 1:
                    raise JobError(self._line(error)) from None
            if self.state(job) in ENDED:
                break
            await asyncio.sleep(_WAIT)
        while self.state(job) not in ENDED:
            await asyncio.sleep(_WAIT)
        info = self._ask(lambda: self._client.get_job_info(job))
        if self.state(job) == "SUCCEEDED":
            return 0
        if info.driver_exit_code is None:
            write(f"{' '.join(str(info.message or info.status).split())[:500]}\n")
        return int(info.driver_exit_code or 1)

    def state(self, job: str) -> str:
        """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
        return str(self._ask(lambda: self._client.get_job_status(job)))

    def _ask(self, call: Callable[[], Any], tries: int = _TRIES) -> Any:
        """`call` again where the network drops it: a forwarded port does so, now and then."""
        for attempt in range(tries):
            try:
                return call()
            except Exception as error:  # requests, Ray's own and plain RuntimeErrors
                if not isinstance(error, OSError) or attempt == tries - 1:
                    raise JobError(self._line(error)) from None
            time.sleep(_WAIT * 2**attempt)
        raise AssertionError("no try was made")

    def _line(self, error: BaseException) -> str:
        text = mask(" ".join(str(error).split()))[:300] or type(error).__name__
        if "uthentic" in text or "oken" in text:
            return (
                f"{self.address} refuses the token; set RAY_AUTH_TOKEN_PATH to the cluster's token"
                f" file, or RAY_AUTH_MODE=disabled where it has none ({text[:120]})"
            )
        return f"{self.address}: {text}; check --address and that the cluster runs"


def default_working_dir() -> str:
    """The source tree that this code runs from; empty for an installed package."""
    root = Path(__file__).parents[1]
    return str(root) if (root / "pyproject.toml").exists() else ""
