"""Two threads behind the viewer's page: one makes avatars, one draws them.

The line takes one wish at a time, in the order they came; the painter draws for all visitors in
turn, coarse pictures of moving cameras before fine ones of cameras at rest. So the work is bounded
however many people look.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np

from pipelines.view_frames import LEVELS, View, draw
from rodin.avatar import Avatar

MAX_WAITING = 8  # wishes that wait; more are refused
REST = 0.25  # s that a camera holds still before its picture is sharpened
ARRIVAL = 2.0  # s that a new visitor's browser, often on this machine, has the processor to itself


class BusyError(RuntimeError):
    """Too many wishes wait."""


@dataclass
class _Wish:
    work: Callable[[], None]
    place: Callable[[int], None]


class Line:
    """Wishes of visitors, done one after the other by one thread.

    A visitor has at most one that waits: a newer one takes its place in the line.
    """

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self.limit = limit
        self._waiting: dict[Hashable, _Wish] = {}
        self._running = False
        self._closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="rodin-view-line", daemon=True)
        self._thread.start()

    def put(
        self, visitor: Hashable, work: Callable[[], None], place: Callable[[int], None]
    ) -> None:
        """Has `work()` done; until then `place(n)` tells how many are before it, as that changes.

        Raises BusyError. `work` deals with its own errors; one that escapes is printed.
        """
        with self._change:
            if visitor not in self._waiting and len(self._waiting) >= self.limit:
                raise BusyError(f"{len(self._waiting)} others wait already; try again in a minute")
            self._waiting[visitor] = _Wish(work, place)
            before = list(self._waiting).index(visitor) + self._running
            self._change.notify_all()
        if before:
            place(before)

    def drop(self, visitor: Hashable) -> None:
        """Forgets what a visitor waits for."""
        with self._change:
            self._waiting.pop(visitor, None)
            moved = list(self._waiting.values())
        self._tell(moved)

    def close(self) -> None:
        """Forgets all that wait and ends the thread after what runs."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            self._change.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                wish = self._waiting.pop(next(iter(self._waiting)))
                self._running = True
                moved = list(self._waiting.values())
            self._tell(moved)
            try:
                wish.work()
            except Exception:
                traceback.print_exc()
            with self._change:
                self._running = False

    def _tell(self, waiting: list[_Wish]) -> None:
        for before, wish in enumerate(waiting):
            wish.place(before + self._running)


@dataclass(eq=False)
class Easel:
    """What a visitor looks at, and how far its picture has come. The painter's lock guards it."""

    show: Callable[[np.ndarray], None]  # gets (H, W, 3) uint8
    avatar: Avatar | None = None
    view: View | None = None
    level: int = len(LEVELS)  # the next to draw; past the end: done
    changed: float = 0.0  # s, when avatar or camera changed
    drawn: float = 0.0  # s, of the last picture
    came: float = field(default_factory=time.monotonic)  # s
    removed: bool = False


class Painter:
    """Draws what the easels want, one picture at a time, in one thread."""

    def __init__(self) -> None:
        self._easels: list[Easel] = []
        self._closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="rodin-view-painter", daemon=True)
        self._thread.start()

    def add(self, easel: Easel) -> None:
        with self._change:
            self._easels.append(easel)

    def want(self, easel: Easel, *, avatar: Avatar | None = None, view: View | None = None) -> None:
        """Another avatar or another camera: its picture starts again at the coarsest level."""
        with self._change:
            easel.avatar, easel.view = avatar or easel.avatar, view or easel.view
            easel.level, easel.changed = 0, time.monotonic()
            self._change.notify_all()

    def remove(self, easel: Easel) -> None:
        with self._change:
            easel.removed = True
            easel.avatar = None
            self._easels.remove(easel)
            self._change.notify_all()

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._change:
                easel = self._next()
                while easel is None:
                    if self._closed:
                        return
                    # With fine pictures still to draw, a camera comes to rest soon.
                    self._change.wait(REST / 4 if any(map(_wants, self._easels)) else None)
                    easel = self._next()
                avatar, view, level, changed = easel.avatar, easel.view, easel.level, easel.changed
                easel.level += 1  # `want` sets it back to 0
            assert avatar is not None and view is not None
            stopped = False
            try:
                stop = self._stop(easel, changed) if level else lambda: False
                picture = draw(avatar, view, LEVELS[level], stop)
                stopped = picture is None
                if picture is not None and not easel.removed:
                    easel.show(picture)
            except Exception:  # one visitor's trouble is not that of the others
                traceback.print_exc()
            with self._change:
                if stopped and easel.changed == changed:
                    easel.level = level  # somebody else's camera moved: once more
                easel.drawn = time.monotonic()

    def _next(self) -> Easel | None:
        """The easel whose turn it is; None while there is nothing to draw."""
        if self._closed:
            return None
        now = time.monotonic()
        ready = [
            easel for easel in self._easels
            if _wants(easel)
            and (easel.level == 0 or now >= max(easel.changed + REST, easel.came + ARRIVAL))
        ]  # fmt: skip
        return min(ready, key=lambda easel: (easel.level, easel.drawn), default=None)

    def _stop(self, easel: Easel, changed: float) -> Callable[[], bool]:
        """Whether a fine picture has lost its worth, or somebody's camera moves."""

        def stop() -> bool:
            with self._change:
                moving = any(_wants(other) and other.level == 0 for other in self._easels)
                return self._closed or easel.removed or moving or easel.changed != changed

        return stop


def _wants(easel: Easel) -> bool:
    return easel.avatar is not None and easel.view is not None and easel.level < len(LEVELS)
