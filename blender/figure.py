"""What hair and clothes need to know of a posed body, worked out once an avatar."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from blender.body import Shaped
from blender.hair_collide import TORSO, Collider, make_collider
from blender.hair_guides import HeadFrame, fit_head_frame


@dataclass(frozen=True)
class Figure:
    """A posed body: one vertex array, faces by part.

    vertices (N, 3) metres in Blender's frame (z up, facing -y, eye midpoint at the origin);
    npos (N, 3) neutral template position in cm (x right, y up, z out of the face).
    """

    vertices: np.ndarray
    npos: np.ndarray
    skin: np.ndarray  # (F, 4)
    tights: np.ndarray  # (F, 4)
    lashes: np.ndarray  # (L,) vertex indices of the lash strips

    @cached_property
    def normals(self) -> np.ndarray:
        """Outward unit normals of the skin's vertices (N, 3)."""
        return vertex_normals(self.vertices, self.skin)

    @cached_property
    def frame(self) -> HeadFrame:
        """Template to this head: fitted to the skull, not to the face, which has expressions."""
        used = np.unique(self.skin)
        npos = self.npos[used]
        skull = (npos[:, 1] > 2.0) | ((npos[:, 1] > -6.0) & (npos[:, 2] < 8.0))
        return fit_head_frame(npos[skull], self.vertices[used][skull])

    @cached_property
    def surface(self) -> tuple[np.ndarray, np.ndarray]:
        """Oriented points of the skin: vertices and face centres (M, 3), normals (M, 3)."""
        used = np.unique(self.skin)
        centre = self.vertices[self.skin].mean(axis=1)
        points = np.concatenate([self.vertices[used], centre])
        return points, np.concatenate([self.normals[used], face_normals(self.vertices, self.skin)])

    @cached_property
    def torso(self) -> Collider:
        """The collider that clothes are fitted to."""
        return make_collider(*self.surface, TORSO)


def figure_of(shaped: Shaped) -> Figure:
    """The figure of a posed body."""
    strips = [quads.reshape(-1) for name, quads in shaped.quads.items() if name[:4] == "lash"]
    return Figure(
        vertices=shaped.vertices,
        npos=shaped.npos,
        skin=shaped.quads["body"],
        tights=shaped.quads["tights"],
        lashes=np.unique(np.concatenate(strips)),
    )


def face_normals(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Unit normals (F, 3) of quads."""
    a, b, c, d = (vertices[quads[:, k]] for k in range(4))
    normal = np.cross(c - a, d - b)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def vertex_normals(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (N, 3); zero where a vertex has no face."""
    a, b, c, d = (vertices[quads[:, k]] for k in range(4))
    normal = np.repeat(np.cross(c - a, d - b), 4, axis=0)
    index = quads.reshape(-1)
    total = np.stack(
        [np.bincount(index, normal[:, k], minlength=len(vertices)) for k in range(3)], axis=1
    )
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
