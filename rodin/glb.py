"""A coloured surface as binary glTF 2.0 (one mesh, vertex colours, normals, an unlit material).

Written here because the colours matter: glTF wants them linear, and in 8 bits (all that trimesh
writes) linear dark hair has three levels left. Floats keep every one.
Source: Khronos glTF 2.0 specification, 3.7.2.1 and 4.4; extension KHR_materials_unlit.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from rodin.surface import Surface

_FLOAT, _INT = 5126, 5125
_VERTICES, _INDICES = 34962, 34963


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] -> linear light (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def encode_glb(surface: Surface, scale: float) -> bytes:
    """The file's bytes; `scale` is metres a box unit. y is up and the face looks along +z, as glTF
    has it. The colours hold the light they were seen in, so the material takes no other."""
    points = np.ascontiguousarray(surface.points * scale, np.float32)
    arrays: list[tuple[np.ndarray, int, str, int]] = [
        (points, _FLOAT, "VEC3", _VERTICES),
        (np.ascontiguousarray(surface.normals, np.float32), _FLOAT, "VEC3", _VERTICES),
        (linear(surface.colours).astype(np.float32), _FLOAT, "VEC3", _VERTICES),
        (np.ascontiguousarray(surface.faces.ravel(), np.uint32), _INT, "SCALAR", _INDICES),
    ]
    views, accessors, blob = [], [], b""
    for index, (array, component, kind, target) in enumerate(arrays):
        data = array.tobytes()
        views.append(
            {"buffer": 0, "byteOffset": len(blob), "byteLength": len(data), "target": target}
        )
        accessor: dict[str, Any] = {"bufferView": index, "componentType": component}
        accessors.append(accessor | {"count": len(array), "type": kind})
        blob += data + b"\0" * (-len(data) % 4)
    accessors[0] |= {"min": points.min(0).tolist(), "max": points.max(0).tolist()}
    tree = {
        "asset": {"version": "2.0", "generator": "rodin"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "avatar"}],
        "meshes": [
            {
                "primitives": [
                    {
                        "attributes": {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2},
                        "indices": 3,
                        "material": 0,
                    }
                ]
            }
        ],
        "materials": [
            {
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
                "extensions": {"KHR_materials_unlit": {}},
            }
        ],
        "bufferViews": views,
        "accessors": accessors,
        "buffers": [{"byteLength": len(blob)}],
    }
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = [struct.pack("<II", len(text), 0x4E4F534A), text]
    chunks += [struct.pack("<II", len(blob), 0x004E4942), blob]
    body = b"".join(chunks)
    return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body
