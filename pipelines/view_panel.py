"""The viewer's controls beside the picture, and what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import viser

from pipelines import prompts
from pipelines import view_wishes as wishes
from pipelines.view_people import People, Person
from pipelines.view_visitor import Visitor
from pipelines.view_wishes import Change, Progress, Wish
from rodin import cameras
from rodin.avatar import Avatar

if TYPE_CHECKING:
    from pipelines.view_page import Page

SIDES = {"Front": 0.0, "Left": -90.0, "Back": 180.0, "Right": 90.0}  # azimuths, degrees
MAX_SEED = 2**31 - 1  # that the box takes; the library takes more


class Panel(Visitor):
    """The controls of a browser tab. Their callbacks run on viser's threads, work on the line's."""

    def __init__(self, page: Page, client: viser.ClientHandle) -> None:
        super().__init__(page, client)
        self.portrait = b""  # the last that was good
        self.person: Person | None = None
        self._build()

    # -- the controls --------------------------------------------------------------------------

    def _build(self) -> None:
        gui = self.client.gui
        tabs = gui.add_tab_group()
        with tabs.add_tab("New"):
            self._build_new()
        with tabs.add_tab("Change"):
            self._build_change()
        if self.page.people is not None:
            with tabs.add_tab("Data"):
                self._build_people()
        side = gui.add_button_group("Look from", tuple(SIDES))
        side.on_click(lambda _: self.place(cameras.orbit(SIDES[side.value], 0.0)[:3, 3].numpy()))
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
        self.match = gui.add_checkbox(
            "Match closely", False, hint="nearer to the portrait, by rendering: takes longer"
        )
        self.again = gui.add_button("Generate from the portrait", visible=False)
        self.again.on_click(lambda _: self._generate(self.portrait))
        with gui.add_folder("Sampling", expand_by_default=False):
            steps = min(self.page.model.sampling.base.steps, wishes.MAX_STEPS)
            self.steps = gui.add_slider("Steps", 1, wishes.MAX_STEPS, 1, steps)
            self.guidance = gui.add_slider("Guidance", 0.0, 5.0, 0.1, 1.0)
            self.text_guidance = gui.add_slider("Of the text", 0.0, 5.0, 0.05, 1.25, visible=talks)

    def _build_change(self) -> None:
        gui, talks = self.client.gui, self.page.model.bundle.prior is not None
        self.other = gui.add_number("Other seed", 1, min=0, max=MAX_SEED, step=1)
        self.share = gui.add_slider("Mix", 0.0, 1.0, 0.05, 0.0)
        self.edits = {
            text: gui.add_slider(label, 0.0, 2.0, 0.1, 0.0)
            for label, (_, _, text) in (prompts.EDITS.items() if talks else ())
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
        self.number.on_update(lambda event: self.ask("pair", self._pair) if event.client else None)
        self.truth = gui.add_image(np.full((8, 16, 3), 255, np.uint8), visible=False)

    # -- what they do --------------------------------------------------------------------------

    def _generate(self, portrait: bytes, text: str = "") -> None:
        wish = Wish(
            int(self.seed.value), text, portrait, bool(self.match.value),
            guidance=float(self.guidance.value),
            text_guidance=float(self.text_guidance.value),
            steps=int(self.steps.value),
        )  # fmt: skip

        def work(progress: Progress) -> None:
            made = wishes.make(self.page.model, wish, progress)
            if portrait:
                self.portrait, self.again.visible = portrait, True
            self._put(made)

        self.ask("avatar", work)

    def _next(self) -> None:
        _assign(self.seed, min(int(self.seed.value) + 1, MAX_SEED))
        self._generate(b"", self.text.value)

    def _uploaded(self, file: viser.UploadedFile) -> None:
        self._generate(file.content or b"?")  # nothing is no image either

    def _change(self) -> None:
        def work(progress: Progress) -> None:
            # read now: of two callbacks that ran at once the one with the older values may be last
            edits = [(text, float(slider.value)) for text, slider in self.edits.items()]
            if self.words.value.strip():
                edits.append((self.words.value, float(self.strength.value)))
            wish = Change(int(self.other.value), float(self.share.value), tuple(edits))
            made = wishes.change(self.page.model, self.origin, wish, self.page.direction, progress)
            self._put(made, self.origin)

        self.ask("avatar", work)

    def _undo(self) -> None:
        self.ask("avatar", lambda _: self._put(self.origin))

    def _choose(self, people: People, key: str) -> None:
        def work(progress: Progress) -> None:
            self.person = people.load(key)
            self.about.content = self.person.text
            if self.person.views:
                self.number.max = max(2, self.person.views)
                _assign(self.number, 1)
                self.number.visible = self.truth.visible = True
            self._pair(progress)

        self.ask("avatar", work)

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
            self.place(person.camera(index))

    def _save(self, suffix: str) -> None:
        avatar, view = self.avatar, self.view()

        def work(_: Progress) -> None:
            self.say(f"Writing the {suffix[1:].upper()} file …")
            data = wishes.file_of(avatar, view, suffix)
            name = wishes.name_of(avatar) + suffix
            self.client.send_file_download(name, data, save_immediately=True)

        self.ask("file", work)

    def _put(self, avatar: Avatar, origin: Avatar | None = None) -> None:
        """Another avatar; as a new origin it takes the changes back to none."""
        if origin is None and not self.closed:
            for slider in self.sliders:
                _assign(slider, 0.0)
                slider.disabled = avatar.latent is None
        self.take(avatar, origin or avatar)


def _assign(control: Any, value: Any) -> None:
    """Sets a control; viser's stubs call `value` read-only."""
    control.value = value
