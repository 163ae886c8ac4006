"""The validator finds planted defects, in class maps and real scenes, and passes sound people."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from blender import BuildError
from blender.cameras import make_cameras
from blender.cycles import quiet
from blender.defects import (
    brows_bare,
    floating,
    islands,
    places,
    scalp_holes,
    without_straps,
)
from blender.labels import LABELS
from blender.landmarks import project
from blender.render import build
from blender.sheets import over_seeds, parse_seeds, tile_sheet
from blender.spec import AvatarSpec
from blender.spec_face import Identity
from blender.spec_hair import Hair
from blender.validate import inspect_scene, kind_of, table

PERSON = AvatarSpec(hair=Hair(style="short"))
CROWN_M = np.array([0.0, 0.06, 0.11])  # m about the eyes


def look(cache: Path, change: str = "") -> list[str]:
    """The defects of PERSON after `change` was done to the scene."""
    with quiet():
        shaped = build(PERSON, cache)
        objects = bpy.data.objects
        if change == "torn":
            objects["skin"].data.vertices[500].co = (0.5, 0.0, 0.0)
        elif change == "eye":
            for name in ("eye_l", "eye_r"):
                objects[name].location.y -= 0.015
        elif change == "floating":
            bpy.ops.mesh.primitive_ico_sphere_add(radius=0.015, location=(0.17, 0.0, 0.1))
            bpy.context.object.pass_index = LABELS["clothes"]
        elif change == "cut":
            bpy.ops.mesh.primitive_ico_sphere_add(radius=0.02, location=(0.05, -0.12, -0.21))
            bpy.context.object.pass_index = LABELS["skin"]
        elif change == "curtain":
            bpy.ops.mesh.primitive_plane_add(
                size=0.05, location=(0.0, -0.09, -0.05), rotation=(np.pi / 2, 0, 0)
            )
            bpy.context.object.pass_index = LABELS["hair"]
        elif change == "bald":
            objects.remove(objects["hair"])
        elif change == "hole":
            curves = objects["hair"].data
            points = np.empty(len(curves.points) * 3, np.float32)
            curves.attributes["position"].data.foreach_get("vector", points)
            strands = points.reshape(len(curves.curves), -1, 3)
            away = np.linalg.norm(strands - CROWN_M, axis=2).min(axis=1)
            curves.remove_curves(indices=np.flatnonzero(away < 0.03).tolist())
        elif change == "shaved":
            objects.remove(objects["brows"])
    return inspect_scene(PERSON, shaped, 64)["defects"]


def test_a_sound_person_has_no_defects(asset_cache: Path) -> None:
    assert look(asset_cache) == []


@pytest.mark.parametrize(
    ("change", "defect"),
    [
        ("torn", "broken mesh (skin)"),
        ("eye", "eye outside its lids"),
        ("floating", "floating piece"),
        ("cut", "skin through clothes"),
        ("curtain", "hair through the face"),
        ("bald", "no hair to be seen"),
        ("hole", "hole in the hair"),
        ("shaved", "no brows to be seen"),
    ],
)
def test_planted_defects_are_found(asset_cache: Path, change: str, defect: str) -> None:
    assert defect in look(asset_cache, change)


def test_islands_count_only_what_is_enclosed() -> None:
    labels = np.full((20, 20), LABELS["clothes"], np.uint8)
    labels[3:6, 3:6] = LABELS["skin"]
    assert islands(labels, "skin", "clothes", 4) == 9
    assert islands(labels, "skin", "clothes", 10) == 0
    labels[:6, 3:6] = LABELS["skin"]
    labels[0:3] = LABELS["background"]
    assert islands(labels, "skin", "clothes", 4) == 0, "it reaches the outside"


def test_a_tapering_opening_is_no_island() -> None:
    labels = np.full((40, 60), LABELS["clothes"], np.uint8)
    labels[:20, 10:40] = LABELS["skin"]  # a wide neckline
    for start in range(20, 36, 5):
        labels[start + 2 : start + 5, 12:14] = LABELS["skin"]  # its tip, in dashes
    assert islands(labels, "skin", "clothes", 4, bridge=1) == 0
    assert islands(labels, "skin", "clothes", 4) > 0
    labels[30:34, 45:49] = LABELS["skin"]
    assert islands(labels, "skin", "clothes", 4, bridge=1) == 16, "a hole beside it"
    for above in ("hair", "necklace"):
        labels[29, 47] = LABELS[above]
        assert islands(labels, "skin", "clothes", 4, bridge=1) == 0, f"it may go on under {above}"


def test_hair_before_a_brim_is_not_through_it() -> None:
    labels = np.full((20, 20), LABELS["headwear"], np.uint8)
    labels[5:9, 5:9] = LABELS["hair"]
    depth = np.full((20, 20), 4.0)
    depth[5:9, 5:9] = 3.98
    assert islands(labels, "hair", "headwear", 2, depth=depth) == 16
    depth[5:9, 5:9] = 3.8
    assert islands(labels, "hair", "headwear", 2, depth=depth) == 0


def test_straps_on_skin_are_no_defect() -> None:
    labels = np.full((40, 40), LABELS["skin"], np.uint8)
    labels[5:35, 10:14] = LABELS["clothes"]
    assert islands(without_straps(labels), "clothes", "skin", 4) == 0
    labels[15:25, 24:34] = LABELS["clothes"]
    assert islands(without_straps(labels), "clothes", "skin", 4) == 100


def test_brows_are_wanted_where_their_place_is_bare() -> None:
    pixels = np.zeros((68, 2))
    for row, brow in enumerate((range(17, 22), range(22, 27))):
        pixels[brow, 0] = 10 + 25 * row + np.arange(5) * 4
        pixels[brow, 1] = 20 + np.array([0, 1, 2, 1, 0])
    labels = np.full((60, 64), LABELS["skin"], np.uint8)
    assert brows_bare(labels, pixels)
    labels[:30] = LABELS["hair"]
    assert not brows_bare(labels, pixels)


def test_only_wide_holes_in_hair_count_and_only_on_the_scalp() -> None:
    labels = np.full((30, 30), LABELS["hair"], np.uint8)
    where = np.zeros((30, 30, 3))
    where[..., 0], where[..., 1] = np.mgrid[:30, :30] * 0.012
    scalp = where[::3, ::3].reshape(-1, 3)
    labels[10:13, 5:25] = LABELS["skin"]
    assert scalp_holes(labels, where, scalp) == 0, "a parting"
    labels[10:18, 10:18] = LABELS["skin"]
    assert scalp_holes(labels, where, scalp) >= 60
    assert scalp_holes(labels, where, scalp + np.array([0, 0, 0.1])) == 0, "an ear before the hair"


def test_places_are_the_projected_points_again() -> None:
    cameras = make_cameras([(20.0, 10.0), (-70.0, 0.0)], 32)
    depth = np.zeros((2, 32, 32))
    points = np.array([[0.1, 0.2, -0.1]])
    pixels, z = project(points, cameras)
    for view, (column, row) in enumerate(np.floor(pixels[:, 0]).astype(int)):
        depth[view, row, column] = z[view, 0]
        found = places(depth, cameras)[view]
        assert np.abs(found[row, column] - points[0]).max() < 0.06, "within a pixel"
        assert not found[row - 2].any()


def test_floating_share() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:20, :20] = True
    assert floating(mask) == 0
    mask[30:34, 30:34] = True
    assert floating(mask) == pytest.approx(16 / 416)


def test_table_counts_people_not_texts() -> None:
    text = table({1: ["no hair to be seen", "no brows to be seen"], 2: [], 3: ["empty head"]})
    assert "| a part is missing | 1 | 1 |" in text
    assert "**2 of 3 (66.7 %)**" in text
    assert kind_of("broken mesh (skin)") == "broken mesh"


def test_a_person_who_cannot_be_built_is_a_build_error(asset_cache: Path) -> None:
    """Whatever goes wrong inside, the caller sees BuildError, which shards record as poison."""
    odd = AvatarSpec(seed=7, identity=Identity(targets=(("no-such-target", 0.5),)))
    with pytest.raises(BuildError, match="no-such-target"), quiet():
        build(odd, asset_cache)
    broken = AvatarSpec(seed=7)
    object.__setattr__(broken.clothes, "rgb", "red")
    with pytest.raises(BuildError, match="avatar 7 cannot be built"), quiet():
        build(broken, asset_cache)


def test_seeds_are_parsed() -> None:
    assert parse_seeds("0:3") == [0, 1, 2]
    assert parse_seeds("7") == [7]
    assert parse_seeds("1,5:7, 9") == [1, 5, 6, 9]
    for bad in ("x", "3:3", "-1", "5:2", "", ":3", "0:9999999", "1:2:3"):
        with pytest.raises(ValueError, match="use 0:48"):
            parse_seeds(bad)


def test_sheet_has_room_for_words() -> None:
    tiles = [np.zeros((64, 64, 3), np.uint8)] * 5
    assert tile_sheet(tiles, 2).size == (128, 192)
    assert tile_sheet(tiles, 5, ["a b"] * 5).size[1] > 64


def run(*words: str, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *words, "--cache-dir", str(cache)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_gallery_draws_a_sheet(asset_cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "g.png"
    words = ("gallery", "--seeds", "0:2", "--size", "48", "--samples", "1", "--out", str(out))
    done = run(*words, cache=asset_cache)
    assert done.returncode == 0, done.stderr
    assert "2 people" in done.stdout
    image = np.asarray(Image.open(out).convert("RGB"))
    assert image.shape[1] == 96
    assert (image[:48] < 200).any(axis=-1).mean() > 0.15


def test_gallery_names_a_bad_seed(tmp_path: Path) -> None:
    done = run("gallery", "--seeds", "9:3", cache=tmp_path)
    assert done.returncode == 2
    assert "use 0:48" in done.stderr and "Traceback" not in done.stderr


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
import time
from contextlib import closing
from pathlib import Path
from blender.sheets import over_seeds
from tests_sleep import note
for _ in over_seeds(note, [1, 2], {str(tmp_path)!r}, workers=2):
    pass
"""
    (tmp_path / "tests_sleep.py").write_text(
        "import os, time\nfrom pathlib import Path\n"
        "def note(seed, folder):\n"
        "    (Path(folder) / f'{os.getpid()}.pid').touch()\n"
        "    time.sleep(60)\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"}
    parent = subprocess.Popen([sys.executable, "-c", code], env=env)
    deadline = time.monotonic() + 60
    while len(found := list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    children = [int(file.stem) for file in found]
    assert len(children) == 2
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_who_stops_asking_waits_for_nobody() -> None:
    with closing(over_seeds(time.sleep, [0] + [2] * 100, workers=1)) as drawn:
        assert next(drawn) == (0, None)
        began = time.monotonic()
    assert time.monotonic() - began < 60
