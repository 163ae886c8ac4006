"""Skin: colours painted at the vertices in numpy, fine grain in the shader.

Everything is a function of the template position `npos` (cm), so make-up, freckles and redness
stay in place under any face and expression.
"""

from __future__ import annotations

import bpy
import numpy as np

from blender.hair_mask import beard_density, brow_density, scalp_density, smoothstep
from blender.nodes import Graph
from blender.spec_types import AvatarSpec, Rgb, linear
from blender.streams import generator

# How strongly hair colours the skin it grows from.
_SCALP_TINT = {"bald": 0.0, "buzz": 0.60}
_BEARD_TINT = {"none": 0.0, "stubble": 0.34, "full": 0.60}


def _blob(
    npos: np.ndarray, centre: tuple[float, float, float], size: tuple[float, float, float]
) -> np.ndarray:
    """A Gaussian spot (N,) and its mirror image about x = 0."""
    x = np.abs(npos[:, 0])
    d = np.stack([x - centre[0], npos[:, 1] - centre[1], npos[:, 2] - centre[2]], axis=1)
    return np.exp(-0.5 * ((d / np.array(size)) ** 2).sum(axis=1))


def redness(npos: np.ndarray) -> np.ndarray:
    """Where blood shows (N,): cheeks, nose, ears, chin."""
    cheeks = _blob(npos, (4.3, -3.4, 12.6), (1.7, 1.4, 3.0))
    nose = _blob(npos, (0.0, -3.6, 16.4), (1.1, 0.9, 1.2))
    ears = _blob(npos, (8.2, -0.6, 5.8), (1.2, 3.2, 2.6)) * smoothstep(6.9, 7.6, np.abs(npos[:, 0]))
    chin = _blob(npos, (0.0, -9.6, 15.0), (1.5, 0.9, 1.5))
    return np.clip(0.9 * cheeks + 0.8 * nose + 0.75 * ears + 0.35 * chin, 0.0, 1.0)


def eye_shade(npos: np.ndarray) -> np.ndarray:
    """The darker skin around the eyes (N,)."""
    below = _blob(npos, (3.0, -1.7, 13.6), (1.5, 0.65, 1.5))
    inner = _blob(npos, (1.7, 0.1, 14.0), (0.5, 0.8, 1.2))
    return np.clip(0.75 * below + 0.65 * inner, 0.0, 1.0)


def upper_lid(npos: np.ndarray) -> np.ndarray:
    """The upper lid (N,), where eye shadow goes."""
    return _blob(npos, (3.2, 1.15, 14.0), (1.6, 0.55, 1.6))


def creases(npos: np.ndarray) -> np.ndarray:
    """Where an old face folds (N,): forehead, crow's feet, from the nose to beside the mouth."""
    x, y, z = np.abs(npos[:, 0]), npos[:, 1], npos[:, 2]
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * (y - 0.035 * x**2 + 0.12 * np.sin(2.1 * x)) / 0.95)
    forehead = wave**4 * _blob(npos, (0.0, 4.3, 15.0), (2.8, 1.25, 2.5))
    start, along = np.array([2.0, -3.5]), np.array([1.35, -3.6])
    t = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along), 0, 1)
    bow = 0.35 * np.sin(np.pi * t)
    gap = np.hypot(x - start[0] - along[0] * t - bow, y - start[1] - along[1] * t)
    fold = np.exp(-0.5 * (gap / 0.22) ** 2) * smoothstep(10.0, 12.0, z)
    angle, reach = np.arctan2(y + 0.1, x - 4.0), np.hypot(y + 0.1, x - 4.0)
    feet = (0.5 + 0.5 * np.cos(9 * angle)) ** 3 * np.exp(-0.5 * ((reach - 1.6) / 0.45) ** 2)
    feet = feet * smoothstep(8.0, 10.0, z) * (x > 4.2)
    return np.clip(0.8 * forehead + fold + 0.8 * feet, 0.0, 1.0)


