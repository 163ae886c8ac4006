"""Skin: broad colours painted at the vertices in numpy, fine ones in a picture (`skin_map`).

Everything is a function of the template position `npos` (cm), so make-up, freckles and redness
stay in place under any face and expression.
"""

from __future__ import annotations

import bpy
import numpy as np

from blender.hair_mask import beard_density, scalp_tint, smoothstep
from blender.nodes import Graph
from blender.skin_map import BOTTOM, HEIGHT, LEFT, STEP, WIDTH, skin_picture
from blender.spec_types import AvatarSpec, Rgb, linear

_BEARD_TINT = {"none": 0.0, "stubble": 0.34, "full": 0.60}
_MOUTH = (0.30, 0.075, 0.07)  # the inside of cheeks and lips, linear


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


def zones(npos: np.ndarray) -> np.ndarray:
    """A face's three zones as a tint (N, 3): golden brow, ruddy middle, bluish jaw."""
    y, z = npos[:, 1], npos[:, 2]
    face = smoothstep(4.0, 9.0, z)
    brow = face * smoothstep(1.5, 4.0, y)
    middle = face * np.exp(-(((y + 2.5) / 2.6) ** 2))
    jaw = face * smoothstep(-6.5, -9.0, y)
    out = np.ones((len(npos), 3))
    for weight, tint in (
        (brow, (1.02, 1.00, 0.93)), (middle, (1.02, 0.94, 0.93)), (jaw, (0.98, 0.985, 0.99)),
    ):  # fmt: skip
        out *= 1 + weight[:, None] * (np.array(tint) - 1)
    return out


def paint(
    npos: np.ndarray, masks: dict[str, np.ndarray], spec: AvatarSpec
) -> dict[str, np.ndarray]:
    """Point attributes of the skin over npos (N, 3): 'albedo' (N, 4) linear, 'rough' and 'front'.

    masks 'lips' and 'mouth' (N,) come from the body model; 'front' (N,) is where the picture of
    `skin_map` lies.
    """
    skin = spec.skin
    base = np.array(linear(skin.rgb))
    colour = base * zones(npos)

    def over(paint_rgb: np.ndarray | Rgb, weight: np.ndarray) -> None:
        nonlocal colour
        colour = colour + np.clip(weight, 0, 1)[:, None] * (np.asarray(paint_rgb) - colour)

    over(base * (1.04, 0.58, 0.54), redness(npos) * 0.62 * skin.redness)
    over(base * (0.72, 0.56, 0.57), eye_shade(npos) * (0.30 + 0.50 * skin.under_eye))
    # Necks and the shade under the jaw are a little yellower than faces.
    over(base * (0.95, 0.91, 0.85), smoothstep(-9.0, -13.0, npos[:, 1]) * 0.6)
    grown = "full" if spec.beard.style == "none" else spec.beard.style  # or its shadow
    beard = beard_density(npos, grown)
    hair_rgb = np.array(linear(spec.hair.rgb)) * (1 - spec.hair.grey) + 0.30 * spec.hair.grey
    beard_rgb = np.array(linear(spec.beard.rgb)) * (1 - spec.beard.grey) + 0.28 * spec.beard.grey
    over(base * 0.35 + 0.65 * beard_rgb, beard * _BEARD_TINT.get(spec.beard.style, 0.5))
    if spec.beard.style == "none":
        over(base * (0.60, 0.64, 0.70), beard * 0.42 * skin.shave)
    tint = scalp_tint(npos, spec.hair.style, spec.hair.recede)
    over(base * 0.03 + 0.40 * hair_rgb, tint)  # in the hair's own shade
    lips = smoothstep(0.25, 0.75, masks["lips"])
    over(linear(skin.lip_rgb), lips * 0.92)
    over(_MOUTH, smoothstep(0.3, 0.8, masks["mouth"]))
    rough = 0.40 + 0.20 * skin.roughness + 0.35 * tint
    rough = rough - 0.08 * _blob(npos, (0.0, -3.0, 16.0), (1.6, 2.5, 2.0)) - 0.12 * lips
    rough = (
        rough - 0.05 * _blob(npos, (0.0, 4.0, 15.0), (3.5, 2.0, 2.5)) - 0.10 * skin.lipstick * lips
    )
    flat = np.clip(colour, 0.0, 1.0)
    return {
        "albedo": np.concatenate([flat, np.ones((len(flat), 1))], axis=1),
        "rough": rough,
        "front": smoothstep(4.0, 7.5, npos[:, 2]),
    }


