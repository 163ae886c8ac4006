"""One visitor of the viewer: the controls beside the picture, and what they do."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import viser

from infra.storage import StorageError
from pipelines import view_wishes as wishes
from pipelines.view_frames import View, camera_of
from pipelines.view_people import People, Person
from pipelines.view_wishes import Change, Progress, Wish
from pipelines.view_work import BusyError, Easel
from rodin import cameras
from rodin.avatar import Avatar

if TYPE_CHECKING:
    from pipelines.view_page import Page

FRONT = (0.0, 0.0)  # azimuth and elevation that a visitor begins with, degrees
SIDES = {"Front": 0.0, "Left": -90.0, "Back": 180.0, "Right": 90.0}  # azimuths
MAX_SEED = 2**31 - 1  # that the box takes; the library takes more
_ERROR_STAYS = 12.0  # s
_KINDS = ("avatar", "pair", "file")  # of work; of each a visitor has one that waits, the newest
_JPEG = 92  # quality of the pictures that are sent


class Stopped(Exception):
    """A wish that nobody waits for any more."""


class Panel:
    """What a browser tab shows. The callbacks run on viser's threads, wishes on the line's."""

    def __init__(self, page: Page, client: viser.ClientHandle) -> None:
        self.page, self.client = page, client
        self.avatar = self.origin = page.first  # origin: what edits start from
        self.portrait = b""
        self.person: Person | None = None
        self.closed = False
        self._newest = 0  # number of the newest wish for an avatar
        self._error: viser.NotificationHandle | None = None
        self.easel = Easel(self._show)
        page.painter.add(self.easel)
        self._build()
        self._look()

        @client.camera.on_update
        async def _(_: viser.CameraHandle) -> None:
            page.painter.want(self.easel, view=self.view())

        page.painter.want(self.easel, avatar=self.avatar, view=self.view())

    def close(self) -> None:
        """Forgets everything; what runs for this visitor stops at its next step."""
        self.closed = True
        for kind in _KINDS:
            self.page.line.drop((self.client.client_id, kind))
        self.page.painter.remove(self.easel)

    def view(self) -> View:
        """Where the browser's camera is."""
        camera = self.client.camera
        aspect = camera.image_width / max(1, camera.image_height)
        matrix = camera_of(camera.wxyz, camera.position)
        return View(matrix, aspect, math.degrees(camera.fov))

    # -- the controls --------------------------------------------------------------------------

    def _build(self) -> None:
        gui = self.client.gui
        self.status = gui.add_markdown("")
        self.bar = gui.add_progress_bar(0.0)
        tabs = gui.add_tab_group()
        with tabs.add_tab("New"):
            self._build_new()
        with tabs.add_tab("Change"):
            self._build_change()
        if self.page.people is not None:
            with tabs.add_tab("Data"):
                self._build_people()
        side = gui.add_button_group("Look from", tuple(SIDES))
        side.on_click(lambda _: self._turn_to(SIDES[side.value]))
        save = gui.add_button_group("Save", ("PNG", "GLB", "NPZ"))
        save.on_click(lambda _: self._save(f".{save.value.lower()}"))

    def _build_new(self) -> None:
        gui, talks = self.client.gui, self.page.model.bundle.prior is not None
        self.seed = gui.add_number("Seed", self.page.first.seed, min=0, max=MAX_SEED, step=1)
        self.text = gui.add_text(
            "Description", "", multiline=True, visible=talks,
            hint="who it should be: old man with a grey beard; empty: anybody",
        )  # fmt: skip
        gui.add_button("Generate", icon=viser.Icon.SPARKLES).on_click(
            lambda _: self._generate(b"", self.text.value)
        )
        gui.add_button("Next seed", color="gray").on_click(lambda _: self._next())
        gui.add_divider()
        upload = gui.add_upload_button(
            "Upload a portrait", icon=viser.Icon.UPLOAD, color="gray", mime_type="image/*",
            hint="cut out (RGBA PNG), or before a plain wall; 10 MiB at most",
        )  # fmt: skip
        upload.on_upload(lambda event: self._uploaded(event.target.value))
        self.again = gui.add_button("Generate from the portrait", visible=False)
        self.again.on_click(lambda _: self._generate(self.portrait))
        with gui.add_folder("Sampling", expand_by_default=False):
            self.steps = gui.add_slider("Steps", 1, wishes.MAX_STEPS, 1, 10)
            self.guidance = gui.add_slider("Guidance", 0.0, 5.0, 0.1, 1.0)
            self.text_guidance = gui.add_slider("Of the text", 0.0, 8.0, 0.1, 2.0, visible=talks)

    def _build_change(self) -> None:
        gui, talks = self.client.gui, self.page.model.bundle.prior is not None
        self.other = gui.add_number("Other seed", 1, min=0, max=MAX_SEED, step=1)
        self.share = gui.add_slider("Mix", 0.0, 1.0, 0.05, 0.0)
        self.edits = {
            text: gui.add_slider(label, 0.0, 2.0, 0.1, 0.0)
            for label, text in (wishes.EDITS.items() if talks else ())
        }
        self.words = gui.add_text("Own words", "", visible=talks)
        self.strength = gui.add_slider("Strength", 0.0, 2.0, 0.1, 0.0, visible=talks)
        self.sliders = [self.share, *self.edits.values(), self.strength]
        controls: list[Any] = [self.other, self.words, *self.sliders]
        for control in controls:
            control.on_update(lambda event: self._change() if event.client else None)
        gui.add_button("Undo all", color="gray").on_click(lambda _: self._undo())

    def _build_people(self) -> None:
        gui, people = self.client.gui, self.page.people
        assert people is not None
        keys = people.keys
        key = gui.add_dropdown("Person", ("choose one", *keys))
        key.on_update(lambda _: self._choose(people, key.value) if key.value in keys else None)
        self.about = gui.add_markdown("")
        self.number = gui.add_slider("View", 1, 2, 1, 1, visible=False)
        self.number.on_update(lambda event: self._ask("pair", self._pair) if event.client else None)
        self.truth = gui.add_image(np.full((8, 16, 3), 255, np.uint8), visible=False)

    # -- what they do --------------------------------------------------------------------------

    def _generate(self, portrait: bytes, text: str = "") -> None:
        wish = Wish(
            int(self.seed.value), text, portrait,
            guidance=float(self.guidance.value),
            text_guidance=float(self.text_guidance.value),
            steps=int(self.steps.value),
        )  # fmt: skip

        def work(progress: Progress) -> None:
            made = wishes.make(self.page.model, wish, progress)
            if portrait:
                self.portrait, self.again.visible = portrait, True
            self._put(made)

        self._ask("avatar", work)

    def _next(self) -> None:
        _assign(self.seed, min(int(self.seed.value) + 1, MAX_SEED))
        self._generate(b"", self.text.value)

    def _uploaded(self, file: viser.UploadedFile) -> None:
        self._generate(file.content or b"?")  # nothing is no image either

    def _change(self) -> None:
        def work(_: Progress) -> None:
            # read now: of two callbacks that ran at once the one with the older values may be last
            edits = [(text, float(slider.value)) for text, slider in self.edits.items()]
            if self.words.value.strip():
                edits.append((self.words.value, float(self.strength.value)))
            wish = Change(int(self.other.value), float(self.share.value), tuple(edits))
            made = wishes.change(self.page.model, self.origin, wish, self.page.direction)
            self._put(made, self.origin)

        self._ask("avatar", work)

    def _undo(self) -> None:
        self._ask("avatar", lambda _: self._put(self.origin))

    def _choose(self, people: People, key: str) -> None:
        def work(progress: Progress) -> None:
            self.person = people.load(key)
            self.about.content = self.person.text
            if self.person.views:
                self.number.max = self.person.views
                _assign(self.number, 1)
                self.number.visible = self.truth.visible = True
            self._pair(progress)

        self._ask("avatar", work)

    def _pair(self, _: Progress) -> None:
        """Shows a view's truth beside the fit, and the fit from where they were seen."""
        person = self.person
        if person is None:
            return
        if self.avatar is not person.avatar:
            self._put(person.avatar)
        if person.views:
            index = min(int(self.number.value), person.views) - 1
            self.truth.image = person.pair(index)
            self._place(person.camera(index))

    def _save(self, suffix: str) -> None:
        avatar, view = self.avatar, self.view()

        def work(_: Progress) -> None:
            self._say(f"Writing the {suffix[1:].upper()} file …")
            data = wishes.file_of(avatar, view, suffix)
            name = wishes.name_of(avatar) + suffix
            self.client.send_file_download(name, data, save_immediately=True)

        self._ask("file", work)

    def _turn_to(self, azimuth: float) -> None:
        self._place(cameras.orbit(azimuth, 0.0)[:3, 3].numpy())

    def _place(self, position: Any) -> None:
        """Takes the browser's camera to a place, looking at the box centre."""
        camera = self.client.camera
        with self.client.atomic():
            camera.up_direction = (0.0, 1.0, 0.0)
            camera.position = position
            camera.look_at = (0.0, 0.0, 0.0)
        self.page.painter.want(self.easel, view=self.view())

    # -- how it goes ---------------------------------------------------------------------------

    def _ask(self, kind: str, work: Callable[[Progress], None]) -> None:
        """Puts work for this visitor in the line, and tells how it goes."""
        if kind == "avatar":
            self._newest += 1
        mine, stages = self._newest, 1 + (self.page.model.bundle.upsampler is not None)

        def progress(stage: str, done: int, total: int) -> None:
            if self.closed or (kind == "avatar" and self._newest != mine):
                raise Stopped
            share = (done / total + (stage == "upsampler")) / stages
            self._say(f"Drawing the avatar: {share:.0%}", share)

        def job() -> None:
            try:
                self._say("Working …")
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
            self._say(f"Waiting, {before} before this …")

        try:
            self.page.line.put((self.client.client_id, kind), job, place)
        except BusyError as error:
            self._fail(str(error))

    def _put(self, avatar: Avatar, origin: Avatar | None = None) -> None:
        """Another avatar; as a new origin it takes the changes back to none."""
        if self.closed:
            return
        if origin is None:
            for slider in self.sliders:
                _assign(slider, 0.0)
                slider.disabled = avatar.latent is None
        self.avatar, self.origin = avatar, origin or avatar
        self.page.painter.want(self.easel, avatar=avatar)
        self._look()

    def _look(self) -> None:
        """The status line of a visitor who waits for nothing."""
        self._say(wishes.describe(self.avatar))

    def _say(self, text: str, share: float = 0.0) -> None:
        """The status line, and how much of the work under way is done (in [0, 1])."""
        if not self.closed:
            self.status.content = text
            _assign(self.bar, 100 * share)

    def _fail(self, text: str) -> None:
        """A message in the page; it replaces the one before."""
        if self.closed:
            return
        if self._error is not None:
            self._error.remove()
        self._error = self.client.add_notification(
            "That did not work", text, color="red", auto_close_seconds=_ERROR_STAYS
        )

    def _show(self, pixels: np.ndarray) -> None:
        scene = self.client.scene
        scene.set_background_image(pixels, format="jpeg", jpeg_quality=_JPEG)
        self.client.flush()


def _assign(control: Any, value: Any) -> None:
    """Sets a control; viser's stubs call `value` read-only."""
    control.value = value
