"""Ground truth survives the round trip; damaged members are named."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from rodin.codecs import Limits
from rodin.record import RecordError
from rodin.truth import GroundTruth, decode_truth, encode_truth


def make_truth(seed: int = 0) -> GroundTruth:
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(2, 5, 4, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[:, 0] = 0.0
    labels = rng.integers(0, 5, (2, 5, 4), np.uint8)
    return GroundTruth(
        normals=normals.astype(np.float32),
        labels=labels,
        label_names={"background": 0, "skin": 1},
        landmarks=rng.normal(size=(68, 3)),
        landmark_pixels=rng.uniform(0, 5, (2, 68, 2)),
        landmark_visible=rng.random((2, 68)) > 0.5,
    )


def test_round_trip() -> None:
    truth = make_truth()
    members = encode_truth("a", truth)
    back = decode_truth(members)
    assert truth.normals is not None and back.normals is not None
    there = truth.normals.any(axis=-1)
    np.testing.assert_array_equal(back.normals.any(axis=-1), there)
    cosine = (back.normals * truth.normals).sum(axis=-1)[there]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.5
    np.testing.assert_array_equal(back.labels, truth.labels)
    assert back.label_names == truth.label_names
    np.testing.assert_allclose(back.landmarks, truth.landmarks, atol=1e-6)
    np.testing.assert_allclose(back.landmark_pixels, truth.landmark_pixels, atol=1e-3)
    np.testing.assert_array_equal(back.landmark_visible, truth.landmark_visible)
    assert encode_truth("a", truth) == members


def test_every_part_is_optional() -> None:
    assert encode_truth("a", GroundTruth()) == {}
    assert decode_truth({"view000.webp": b""}).labels is None
    only = encode_truth("a", GroundTruth(labels=make_truth().labels))
    assert sorted(only) == ["seg000.png", "seg001.png", "truth.json"]
    assert decode_truth(only).normals is None


def test_shapes_that_disagree_are_refused() -> None:
    truth = make_truth()
    with pytest.raises(RecordError, match="landmark_pixels"):
        encode_truth("a", GroundTruth(landmarks=truth.landmarks))
    with pytest.raises(RecordError, match="uint8"):
        encode_truth("a", GroundTruth(labels=np.zeros((1, 2, 2), np.int64)))


def test_damage_is_named() -> None:
    members = encode_truth("a", make_truth())
    rest = {name: data for name, data in members.items() if name != "seg001.png"}
    with pytest.raises(RecordError, match=r"seg001\.png is missing"):
        decode_truth(rest)
    with pytest.raises(RecordError, match=r"normal000\.png is no PNG"):
        decode_truth({**members, "normal000.png": b"x"})
    wide = io.BytesIO()
    Image.fromarray(np.zeros((1, 6000), np.uint8)).save(wide, "PNG")
    with pytest.raises(RecordError, match="6000x1"):
        decode_truth({**members, "seg000.png": wide.getvalue()})
    with pytest.raises(RecordError, match="8-bit RGB is needed"):
        decode_truth({**members, "normal000.png": members["seg000.png"]})
    with pytest.raises(RecordError, match="bytes, past 50"):
        decode_truth(members, Limits(max_sample_bytes=50))
    for text in (b"[]", b'{"labels":3}', b'{"normals":99999999}', b'{"landmarks":{"points":[1]}}'):
        with pytest.raises(RecordError, match="truth"):
            decode_truth({**members, "truth.json": text})