def _picture(spec: AvatarSpec) -> bpy.types.Image:
    """`skin_map.skin_picture` as an image in Blender."""
    image = bpy.data.images.new("skin", WIDTH, HEIGHT, alpha=True, float_buffer=True, is_data=True)
    image.alpha_mode = "CHANNEL_PACKED"
    image.pixels.foreach_set(skin_picture(spec).ravel())
    image.update()
    return image


def skin_material(spec: AvatarSpec) -> bpy.types.Material:
    """The skin's shader; reads the attributes of `paint` and 'npos'."""
    g = Graph("skin")
    npos = g.attribute("npos")
    across, up = 1 / (WIDTH * STEP), 1 / (HEIGHT * STEP)
    place = g.call(
        "ShaderNodeVectorMath",
        {0: npos, 1: (across, up, 0.0), 2: (-LEFT * across, -BOTTOM * up, 0.0)},
        operation="MULTIPLY_ADD",
    ).outputs[0]
    drawn = g.call(
        "ShaderNodeTexImage", {"Vector": place},
        image=_picture(spec), interpolation="Cubic", extension="EXTEND",
    )  # fmt: skip
    front = g.attribute("front", "Fac")
    broad = g.remap(g.noise(npos, 0.35, 2.0), 0.3, 0.7, 0.95, 1.04)
    grain = g.call("ShaderNodeCombineColor", {0: broad, 1: broad, 2: broad}).outputs[0]
    colour = g.mix(1.0, g.attribute("albedo", "Color"), grain, "MULTIPLY")
    colour = g.mix(front, colour, drawn.outputs["Color"], "MULTIPLY")
    height = g.math("MULTIPLY", g.math("SUBTRACT", drawn.outputs["Alpha"], 0.5), front)
    height = g.math("ADD", height, g.math("MULTIPLY", g.noise(npos, 7.0, 2.0), 0.10))
    bump = g.call("ShaderNodeBump", {"Height": height, "Strength": 1.0, "Distance": 0.0015})
    shader = g.call(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": colour,
            "Roughness": g.attribute("rough", "Fac"),
            "Specular IOR Level": 0.40,
            "Subsurface Weight": 0.22,
            "Subsurface Radius": (1.0, 0.36, 0.20),
            "Subsurface Scale": 0.005,
            "Normal": bump.outputs[0],
        },
        subsurface_method="RANDOM_WALK",
    )
    return g.surface(shader.outputs[0])


def plain_material(
    name: str,
    rgb: Rgb,
    roughness: float,
    *,
    coat: float = 0.0,
    subsurface: float = 0.0,
    glow: float = 0.0,
) -> bpy.types.Material:
    """One colour (sRGB) all over: teeth, tongue, the bust's floor.

    `glow` is light of its own, for what lips shade more than a face this bright should have.
    """
    g = Graph(name)
    inputs = {
        "Base Color": (*linear(rgb), 1.0), "Roughness": roughness, "Coat Weight": coat,
        "Coat Roughness": 0.08, "Subsurface Weight": subsurface,
        "Subsurface Radius": (1.0, 0.6, 0.5), "Subsurface Scale": 0.002,
        "Emission Color": (*linear(rgb), 1.0), "Emission Strength": glow,
    }  # fmt: skip
    return g.surface(g.call("ShaderNodeBsdfPrincipled", inputs).outputs[0])
