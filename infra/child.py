"""A recycled child process: for libraries that leak, crash, or cannot live beside others (bpy)."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from concurrent.futures import TimeoutError as LateError
from typing import Any


class WorkerDied(RuntimeError):
    """The child process ended in the middle of a call, or took too long and was ended."""


class RecycledProcess:
    """Runs calls one at a time in a child that is replaced after `tasks_per_child` of them.

    The child starts at the first call, and ends with this process, even if that is killed.
    After its death the next call starts a new one.
    """

    def __init__(self, tasks_per_child: int = 16) -> None:
        if tasks_per_child < 1:
            raise ValueError(f"tasks_per_child {tasks_per_child} is under 1")
        self.tasks_per_child = tasks_per_child
        self._pool: ProcessPoolExecutor | None = None
        self._done = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"tasks_per_child": self.tasks_per_child, "_pool": None, "_done": 0}

    def call(self, function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
        """`function(*args)` in the child; its exceptions pass through.

        A function of the main module travels by value, others by name. Raises WorkerDied when
        the child is gone, or after `timeout` seconds. Nothing is repeated here: that is the
        caller's choice.
        """
        if self._pool is not None and self._done >= self.tasks_per_child:
            self.close()
        name = getattr(function, "__name__", "call")
        if getattr(function, "__module__", "") == "__main__":
            # The child has another main module (and a stage run by `python -m` is one).
            import cloudpickle

            function, args = _call_pickled, (cloudpickle.dumps((function, args)),)
        try:
            future = self._submit(function, args)
            result = future.result(timeout)
        except BrokenExecutor:
            self.close()
            raise WorkerDied(
                f"the process running {name} died (killed, out of memory, or a crash in a "
                "library); run it again or lower the memory it needs"
            ) from None
        except LateError:
            if future.done():  # the function's own TimeoutError
                raise
            self.close(kill=True)
            raise WorkerDied(f"{name} took more than {timeout} s and was ended") from None
        finally:
            self._done += 1
        return result

    def _submit(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self._pool is not None:
            return self._pool.submit(function, *args)
        self._pool, self._done = (
            ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_end_with_parent,
            ),
            0,
        )
        with _no_main():
            return self._pool.submit(function, *args)

    def close(self, kill: bool = False) -> None:
        """End the child; a running call is waited for unless `kill`."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if kill:
            for process in list((pool._processes or {}).values()):
                process.kill()
        pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> RecycledProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _call_pickled(data: bytes) -> Any:
    function, args = pickle.loads(data)
    return function(*args)


def _end_with_parent() -> None:
    """A killed parent cannot tell its child to end: watch for it."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # only ever called in a child

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Hide the main module while a child is spawned: it would import it again.

    In a Ray worker that is Ray's own start script, seconds of imports for nothing.
    """
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name, None) for name in ("__file__", "__spec__")}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update({k: v for k, v in hidden.items() if v is not None or k == "__spec__"})
