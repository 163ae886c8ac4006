"""The viewer in a real headless browser: two visitors, clicks, a wrong file, a closed tab."""

from __future__ import annotations

import io
import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright
from playwright.sync_api import Page as Tab

from pipelines import view_work
from pipelines.generate import open_model
from pipelines.prompts import EDITS
from pipelines.view_frames import Level
from pipelines.view_page import Page
from pipelines.view_panel import Panel
from pipelines.view_people import people_of
from rodin import cameras
from rodin.conventions import DEFAULT_FOV_DEGREES
from tests.pipelines import small_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Without a sandbox (containers have none to give), and WebGL drawn by the CPU.
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SOON = 90.0  # s that something may take on a loaded machine


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The viewer over a small run."""
    run = str(small_run.make(tmp_path_factory.mktemp("view")))
    with open_model(run) as model:
        people = people_of(run, model.bundle.decoder)
    with pytest.MonkeyPatch.context() as patch:
        # untrained planes are full of matter: slower to draw than any person
        patch.setattr(view_work, "LEVELS", (Level(64, 16), Level(96, 16), Level(128, 16)))
        served = Page(model, model.generate(3, steps=1), people, port=18400)
        yield served
        served.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as play:
        if found is None and not Path(play.chromium.executable_path).exists():
            pytest.skip("no browser here: install chromium")
        yield play.chromium.launch(executable_path=found, args=FLAGS)


def until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end, f"waited {SOON:.0f} s for {what}"
        time.sleep(0.05)


def shot(tab: Tab) -> np.ndarray:
    """What is drawn beside the controls, (H, W, 3) int."""
    data = tab.locator("canvas").first.screenshot()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def azimuth(panel: Panel) -> float:
    x, _, z = panel.view().camera_to_world[:3, 3].tolist()
    return math.degrees(math.atan2(x, z))


def opened(browser: Browser, page: Page) -> tuple[Tab, Panel]:
    """A new tab and what the server knows of it."""
    known = set(page.visitors)
    tab = browser.new_page(viewport={"width": 800, "height": 480})
    tab.set_default_timeout(SOON * 1e3)
    tab.goto(page.address)
    until(lambda: set(page.visitors) - known, "the visitor")
    (new,) = set(page.visitors) - known
    return tab, page.visitors[new]


def upload(tab: Tab, file: Path) -> None:
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Upload a portrait").click()
    chooser.value.set_files(file)


def turns(tab: Tab, panel: Panel) -> None:
    """The first picture is from the front; dragged to the right, the head turns to the right."""
    until(lambda: (shot(tab) < 240).any(-1).mean() > 0.1, "a picture")
    torch.testing.assert_close(
        panel.view().camera_to_world, cameras.orbit(0.0, 0.0), atol=1e-4, rtol=0
    )
    assert panel.view().fov == pytest.approx(DEFAULT_FOV_DEGREES, abs=1e-3)
    first = shot(tab)
    tab.mouse.move(200, 200)
    tab.mouse.down()
    tab.mouse.move(260, 200, steps=4)
    tab.mouse.up()
    until(lambda: azimuth(panel) < -5, "the camera to go to the left")
    until(lambda: np.abs(shot(tab) - first).mean() > 2, "the picture to turn")
    tab.get_by_role("button", name="Right").click()
    until(lambda: abs(azimuth(panel) - 90) < 0.1, "the camera at the right")
    torch.testing.assert_close(
        panel.view().camera_to_world, cameras.orbit(90.0, 0.0), atol=1e-4, rtol=0
    )


def uploads(tab: Tab, panel: Panel, folder: Path) -> None:
    """A file that is no portrait is refused in words; the next one is taken."""
    before = panel.avatar
    (folder / "wrong.png").write_text("not a picture")
    upload(tab, folder / "wrong.png")
    expect(tab.get_by_text("the portrait is no image; use PNG, JPEG or WebP")).to_be_visible()
    assert panel.avatar is before
    face = np.zeros((64, 64, 4), np.uint8)
    face[16:, 12:52] = (180, 130, 110, 255)
    Image.fromarray(face).save(folder / "face.png")
    upload(tab, folder / "face.png")
    expect(tab.get_by_text("Seed 7, from the portrait")).to_be_visible()
    assert panel.avatar is not before


def changes(tab: Tab, panel: Panel, page: Page) -> None:
    """A description that is too long, a mix, an edit, and back."""
    tab.locator("textarea:visible").first.fill("a" * 501)
    tab.get_by_role("button", name="Generate", exact=True).click()
    expect(tab.get_by_text("the description has 501 characters")).to_be_visible()
    origin = panel.avatar
    assert origin.latent is not None
    tab.get_by_role("tab", name="Change").click()
    tab.get_by_role("slider").first.press("ArrowRight")
    expect(tab.get_by_text("Seed 7, from the portrait, changed")).to_be_visible()
    mixed = origin.towards(page.model.generate(1, steps=1), 0.05)
    until(lambda: torch.equal(panel.avatar.planes, mixed.planes), "the mix")
    asked: list[str] = []

    def direction(text: str) -> torch.Tensor:
        """The real one needs the text encoder, which takes longer to load than all of this."""
        asked.append(text)
        return torch.ones(16)

    page.direction = direction
    tab.get_by_role("slider").nth(1 + list(EDITS).index("Glasses")).press("ArrowRight")
    until(lambda: panel.avatar.facts["edits"][list(EDITS).index("Glasses")][1], "the edit")
    assert asked == [EDITS["Glasses"][2]]
    assert mixed.latent is not None and panel.avatar.latent is not None
    torch.testing.assert_close(panel.avatar.latent, mixed.latent + 0.1)
    tab.get_by_role("button", name="Undo all").click()
    until(lambda: panel.avatar is origin, "the origin")
    expect(tab.get_by_role("slider").first).to_have_attribute("aria-valuenow", "0")


def keeps(tab: Tab, panel: Panel, key: str) -> None:
    """A person of the data set, looked at and downloaded."""
    tab.get_by_role("tab", name="Data").click()
    tab.get_by_role("combobox", name="Person").click()
    tab.get_by_role("option", name=key).click()
    expect(tab.get_by_text(f"Person {key}, as fitted")).to_be_visible()
    slider = tab.get_by_role("slider").last
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    person = panel.person
    assert person is not None
    place = torch.from_numpy(person.camera(2)).float()
    until(lambda: torch.allclose(panel.view().camera_to_world[:3, 3], place, atol=1e-3), "view 3")
    until(lambda: np.array_equal(panel.truth.image, person.pair(2)), "view 3's pair")
    with tab.expect_download() as download:
        tab.get_by_role("button", name="NPZ").click()
    assert download.value.suggested_filename == f"person-{key}.npz"
    kept = np.load(download.value.path())["planes"]
    np.testing.assert_allclose(kept, panel.avatar.planes.numpy())


def test_visitors(page: Page, browser: Browser, tmp_path: Path) -> None:
    expect.set_options(timeout=SOON * 1e3)
    tab, ada = opened(browser, page)
    expect(tab.get_by_text("Seed 3", exact=True)).to_be_visible()
    turns(tab, ada)

    tab.get_by_label("Seed", exact=True).fill("7")
    tab.get_by_role("button", name="Generate", exact=True).click()
    expect(tab.get_by_text("Seed 7", exact=True)).to_be_visible()
    assert torch.equal(ada.avatar.planes, page.model.generate(7).planes)
    uploads(tab, ada, tmp_path)
    changes(tab, ada, page)

    # a second visitor sees what is theirs, and leaves
    other, bob = opened(browser, page)
    assert (bob.avatar, ada.avatar.facts["from"]) == (page.first, "portrait")
    other.close()
    until(lambda: list(page.visitors.values()) == [ada], "the visitor to leave")
    assert bob.closed and bob.easel.avatar is None

    keeps(tab, ada, small_run.TRAIN[1])
    tab.close()
    until(lambda: not page.visitors, "everyone to leave")
