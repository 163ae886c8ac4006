"""Cuts, ropes, ties, beards: each has the shape that its name promises."""

from __future__ import annotations

import dataclasses
import typing
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.body import load_body  # noqa: E402
from blender.facial_hair import BEARDS, beard_strands, brow_strands  # noqa: E402
from blender.figure import Figure, figure_of  # noqa: E402
from blender.hair import (  # noqa: E402
    Strands,
    hair_objects,
    head_hair,
    person_collider,
    scalp_strands,
)
from blender.hair_collide import Collider, make_collider  # noqa: E402
from blender.hair_mask import (  # noqa: E402
    CROWN,
    beard_density,
    brow_density,
    lip_weight,
    scalp_density,
    scalp_tint,
    zone_weight,
)
from blender.hair_ropes import plait, resample  # noqa: E402
from blender.hair_scalp import make_scalp, undercoat  # noqa: E402
from blender.hair_styles import STYLES  # noqa: E402
from blender.labels import LABELS  # noqa: E402
from blender.sample_face import sample_identity  # noqa: E402
from blender.spec import sample_spec  # noqa: E402
from blender.spec_hair import (  # noqa: E402
    BEARD_WORDS,
    HAIR_WORDS,
    BeardStyle,
    sample_beard,
    sample_hair,
)
from blender.spec_types import Beard, Brows, Hair, HairStyle, Identity  # noqa: E402
from blender.streams import generator  # noqa: E402

SEED = 3


@pytest.fixture(scope="module")
def figure(asset_cache: Path) -> Figure:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return figure_of(load_body(asset_cache).shape(sample_spec(SEED)))


@pytest.fixture(scope="module")
def person(figure: Figure) -> Collider:
    return person_collider(figure, [])


def _sets(figure: Figure, person: Collider, style: str, **fields: typing.Any) -> list[Strands]:
    hair = Hair(style=typing.cast(HairStyle, style), **fields)
    return head_hair(figure, hair, SEED, person)


def _length(strands: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(strands, axis=1), axis=2).sum(axis=1)


def test_two_part_cuts_are_long_in_their_zone_alone(figure: Figure, person: Collider) -> None:
    mohawk, shaved = (s.points for s in _sets(figure, person, "mohawk"))
    assert np.abs(figure.frame.to_template(mohawk[:, 0])[:, 0]).max() < 3.2
    assert np.median(_length(mohawk)) > 0.02
    assert _length(shaved).max() < 0.011
    top, _ = (s.points for s in _sets(figure, person, "undercut"))
    assert figure.frame.to_template(top[:, 0])[:, 1].min() > 4.5
    with pytest.raises(ValueError, match="zone 'left' is unknown; use 'top' or 'strip'"):
        zone_weight(figure.npos, "left")


def test_a_horseshoe_leaves_the_crown_bare_and_a_flat_top_is_flat(
    figure: Figure, person: Collider
) -> None:
    ring = _sets(figure, person, "horseshoe")[0].points
    assert figure.frame.to_template(ring[:, 0])[:, 1].max() < 9.0
    crown = np.array([[0.0, 11.5, 3.0]])
    assert scalp_density(crown, "horseshoe") == 0 == scalp_tint(crown, "horseshoe")
    tips = figure.frame.to_template(_sets(figure, person, "flattop")[0].points[:, -1])
    on_top = (np.abs(tips[:, 0]) < 4) & (tips[:, 2] > 0) & (tips[:, 2] < 8) & (tips[:, 1] > 10)
    assert tips[on_top, 1].std() < 0.45
    assert tips[:, 1].max() < 16.0


def test_short_strands_cover_what_combing_bares(figure: Figure, person: Collider) -> None:
    """At the whorl and at the end of the parting, and nowhere else."""
    scalp = make_scalp(figure.vertices, figure.skin, figure.npos, "long", part=3.0)
    roots = {}
    for part in (None, 3.0):
        strands = undercoat(scalp, 6, part, np.random.default_rng(0))
        t = figure.frame.to_template(strands)
        roots[part] = t[:, 0]
        assert _length(strands).max() < 0.02
    assert len(roots[None]) > 500 and len(roots[3.0]) > len(roots[None])
    assert np.linalg.norm(roots[None] - CROWN, axis=1).max() < 9.0
    fringe = scalp_strands(STYLES["fringe"], figure, Hair(style="fringe"), 1, person, None)
    near = np.linalg.norm(figure.frame.to_template(fringe[:, 0]) - CROWN, axis=1) < 3.0
    assert (_length(fringe[near]) < 0.02).sum() > 200, "the style has them"


def test_an_afro_is_round(figure: Figure, person: Collider) -> None:
    tips = figure.frame.to_template(_sets(figure, person, "afro")[0].points[:, -1])
    upper = tips[tips[:, 1] > 6]
    reach = np.linalg.norm(upper - np.array([0.0, 5.2, 3.6]), axis=1)
    assert 9.0 < np.median(reach) < 14.0 and reach.std() < 1.6


