"""Samples <-> `{extension: bytes}`: what the members of a shard mean.

Two kinds of sample, both with straight-alpha sRGB images and OpenCV cameras in the avatar frame:

- *views*: `meta.json`, `cameras.json`, `viewNNN.webp`, optional `depthNNN.png`;
- *tri-plane*: `triplane.npy`, `portrait.webp`, `viewNNN.webp`, `cameras.json`, `meta.json`.

Packing the members into tars is the business of whoever stores them; this module knows bytes only.
Members it does not know (`normalNNN.png`, `segNNN.png`, ...) are left alone.

Legend: V views, K supervision views, H W pixels, P portrait side, C channels, R texels a side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rodin.codecs import (
    CodecError,
    Limits,
    decode_depth,
    decode_json,
    decode_planes,
    decode_webp,
    depth_range,
    encode_depth,
    encode_json,
    encode_npy,
    encode_webp,
    webp_size,
)

SCHEMA_VERSION = 1
_RESERVED = ("schema_version", "key", "kind")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")
_LIMITS = Limits()


class RecordError(ValueError):
    """A sample breaks the schema. One line: key, member, what is wrong, what to do."""

    def __init__(self, key: str, member: str, problem: str, fix: str) -> None:
        super().__init__(f"sample {key!r}, member {member!r}: {problem}; {fix}")
        self.key, self.member, self.problem, self.fix = key, member, problem, fix

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.member, self.problem, self.fix)


@dataclass(frozen=True, eq=False)
class ViewsSample:
    """Posed images of one avatar, as rendered."""

    key: str  # letters, digits, _ and -; unique in a dataset
    meta: dict[str, Any]  # seed, attributes, caption, licence, versions: plain JSON
    camera_to_world: np.ndarray  # (V, 4, 4) float64
    intrinsics: np.ndarray  # (V, 3, 3) float64, pixels
    rgba: np.ndarray  # (V, H, W, 4) uint8 sRGB, straight alpha
    depth: np.ndarray | None = None  # (V, H, W) float32 box units along camera z, 0 = nothing


@dataclass(frozen=True, eq=False)
class TriplaneSample:
    """A fitted avatar with its portrait and a few views for image-level losses."""

    key: str  # as in ViewsSample
    meta: dict[str, Any]  # held-out PSNR and SSIM, hashes of decoder and settings: plain JSON
    triplane: np.ndarray  # (3, C, R, R) float16, planes uv, wu, vw
    portrait: np.ndarray  # (P, P, 4) uint8 sRGB, straight alpha
    rgba: np.ndarray  # (K, H, W, 4) uint8 sRGB, straight alpha
    camera_to_world: np.ndarray  # (K, 4, 4) float64
    intrinsics: np.ndarray  # (K, 3, 3) float64, pixels


@dataclass
class _Reader:
    """Members of one sample with an allowance of bytes; turns codec errors into RecordError."""

    key: str
    members: Mapping[str, bytes]
    limits: Limits
    spent: int = 0
    fix: str = field(default="download or write this sample again")

    def fail(self, member: str, problem: str, fix: str | None = None) -> RecordError:
        return RecordError(self.key, member, problem, fix or self.fix)

    def get(self, member: str) -> bytes:
        data = self.members.get(member)
        if data is None:
            raise self.fail(member, "is missing: the sample is truncated")
        return bytes(data)

    def json(self, member: str) -> dict[str, Any]:
        try:
            return decode_json(self.get(member), self.limits)
        except CodecError as error:
            raise self.fail(member, str(error)) from None

    def spend(self, member: str, size: int) -> None:
        self.spent += size
        if self.spent > self.limits.max_sample_bytes:
            raise self.fail(
                member,
                f"the sample needs {self.spent} bytes, past {self.limits.max_sample_bytes}",
                "raise Limits.max_sample_bytes if the sample is trusted",
            )


def encode(sample: ViewsSample | TriplaneSample) -> dict[str, bytes]:
    """The members of a sample; the same arrays give the same bytes.

    Raises RecordError for a bad key, shapes that disagree, values that cannot be kept.
    """
    if not _KEY.fullmatch(sample.key):
        raise RecordError(
            sample.key, "key", "is not 1-80 letters, digits, _ or -", "rename the sample"
        )
    taken = [name for name in _RESERVED if name in sample.meta]
    if taken:
        raise RecordError(sample.key, "meta.json", f"{taken[0]!r} is reserved", "rename the entry")
    members: dict[str, bytes] = {}
    kind = "views" if isinstance(sample, ViewsSample) else "triplane"
    meta = {**sample.meta, "schema_version": SCHEMA_VERSION, "key": sample.key, "kind": kind}
    _put(members, sample.key, "meta.json", lambda: encode_json(meta))
    cameras = _encode_views(sample, members)
    if isinstance(sample, ViewsSample):
        if not len(sample.rgba):
            raise RecordError(sample.key, "view000.webp", "no views", "render at least one")
        if sample.depth is not None:
            cameras["depth"] = _encode_depths(sample, sample.depth, members)
    else:
        _put(members, sample.key, "triplane.npy", lambda: _encode_planes(sample.triplane))
        _put(members, sample.key, "portrait.webp", lambda: encode_webp(sample.portrait))
    _put(members, sample.key, "cameras.json", lambda: encode_json(cameras))
    return dict(sorted(members.items()))


def decode_views(members: Mapping[str, bytes], limits: Limits = _LIMITS) -> ViewsSample:
    """Members (`{"view000.webp": bytes, ...}`) -> sample. Keys that start with `__` are ignored.

    Raises RecordError for anything missing, damaged, oversized or of another schema version.
    """
    reader, meta = _open(members, "views", limits)
    to_world, intrinsics, rgba, cameras = _decode_views(reader)
    if not len(rgba):
        raise reader.fail("cameras.json", "lists no cameras")
    depth = None
    if cameras.get("depth") is not None:
        depth = _decode_depths(reader, cameras["depth"], rgba.shape[:3])
    return ViewsSample(reader.key, meta, to_world, intrinsics, rgba, depth)


def decode_triplane(members: Mapping[str, bytes], limits: Limits = _LIMITS) -> TriplaneSample:
    """Members of a tri-plane sample -> sample; errors as `decode_views`."""
    reader, meta = _open(members, "triplane", limits)
    data = reader.get("triplane.npy")
    reader.spend("triplane.npy", len(data))
    try:
        planes = decode_planes(data, limits)
    except CodecError as error:
        raise reader.fail("triplane.npy", str(error)) from None
    portrait = _decode_image(reader, "portrait.webp", None)
    to_world, intrinsics, rgba, _ = _decode_views(reader)
    return TriplaneSample(reader.key, meta, planes, portrait, rgba, to_world, intrinsics)


# -- halves of encode --------------------------------------------------------------------------


def _put(members: dict[str, bytes], key: str, name: str, make: Any) -> None:
    try:
        members[name] = make()
    except CodecError as error:
        raise RecordError(key, name, str(error), "correct it before encoding") from None


def _encode_planes(planes: np.ndarray) -> bytes:
    if planes.ndim != 4 or planes.shape[0] != 3 or planes.shape[2] != planes.shape[3]:
        raise CodecError(f"needs (3, C, R, R), got {planes.shape}")
    with np.errstate(over="ignore"):
        half = planes.astype(np.float16)
    if not np.isfinite(half).all():
        raise CodecError("has values that float16 cannot hold (NaN or past 65504)")
    return encode_npy(half)


def _encode_views(sample: ViewsSample | TriplaneSample, members: dict[str, bytes]) -> dict:
    """Put the views into `members`; returns the content of cameras.json."""
    to_world = np.asarray(sample.camera_to_world, np.float64)
    intrinsics = np.asarray(sample.intrinsics, np.float64)
    count = len(sample.rgba)
    if sample.rgba.ndim != 4:
        raise RecordError(
            sample.key, "view000.webp", f"rgba is {sample.rgba.shape}", "pass (V, H, W, 4) uint8"
        )
    if to_world.shape != (count, 4, 4) or intrinsics.shape != (count, 3, 3):
        raise RecordError(
            sample.key,
            "cameras.json",
            f"{count} images but camera_to_world {to_world.shape}, intrinsics {intrinsics.shape}",
            "pass one (4, 4) and one (3, 3) per image",
        )
    for index in range(count):
        name = f"view{index:03d}.webp"
        _put(members, sample.key, name, lambda image=sample.rgba[index]: encode_webp(image))
    cameras = [
        {"camera_to_world": pose.tolist(), "intrinsics": lens.tolist()}
        for pose, lens in zip(to_world, intrinsics, strict=True)
    ]
    height, width = sample.rgba.shape[1:3]
    return {
        "schema_version": SCHEMA_VERSION,
        "convention": "OpenCV camera-to-world, avatar frame, pixel centres at +0.5",
        "width": width,
        "height": height,
        "cameras": cameras,
    }


def _encode_depths(sample: ViewsSample, depth: np.ndarray, members: dict[str, bytes]) -> dict:
    if depth.shape != sample.rgba.shape[:3]:
        raise RecordError(
            sample.key,
            "depth000.png",
            f"depth {depth.shape} beside rgba {sample.rgba.shape}",
            "pass one depth image per view, same size",
        )
    try:
        near, far = depth_range(depth)
    except CodecError as error:
        raise RecordError(sample.key, "depth000.png", str(error), "clean the depth") from None
    for index in range(len(depth)):
        name = f"depth{index:03d}.png"
        _put(members, sample.key, name, lambda i=index: encode_depth(depth[i], near, far))
    return {"near": near, "far": far, "unit": "box units along camera z; level 0 is nothing"}


# -- halves of decode --------------------------------------------------------------------------


def _open(
    members: Mapping[str, bytes], kind: str, limits: Limits
) -> tuple[_Reader, dict[str, Any]]:
    outer = members.get("__key__")
    reader = _Reader(str(outer)[:80] if outer is not None else "?", members, limits)
    meta = reader.json("meta.json")
    version = meta.get("schema_version")
    if version != SCHEMA_VERSION:
        raise reader.fail(
            "meta.json",
            f"schema version {str(version)[:20]!r}, this code reads {SCHEMA_VERSION}",
            "use the release that wrote it, or make the dataset again",
        )
    key = meta.get("key")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise reader.fail("meta.json", f"bad key {str(key)[:80]!r}")
    if outer is not None and outer != key:
        raise reader.fail("meta.json", f"belongs to sample {key!r}")
    reader.key = key
    if meta.get("kind") != kind:
        raise reader.fail(
            "meta.json",
            f"is a {str(meta.get('kind'))[:20]!r} sample, {kind!r} is needed",
            "give this stage the other stage's dataset",
        )
    return reader, {name: value for name, value in meta.items() if name not in _RESERVED}


def _decode_image(reader: _Reader, name: str, size: tuple[int, int] | None) -> np.ndarray:
    """One image; `size` is the (width, height) that cameras.json promised."""
    data = reader.get(name)
    try:
        found = webp_size(data)
        if size is not None and found != size:
            raise CodecError(f"is {found[0]}x{found[1]}, cameras.json says {size[0]}x{size[1]}")
        reader.spend(name, 4 * found[0] * found[1])
        return decode_webp(data, reader.limits)
    except CodecError as error:
        raise reader.fail(name, str(error)) from None


def _decode_views(reader: _Reader) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    cameras = reader.json("cameras.json")
    entries, width, height = (cameras.get(name) for name in ("cameras", "width", "height"))
    side = reader.limits.max_side
    if not isinstance(entries, list) or len(entries) > reader.limits.max_views:
        raise reader.fail("cameras.json", f"'cameras' is no list of 0-{reader.limits.max_views}")
    if not (type(width) is int and type(height) is int):
        raise reader.fail("cameras.json", "'width' and 'height' are not both whole numbers")
    if not (0 < width <= side and 0 < height <= side):
        raise reader.fail("cameras.json", f"images of {width}x{height} are not 1-{side} a side")
    poses = _matrices(reader, entries, "camera_to_world", 4)
    lenses = _matrices(reader, entries, "intrinsics", 3)
    names = [f"view{index:03d}.webp" for index in range(len(entries))]
    surplus = [name for name in reader.members if re.fullmatch(r"view\d+\.webp", name)]
    if len(surplus) > len(names):
        raise reader.fail(max(surplus), f"has no camera: cameras.json lists {len(names)}")
    images = [_decode_image(reader, name, (width, height)) for name in names]
    rgba = np.stack(images) if images else np.zeros((0, height, width, 4), np.uint8)
    return poses, lenses, rgba, cameras


def _matrices(reader: _Reader, entries: list[Any], name: str, size: int) -> np.ndarray:
    try:
        rows = [entry[name] for entry in entries]
        if any(len(row) != size or any(len(line) != size for line in row) for row in rows):
            raise ValueError
        matrices = np.array(rows, np.float64).reshape(-1, size, size)
    except (KeyError, TypeError, ValueError):
        raise reader.fail("cameras.json", f"{name!r} is not {size}x{size} numbers") from None
    if not np.isfinite(matrices).all():
        raise reader.fail("cameras.json", f"{name!r} has values that are not finite")
    return matrices


def _decode_depths(reader: _Reader, info: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        near, far = float(info["near"]), float(info["far"])
    except (KeyError, TypeError, ValueError):
        raise reader.fail("cameras.json", "'depth' lacks the numbers near and far") from None
    layers = []
    for index in range(shape[0]):
        name = f"depth{index:03d}.png"
        data = reader.get(name)
        reader.spend(name, 4 * shape[1] * shape[2])
        try:
            layer = decode_depth(data, near, far, reader.limits)
            if layer.shape != tuple(shape[1:]):
                raise CodecError(f"is {layer.shape} pixels, the views are {tuple(shape[1:])}")
        except CodecError as error:
            raise reader.fail(name, str(error)) from None
        layers.append(layer)
    return np.stack(layers)
