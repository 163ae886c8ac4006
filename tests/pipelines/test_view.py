"""The viewer without a browser: cameras, pictures, the two threads, wishes, people, the command."""

from __future__ import annotations

import dataclasses
import io
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from pipelines import view, view_frames, view_wishes, view_work
from pipelines.generate import open_model
from pipelines.view_frames import Level, View, camera_of, draw
from pipelines.view_people import people_of
from pipelines.view_wishes import Change, Wish
from pipelines.view_work import BusyError, Easel, Line, Painter
from rodin import cameras
from rodin.avatar import Avatar, AvatarError
from rodin.model import Model
from rodin.portrait import PortraitError
from rodin.text import TextError
from tests.pipelines import small_run

SOON = 30.0  # s that something may take on a loaded machine


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.make(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    with open_model(str(run)) as found:
        return found


@pytest.fixture(scope="module")
def avatar(model: Model) -> Avatar:
    return model.generate(3, steps=1)


def nothing(*_: object) -> None:
    pass


# -- cameras and pictures ------------------------------------------------------------------------


@pytest.mark.parametrize("azimuth", [-150.0, -30.0, 0.0, 45.0, 90.0, 180.0])
@pytest.mark.parametrize("elevation", [-40.0, 0.0, 60.0])
def test_a_browsers_camera_is_an_orbits(azimuth: float, elevation: float) -> None:
    orbit = cameras.orbit(azimuth, elevation, 3.0)
    x, y, z, w = Rotation.from_matrix(orbit[:3, :3].double().numpy()).as_quat()
    found = camera_of((w, x, y, z), orbit[:3, 3].numpy())
    torch.testing.assert_close(found, orbit, atol=1e-6, rtol=0)


def test_a_square_picture_is_the_librarys(avatar: Avatar) -> None:
    # higher than one of the strips that it is drawn in
    seen = draw(avatar, View(cameras.orbit(25.0, 10.0)), Level(144, 8))
    slow = np.asarray(avatar.render(25.0, 10.0, 144, samples=8))
    assert seen is not None
    assert 0.1 < (slow < 250).any(-1).mean() < 0.98  # there is something, and something beside it
    assert np.abs(seen.astype(int) - slow).max() <= 1


def test_a_wide_window_sees_more_to_the_sides(avatar: Avatar) -> None:
    square, wide, tall, endless = (
        draw(avatar, View(cameras.orbit(0.0, 0.0), aspect), Level(32, 8, refined=False))
        for aspect in (1.0, 2.0, 0.5, 1e9)
    )
    assert square is not None and wide is not None and tall is not None and endless is not None
    assert wide.shape == (32, 64, 3) and tall.shape == (32, 16, 3)
    assert np.abs(wide[:, 16:48].astype(int) - square).max() <= 1
    assert np.abs(square[:, 8:24].astype(int) - tall).max() <= 1
    assert endless.shape[1] <= 32 * 3


def test_pictures_at_rest_are_refined_and_moving_ones_are_not(avatar: Avatar) -> None:
    assert [level.refined for level in view_frames.LEVELS] == [False, False, True]
    for level in (Level(64, 8), Level(64, 8, refined=False)):
        seen = draw(avatar, View(cameras.orbit(25.0, 10.0)), level)
        slow = np.asarray(avatar.render(25.0, 10.0, 64, samples=8, refine=level.refined))
        assert seen is not None and np.abs(seen.astype(int) - slow).max() <= 1


def test_a_stopped_picture_is_none(avatar: Avatar) -> None:
    assert draw(avatar, View(cameras.orbit(0.0, 0.0)), Level(16, 4), lambda: True) is None


# -- the line and the painter --------------------------------------------------------------------


def test_the_line_keeps_order_and_the_newest_wish_of_each() -> None:
    line, gate, done, told = Line(limit=2), threading.Event(), [], []
    begun, ended = threading.Event(), threading.Event()

    def fails() -> None:
        begun.set()
        gate.wait(SOON)
        raise ZeroDivisionError  # its end is not the line's

    line.put("a", fails, nothing)
    assert begun.wait(SOON)
    line.put("b", lambda: done.append("b, old"), told.append)
    line.put("c", lambda: done.append("c"), told.append)
    line.put("b", lambda: done.append("b"), told.append)
    assert told == [1, 2, 1]
    with pytest.raises(BusyError, match="2 others wait already"):
        line.put("d", nothing, nothing)
    line.drop("c")

    def last() -> None:
        done.append("d")
        ended.set()

    line.put("d", last, nothing)
    gate.set()
    assert ended.wait(SOON)
    assert done == ["b", "d"]
    line.close()


LEVELS = (Level(12, 4), Level(24, 4), Level(36, 4))


class Wall:
    """Pictures that an easel got."""

    def __init__(self) -> None:
        self.heights: list[int] = []
        self.full = threading.Event()

    def __call__(self, pixels: np.ndarray) -> None:
        self.heights.append(len(pixels))
        if len(pixels) == LEVELS[-1].height:
            self.full.set()


def test_a_picture_sharpens_at_rest_and_for_everyone(
    avatar: Avatar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_work, "LEVELS", LEVELS)
    monkeypatch.setattr(view_work, "ARRIVAL", 0.0)
    painter, walls = Painter(), [Wall(), Wall()]
    easels = [Easel(wall) for wall in walls]
    for easel in easels:
        painter.add(easel)
        painter.want(easel, avatar=avatar, view=View(cameras.orbit(0.0, 0.0), 0.4))
    for wall in walls:
        assert wall.full.wait(SOON)
        assert wall.heights == [level.height for level in LEVELS]
    walls[0].full.clear()
    painter.want(easels[0], view=View(cameras.orbit(20.0, 0.0), 0.4))
    assert walls[0].full.wait(SOON)
    assert walls[0].heights[3:] == walls[1].heights
    painter.remove(easels[1])
    assert easels[1].avatar is None
    painter.close()
    assert len(walls[1].heights) == 3


def test_a_moving_camera_stops_fine_pictures() -> None:
    """While one visitor moves, the others' fine pictures wait."""
    painter = Painter()
    painter.close()  # the thread's rules are asked, not the thread
    painter._closed = False
    mine, other = Easel(nothing), Easel(nothing)
    for easel in (mine, other):
        easel.avatar, easel.view = object(), object()  # type: ignore[assignment]
        painter.add(easel)
        easel.came = 0.0
    mine.level, mine.changed = 1, 5.0
    stop = painter._stop(mine, 5.0)
    assert not stop()
    other.level = 0
    assert stop()
    assert painter._next() is other
    other.level = len(LEVELS)
    assert not stop()
    assert painter._next() is mine
    mine.changed = 6.0
    assert stop()


def test_a_browser_that_has_just_come_gets_no_fine_pictures_yet() -> None:
    painter = Painter()
    painter.close()
    painter._closed = False
    easel = Easel(nothing)
    easel.avatar, easel.view = object(), object()  # type: ignore[assignment]
    painter.add(easel)
    easel.level, easel.changed = 0, 0.0
    assert painter._next() is easel, "a coarse one at once"
    easel.level = 1
    assert painter._next() is None
    easel.came -= view_work.ARRIVAL
    assert painter._next() is easel


# -- wishes ----------------------------------------------------------------------------------------


def test_an_avatar_is_the_librarys(model: Model, avatar: Avatar) -> None:
    made = view_wishes.make(model, Wish(seed=3, steps=1), nothing)
    assert torch.equal(made.planes, avatar.planes)
    assert view_wishes.describe(made) == "**Seed 3**"
    assert view_wishes.name_of(made) == "seed-000003"


@pytest.mark.parametrize(
    ("wish", "error", "said"),
    [
        (Wish(portrait=b"no image"), PortraitError, "the portrait is no image; use PNG"),
        (Wish(portrait=bytes((10 << 20) + 1)), AvatarError, "use a portrait of at most 10 MiB"),
        (Wish(steps=51), AvatarError, "steps is 51; this page takes at most 50"),
        (Wish(seed=-1), AvatarError, "seed -1"),
        (Wish(guidance=99.0), AvatarError, "guidance is 99"),
        (Wish(text="a man"), TextError, "trained without texts"),
        (Wish(text="a" * 501), TextError, "the description has 501 characters"),
    ],
)
def test_wishes_that_cannot_be_met(
    model: Model, wish: Wish, error: type[Exception], said: str
) -> None:
    silent = Model(dataclasses.replace(model.bundle, prior=None))
    with pytest.raises(error, match=said):
        view_wishes.make(silent, wish, nothing)


def test_changes_start_from_the_origin(model: Model, avatar: Avatar) -> None:
    def direction(text: str) -> torch.Tensor:
        assert text == "old"
        return torch.ones_like(latent)

    latent = avatar.latent
    assert latent is not None
    assert (
        view_wishes.change(model, avatar, Change(7, 0.0, (("old", 0.0),)), direction, nothing)
        is avatar
    )
    other = model.generate(7, steps=1)
    assert other.latent is not None
    changed = view_wishes.change(
        model, avatar, Change(7, 0.25, (("old", 0.5),)), direction, nothing
    )
    torch.testing.assert_close(changed.latent, 0.75 * latent + 0.25 * other.latent + 0.5)
    assert changed.seed == 3 and changed.facts["steps"] == 1
    assert view_wishes.name_of(changed) == "seed-000003-changed"
    mixed = view_wishes.change(model, avatar, Change(7, 0.25), direction, nothing)
    assert torch.equal(mixed.planes, avatar.towards(other, 0.25).planes)

    def stop(stage: str, done: int, total: int) -> None:
        raise InterruptedError(stage)

    with pytest.raises(InterruptedError):  # a newer change ends this one between steps
        view_wishes.change(model, avatar, Change(7, 0.25), direction, stop)


def test_files(avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_wishes, "PICTURE", Level(40, 8))
    monkeypatch.setattr(view_wishes, "MESH_VOXELS", 24)
    here = View(cameras.orbit(90.0, 0.0), 2.0)
    picture = np.asarray(Image.open(io.BytesIO(view_wishes.file_of(avatar, here, ".png"))))
    slow = np.asarray(avatar.render(90.0, 0.0, 40, samples=8))
    assert np.abs(picture.astype(int) - slow).max() <= 1
    assert view_wishes.file_of(avatar, here, ".glb")[:4] == b"glTF"
    planes = np.load(io.BytesIO(view_wishes.file_of(avatar, here, ".npz")))["planes"]
    assert planes.shape == tuple(avatar.planes.shape)


# -- people ----------------------------------------------------------------------------------------


def test_people_of_a_run(run: Path, model: Model, tmp_path: Path) -> None:
    people = people_of(str(run), model.bundle.decoder)
    assert people is not None
    assert people.keys == small_run.VAL + small_run.TRAIN
    person = people.load(small_run.TRAIN[1])
    pair = person.pair(1)
    assert pair.shape[1] == 384
    truth, fit = pair[:192, :192].astype(int), pair[:192, 192:]
    rgba = person.sample.rgba[1].astype(float)
    white = rgba[..., :3] * rgba[..., 3:] / 255 + 255 - rgba[..., 3:]
    shrunk = np.asarray(Image.fromarray(truth.astype(np.uint8)).resize((32, 32), Image.BOX))
    assert np.abs(shrunk - white).mean() < 6 < np.abs(shrunk - white[:, ::-1]).mean()
    assert np.abs(fit.astype(int) - truth).mean() > 5  # its planes are of the right shape alone
    np.testing.assert_allclose(person.camera(1), person.sample.camera_to_world[1][:3, 3])
    with pytest.raises(ValueError, match="no sample"):
        people.load("nobody")
    origin = person.avatar
    with pytest.raises(AvatarError, match="no latent to change"):
        view_wishes.change(model, origin, Change(1, 1.0), lambda _: torch.zeros(1), nothing)
    (tmp_path / "bundle.json").write_text("{}")
    assert people_of(str(tmp_path), model.bundle.decoder) is None
    assert people_of("models:/rodin@champion", model.bundle.decoder) is None
    assert people_of(str(tmp_path / "empty"), model.bundle.decoder) is None


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "0"], "--port is 0; use 1 to 65535"),
        (["--seed", "-1"], "seed -1 to -1; use 0"),
        ([], "decoder.safetensors is missing"),
    ],
)
def test_mistakes_are_one_line(
    run: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        view.main([str(run if words else tmp_path), *words])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