def test_length_density_curl_and_parting_change_a_style(figure: Figure, person: Collider) -> None:
    short, long = (_sets(figure, person, "crew", length=k)[0].points for k in (0.6, 1.4))
    assert np.median(_length(long)) > 1.5 * np.median(_length(short))
    thin, thick = (_sets(figure, person, "buzz", density=k)[0].points for k in (0.6, 1.2))
    assert len(thick) > 1.7 * len(thin)
    straight, curled = (_sets(figure, person, "long", curl=k)[0].points for k in (0.0, 1.0))
    bend = [np.abs(np.diff(p, 2, axis=1)).mean() * p.shape[1] ** 2 for p in (straight, curled)]
    assert bend[1] > 1.3 * bend[0]
    left, right = (_sets(figure, person, "undercut", parting=k)[0].points for k in
                   ("left", "right"))  # fmt: skip
    assert left[:, -1, 0].mean() > 0.015 and right[:, -1, 0].mean() < -0.015


def test_receding_hair_leaves_the_temples_first(figure: Figure) -> None:
    temple, middle, back = np.array([[4.5, 8.2, 11.8], [0.0, 9.6, 12.6], [0.0, 6.0, -4.0]])
    density = scalp_density(np.stack([temple, middle, back]), "short", 2.5)
    assert density[0] < 0.05 and density[1] > 0.9 and density[2] == 1
    assert scalp_density(temple[None], "short", 0.0) > 0.95


def test_pairs_of_ties_mirror_each_other(figure: Figure, person: Collider) -> None:
    for style in ("spacebuns", "pigtails", "braids"):
        left, right = (s.points for s in _sets(figure, person, style) if s.name == "tied")
        middles = [figure.frame.to_template(p).mean(axis=(0, 1)) for p in (left, right)]
        assert middles[0][0] > 3 and middles[1][0] < -3
        np.testing.assert_allclose(middles[0][1:], middles[1][1:], atol=1.2)
    braids = [s.points for s in _sets(figure, person, "braids") if s.name == "tied"]
    assert np.quantile(np.concatenate(braids)[:, -1, 1], 0.5) < -0.01  # before the shoulders


def test_a_plait_has_three_parts_that_swap_sides_and_depth() -> None:
    rng = np.random.default_rng(0)
    around = rng.normal(size=(4000, 3))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    ball = make_collider(0.05 * around, around)
    spine = np.stack([0 * np.arange(40), 0 * np.arange(40) - 0.12, np.linspace(0.1, -0.2, 40)], 1)
    spine = resample(spine[None], 160)
    paths = plait(spine, 0.012, 20, ball, generator(0, "plait")).reshape(3, 20, 160, 3).mean(axis=1)
    across, deep = paths[..., 0], paths[..., 1]
    for part in range(3):  # each part goes from side to side
        turns = np.flatnonzero(np.diff(np.sign(across[part, 10:140])))
        assert len(turns) >= 6
    # Where two parts cross, one lies clearly over the other.
    gap = across[0, 10:140] - across[1, 10:140]
    crossings = np.flatnonzero(np.diff(np.sign(gap))) + 10
    assert len(crossings) >= 4
    assert (np.abs(deep[0] - deep[1])[crossings] > 0.003).all()


def test_ends_of_an_ombre_reach_the_material(figure: Figure, person: Collider) -> None:
    dyed = _sets(figure, person, "bob", ombre=0.8, tip_rgb=(0.9, 0.8, 0.6))
    made = hair_objects(dyed)[0]
    tips = [tuple(n.inputs[7].default_value) for n in made.data.materials[0].node_tree.nodes
            if n.type == "MIX" and n.blend_type == "MIX"]  # fmt: skip
    assert tips and tips[0][0] == pytest.approx(dyed[0].tip_rgb[0], abs=1e-5)
    assert made.pass_index == LABELS["hair"]


def test_every_beard_grows_where_its_name_says(figure: Figure) -> None:
    assert set(typing.get_args(BeardStyle)) == set(BEARDS) | {"none"}
    used = np.unique(figure.skin)
    npos = figure.npos[used]
    places = {
        "lip": np.array([[1.0, -5.9, 15.5]]), "chin": np.array([[0.5, -10.2, 15.0]]),
        "cheek": np.array([[6.4, -5.5, 8.6]]),
    }  # fmt: skip
    there = {
        name: "".join(k[0] for k, p in places.items() if beard_density(p, name)[0] > 0.4)
        for name in BEARDS
    }
    expected = {
        "stubble": "lcc", "full": "lcc", "long": "lcc", "boxed": "lcc", "moustache": "l",
        "handlebar": "l", "goatee": "c", "vandyke": "lc", "circle": "lc", "soulpatch": "",
        "mutton": "c", "chinstrap": "cc",
    }  # fmt: skip
    assert there == expected
    for name in BEARDS:
        density = beard_density(npos, name)
        assert density.min() >= 0 and 0.5 < density.max() <= 1
        assert (density * lip_weight(npos)).max() < 0.3
    assert beard_density(npos, "none").max() == 0
    throat = np.array([[0.5, -11.2, 9.5], [2.0, -10.6, 8.0]])
    assert beard_density(throat, "full").min() > 0.8
    assert beard_density(throat, "chinstrap").max() < 0.1
    with pytest.raises(ValueError, match="beard 'forked' is unknown"):
        beard_density(npos, "forked")


