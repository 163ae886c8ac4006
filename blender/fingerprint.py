"""A hash of the geometry in Blender's scene: the same person everywhere, or not."""

from __future__ import annotations

import hashlib

import bpy
import numpy as np


def fingerprint() -> str:
    """SHA-256 (hex) of every mesh's and strand's points and corners in the scene, by object name.

    Positions are float32, as Blender keeps them: one bit of one vertex changes the hash. Lamps,
    cameras and materials do not count.
    """
    digest = hashlib.sha256()
    for item in sorted(bpy.context.scene.objects, key=lambda item: item.name):
        arrays: list[np.ndarray] = [np.array(item.matrix_world, np.float32)]
        if item.type == "MESH":
            points = np.empty(len(item.data.vertices) * 3, np.float32)
            item.data.vertices.foreach_get("co", points)
            corners = np.empty(len(item.data.loops), np.int32)
            item.data.loops.foreach_get("vertex_index", corners)
            arrays += [points, corners]
        elif item.type == "CURVES":
            points = np.empty(len(item.data.points) * 3, np.float32)
            item.data.attributes["position"].data.foreach_get("vector", points)
            arrays.append(points)
        else:
            continue
        digest.update(item.name.encode())
        for array in arrays:
            digest.update(array.tobytes())
    return digest.hexdigest()
