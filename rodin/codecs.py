"""Byte codecs of the members of a sample: lossless WebP, 16-bit PNG, npy and JSON.

Everything decoded here may come from a stranger, so that each decoder reads the size that the
header claims, compares it with a limit, and only then lets the library allocate. Nothing is
unpickled.
All errors are `CodecError` (a ValueError) with one line; `rodin.record` adds key and member.
"""

from __future__ import annotations

import io
import json
import math
import struct
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

_WEBP_HEADER = 30
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Effort 2 of 6: 3 ms for 128 px and 2 % more bytes than effort 4, which takes 12 ms.
_WEBP_METHOD = 2
_WEBP_QUALITY = 50
DEPTH_LEVELS = 65535


class CodecError(ValueError):
    """A member cannot be encoded or decoded; one line that names the value and the limit."""


@dataclass(frozen=True)
class Limits:
    """What a sample may cost at most before it is refused."""

    max_side: int = 4096  # pixels, width or height of one image; texels of one plane
    max_views: int = 1024  # images of one kind in a sample
    max_channels: int = 1024  # channels of a tri-plane
    max_sample_bytes: int = 4 << 30  # bytes of all decoded arrays of a sample
    max_json_bytes: int = 16 << 20  # bytes of one JSON member


def encode_json(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, no NaN. The same value gives the same bytes."""
    try:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
        )
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise CodecError(
            f"not plain JSON ({error}); use str, int, finite float, list, dict"
        ) from None


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"the constant {text} is not JSON")


def decode_json(data: bytes, limits: Limits) -> dict[str, Any]:
    """The object in `data`; a list or a bare value is refused."""
    if len(data) > limits.max_json_bytes:
        raise CodecError(f"has {len(data)} bytes, more than {limits.max_json_bytes}")
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"is not JSON ({str(error)[:120]})") from None
    if not isinstance(value, dict):
        raise CodecError(f"holds a {type(value).__name__} where an object is needed")
    return value


def encode_webp(rgba: np.ndarray) -> bytes:
    """(H, W, 4) uint8 straight alpha -> lossless WebP; colour under alpha 0 becomes 0.

    That colour is invisible, and cleared it costs no bytes and is equal on every machine.
    """
    from PIL import Image

    if rgba.dtype != np.uint8 or rgba.ndim != 3 or rgba.shape[2] != 4:
        raise CodecError(f"needs (H, W, 4) uint8, got {rgba.shape} {rgba.dtype}")
    if 0 in rgba.shape:
        raise CodecError(f"an image of shape {rgba.shape} is empty")
    clean = np.where(rgba[..., 3:] == 0, np.uint8(0), rgba)
    buffer = io.BytesIO()
    Image.fromarray(clean).save(
        buffer, "WEBP", lossless=True, exact=True, method=_WEBP_METHOD, quality=_WEBP_QUALITY
    )
    return buffer.getvalue()


def webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) from the header alone. Lossy and animated files are refused."""
    head = data[:_WEBP_HEADER]
    if len(head) < _WEBP_HEADER or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        raise CodecError(f"is no WebP file ({len(data)} bytes)")
    if struct.unpack("<I", head[4:8])[0] + 8 > len(data):
        raise CodecError(f"is truncated: {len(data)} bytes")
    chunk = head[12:16]
    if chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8X":
        if head[20] & 0x02:
            raise CodecError("is an animated WebP, a still one is needed")
        width = int.from_bytes(head[24:27], "little") + 1
        return width, int.from_bytes(head[27:30], "little") + 1
    raise CodecError("is a lossy WebP; write it with lossless=True")


def decode_webp(data: bytes, limits: Limits) -> np.ndarray:
    """Lossless WebP -> (H, W, 4) uint8. A file without alpha gets alpha 255."""
    from PIL import Image

    width, height = webp_size(data)
    _check_sides(width, height, limits)
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            if image.size != (width, height):
                raise CodecError(f"claims {width}x{height} and holds {image.size}")
            pixels = np.array(image.convert("RGBA"))
    except CodecError:
        raise
    except Exception as error:  # Pillow raises many classes for damaged files
        raise CodecError(f"cannot be decoded ({type(error).__name__})") from None
    return pixels


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """(near, far) of the pixels that show something (> 0); (0, 0) where none does."""
    if not np.isfinite(depth).all() or (depth < 0).any():
        raise CodecError("depth has NaN, infinite or negative values; 0 means nothing seen")
    seen = depth[depth > 0]
    return (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)


def encode_depth(depth: np.ndarray, near: float, far: float) -> bytes:
    """(H, W) float32 -> 16-bit grey PNG: 0 nothing, 1..65535 linear from near to far."""
    from PIL import Image

    if depth.ndim != 2 or 0 in depth.shape:
        raise CodecError(f"depth needs (H, W), got {depth.shape}")
    span = max(far - near, 1e-30)
    level = np.rint((depth.astype(np.float64) - near) / span * (DEPTH_LEVELS - 1)) + 1
    level = np.where(depth > 0, np.clip(level, 1, DEPTH_LEVELS), 0)
    buffer = io.BytesIO()
    Image.fromarray(level.astype(np.uint16)).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def decode_depth(data: bytes, near: float, far: float, limits: Limits) -> np.ndarray:
    """16-bit grey PNG -> (H, W) float32 box units, 0 where nothing is seen."""
    if not (math.isfinite(near) and math.isfinite(far) and 0 <= near <= far):
        raise CodecError(f"depth range {near}..{far} is not 0 <= near <= far")
    level = _decode_png(data, 16, 0, limits).astype(np.float64)
    depth = near + (level - 1) / (DEPTH_LEVELS - 1) * (far - near)
    return np.where(level > 0, depth, 0.0).astype(np.float32)


def encode_bytes_png(array: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) uint8 -> 8-bit grey or RGB PNG."""
    from PIL import Image

    if array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in array.shape:
        raise CodecError(f"needs (H, W) or (H, W, 3) uint8, got {array.shape} {array.dtype}")
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def decode_bytes_png(data: bytes, channels: int, limits: Limits) -> np.ndarray:
    """8-bit PNG of 1 (grey) or 3 (RGB) channels -> (H, W) or (H, W, 3) uint8."""
    return _decode_png(data, 8, {1: 0, 3: 2}[channels], limits)


def _decode_png(data: bytes, bits: int, colour: int, limits: Limits) -> np.ndarray:
    """A PNG whose header says `bits` a channel and colour type 0 (grey) or 2 (RGB)."""
    from PIL import Image

    head = data[:26]
    if len(head) < 26 or head[:8] != _PNG_SIGNATURE or head[12:16] != b"IHDR":
        raise CodecError(f"is no PNG file ({len(data)} bytes)")
    width, height, *found = struct.unpack(">IIBB", head[16:26])
    if found != [bits, colour]:
        wanted = f"{bits}-bit {'RGB' if colour else 'grey'}"
        raise CodecError(
            f"is a PNG of {found[0]} bits and colour type {found[1]}; {wanted} is needed"
        )
    _check_sides(width, height, limits)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return np.array(image)
    except Exception as error:  # Pillow raises many classes for damaged files
        raise CodecError(f"cannot be decoded ({type(error).__name__})") from None


def encode_npy(array: np.ndarray) -> bytes:
    """npy version 1.0, C order, little endian."""
    buffer = io.BytesIO()
    np.lib.format.write_array(
        buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False
    )
    return buffer.getvalue()


def npy_header(data: bytes) -> tuple[tuple[int, ...], np.dtype, int]:
    """(shape, dtype, offset of the data) of an npy file, without reading the data."""
    stream = io.BytesIO(data[: 1 << 16])
    try:
        version = np.lib.format.read_magic(stream)
        reader: Any = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = reader(stream, max_header_size=4096)
    except KeyError:
        raise CodecError("is an npy file of an unknown version; write version 1.0") from None
    except Exception as error:  # the header is parsed as a literal: many classes of error
        raise CodecError(f"is no npy file ({type(error).__name__})") from None
    if fortran:
        raise CodecError("is in Fortran order; write it with numpy.ascontiguousarray")
    if dtype.hasobject:
        raise CodecError(f"has dtype {dtype}: pickled objects are never read")
    return shape, dtype, stream.tell()


def decode_planes(data: bytes, limits: Limits) -> np.ndarray:
    """npy -> (3, C, R, R) float16, all values finite; the header is judged before the data."""
    shape, dtype, offset = npy_header(data)
    if dtype != np.float16:
        raise CodecError(f"has dtype {dtype}, float16 is needed")
    if len(shape) != 4 or shape[0] != 3 or shape[2] != shape[3] or min(shape) < 1:
        raise CodecError(f"has shape {shape}, (3, C, R, R) is needed")
    if shape[1] > limits.max_channels or shape[2] > limits.max_side:
        raise CodecError(
            f"has shape {shape}, past {limits.max_channels} channels or {limits.max_side} texels"
        )
    expected = offset + 2 * math.prod(shape)
    if len(data) != expected:
        raise CodecError(f"has {len(data)} bytes, shape {shape} needs {expected}")
    planes = np.frombuffer(data, np.float16, offset=offset).reshape(shape).copy()
    if not np.isfinite(planes).all():
        raise CodecError("has NaN or infinite values")
    return planes


def _check_sides(width: int, height: int, limits: Limits) -> None:
    if not (0 < width <= limits.max_side and 0 < height <= limits.max_side):
        raise CodecError(f"is {width}x{height} pixels, more than {limits.max_side} a side")
