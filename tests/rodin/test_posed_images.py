"""Folders of posed images: exact cameras, placement into the box, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rodin import cameras
from rodin.placement import look_at_point
from rodin.posed_images import PosedImageSettings, read_posed_images, undistort
from rodin.views import ViewsError
from tests.rodin import scenes

SIZE = 32
AXES = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV to OpenGL camera axes
VIEWS = scenes.views(seed=3, count=6, size=SIZE, samples=2)
# Another world: z up, 3 units a box unit, its origin elsewhere. p_box = TURN p / 3 + MOVE.
TURN = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
MOVE = np.array([0.5, -1.0, 0.25])


def world(matrix: np.ndarray) -> np.ndarray:
    out = np.array(matrix, np.float64)
    out[:3, :3] = TURN.T @ out[:3, :3]
    out[:3, 3] = TURN.T @ ((out[:3, 3] - MOVE) * 3)
    return out


def write(
    folder: Path, *, turned: bool = False, change: Callable[[dict[str, Any]], None] | None = None
) -> Path:
    """VIEWS as such a folder, by the plainest means; `change` edits the JSON before it is kept."""
    folder.mkdir(exist_ok=True)
    frames = []
    for i in range(len(VIEWS)):
        Image.fromarray(VIEWS.rgba[i]).save(folder / f"{i}.png")
        assert VIEWS.depth is not None
        np.save(folder / f"{i}.npy", VIEWS.depth[i] * (3 if turned else 1))
        matrix = world(VIEWS.camera_to_world[i]) if turned else VIEWS.camera_to_world[i]
        frames.append(
            {
                "file_path": f"{i}.png",
                "depth_file_path": f"{i}.npy",
                "transform_matrix": (matrix @ AXES).tolist(),
            }
        )
    focal = float(VIEWS.intrinsics[0, 0, 0])
    content: dict[str, Any] = {"fl_x": focal, "w": SIZE, "h": SIZE, "frames": frames}
    if change:
        change(content)
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def test_a_folder_reads_back_to_the_same_views(tmp_path: Path) -> None:
    given = PosedImageSettings(scale=1.0, offset=(0.0, 0.0, 0.0))
    views, placement, names = read_posed_images(write(tmp_path), given)
    assert np.abs(views.camera_to_world - VIEWS.camera_to_world).max() < 1e-6
    assert np.abs(views.intrinsics - VIEWS.intrinsics).max() < 1e-4
    seen = VIEWS.rgba[..., 3:] > 0
    assert np.array_equal(views.rgba, np.where(seen, VIEWS.rgba, 0))
    assert views.depth is not None and np.array_equal(views.depth, VIEWS.depth)
    assert names[0] == "0.png" and "as given" in placement.text


def test_another_world_is_turned_and_scaled_by_itself(tmp_path: Path) -> None:
    """Cameras 4.8 units from their look-at point that see 2.04 of them: the box is 2 % smaller."""
    views, placement, _ = read_posed_images(write(tmp_path, turned=True))
    shrink = 1 / (4.8 * np.tan(np.radians(12)))
    expected = VIEWS.camera_to_world.copy()
    expected[:, :3, 3] *= shrink
    assert np.abs(views.camera_to_world - expected).max() < 1e-5
    assert placement.scale == pytest.approx(shrink / 3, rel=1e-6)
    assert views.depth is not None and np.allclose(views.depth, VIEWS.depth * shrink, atol=1e-4)
    assert "up is z" in placement.text and "common" not in placement.text


def test_given_numbers_and_the_files_own(tmp_path: Path) -> None:
    """Both are p_box = scale R p + offset; instant-ngp's cube is [0, 1] in the file's axes."""
    given = PosedImageSettings(scale=1 / 3, offset=tuple(MOVE))
    views, _, _ = read_posed_images(write(tmp_path / "a", turned=True), given)
    assert np.abs(views.camera_to_world - VIEWS.camera_to_world).max() < 1e-5

    def ngp(content: dict[str, Any]) -> None:
        content |= {"scale": 1 / 3, "aabb_scale": 2, "offset": (TURN.T @ MOVE + 0.5).tolist()}

    views, placement, _ = read_posed_images(write(tmp_path / "b", turned=True, change=ngp))
    assert np.abs(views.camera_to_world - VIEWS.camera_to_world).max() < 1e-5
    assert "instant-ngp" in placement.text


def test_the_front_view_comes_first_and_stands_in_front(tmp_path: Path) -> None:
    views, _, names = read_posed_images(write(tmp_path), PosedImageSettings(front="2.png"))
    assert names[0] == "2.png"
    x, _, z = views.camera_to_world[0, :3, 3]
    assert abs(x) < 1e-6 and z > 1
    assert np.linalg.det(views.camera_to_world[0, :3, :3]) == pytest.approx(1)


def test_angle_of_view_and_images_of_other_sizes(tmp_path: Path) -> None:
    def angle(content: dict[str, Any]) -> None:
        for name in ("fl_x", "w", "h"):
            del content[name]
        content["camera_angle_x"] = float(np.radians(24.0))
        for frame in content["frames"]:
            frame["file_path"] = frame["file_path"].removesuffix(".png")  # as NeRF's own scenes

    views, _, _ = read_posed_images(
        write(tmp_path, change=angle), PosedImageSettings(size=16, use_depth=False)
    )
    assert views.rgba.shape == (6, 16, 16, 4) and views.depth is None
    assert np.abs(views.intrinsics - cameras.intrinsics_from_fov(16, 16).numpy()).max() < 1e-5


def test_masks_and_plain_backgrounds(tmp_path: Path) -> None:
    folder = write(tmp_path)
    alpha = VIEWS.rgba[..., 3]
    for i in range(len(VIEWS)):
        white = Image.new("RGBA", (SIZE, SIZE), "white")
        white.alpha_composite(Image.open(folder / f"{i}.png"))
        white.convert("RGB").save(folder / f"{i}.png")
        Image.fromarray(alpha[i]).save(folder / f"mask{i}.png")
    with pytest.raises(ViewsError, match=r"0\.png has no alpha; give RGBA images, a mask_path"):
        read_posed_images(folder)
    views, _, _ = read_posed_images(folder, PosedImageSettings(background="white"))
    wrong = (views.rgba[..., 3] > 127) != (alpha > 127)
    assert wrong.mean() < 0.02 and 0.1 < (views.rgba[..., 3] > 0).mean() < 0.6
    content = json.loads((folder / "transforms.json").read_text())
    for i, frame in enumerate(content["frames"]):
        frame["mask_path"] = f"mask{i}.png"
    (folder / "transforms.json").write_text(json.dumps(content))
    views, _, _ = read_posed_images(folder)
    assert np.array_equal(views.rgba[..., 3], alpha)


def test_distortion_is_taken_out() -> None:
    """A scene drawn through a lens comes out as the pinhole sees it; as it is, it does not."""
    size, k1, p1 = 96, -0.25, 0.01
    lens = np.array([[80.0, 0, 46.0], [0, 84.0, 50.0], [0, 0, 1]])

    def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 0.5 + 0.5 * np.sin(9 * x) * np.cos(7 * y)

    columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    x, y = (columns - lens[0, 2]) / lens[0, 0], (rows - lens[1, 2]) / lens[1, 1]
    u, v = x.copy(), y.copy()
    for _ in range(60):  # the pinhole place whose distorted place is this pixel
        r2 = u * u + v * v
        u = (x - 2 * p1 * u * v) / (1 + k1 * r2)
        v = (y - p1 * (r2 + 2 * v * v)) / (1 + k1 * r2)
    photo, truth = (np.full((size, size, 4), 255, np.uint8) for _ in range(2))
    photo[..., :3] = (pattern(u, v) * 255)[..., None]
    truth[..., :3] = (pattern(x, y) * 255)[..., None]
    out, depth = undistort(photo, np.ones((size, size)), lens, (k1, 0, 0, p1, 0))
    inner = np.s_[12:-12, 12:-12, 0]
    error = np.abs(out[inner].astype(int) - truth[inner]).mean()
    before = np.abs(photo[inner].astype(int) - truth[inner]).mean()
    assert error < 2 and before > 5 * error
    assert depth is not None and depth.shape == (size, size)


def frame(index: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["frames"][index].update(values)


def every(edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for item in content["frames"]:
            item["transform_matrix"] = edit(np.array(item["transform_matrix"])).tolist()

    return change


def few(content: dict[str, Any]) -> None:
    del content["frames"][3:]


NAN = np.full((4, 4), np.nan).tolist()
REFUSED: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (few, "has 3 frames; give at least 4"),
    (frame(2, file_path="9.png"), "9.png does not exist"),
    (frame(2, mask_path="m.png"), r"m.png does not exist; it is the mask_path of 2\.png"),
    (frame(1, transform_matrix=NAN), r"transform_matrix of 1\.png holds NaN"),
    (frame(1, transform_matrix=[[1, 2]]), r"1\.png has no transform_matrix of 4 x 4"),
    (frame(1, camera_model="OPENCV_FISHEYE"), r"1\.png has the camera model OPENCV_FISHEYE"),
    (frame(1, k4=0.1), r"1\.png has a distortion k4"),
    (frame(1, w=64), r"1\.png is 32 x 32 pixels and its camera 64 x 32"),
    (frame(1, fl_x="many"), r"1\.png has fl_x = 'many'; give a finite number"),
    (lambda content: content.pop("fl_x"), r"0\.png has no focal length"),
    (every(lambda m: m @ AXES), "look away from what they surround.*--convention opencv"),
    (every(np.linalg.inv), "look away|does not look at|inside the unit box"),
    (lambda content: content.update(scale=0, offset=[0, 0, 0]), "scale 0"),
]


@pytest.mark.parametrize(("change", "text"), REFUSED)
def test_bad_files_are_named(tmp_path: Path, change: Any, text: str) -> None:
    with pytest.raises(ViewsError, match=text):
        read_posed_images(write(tmp_path, change=change))


def test_bad_pictures_are_named(tmp_path: Path) -> None:
    def refused(text: str, **settings: Any) -> None:
        with pytest.raises(ViewsError, match=text):
            read_posed_images(folder, PosedImageSettings(**settings))

    folder = write(tmp_path)
    refused("'x.png'; one is '0.png'", front="x.png")
    refused("does not look at the box centre.*How cameras were placed", scale=1.0, offset=(3, 0, 0))
    refused(r"the camera of 0\.png is inside the unit box", scale=0.1, offset=(0, 0, 0))
    Image.new("RGBA", (SIZE, SIZE)).save(folder / "1.png")
    refused(r"1\.png is all transparent")
    Image.new("RGBA", (SIZE * 2, SIZE * 2), "red").save(folder / "1.png")
    refused(r"give one size")  # its depth is of the old size
    refused(r"1\.png is 64 x 64 pixels and 0\.png 32 x 32", use_depth=False)
    pixels = np.full((SIZE, SIZE), np.nan, np.float32)
    Image.fromarray(pixels).save(folder / "1.png", format="TIFF")
    refused(r"1\.png has pixels of Pillow's mode F, floats or wide integers")
    (folder / "1.png").write_bytes(b"no picture")
    refused(r"1\.png is no image that can be read")
    for i in range(len(VIEWS)):
        Image.new("RGBA", (SIZE, SIZE), "red").save(folder / f"{i}.png")
    refused("opaque everywhere")
    np.save(folder / "2.npy", np.full((SIZE, SIZE), np.inf))
    refused(r"2\.npy holds NaN, infinity")
    (folder / "transforms.json").write_text("{}")
    refused("is no transforms.json")
    (folder / "transforms.json").unlink()
    refused("transforms.json does not exist")


def test_parallel_cameras_have_no_look_at_point() -> None:
    matrices = cameras.orbit(torch.zeros(4), 0.0).numpy().astype(float)
    matrices[:, 0, 3] += np.arange(4)
    with pytest.raises(ViewsError, match="look the same way"):
        look_at_point(matrices)


def test_settings_are_checked() -> None:
    for values, text in (
        ({"scale": -1.0}, "scale is -1"),
        ({"size": 3}, "at least 16"),
        ({"background": "pink"}, "'pink'"),
    ):
        with pytest.raises(ViewsError, match=text):
            PosedImageSettings(**values)  # type: ignore[arg-type]
