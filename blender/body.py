"""The body: baked shapes and a spec in, a posed head and torso out (numpy only).

World frame here: Blender's, metres, z up, facing -y, the midpoint of the eyes at the origin.
Template frame `npos`: centimetres on the neutral template, x to a viewer's right, y up, z out of
the face, origin at eye height. Regions, densities and cuts are functions of `npos`, so that one
definition fits every body.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blender import BuildError, bake
from blender.lids import clear_eyes
from blender.spec_types import AvatarSpec, Identity
from blender.targets import FACE_ACTIONS, LOCAL_TARGETS

# The bust ends inside |x / _BUST_X|^4 + |(z - _BUST_TOP) / _BUST_Z|^4 = 1 below z = _BUST_TOP.
_BUST_X, _BUST_TOP, _BUST_Z = 0.236, -0.12, 0.166  # m
BUST_FLOOR = _BUST_TOP - _BUST_Z  # m, the lowest point of an avatar
_BACK_KNEE, _BACK_LIMIT = 0.205, 0.230  # m behind the eyes: where backs are pressed in, and most
_GAZE_FULL = 30.0  # degrees of gaze at which the lids' look targets are full


@dataclass(frozen=True)
class Shaped:
    """One posed avatar body. Arrays over the N kept vertices; l is the person's left (+x)."""

    vertices: np.ndarray  # (N, 3) float64, m, world
    npos: np.ndarray  # (N, 3) float64, cm, template
    quads: dict[str, np.ndarray]  # group -> (F, 4) int32 into vertices, counter-clockwise outside
    masks: dict[str, np.ndarray]  # 'lips', 'mouth' -> (N,) in [0, 1]
    eye_centres: np.ndarray  # (2, 3) m: left, right
    eye_radius: float  # m
    head_rotation: np.ndarray  # (3, 3) world from unturned

    @property
    def body_quads(self) -> np.ndarray:
        """The skin's faces (F, 4)."""
        return self.quads["body"]


@dataclass(frozen=True)
class Body:
    """The baked model. Made by `load_body`."""

    template: np.ndarray  # (N + 8, 3) m, base.obj axes; then 6 bone heads and 2 eye centres
    npos: np.ndarray  # (N, 3) cm
    shapes: np.ndarray  # (K, N + 8, 3) float16, m
    weights: np.ndarray  # (N, len(bake.BONES))
    quads: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]

    def shape(self, spec: AvatarSpec) -> Shaped:
        """The body of `spec`, posed and re-centred on the midpoint of the eyes.

        Raises BuildError when the spec names a target that does not exist.
        """
        coefficients = shape_coefficients(spec)
        chosen = np.flatnonzero(coefficients)
        flat = self.shapes[chosen].reshape(len(chosen), -1).astype(np.float64)
        # einsum without BLAS adds in one order whatever the number of threads.
        offsets = np.einsum("k,kn->n", coefficients[chosen], flat, optimize=False)
        rest = self.template + offsets.reshape(-1, 3)
        rest = np.stack([rest[:, 0], -rest[:, 2], rest[:, 1]], axis=1)
        posed, turn = self._pose(rest, spec)
        posed = _within_box(posed - (posed[-1] + posed[-2]) / 2)
        eyes = posed[-2:]
        ball = np.unique(self.quads["eye_l"])
        radius = float(np.linalg.norm(posed[ball] - eyes[0], axis=1).mean())
        moving = [self.quads[n].ravel() for n in self.quads if n == "body" or n[:4] == "lash"]
        balls = [np.unique(self.quads[n]) for n in ("eye_l", "eye_r")]
        skin = np.unique(np.concatenate(moving))
        return Shaped(
            vertices=clear_eyes(posed[:-8], self.npos, balls, skin),
            npos=self.npos,
            quads=self.quads,
            masks=self.masks,
            eye_centres=eyes,
            eye_radius=radius,
            head_rotation=turn,
        )

    def _pose(self, rest: np.ndarray, spec: AvatarSpec) -> tuple[np.ndarray, np.ndarray]:
        """Linear blend skinning of rest (N + 8, 3); also the head's rotation (3, 3)."""
        pose = spec.pose
        heads = dict(zip(bake.BONES[1:], rest[-8:-2], strict=True))
        transforms = [np.eye(4)]
        current = np.eye(4)
        for bone in bake.BONES[1:5]:  # neck and head share the turn equally
            part = _rotation(pose.yaw / 4, pose.pitch / 4, pose.roll / 4)
            current = current @ _about(heads[bone], part)
            transforms.append(current)
        for bone, side in zip(bake.BONES[5:], (1.0, -1.0), strict=True):
            transforms.append(_about(heads[bone], _turn(1, np.radians(side * pose.arms))))
        extra = np.zeros((8, len(bake.BONES)))
        extra[:6, 1:] = np.eye(6)
        extra[6:, bake.BONES.index("head")] = 1.0
        weights = np.concatenate([self.weights, extra])
        blended = np.einsum("nb,bij->nij", weights, np.stack(transforms), optimize=False)
        out = np.einsum("nij,nj->ni", blended[:, :3, :3], rest, optimize=False)
        return out + blended[:, :3, 3], current[:3, :3]


