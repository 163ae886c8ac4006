"""A progress bar on the driver for work that runs in another process of the cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from tqdm import tqdm


@ray.remote(num_cpus=0)
class ProgressActor:
    """Holds the newest state that a worker reported."""

    def __init__(self) -> None:
        self.state: tuple[float, str] = (0.0, "")
        self.text = ""

    def update(self, done: float, text: str) -> None:
        self.state = (done, text)

    def read(self) -> tuple[float, str]:
        return self.state

    def fail(self, text: str) -> None:
        """A problem that trying again does not solve."""
        self.text = text

    def problem(self) -> str:
        return self.text


def reporter(actor: Any) -> Callable[[float, str], None]:
    """What a worker calls with (done, text); costs it no waiting. Without an actor, nothing."""

    def report(done: float, text: str = "") -> None:
        if actor is not None:
            actor.update.remote(done, text)

    return report


@contextmanager
def remote_bar(total: float, name: str, unit: str) -> Iterator[Any]:
    """Yields an actor for `reporter`; a thread moves the bar while the block runs."""
    actor = ProgressActor.remote()  # type: ignore[attr-defined]
    stop = threading.Event()
    bar = tqdm(total=total, desc=name, unit=unit, dynamic_ncols=True, mininterval=1.0)
    started = False

    def show() -> None:
        nonlocal started
        done, text = ray.get(actor.read.remote(), timeout=10)
        if not started and done:  # what an earlier launch did does not count as speed
            bar.initial, started = done, True
            bar.reset(total)
            bar.initial = done
            bar.n = done
        bar.set_postfix_str(text, refresh=False)
        bar.update(max(0.0, done - bar.n))
        bar.refresh()

    def watch() -> None:
        while not stop.wait(1.0):
            try:
                show()
            except Exception:  # a lost actor must not end the work it only watches
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield actor
    finally:
        stop.set()
        thread.join(timeout=5)
        with suppress(Exception):
            show()
        bar.close()
        ray.kill(actor)
