"""What can be wrong with a drawn person, found in class maps, depth and landmarks (no Blender).

Everything here reads small images of `blender.passes`; lengths in pixels refer to the sizes in
`blender.validate` (about 3 mm a pixel from afar, 1 mm in the close-up of the face).
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from blender.cameras import Cameras
from blender.labels import LABELS
from blender.spec_types import AvatarSpec

_RIGHT_BROW, _LEFT_BROW = range(17, 22), range(22, 27)
_RIGHT_EYE, _LEFT_EYE = range(36, 42), range(42, 48)
_FACE = range(27, 68)  # nose, eyes, mouth
_LIPS = range(48, 60)
# Styles through which the scalp shows as it should.
_SHOWS_SCALP = (
    "bald", "buzz", "crew", "flattop", "horseshoe", "undercut", "mohawk", "cornrows", "coily",
    "quiff", "locs",
)  # fmt: skip
_OPENING = 300  # px: larger patches of skin within clothes are armholes and necklines
_NEAR_SCALP = 0.032  # box units (8 mm) about points of the scalp that are 1 cm apart
_BEFORE = 0.06  # box units (15 mm): hair that hangs so far before a brim is not through it
_BROW_FREE = 0.4  # share of the brows' place that neither hair nor headwear nor glasses hide
_ABOVE = (LABELS["hair"], LABELS["necklace"])  # what hangs over the edge of clothes
_CLOSED = 0.45  # weight of a blink or squint from which little or nothing of an eye shows


def islands(
    labels: np.ndarray,
    inner: str,
    outer: str,
    least: int,
    bridge: int = 0,
    depth: np.ndarray | None = None,
) -> int:
    """Pixels of class `inner` in patches of `least` to 300 that touch `outer` alone.

    labels (H, W) uint8. Nine tenths of the patch's rim have to be `outer`. With `bridge`, patches
    with gaps of up to 2 `bridge` px are one, as what tapers off is drawn as dashes, and those that
    reach hair or a necklace are left out, as they may go on under it. With depth (H, W) a patch
    that hangs in front of its rim is left out.
    """
    mask = labels == LABELS[inner]
    grown_mask = ndimage.binary_dilation(mask, np.ones((3, 3)), bridge) if bridge else mask
    patches = np.where(mask, ndimage.label(grown_mask)[0], 0)
    total = 0
    for index, where in enumerate(ndimage.find_objects(patches), 1):
        margin = 1 + 2 * bridge
        grown = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in where)
        patch = patches[grown] == index
        size = int(patch.sum())
        if not least <= size <= _OPENING:
            continue
        rim = ndimage.binary_dilation(patch) & ~patch
        around = labels[grown][rim]
        if (around == LABELS[outer]).mean() <= 0.9:
            continue
        if bridge:
            near = ndimage.binary_dilation(patch, np.ones((3, 3)), 2 * bridge)
            if np.isin(labels[grown][near], _ABOVE).any():  # it may go on below
                continue
        if depth is not None:
            before = np.median(depth[grown][rim]) - np.median(depth[grown][patch])
            if before > _BEFORE:
                continue
        total += size
    return total


def without_straps(labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) with cloth that is less than 6 px (18 mm) wide taken for the skin below."""
    cloth = labels == LABELS["clothes"]
    thin = cloth & ~ndimage.binary_opening(cloth, np.ones((6, 6)))
    return np.where(thin, LABELS["skin"], labels).astype(labels.dtype)


def floating(mask: np.ndarray) -> float:
    """Share of a silhouette (H, W) that is not connected to its largest part (gaps of 3 px are)."""
    parts, count = ndimage.label(ndimage.binary_dilation(mask, iterations=2))
    if count < 2:
        return 0.0
    sizes = np.bincount(parts[mask], minlength=count + 1)[1:]
    return float(1.0 - sizes.max() / max(sizes.sum(), 1))


def polygon(points: np.ndarray, shape: tuple[int, int], margin: int) -> np.ndarray:
    """The filled convex hull of points (P, 2) x, y as a mask, grown by `margin` pixels."""
    from scipy.spatial import ConvexHull, QhullError

    canvas = Image.new("1", (shape[1], shape[0]))
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # all on one line
        corners = points
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in corners], fill=1)
    mask = np.asarray(canvas, bool)
    return ndimage.binary_dilation(mask, iterations=margin) if margin else mask


def places(depth: np.ndarray, cameras: Cameras) -> np.ndarray:
    """What pixels of depth (V, H, W) see (V, H, W, 3) in the avatar frame; 0 where nothing is."""
    _, height, width = depth.shape
    row, column = np.mgrid[:height, :width] + 0.5
    k = cameras.intrinsics[:, :, :, None, None]
    x = (column - k[:, 0, 2]) / k[:, 0, 0]
    y = (row - k[:, 1, 2]) / k[:, 1, 1]
    local = np.stack([x, y, np.ones_like(x), 1 / np.maximum(depth, 1e-9)]) * depth
    seen = np.einsum("vij,jvhw->vhwi", cameras.camera_to_world[:, :3], local)
    return np.where(depth[..., None] > 0, seen, 0.0)