def load_body(cache_dir: Path) -> Body:
    """The body model from `cache_dir`, baked there first if need be (seconds, once)."""
    with np.load(bake.bake(Path(cache_dir)), allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    return Body(
        template=arrays["template"],
        npos=arrays["npos"],
        shapes=arrays["shapes"],
        weights=arrays["weights"].astype(np.float64),
        quads={name: arrays[f"quads_{name}"] for name in bake.GROUPS},
        masks={name: arrays[name] for name in ("lips", "mouth")},
    )


def bust_level(world: np.ndarray) -> np.ndarray:
    """How far points (N, 3) in metres lie inside the bust's outline (N,): positive is kept.

    About metres near the outline; skin and garments are cut with the same function.
    """
    x, z = np.abs(world[..., 0]) / _BUST_X, np.minimum(world[..., 2] - _BUST_TOP, 0.0) / _BUST_Z
    return (1.0 - (x**4 + z**4) ** 0.25) * _BUST_Z


def bust_outline(count: int) -> np.ndarray:
    """Points (count, 2) x, z in metres along the outline from the right arm over the floor."""
    angle = np.linspace(-np.pi, 0.0, count)
    c, s = np.cos(angle), np.sin(angle)
    x = np.sign(c) * np.sqrt(np.abs(c)) * _BUST_X
    return np.stack([x, _BUST_TOP - np.sqrt(np.abs(s)) * _BUST_Z], axis=1)


def shape_coefficients(spec: AvatarSpec) -> np.ndarray:
    """The weight (K,) of every baked shape for a spec, float64."""
    identity = spec.identity
    local = _named(identity.targets, LOCAL_TARGETS, "target")
    actions = _named(_with_gaze(spec), FACE_ACTIONS, "action")
    # Blinking shuts the eyes of the plain face: what opens this one's further gives way.
    for side, action in (("l", "eyeBlinkLeft"), ("r", "eyeBlinkRight")):
        for name in (f"{side}-eye-height{k}-incr" for k in (1, 2, 3)):
            local[name] = local.get(name, 0.0) * (1.0 - actions.get(action, 0.0))
    signed = [max(sign * local.get(name, 0.0), 0.0) for name, sign in bake.local_names()]
    units = [actions.get(name, 0.0) for name in FACE_ACTIONS]
    return np.array([*_phenotype(identity), *signed, *units])


def _named(weights: tuple[tuple[str, float], ...], known: object, kind: str) -> dict[str, float]:
    for name, _ in weights:
        if name not in known:  # type: ignore[operator]
            raise BuildError(f"there is no {kind} {name!r}; see blender.targets for their names")
    return dict(weights)


def _with_gaze(spec: AvatarSpec) -> tuple[tuple[str, float], ...]:
    """The actions plus the look targets, so that the lids follow the eyes."""
    yaw, pitch = spec.eyes.yaw / _GAZE_FULL, spec.eyes.pitch / _GAZE_FULL
    look = {
        "eyeLookUpLeft": pitch, "eyeLookUpRight": pitch,
        "eyeLookDownLeft": -pitch, "eyeLookDownRight": -pitch,
        "eyeLookOutLeft": yaw, "eyeLookInLeft": -yaw,
        "eyeLookInRight": yaw, "eyeLookOutRight": -yaw,
    }  # fmt: skip
    total = dict(spec.expression.actions)
    for name, weight in look.items():
        total[name] = min(1.0, total.get(name, 0.0) + max(0.0, weight))
    return tuple(total.items())


def _phenotype(identity: Identity) -> list[float]:
    """Products of the phenotype's interpolation weights, in the order of the bake."""
    shares = np.array([identity.african, identity.asian, identity.caucasian])
    shares = shares / shares.sum()
    weight = {
        **dict(zip(bake.RACES, shares.tolist(), strict=True)),
        **_between(identity.gender, bake.GENDERS, (0.0, 1.0)),
        **_between(identity.age, bake.AGES, (1 / 3, 2 / 3, 1.0)),
        **_between(identity.muscle, bake.MUSCLES, (0.0, 0.5, 1.0)),
        **_between(identity.weight, bake.WEIGHTS, (0.0, 0.5, 1.0)),
    }
    out = []
    for cell in bake.phenotype_cells():
        product = 1.0
        for part in cell:
            product *= weight[part]
        out.append(product)
    return out


def _between(value: float, names: tuple[str, ...], anchors: tuple[float, ...]) -> dict[str, float]:
    """Weights of the two anchors around `value`, linear between them."""
    eye = np.eye(len(names))
    return {n: float(np.interp(value, anchors, eye[k])) for k, n in enumerate(names)}


def _within_box(points: np.ndarray) -> np.ndarray:
    """Press points (N, 3) m softly in from the box's back, so that clothes have room there."""
    out = points.copy()
    beyond = np.maximum(points[:, 1] - _BACK_KNEE, 0.0)
    room = _BACK_LIMIT - _BACK_KNEE
    out[:, 1] = np.minimum(points[:, 1], _BACK_KNEE) + room * np.tanh(beyond / room)
    return out


def _turn(axis: int, angle: float) -> np.ndarray:
    """Rotation (3, 3) about a world axis, right-handed, radians."""
    c, s = np.cos(angle), np.sin(angle)
    out = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[i, i], out[i, j], out[j, i], out[j, j] = c, -s, s, c
    return out


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Degrees: yaw turns the face to +x, pitch lifts it, roll leans the crown to +x."""
    return _turn(2, np.radians(yaw)) @ _turn(0, np.radians(-pitch)) @ _turn(1, np.radians(roll))


def _about(point: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = point - rotation @ point
    return out
