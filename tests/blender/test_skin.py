"""Skin: tones, the face's picture, wrinkles by age and expression, make-up, words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bpy
import numpy as np
import pytest

from blender import skin_map
from blender.expressions import make_expression
from blender.sample_face import sample_identity
from blender.sample_skin import sample_skin, skin_rgb
from blender.skin import paint, skin_material
from blender.spec import AvatarSpec, Identity, Skin, sample_spec
from blender.spec_base import linear
from blender.spec_face import skin_words

CALM = make_expression("neutral")


def of_age(age: float, **skin: Any) -> AvatarSpec:
    return AvatarSpec(seed=4, identity=Identity(age=age), expression=CALM, skin=Skin(**skin))


def rows(low: float, high: float) -> slice:
    """The picture's rows between two heights on the template, cm."""
    return slice(*(int((y - skin_map.BOTTOM) / skin_map.STEP) for y in (low, high)))


def test_tones_run_from_light_to_dark_and_undertones_tint() -> None:
    light = [np.dot(linear(tuple(skin_rgb(t, 0.0))), (0.21, 0.72, 0.07)) for t in range(8)]
    assert (np.diff(light) < 0).all() and light[0] > 8 * light[-1]
    for tone in np.linspace(0, 7, 15):
        cool, warm = skin_rgb(tone, -1.0), skin_rgb(tone, 1.0)
        assert warm[2] < cool[2], "warm skin has less blue"
        assert cool[0] > cool[2], "and all skin is redder than blue"


def test_tone_follows_ancestry_only_loosely() -> None:
    people = [sample_identity(seed) for seed in range(300)]
    skins = [sample_skin(seed, p) for seed, p in enumerate(people)]
    tone = np.array([s.tone for s in skins])
    assert tone.min() < 0.5 and tone.max() > 6.5
    assert 0.4 < np.corrcoef(tone, [p.african for p in people])[0, 1] < 0.92
    women = np.array([p.gender > 0.5 for p in people])
    made_up = np.array([s.makeup > 0 for s in skins])
    assert 0.3 < made_up[women].mean() < 0.7 and not made_up[~women].any()
    assert sum(s.freckles > 0 for s in skins) > 15


def test_years_and_expressions_deepen_wrinkles() -> None:
    young, middle, old = (skin_map.wrinkle_weights(of_age(a)) for a in (0.65, 0.79, 0.95))
    assert sum(young.values()) < 0.2
    assert 0.6 < sum(middle.values()) < sum(old.values())
    for name in old:
        assert old[name] > young[name] + 0.2, name
    spec = of_age(0.79)
    smiling = skin_map.wrinkle_weights(replace(spec, expression=make_expression("laugh")))
    assert smiling["crow"] > middle["crow"] + 0.1
    assert smiling["frown"] == middle["frown"]


def test_old_skin_is_darker_in_its_folds_and_deeper() -> None:
    young, old = (skin_map.skin_picture(of_age(a)) for a in (0.65, 1.0))
    brow = rows(3.5, 6.2), slice(120, 264)
    assert old[brow][..., 3].std() > 2 * young[brow][..., 3].std()
    assert old[brow][..., :3].min() < young[brow][..., :3].min() - 0.1
    assert old[brow][..., :3].mean() < young[brow][..., :3].mean()


def test_picture_is_repeatable_bounded_and_still_at_its_borders() -> None:
    for seed in range(6):
        spec = sample_spec(seed)
        picture = skin_map.skin_picture(spec)
        np.testing.assert_array_equal(picture, skin_map.skin_picture(spec))
        assert picture.shape == (skin_map.HEIGHT, skin_map.WIDTH, 4)
        assert np.isfinite(picture).all() and picture.min() >= -1 and picture.max() < 4
        for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
            np.testing.assert_allclose(edge, [[1, 1, 1, 0.5]] * len(edge), atol=2e-3)


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("eye_shadow", (0.5, 1.2)),
        ("eyeliner", (-0.6, 0.7)),
        ("blush", (-4.0, -1.5)),
        ("freckles", (-4.0, -1.0)),
        ("moles", (-10.0, 5.5)),
    ],
)
def test_paint_changes_its_own_place_only(name: str, region: tuple[float, float]) -> None:
    plain, painted = (skin_map.skin_picture(of_age(0.66, **{name: v})) for v in (0.0, 1.0))
    gap = np.abs(plain - painted).max(axis=-1)
    assert gap[rows(*region)].max() > 0.1
    assert gap[rows(-17.0, -12.0)].max() < 1e-6, "the neck is left alone"


def test_moles_keep_off_lips_and_eyes() -> None:
    x, y = skin_map._axes()
    on_lips = np.hypot(np.abs(x)[None] / 2.6, (y[:, None] + 7.2) / 1.1) < 1
    on_eyes = np.hypot((np.abs(x)[None] - 3.1) / 1.6, y[:, None] / 0.8) < 1
    for seed in range(12):
        _, dark = skin_map.spots(replace(of_age(0.7, moles=1.0), seed=seed))
        assert dark[on_lips | on_eyes].max() < 0.3, seed


def test_colours_at_the_vertices_and_the_material() -> None:
    spec = sample_spec(5)
    npos = np.random.default_rng(0).uniform((-9, -16, -6), (9, 12, 17), (500, 3))
    masks = {"lips": np.zeros(500), "mouth": np.zeros(500)}
    out = paint(npos, masks, spec)
    assert out["albedo"].shape == (500, 4) and 0 <= out["albedo"].min() <= out["albedo"].max() <= 1
    assert 0.2 < out["rough"].min() <= out["rough"].max() < 0.9
    assert out["front"][npos[:, 2] < 3].max() == 0
    lips = paint(npos, masks | {"lips": np.ones(500)}, spec)["albedo"][:, :3]
    assert np.abs(lips - linear(spec.skin.lip_rgb)).max() < 0.12
    bpy.ops.wm.read_factory_settings(use_empty=True)
    material = skin_material(spec)
    (image,) = (n.image for n in material.node_tree.nodes if n.type == "TEX_IMAGE")
    assert tuple(image.size) == (skin_map.WIDTH, skin_map.HEIGHT)
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    np.testing.assert_array_equal(pixels, skin_map.skin_picture(spec).ravel())


def test_words_name_what_is_plain_to_see() -> None:
    assert skin_words(Skin()) == []
    (freckles,) = skin_words(Skin(freckles=0.9))
    assert "freckles" in freckles
    assert Skin(lipstick=0.4, blush=0.7).makeup == 0.7
    with pytest.raises(ValueError, match=r"Skin\.wrinkles"):
        Skin(wrinkles=2.0)