def face_defects(spec: AvatarSpec, labels: np.ndarray, pixels: np.ndarray) -> list[str]:
    """Defects in the close-up: labels (H, W), landmarks in it (68, 2)."""
    found = []
    shape = (labels.shape[0], labels.shape[1])
    face = polygon(pixels[_FACE], shape, 0)
    if (labels[face] == LABELS["hair"]).mean() > 0.04:
        found.append("hair through the face")
    if not (labels[face] > 0).mean() > 0.98:
        found.append("hole in the face")
    eyes = labels == LABELS["eyes"]
    lids = polygon(pixels[_RIGHT_EYE], shape, 2) | polygon(pixels[_LEFT_EYE], shape, 2)
    if (eyes & ~lids).sum() > max(4, 0.04 * eyes.sum()):
        found.append("eye outside its lids")
    shut = max((v for n, v in spec.expression.actions if "Blink" in n or "Squint" in n), default=0)
    if eyes.sum() < 30 and shut < _CLOSED and spec.accessories.glasses == "none":
        found.append("eyes hidden")
    mouth = polygon(pixels[_LIPS], shape, 3)
    out = [n for n, v in spec.expression.actions if n == "tongueOut" and v > 0]
    for part in ("teeth",) if out else ("teeth", "tongue"):
        if ((labels == LABELS[part]) & ~mouth).sum() > 4:
            found.append(f"{part} through the face")
    return found


def brows_bare(labels: np.ndarray, pixels: np.ndarray) -> bool:
    """Whether the brows' place in the close-up (H, W) is open to the view; landmarks (68, 2)."""
    shape = (labels.shape[0], labels.shape[1])
    place = polygon(pixels[_RIGHT_BROW], shape, 4) | polygon(pixels[_LEFT_BROW], shape, 4)
    bare = np.isin(labels[place], (LABELS["skin"], LABELS["brows"]))
    return bool(bare.mean() > _BROW_FREE)


def missing_parts(
    spec: AvatarSpec, labels: np.ndarray, close: np.ndarray, pixels: np.ndarray
) -> list[str]:
    """What the spec names and no view shows.

    labels (V, H, W), the close-up (H, W), landmarks in it (68, 2). Brows are wanted where nothing
    hides their place.
    """

    def seen(name: str) -> int:
        return int((labels == LABELS[name]).sum() + (close == LABELS[name]).sum())

    worn = spec.accessories
    wanted = {"skin": 200, "clothes": 500}
    if brows_bare(close, pixels):
        wanted["brows"] = 10
    if spec.hair.style != "bald" and worn.headwear == "none":
        wanted["hair"] = 150
    if spec.beard.style != "none":
        wanted["facial_hair"] = 10
    if worn.glasses != "none":
        wanted["glasses"] = 40
    if worn.headwear != "none":
        wanted["headphones" if worn.headwear == "headphones" else "headwear"] = 80
    return [f"no {name} to be seen" for name, least in wanted.items() if seen(name) < least]


def scalp_holes(labels: np.ndarray, places: np.ndarray, scalp: np.ndarray) -> int:
    """Pixels of bare scalp in one view (H, W), in patches at least 6 px (18 mm) wide.

    places (H, W, 3) is what each pixel sees, scalp (P, 3) where hair must cover the skin; both in
    the avatar frame.
    """
    from scipy.spatial import cKDTree

    if not len(scalp):
        return 0
    skin = labels == LABELS["skin"]
    wide = skin & ndimage.binary_opening(skin, np.ones((6, 6)))
    gap, _ = cKDTree(scalp).query(places[wide], distance_upper_bound=_NEAR_SCALP)
    bare = np.zeros_like(wide)
    bare[wide] = np.isfinite(gap)
    return int(ndimage.binary_opening(bare, np.ones((6, 6))).sum())


def body_defects(
    spec: AvatarSpec,
    labels: np.ndarray,
    depth: np.ndarray,
    cameras: Cameras,
    scalp: np.ndarray,
) -> list[str]:
    """Defects in V views from afar: labels and depth (V, H, W), see `scalp_points` (P, 3)."""
    found = []
    hair_hides_skin = spec.hair.style not in _SHOWS_SCALP
    if max(islands(view, "skin", "clothes", 4, bridge=1) for view in labels) >= 6:
        found.append("skin through clothes")
    cloth = [without_straps(v) for v in labels] if spec.clothes.garment == "camisole" else labels
    if max(islands(view, "clothes", "skin", 4, bridge=1) for view in cloth) >= 6:
        found.append("clothes through skin")
    seen = places(depth, cameras)
    if hair_hides_skin and any(map(scalp_holes, labels, seen, [scalp] * len(labels))):
        found.append("hole in the hair")
    for inner in ("hair", "skin"):
        through = (
            islands(view, inner, "headwear", 2, depth=far)
            for view, far in zip(labels, depth, strict=True)
        )
        if max(through) >= 6:
            found.append(f"{inner} through headwear")
    if max(floating(view > 0) for view in labels) > 0.004:
        found.append("floating piece")
    if not (depth > 0).any() or np.abs(seen[depth > 0]).max() > 1.0:
        found.append("outside the box")
    height = labels.shape[1]
    head = (labels[:, : height // 2] > 0).mean(axis=(1, 2))
    if head.min() < 0.04:
        found.append("empty head")
    if (labels[:, 0] > 0).any() or (labels[:, : height // 2, [0, -1]] > 0).any():
        found.append("cropped head")
    return found
