"""Optional ground truth beside the views of a person: normals, classes, facial landmarks.

Members, all optional: `normalNNN.png` (8-bit RGB, (n + 1) / 2, avatar frame, half a degree off),
`segNNN.png` (8-bit grey, one class a pixel), `truth.json` (names of the classes, landmarks).
They are read by those who ask for them: `rodin.record` leaves them alone.

Legend: V views, H W pixels, P landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rodin.codecs import (
    CodecError,
    Limits,
    decode_bytes_png,
    decode_json,
    encode_bytes_png,
    encode_json,
)
from rodin.record import RecordError

_LIMITS = Limits()
_FIX = "download or write this sample again"


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What the views of one person show; None for what is not known."""

    normals: np.ndarray | None = None  # (V, H, W, 3) float32 unit, avatar frame, 0 = nothing
    labels: np.ndarray | None = None  # (V, H, W) uint8, 0 = nothing
    label_names: dict[str, int] = field(default_factory=dict)  # class -> number in `labels`
    landmarks: np.ndarray | None = None  # (P, 3) float64, avatar frame
    landmark_pixels: np.ndarray | None = None  # (V, P, 2) float64 x, y, pixel centres at +0.5
    landmark_visible: np.ndarray | None = None  # (V, P) bool


def encode_truth(key: str, truth: GroundTruth) -> dict[str, bytes]:
    """The members of sample `key`; an empty dict when nothing is known.

    Raises RecordError for shapes or types that cannot be kept.
    """
    members: dict[str, bytes] = {}
    info: dict[str, Any] = {}
    try:
        if truth.normals is not None:
            _need(truth.normals.ndim == 4 and truth.normals.shape[-1] == 3, "normals (V, H, W, 3)")
            for index, image in enumerate(truth.normals):
                level = np.rint((np.clip(image, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
                level[~image.any(axis=-1)] = 0
                members[f"normal{index:03d}.png"] = encode_bytes_png(level)
            info["normals"] = len(truth.normals)
        if truth.labels is not None:
            _need(truth.labels.ndim == 3, "labels (V, H, W)")
            for index, image in enumerate(truth.labels):
                members[f"seg{index:03d}.png"] = encode_bytes_png(image)
            info["labels"] = {"views": len(truth.labels), "names": truth.label_names}
        if truth.landmarks is not None:
            info["landmarks"] = _encode_landmarks(truth)
        if info:
            members["truth.json"] = encode_json(info)
    except CodecError as error:
        raise RecordError(key, "truth.json", str(error), "correct it before encoding") from None
    return dict(sorted(members.items()))


def _need(met: bool, what: str) -> None:
    if not met:
        raise CodecError(f"needs {what}")


def _encode_landmarks(truth: GroundTruth) -> dict[str, Any]:
    points, pixels, visible = truth.landmarks, truth.landmark_pixels, truth.landmark_visible
    shapes_fit = (
        points is not None
        and pixels is not None
        and visible is not None
        and points.shape[1:] == (3,)
        and pixels.shape[1:] == (len(points), 2)
        and visible.shape == pixels.shape[:2]
    )
    _need(shapes_fit, "landmarks (P, 3), landmark_pixels (V, P, 2), landmark_visible (V, P)")
    assert points is not None and pixels is not None and visible is not None
    return {
        "points": np.round(points, 6).tolist(),
        "pixels": np.round(pixels, 3).tolist(),
        "visible": visible.astype(int).tolist(),
    }


def decode_truth(members: Mapping[str, bytes], limits: Limits = _LIMITS) -> GroundTruth:
    """The ground truth among the members of a views sample; empty when there is none.

    Raises RecordError for members that are missing, damaged or oversized.
    """
    key = str(members.get("__key__", "?"))[:80]
    if "truth.json" not in members:
        return GroundTruth()
    name = "truth.json"
    try:
        info = decode_json(members[name], limits)
        out: dict[str, Any] = {}
        if "normals" in info:
            levels = _images(members, "normal", _count(info["normals"], limits), 3, limits)
            unit = levels.astype(np.float32) / 127.5 - 1.0
            unit /= np.maximum(np.linalg.norm(unit, axis=-1, keepdims=True), 1e-6)
            out["normals"] = np.where(levels.any(axis=-1, keepdims=True), unit, np.float32(0))
        if "labels" in info:
            out["label_names"] = {str(k): int(v) for k, v in info["labels"]["names"].items()}
            out["labels"] = _images(
                members, "seg", _count(info["labels"]["views"], limits), 1, limits
            )
        if "landmarks" in info:
            marks = info["landmarks"]
            out["landmarks"] = np.array(marks["points"], np.float64).reshape(-1, 3)
            count = len(out["landmarks"])
            out["landmark_pixels"] = np.array(marks["pixels"], np.float64).reshape(-1, count, 2)
            out["landmark_visible"] = np.array(marks["visible"], bool).reshape(-1, count)
        return GroundTruth(**out)
    except CodecError as error:
        raise RecordError(key, name, str(error), _FIX) from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        problem = f"does not describe ground truth ({type(error).__name__})"
        raise RecordError(key, name, problem, _FIX) from None


def _count(value: Any, limits: Limits) -> int:
    if type(value) is not int or not 0 < value <= limits.max_views:
        raise CodecError(f"lists {str(value)[:20]} views, not 1 to {limits.max_views}")
    return value


def _images(
    members: Mapping[str, bytes], stem: str, count: int, channels: int, limits: Limits
) -> np.ndarray:
    layers: list[np.ndarray] = []
    spent = 0
    for index in range(count):
        name = f"{stem}{index:03d}.png"
        if name not in members:
            raise CodecError(f"{name} is missing: the sample is truncated")
        try:
            layers.append(decode_bytes_png(members[name], channels, limits))
        except CodecError as error:
            raise CodecError(f"{name} {error}") from None
        spent += 4 * layers[-1].nbytes
        if spent > limits.max_sample_bytes:
            raise CodecError(f"{stem} needs {spent} bytes, past {limits.max_sample_bytes}")
        if layers[-1].shape != layers[0].shape:
            raise CodecError(f"{name} is {layers[-1].shape}, the first is {layers[0].shape}")
    return np.stack(layers)
