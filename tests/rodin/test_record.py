"""Samples survive the round trip; damaged and hostile members are named."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rodin import codecs, record
from rodin.codecs import Limits
from rodin.record import RecordError, TriplaneSample, ViewsSample


def make_views(seed: int = 0, views: int = 3, size: tuple[int, int] = (8, 6)) -> ViewsSample:
    rng = np.random.default_rng(seed)
    height, width = size
    rgba = rng.integers(0, 256, (views, height, width, 4), np.uint8)
    rgba[:, :2, :, 3] = 0
    depth = rng.uniform(3.5, 5.5, (views, height, width)).astype(np.float32)
    depth[:, :2] = 0
    poses = rng.normal(size=(views, 4, 4))
    lenses = rng.normal(size=(views, 3, 3))
    meta = {"seed": seed, "caption": "übung", "attributes": {"hair": "short", "age": 41.5}}
    return ViewsSample(f"avatar_{seed:06d}", meta, poses, lenses, rgba, depth)


def make_triplane(seed: int = 0) -> TriplaneSample:
    rng = np.random.default_rng(seed)
    views = make_views(seed, 2)
    planes = rng.normal(size=(3, 4, 8, 8)).astype(np.float16)
    portrait = rng.integers(0, 256, (16, 16, 4), np.uint8)
    portrait[..., 3] |= 1
    return TriplaneSample(
        views.key, {"psnr": 27.5}, planes, portrait, views.rgba, views.camera_to_world,
        views.intrinsics,
    )  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_views_round_trip(seed: int, views: int, size: tuple[int, int]) -> None:
    sample = make_views(seed, views, size)
    members = record.encode(sample)
    back = record.decode_views(members)
    assert back.key == sample.key
    assert back.meta == sample.meta
    np.testing.assert_array_equal(back.camera_to_world, sample.camera_to_world)
    np.testing.assert_array_equal(back.intrinsics, sample.intrinsics)
    visible = sample.rgba[..., 3:] > 0
    np.testing.assert_array_equal(back.rgba, np.where(visible, sample.rgba, 0))
    assert back.depth is not None and sample.depth is not None
    np.testing.assert_array_equal(back.depth > 0, sample.depth > 0)
    assert np.abs(back.depth - sample.depth).max() <= 2.0 / 65534
    assert record.encode(sample) == members


def test_triplane_round_trip() -> None:
    sample = make_triplane(3)
    members = record.encode(sample)
    back = record.decode_triplane({**members, "__key__": sample.key, "__url__": "x.tar"})
    np.testing.assert_array_equal(back.triplane, sample.triplane)
    np.testing.assert_array_equal(back.portrait, sample.portrait)
    assert back.triplane.dtype == np.float16 and back.rgba.shape == sample.rgba.shape
    assert sorted(members) == [
        "cameras.json", "meta.json", "portrait.webp", "triplane.npy", "view000.webp",
        "view001.webp",
    ]  # fmt: skip
    assert list(members) == sorted(members)


def test_all_transparent_depth_and_constant_depth() -> None:
    sample = make_views(1)
    assert sample.depth is not None
    for level in (0.0, 4.25):
        flat = ViewsSample(
            sample.key, {}, sample.camera_to_world, sample.intrinsics, sample.rgba,
            np.full_like(sample.depth, level),
        )  # fmt: skip
        back = record.decode_views(record.encode(flat))
        np.testing.assert_array_equal(back.depth, flat.depth)


def test_colour_under_alpha_zero_is_cleared() -> None:
    image = np.full((4, 4, 4), 200, np.uint8)
    image[0, :, 3] = 0
    back = codecs.decode_webp(codecs.encode_webp(image), Limits())
    assert (back[0] == 0).all() and (back[1:] == image[1:]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop("view001.webp"), ["view001.webp", "truncated"]),
        (lambda m: m.pop("meta.json"), ["meta.json", "truncated"]),
        (lambda m: m.update({"view000.webp": m["view000.webp"][:-9]}), ["view000.webp", "trunc"]),
        (lambda m: m.update({"view000.webp": b"GIF89a" * 9}), ["no WebP"]),
        (lambda m: m.update({"view003.webp": m["view000.webp"]}), ["view003.webp", "no camera"]),
        (lambda m: m.update({"meta.json": b"[" * 100_000}), ["meta.json", "not JSON"]),
        (lambda m: m.update({"meta.json": b'{"a": NaN}'}), ["meta.json", "NaN"]),
        (lambda m: m.update({"depth000.png": m["view000.webp"]}), ["depth000.png", "no PNG"]),
        (lambda m: m.update({"__key__": "other"}), ["other", "avatar_000000"]),
    ],
)
def test_damaged_members_are_named(change, words) -> None:
    members = record.encode(make_views())
    change(members)
    with pytest.raises(RecordError) as caught:
        record.decode_views(members)
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in words), text


def edit_json(members: dict[str, bytes], name: str, **changes) -> dict[str, bytes]:
    return {**members, name: json.dumps({**json.loads(members[name]), **changes}).encode()}


def test_other_schema_version_names_both() -> None:
    members = edit_json(record.encode(make_views()), "meta.json", schema_version=99)
    with pytest.raises(RecordError, match=r"schema version '99', this code reads 1; .*release"):
        record.decode_views(members)


def test_wrong_kind_is_told() -> None:
    with pytest.raises(RecordError, match="'triplane' sample, 'views' is needed"):
        record.decode_views(record.encode(make_triplane()))


def test_hostile_cameras() -> None:
    members = record.encode(make_views())
    for changes, words in [
        ({"width": 10**9}, "1-4096 a side"),
        ({"width": True}, "whole numbers"),
        ({"cameras": [{}] * 5000}, "no list of 0-1024"),
        ({"cameras": [{"camera_to_world": [[1]], "intrinsics": []}]}, "4x4"),
        ({"cameras": "abc"}, "no list"),
        ({"depth": {"near": 5, "far": "x"}}, "near and far"),
    ]:
        with pytest.raises(RecordError, match=words):
            record.decode_views(edit_json(members, "cameras.json", **changes))


def npy(descr: str, shape: tuple[int, ...], data: bytes = b"", extra: str = "") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}{extra}}}".encode()
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy("'<f2'", (3, 32, 4000, 4000)), "needs"),
        (npy("'<f2'", (3, 10**9, 8, 8)), "past 1024"),
        (npy("'<f2'", (3, 4, 10**9, 10**9)), "past 1024"),
        (npy("'<f4'", (3, 1, 2, 2), bytes(48)), "float16"),
        (npy("'|O'", (3, 1, 2, 2), b"cos\nsystem\n"), "pickled"),
        (npy("'<f2'", (3, -4, 8, 8)), "shape"),
        (npy("'<f2'", (3, 1, 2, 2), bytes(23)), "has"),
        (npy("'<f2'", (3, 1, 2, 2), np.full(12, np.nan, np.float16).tobytes()), "NaN"),
        (npy("'<f2'", (3, 1, 2, 2), bytes(24), ", 'x': " + "(" * 3000), "no npy"),
        (b"\x93NUMPY\x09\x00abc", "no npy|version"),
        (b"", "no npy"),
    ],
)
def test_hostile_npy_is_refused_before_allocation(data: bytes, words: str) -> None:
    members = {**record.encode(make_triplane()), "triplane.npy": data}
    with pytest.raises(RecordError, match=rf"triplane\.npy.*({words})"):
        record.decode_triplane(members)


def test_image_bombs_are_refused_from_the_header() -> None:
    members = record.encode(make_views())
    bomb = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0)
    bomb += b"\xfe\x3f\x00\xfe\x3f\x00"
    with pytest.raises(RecordError, match=r"view000\.webp.*16383x16383"):
        record.decode_views({**members, "view000.webp": bomb})
    png = io.BytesIO()
    Image.fromarray(np.zeros((1, 6000), np.uint16)).save(png, "PNG")
    with pytest.raises(RecordError, match=r"depth000\.png.*6000x1"):
        record.decode_views({**members, "depth000.png": png.getvalue()})
    with pytest.raises(RecordError, match="max_sample_bytes"):
        record.decode_views(members, Limits(max_sample_bytes=200))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key": "a.b"}, "rename"),
        ({"key": "../x"}, "rename"),
        ({"meta": {"kind": 1}}, "reserved"),
        ({"meta": {"x": float("nan")}}, "plain JSON"),
        ({"intrinsics": np.zeros((2, 3, 3))}, "3 images"),
        ({"depth": np.full((3, 8, 6), np.nan, np.float32)}, "NaN"),
        ({"rgba": np.zeros((3, 8, 6, 3), np.uint8)}, "uint8"),
        ({"rgba": np.zeros((3, 8, 6, 4), np.float32)}, "uint8"),
    ],
)
def test_what_cannot_be_kept_is_refused_on_encoding(fields, words) -> None:
    sample = make_views()
    values = {**sample.__dict__, **fields}
    with pytest.raises(RecordError, match=words):
        record.encode(ViewsSample(**values))


def test_planes_past_float16_are_refused() -> None:
    sample = make_triplane()
    values = {**sample.__dict__, "triplane": np.full((3, 4, 8, 8), 1e6, np.float32)}
    with pytest.raises(RecordError, match="float16"):
        record.encode(TriplaneSample(**values))