@pytest.mark.parametrize("style", BEARDS)
def test_beard_strands_keep_to_the_skin_and_off_the_lips(
    figure: Figure, person: Collider, style: str
) -> None:
    strands = beard_strands(figure, generator(SEED, "beard"), style, 1.0, person)
    assert len(strands) > 60
    assert np.quantile(np.abs(person.distance(strands[:, 0])), 0.99) < 0.007
    t = figure.frame.to_template(strands)
    mouth = (np.abs(t[..., 0]) < 1.8) & (np.abs(t[..., 1] + 7.2) < 0.4) & (t[..., 2] > 12)
    assert mouth.any(axis=1).mean() < 0.01
    longest = _length(strands).max()
    assert (longest < 0.003) == (style == "stubble")
    assert (longest > 0.06) == (style == "long")


def test_nothing_grows_under_a_collar_and_unknown_beards_are_refused(
    figure: Figure, person: Collider
) -> None:
    # Cloth 1 cm over the skin hides all that grows below the lips.
    points, normals = figure.surface
    covered = make_collider(points + 0.01 * normals, normals)
    bare, worn = (
        beard_strands(figure, generator(SEED, "beard"), "boxed", 1.0, p) for p in (person, covered)
    )
    low = [figure.frame.to_template(b[:, 0])[:, 1] < -9.0 for b in (bare, worn)]
    assert low[1].sum() < 0.03 * low[0].sum()
    with pytest.raises(ValueError, match="beard 'forked' is unknown; use 'none' or one of stubble"):
        beard_strands(figure, generator(SEED, "beard"), "forked")


def test_brows_bend_with_their_arch(figure: Figure) -> None:
    flat, bent = (brow_strands(figure, generator(1, "brows"), 1.0, a)[:, 0] for a in (-1.0, 1.0))
    heights = []
    for roots in (flat, bent):
        t = figure.frame.to_template(roots)
        x = np.abs(t[:, 0])
        inner, outer = t[x < 2.0, 1].mean(), t[(x > 3.2) & (x < 4.4), 1].mean()
        heights.append(outer - inner)
    assert heights[1] > heights[0] + 0.25
    thin, thick = (brow_density(figure.npos, k).sum() for k in (0.6, 1.5))
    assert thick > 1.5 * thin


class Person(typing.NamedTuple):
    """The parts of a sampled spec that hair depends on."""

    identity: Identity
    hair: Hair
    beard: Beard


@pytest.fixture(scope="module")
def people() -> list[Person]:
    out = []
    for seed in range(500):
        identity = sample_identity(seed)
        hair = sample_hair(seed, identity)
        out.append(Person(identity, hair, sample_beard(seed, identity, hair)))
    return out


def test_sampling_shows_every_style_to_fitting_people(people: list[Person]) -> None:
    hair = Counter(p.hair.style for p in people)
    assert all(hair[style] >= 5 for style in typing.get_args(HairStyle)), hair
    beards = Counter(p.beard.style for p in people)
    assert all(beards[style] >= 4 for style in typing.get_args(BeardStyle)), beards
    women = [p for p in people if p.identity.gender > 0.5]
    assert {p.beard.style for p in women} == {"none"}
    assert "horseshoe" not in {p.hair.style for p in women}
    old = [p.hair.grey for p in people if p.identity.age > 0.9]
    young = [p.hair.grey for p in people if p.identity.age < 0.7]
    assert np.mean(old) > 0.35 and np.mean(young) < 0.1
    colours = {p.hair.colour for p in people}
    assert {"platinum blond", "dark auburn", "salt-and-pepper", "grey"} <= colours
    assert any(p.hair.ombre > 0 for p in people)
    assert np.std([p.hair.curl for p in people]) > 0.1


def test_words_take_a_colour_and_there_is_a_choice(people: list[Person]) -> None:
    for words in (*HAIR_WORDS.values(), *(w for s, w in BEARD_WORDS.items() if s != "none")):
        assert len(set(words)) >= 2
        for phrase in words:
            said = phrase.format(c="brown")
            assert "{" not in said and said == said.strip()
    colours = {p.hair.colour for p in people}
    assert not any(c[0] in "aeiou" for c in colours)  # "a {c} bob" stays English


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [(Hair, "density", 0.1), (Hair, "curl", 1.2), (Hair, "ombre", -0.1), (Hair, "recede", 9.0),
     (Brows, "arch", 2.0), (Beard, "length", 3.0)],
)  # fmt: skip
def test_values_out_of_range_are_refused(kind: type, field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__}.{field} is {value}; it must be within"):
        dataclasses.replace(kind(), **{field: value})


def test_boys_have_no_beards_yet() -> None:
    hair = Hair(style="short")
    boy, man = (Identity(gender=0.1, age=age) for age in (0.47, 0.70))
    assert {sample_beard(seed, boy, hair).style for seed in range(200)} == {"none"}
    assert np.mean([sample_beard(seed, man, hair).style != "none" for seed in range(200)]) > 0.4
