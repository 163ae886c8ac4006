"""Ray: join the cluster of a job or start a local one, and run units of work on an actor pool."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pickle
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from infra.child import RecycledProcess, WorkerDied
from infra.scratch import scratch_folder

__all__ = ["RecycledProcess", "WorkerDied", "connect", "run_units"]

_STORE_BYTES = 1 << 30  # object store of a local Ray: results are small dicts
_STARTS = 3  # of a local Ray
_TRIES = 4  # of a unit whose error says that it is transient
_DEATHS = 3  # a unit may kill its worker so often before the run stops


class RemoteError(Exception):
    """Carries the traceback of a worker as the cause of the error raised here."""


@contextlib.contextmanager
def connect(address: str | None = None, cpus: int | None = None) -> Iterator[Any]:
    """A Ray session for the block; yields the `ray` module.

    Inside an open session it joins that and leaves it open. Otherwise it joins the cluster at
    `address` or RAY_ADDRESS (set in every Ray job), or starts a local Ray with one CPU more than
    the machine (or `cpus`), so that a pool of one actor per core never takes every CPU.
    `address="local"` always starts one. Only what was started here is shut down.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray prints at "error" what is no error, such as that Ray Data's actors may be restarted.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        yield ray
        return
    target = address or os.environ.get("RAY_ADDRESS") or "local"
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if target != "local":
        try:
            ray.init(address=target, **quiet)
        except ConnectionError as error:
            raise ConnectionError(
                f"no Ray cluster at {target} ({str(error).splitlines()[0][:120]}); "
                "check --address and RAY_ADDRESS, or leave both out for a local Ray"
            ) from None
        try:
            yield ray
        finally:
            ray.shutdown()
        return
    with contextlib.ExitStack() as folders:
        try:
            _start_local(ray, cpus or (os.cpu_count() or 1) + 1, quiet, folders)
            yield ray
        finally:
            ray.shutdown()


def _start_local(ray: Any, cpus: int, quiet: dict[str, Any], folders: contextlib.ExitStack) -> None:
    """A Ray of our own. On a busy machine its start can miss Ray's fixed 30 s: it is repeated."""
    for attempt in range(_STARTS):
        # Sockets live in this folder and their paths may have 107 characters: keep it short.
        short = "/tmp" if os.path.isdir("/tmp") else None
        folder = folders.enter_context(scratch_folder("rodin-local-", short))
        try:
            with _stderr_to(str(folder / "start.log")):
                ray.init(
                    address="local",
                    num_cpus=cpus,
                    include_dashboard=False,
                    object_store_memory=_STORE_BYTES,
                    _temp_dir=str(folder),
                    **quiet,
                )
            return
        except Exception as error:  # Ray has no class of its own for this
            ray.shutdown()
            if "timed out" not in str(error) or attempt == _STARTS - 1:
                raise