def paint(
    npos: np.ndarray, masks: dict[str, np.ndarray], spec: AvatarSpec
) -> dict[str, np.ndarray]:
    """Point attributes of the skin over npos (N, 3): 'albedo' (N, 4) linear, 'rough' (N,).

    masks 'lips' and 'mouth' (N,) come from the body model.
    """
    skin = spec.skin
    base = np.array(linear(skin.rgb))
    colour = np.tile(base, (len(npos), 1))

    def over(paint_rgb: np.ndarray | Rgb, weight: np.ndarray) -> None:
        nonlocal colour
        colour = colour + np.clip(weight, 0, 1)[:, None] * (np.asarray(paint_rgb) - colour)

    over(base * (1.03, 0.62, 0.56), redness(npos) * 0.55 * skin.redness)
    over(base * (0.80, 0.66, 0.64), eye_shade(npos) * (0.45 + 0.25 * skin.age_spots))
    over(base * (0.62, 0.52, 0.50), creases(npos) * (0.10 + 0.50 * skin.age_spots))
    # Necks and the shade under the jaw are a little yellower than faces.
    over(base * (0.97, 0.95, 0.90), smoothstep(-9.0, -13.0, npos[:, 1]) * 0.6)
    if skin.makeup > 0:
        rng = generator(spec.seed, "makeup")
        shadow = np.array([(0.16, 0.09, 0.10), (0.20, 0.12, 0.08), (0.12, 0.10, 0.16)])
        over(shadow[int(rng.integers(3))], upper_lid(npos) * 0.55 * skin.makeup)
    beard = beard_density(npos)
    hair_rgb = np.array(linear(spec.hair.rgb)) * (1 - spec.hair.grey) + 0.30 * spec.hair.grey
    beard_rgb = np.array(linear(spec.beard.rgb)) * (1 - spec.beard.grey) + 0.28 * spec.beard.grey
    over(base * 0.35 + 0.65 * beard_rgb, beard * _BEARD_TINT[spec.beard.style])
    if spec.identity.gender < 0.5 and spec.beard.style == "none":
        over(base * (0.74, 0.76, 0.80), beard * 0.28)  # the shadow of a shave
    tint = _SCALP_TINT.get(spec.hair.style, 0.50)
    over(
        base * 0.25 + 0.75 * hair_rgb, scalp_density(npos, spec.hair.style, spec.hair.recede) * tint
    )
    over(base * 0.3 + 0.7 * np.array(linear(spec.brows.rgb)), brow_density(npos) * 0.45)
    lips = smoothstep(0.25, 0.75, masks["lips"])
    over(linear(skin.lip_rgb), lips * 0.9)
    over((0.20, 0.045, 0.04), smoothstep(0.3, 0.8, masks["mouth"]))
    rough = 0.40 + 0.20 * skin.roughness + 0.0 * npos[:, 0]
    rough = rough - 0.08 * _blob(npos, (0.0, -3.0, 16.0), (1.6, 2.5, 2.0)) - 0.14 * lips
    rough = rough - 0.05 * _blob(npos, (0.0, 4.0, 15.0), (3.5, 2.0, 2.5))
    flat = np.clip(colour, 0.0, 1.0)
    return {"albedo": np.concatenate([flat, np.ones((len(flat), 1))], axis=1), "rough": rough}


def freckle_mask(npos: np.ndarray) -> np.ndarray:
    """Where freckles gather (N,): across nose and cheeks, fading outwards."""
    face = _blob(npos, (2.6, -2.6, 14.0), (3.0, 2.0, 3.0))
    return np.clip(1.2 * face + 0.35 * smoothstep(6.0, 12.0, npos[:, 2]), 0.0, 1.0)


def skin_material(spec: AvatarSpec) -> bpy.types.Material:
    """The skin's shader; reads the attributes of `paint`, 'freckle' and 'npos'."""
    g = Graph("skin")
    npos = g.attribute("npos")
    colour = g.attribute("albedo", "Color")
    broad = g.remap(g.noise(npos, 0.35, 3.0), 0.3, 0.7, 0.945, 1.045)
    fine = g.remap(g.noise(npos, 2.6, 3.0), 0.3, 0.7, 0.965, 1.03)
    grain = g.math("MULTIPLY", broad, fine)
    spotty = g.call("ShaderNodeCombineColor", {0: grain, 1: grain, 2: grain}).outputs[0]
    colour = g.mix(1.0, colour, spotty, "MULTIPLY")
    spots = max(spec.skin.freckles, 0.55 * spec.skin.age_spots)
    if spots > 0:
        cells = g.call("ShaderNodeTexVoronoi", {"Vector": npos, "Scale": 2.6}).outputs["Distance"]
        patchy = g.remap(g.noise(npos, 1.1), 0.42, 0.6, 0.0, 1.0)
        dots = g.math("MULTIPLY", g.remap(cells, 0.34, 0.14, 0.0, 1.0), patchy)
        weight = g.math("MULTIPLY", dots, g.attribute("freckle", "Fac"))
        weight = g.math("MULTIPLY", weight, 0.62 * spots)
        r, gr, b = linear(spec.skin.rgb)
        colour = g.mix(weight, colour, (r * 0.55, gr * 0.38, b * 0.28, 1.0))
    bump = g.call(
        "ShaderNodeBump", {"Height": g.noise(npos, 9.0, 4.0), "Strength": 0.10, "Distance": 0.002}
    )
    shader = g.call(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": colour,
            "Roughness": g.attribute("rough", "Fac"),
            "Specular IOR Level": 0.42,
            "Subsurface Weight": 0.35,
            "Subsurface Radius": (1.0, 0.38, 0.22),
            "Subsurface Scale": 0.004,
            "Normal": bump.outputs[0],
        },
        subsurface_method="RANDOM_WALK",
    )
    return g.surface(shader.outputs[0])


def plain_material(
    name: str, rgb: Rgb, roughness: float, *, coat: float = 0.0, subsurface: float = 0.0
) -> bpy.types.Material:
    """One colour (sRGB) all over: teeth, tongue, the bust's floor."""
    g = Graph(name)
    inputs = {
        "Base Color": (*linear(rgb), 1.0), "Roughness": roughness, "Coat Weight": coat,
        "Coat Roughness": 0.08, "Subsurface Weight": subsurface,
        "Subsurface Radius": (1.0, 0.6, 0.5), "Subsurface Scale": 0.002,
    }  # fmt: skip
    return g.surface(g.call("ShaderNodeBsdfPrincipled", inputs).outputs[0])
