"""The head as accessories see it: its skin in centimetres of the head frame.

The head frame has the template's axes (x right, y up, z out of the face), turned, placed and
scaled by `HeadFrame` but not deformed: straight things stay straight in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from blender.figure import Figure, face_normals
from blender.hair_guides import HeadFrame

_LOWEST = -16.0  # cm of the template; skin further down is not the head's

_WIDE = 1.2  # cm, diagonal of a face from which on points are added inside it
_U, _V = (g.reshape(-1) for g in np.meshgrid([0.0, 0.25, 0.5, 0.75], [0.0, 0.25, 0.5, 0.75]))
_BILINEAR = np.stack([(1 - _U) * (1 - _V), _U * (1 - _V), _U * _V, (1 - _U) * _V], axis=1)[1:]


@dataclass(frozen=True)
class Head:
    """Skin of the head with distances to it, all in cm of the head frame."""

    frame: HeadFrame
    npos: np.ndarray  # (M, 3) template points
    points: np.ndarray  # (M, 3) the same where they are now
    normals: np.ndarray  # (M, 3) outward
    tree: cKDTree
    eye_y: float
    eye_x: float  # half the distance of the eyes
    lash_z: float  # how far the lashes reach forward

    def landmark(self, place: tuple[float, float, float]) -> np.ndarray:
        """Where the skin (3,) nearest to a template point is on this head."""
        return self.points[int(np.linalg.norm(self.npos - place, axis=1).argmin())]

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Signed distances (...,) of points (..., 3) to the skin, positive outside."""
        far, index = self.tree.query(points, k=1, workers=1)
        plane = ((points - self.points[index]) * self.normals[index]).sum(axis=-1)
        blend = np.clip((far - 0.7) / 0.8, 0.0, 1.0)  # the planes hold close by only
        return (1 - blend) * plane + blend * np.copysign(far, plane)

    def push(self, points: np.ndarray, gap: float) -> np.ndarray:
        """Points (..., 3) moved straight out of the skin until they are `gap` cm off."""
        for _ in range(3):
            _, index = self.tree.query(points, k=1, workers=1)
            short = np.maximum(gap - self.clearance(points), 0.0)
            points = points + short[..., None] * self.normals[index]
        return points

    def settle(
        self, points: np.ndarray, towards: np.ndarray, gap: np.ndarray | float, reach: float = 4.0
    ) -> np.ndarray:
        """Slide points (..., 3) from outside along `towards` until they are `gap` cm off the skin.

        Start and farthest end are `reach` cm before and behind the points.
        """
        towards = np.asarray(towards, float)
        travelled = np.full(points.shape[:-1], -reach)
        for _ in range(14):
            gone = points + travelled[..., None] * towards
            travelled = np.minimum(travelled + 0.9 * (self.clearance(gone) - gap), reach)
        return points + travelled[..., None] * towards


def head_of(figure: Figure) -> Head:
    """The head of a figure."""
    frame = figure.frame
    used = np.unique(figure.skin)
    used = used[figure.npos[used, 1] > _LOWEST]
    quads = figure.skin[(figure.npos[figure.skin, 1] > _LOWEST).all(axis=1)]
    place = np.concatenate([figure.vertices[used], figure.vertices[quads].mean(axis=1)])
    normals = np.concatenate([figure.normals[used], face_normals(figure.vertices, quads)])
    npos = np.concatenate([figure.npos[used], figure.npos[quads].mean(axis=1)])
    # The skull's faces are centimetres wide: more points keep distances to them exact.
    span = np.linalg.norm(figure.npos[quads[:, 0]] - figure.npos[quads[:, 2]], axis=1)
    wide = quads[span > _WIDE]
    share = _BILINEAR[:, None, :, None]
    place = np.concatenate([place, (share * figure.vertices[wide]).sum(axis=2).reshape(-1, 3)])
    fine = (share * figure.normals[wide]).sum(axis=2).reshape(-1, 3)
    fine /= np.maximum(np.linalg.norm(fine, axis=1, keepdims=True), 1e-9)
    normals = np.concatenate([normals, fine])
    npos = np.concatenate([npos, (share * figure.npos[wide]).sum(axis=2).reshape(-1, 3)])
    points = frame.to_template(place)
    lashes = frame.to_template(figure.vertices[figure.lashes])
    side = np.abs(lashes[:, 0])
    return Head(
        frame=frame,
        npos=npos,
        points=points,
        normals=normals @ frame.axes,
        tree=cKDTree(points),
        eye_y=float(frame.to_template(np.zeros(3))[1]),
        eye_x=float(side.min() + side.max()) / 2,
        lash_z=float(lashes[:, 2].max()),
    )