@contextlib.contextmanager
def _stderr_to(path: str) -> Iterator[None]:
    """What libraries write to file descriptor 2 goes to a file for the length of the block."""
    sys.stderr.flush()
    saved = os.dup(2)
    log = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.dup2(log, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(log)


class _Runner:
    """What Ray Data calls: makes the worker once an actor, then runs one unit a call."""

    def __init__(self, worker_cls: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._make = lambda: worker_cls(*arguments)
        self._worker: Any = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answers = []
        for data in batch["unit"]:
            try:
                answers.append(pickle.dumps(("done", self._run(pickle.loads(data)))))
            except Exception as error:
                answers.append(_packed_error(error))
        return {"index": batch["index"], "answer": answers}

    def _run(self, unit: Any) -> Any:
        for attempt in range(_TRIES):
            try:
                if self._worker is None:
                    self._worker = self._make()
                return self._worker(unit)
            except Exception as error:
                if not getattr(error, "transient", False) or attempt == _TRIES - 1:
                    raise
            time.sleep(4.0**attempt)
        raise AssertionError("unreachable")


def _packed_error(error: Exception) -> bytes:
    """The error itself where it can travel, otherwise its text."""
    text = traceback.format_exc()
    try:
        data = pickle.dumps(("failed", (error, text)))
        pickle.loads(data)
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        data = pickle.dumps(("failed", (plain, text)))
    return data


def run_units(
    units: Sequence[Any],
    worker_cls: Callable[..., Any],
    arguments: tuple[Any, ...] = (),
    *,
    actors: int,
    cpus_per_actor: float = 1.0,
    gpus_per_actor: float = 0.0,
    name: str = "units",
    noun: str = "avatar",
    progress: Callable[[int, int], None] | bool = True,
) -> Iterator[dict[str, Any]]:
    """`worker_cls(*arguments)(unit)` for each unit on a pool of actors; results as they come.

    A result is a small dict. An exception of a worker stops the run and is raised here, with the
    worker's traceback as its cause; one whose `transient` is true is retried with backoff first.
    A worker that dies is replaced and its unit run again, so that work must be repeatable.
    `progress` is True for a bar, False, or a callable of (done, total) in `noun`s: the keys of
    the units, or the units themselves where they have none.
    """
    todo = list(units)
    if not todo:
        return
    sizes = [_size(unit) for unit in todo]
    with _Progress(progress, sum(sizes), name, noun) as advance:
        done = 0
        dataset = _dataset(
            todo, worker_cls, arguments, min(actors, len(todo)), cpus_per_actor, gpus_per_actor
        )
        rows = dataset.iter_batches(batch_size=1, prefetch_batches=0, batch_format="numpy")
        for batch in rows:
            for index, data in zip(batch["index"], batch["answer"], strict=True):
                kind, value = pickle.loads(data)
                if kind == "failed":
                    error, text = value
                    raise error from RemoteError(f"in a worker of {name}:\n{text}")
                done += 1
                advance(sizes[int(index)])
                yield value
        if done != len(todo):
            raise RuntimeError(
                f"{name}: {done} of {len(todo)} units came back; run the same command again"
            )


def _size(unit: Any) -> int:
    keys = getattr(unit, "keys", None)
    return len(keys) if isinstance(keys, (tuple, list)) else 1


def _dataset(
    units: list[Any],
    worker_cls: Callable[..., Any],
    arguments: tuple[Any, ...],
    actors: int,
    cpus: float,
    gpus: float,
) -> Any:
    """The Ray Data plan: one block a unit, a fixed pool of actors, no bars of its own."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    actors = _fitting(actors, cpus, gpus)
    items = [{"index": i, "unit": pickle.dumps(unit)} for i, unit in enumerate(units)]
    source = ray.data.from_items(items, override_num_blocks=len(items))
    with warnings.catch_warnings():
        # 2.60 deprecates naming the limits of restarts here, and offers no other place yet.
        warnings.simplefilter("ignore")
        return source.map_batches(
            _Runner,
            fn_constructor_args=(worker_cls, arguments),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=_DEATHS * math.ceil(len(units) / actors),
            max_task_retries=_DEATHS,
        )


def _fitting(actors: int, cpus: float, gpus: float) -> int:
    """As many of the actors as the nodes have room for now: a lost node must not end the job.

    Ray waits forever for what no node has: ValueError says so instead. In a Ray job all are asked
    for, since its cluster may grow.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if os.environ.get("RAY_ADDRESS") or not nodes:
        return actors
    needs = {kind: need for kind, need in (("CPU", cpus), ("GPU", gpus)) if need}
    for kind, need in needs.items():
        most = max(node.get(kind, 0.0) for node in nodes)
        if need > most:
            raise ValueError(
                f"a worker asks for {need:g} {kind}, the largest node has {most:g}; "
                "lower the resources of a worker"
            )
    room = sum(
        min((int(node.get(kind, 0.0) / need) for kind, need in needs.items()), default=actors)
        for node in nodes
    )
    if room < actors:
        print(f"{actors} workers were asked for, the cluster has room for {room}", file=sys.stderr)
    return min(actors, room)


class _Progress:
    """Our one bar, or the caller's callable, or nothing."""

    def __init__(
        self, how: Callable[[int, int], None] | bool, total: int, name: str, noun: str
    ) -> None:
        self.how, self.total, self.name, self.noun = how, total, name, noun
        self.done = 0
        self.bar: Any = None

    def __enter__(self) -> Callable[[int], None]:
        if self.how is True:
            from tqdm import tqdm

            self.bar = tqdm(
                total=self.total, desc=self.name, unit=f" {self.noun}", dynamic_ncols=True
            )
        return self.advance

    def advance(self, count: int) -> None:
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        elif callable(self.how):
            self.how(self.done, self.total)

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()
