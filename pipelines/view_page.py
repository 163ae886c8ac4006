"""The viewer's server: a page (viser) with an avatar for everyone who opens it."""

from __future__ import annotations

import contextlib
import io
import math
import threading
from collections.abc import Callable
from functools import lru_cache

import viser
from torch import Tensor

from pipelines.view_frames import LEVELS, View, draw
from pipelines.view_panel import Panel
from pipelines.view_people import People
from pipelines.view_work import Line, Painter
from rodin import cameras
from rodin.avatar import Avatar
from rodin.conventions import DEFAULT_FOV_DEGREES, DEFAULT_RADIUS
from rodin.model import Model

FRONT = (0.0, 0.0)  # azimuth and elevation that a visitor begins with, degrees
DIRECTIONS = 64  # texts whose directions are kept
BRAND = (32, 84, 147)


class _Server(viser.ViserServer):
    """viser's server, without its tunnel: a visitor must not open the page to the internet."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


class Page:
    """Serves `model` and, where there are any, `people`; `close()` ends it.

    Every browser tab is a visitor with a state of its own, which goes when the tab is closed.
    """

    def __init__(
        self,
        model: Model,
        first: Avatar,
        people: People | None = None,
        *,
        host: str = "localhost",
        port: int = 8080,
    ) -> None:
        """`first` is what a visitor sees first. Where `port` is taken the next free one is used."""
        self.model, self.first, self.people = model, first, people
        draw(first, View(cameras.orbit(*FRONT)), LEVELS[0])  # or the first visitor waits for it
        self.line, self.painter = Line(), Painter()
        self.direction: Callable[[str], Tensor] = lru_cache(DIRECTIONS)(model.direction)
        self.visitors: dict[int, Panel] = {}
        self._lock = threading.Lock()
        with contextlib.redirect_stdout(io.StringIO()):  # its banner
            self.server = _Server(host=host, port=port, label="Rodin", verbose=False)
        self.address = f"http://{host}:{self.server.get_port()}"
        self._stage()
        self.server.on_client_connect(self._enter)
        self.server.on_client_disconnect(self._leave)

    def close(self) -> None:
        self.server.stop()
        self.line.close()
        self.painter.close()

    def _stage(self) -> None:
        """What all visitors share: looks, and where the camera begins."""
        gui, start = self.server.gui, self.server.initial_camera
        gui.configure_theme(show_logo=False, show_share_button=False, brand_color=BRAND)
        gui.main_panel.dock_right()
        gui.main_panel.set_width(360)
        self.server.scene.set_up_direction("+y")
        # Nothing of the scene is lit; browsers without a graphics card spend a second on it.
        self.server.scene.configure_environment_map(hdri=None)
        self.server.scene.configure_default_lights(enabled=False, cast_shadow=False)
        self.server.scene.world_axes.visible = False
        start.position = tuple(cameras.orbit(*FRONT)[:3, 3].tolist())
        start.look_at = (0.0, 0.0, 0.0)
        start.up = (0.0, 1.0, 0.0)
        start.fov = math.radians(DEFAULT_FOV_DEGREES)

    def _enter(self, client: viser.ClientHandle) -> None:
        client.camera.min_orbit_distance = 0.5 * DEFAULT_RADIUS
        client.camera.max_orbit_distance = 2.0 * DEFAULT_RADIUS
        panel = Panel(self, client)
        with self._lock:
            self.visitors[client.client_id] = panel
            # Gone before it was here: the other callback has found nothing to close.
            gone = client.client_id not in self.server.get_clients()
        if gone:
            self._leave(client)

    def _leave(self, client: viser.ClientHandle) -> None:
        with self._lock:
            panel = self.visitors.pop(client.client_id, None)
        if panel is not None:
            panel.close()
