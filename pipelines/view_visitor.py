"""One visitor of the viewer: an avatar, a camera, work in the line, and how it goes."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import viser

from infra.storage import StorageError
from pipelines import view_wishes as wishes
from pipelines.view_frames import LEVELS, View, camera_of, draw
from pipelines.view_wishes import Progress
from pipelines.view_work import BusyError, Easel
from rodin.avatar import Avatar

if TYPE_CHECKING:
    from pipelines.view_page import Page

_KINDS = ("avatar", "pair", "file")  # of work; of each a visitor has one that waits, the newest
_ERROR_STAYS = 12.0  # s
_JPEG = 92  # quality of the pictures that are sent


class Stopped(Exception):
    """Work that nobody waits for any more."""


class Visitor:
    """A browser tab: what it sees and what it waits for."""

    def __init__(self, page: Page, client: viser.ClientHandle) -> None:
        self.page, self.client = page, client
        self.avatar = self.origin = page.first  # origin: what changes start from
        self.closed = False
        # Before the panel, which takes browsers without a graphics card a second to lay out.
        first = draw(page.first, self.view(), LEVELS[0])
        assert first is not None
        self._show(first)
        self._newest = 0  # number of the newest work on an avatar
        self._error: viser.NotificationHandle | None = None
        self._status = client.gui.add_markdown("")
        self._bar: Any = client.gui.add_progress_bar(0.0)  # viser's stubs call `value` read-only
        self.easel = Easel(self._show)
        page.painter.add(self.easel)

        @client.camera.on_update
        async def _(_: viser.CameraHandle) -> None:
            page.painter.want(self.easel, view=self.view())

        page.painter.want(self.easel, view=self.view())
        self.take(page.first, page.first)

    def close(self) -> None:
        """Forgets everything; what runs for this visitor stops at its next step."""
        self.closed = True
        for kind in _KINDS:
            self.page.line.drop((self.client.client_id, kind))
        self.page.painter.remove(self.easel)

    # -- what it sees --------------------------------------------------------------------------

    def take(self, avatar: Avatar, origin: Avatar) -> None:
        """Shows another avatar."""
        if not self.closed:
            self.avatar, self.origin = avatar, origin
            self.page.painter.want(self.easel, avatar=avatar)
            self._look()

    def view(self) -> View:
        """Where the browser's camera is."""
        camera = self.client.camera
        aspect = camera.image_width / max(1, camera.image_height)
        matrix = camera_of(camera.wxyz, camera.position)
        return View(matrix, aspect, math.degrees(camera.fov))

    def place(self, position: Any) -> None:
        """Takes the browser's camera to a place, looking at the box centre."""
        camera = self.client.camera
        with self.client.atomic():
            camera.up_direction = (0.0, 1.0, 0.0)
            camera.position = position
            camera.look_at = (0.0, 0.0, 0.0)
        self.page.painter.want(self.easel, view=self.view())

    def _show(self, pixels: np.ndarray) -> None:
        self.client.scene.set_background_image(pixels, format="jpeg", jpeg_quality=_JPEG)
        self.client.flush()

    # -- what it waits for, and how that goes --------------------------------------------------

    def ask(self, kind: str, work: Callable[[Progress], None]) -> None:
        """Puts work for this visitor in the line, and tells how it goes."""
        if kind == "avatar":
            self._newest += 1
        mine, stages = self._newest, 1 + (self.page.model.bundle.upsampler is not None)

        def progress(stage: str, done: int, total: int) -> None:
            if self.closed or (kind == "avatar" and self._newest != mine):
                raise Stopped
            share = (done / total + (stage == "upsampler")) / stages
            self.say(f"Drawing the avatar: {share:.0%}", share)

        def job() -> None:
            try:
                self.say("Working …")
                work(progress)
            except Stopped:
                pass
            except (ValueError, OSError, StorageError) as error:
                self._fail(str(error))
            except Exception as error:
                traceback.print_exc()
                self._fail(f"{type(error).__name__}: {error}")
            self._look()

        def place(before: int) -> None:
            self.say(f"Waiting, {before} before this …")

        try:
            self.page.line.put((self.client.client_id, kind), job, place)
        except BusyError as error:
            self._fail(str(error))

    def _look(self) -> None:
        """The status line of a visitor who waits for nothing."""
        self.say(wishes.describe(self.avatar))

    def say(self, text: str, share: float = 0.0) -> None:
        """The status line, and how much of the work under way is done (in [0, 1])."""
        if not self.closed:
            self._status.content = text
            self._bar.value = 100 * share

    def _fail(self, text: str) -> None:
        """A message in the page; it replaces the one before."""
        if self.closed:
            return
        if self._error is not None:
            self._error.remove()
        self._error = self.client.add_notification(
            "That did not work", text, color="red", auto_close_seconds=_ERROR_STAYS
        )
