"""Sampling identity, eyes and pose. The distributions are a design, not a census.

Ages reach from 16 to 85 years with more of the young, sexes are even, ancestry is a continuous
mixture; skin tone (`sample_skin`) follows it only loosely.
"""

from __future__ import annotations

import numpy as np

from blender.expressions import sample_expression
from blender.face_shape import sample_targets
from blender.sample_skin import sample_skin
from blender.spec_base import Rgb, pick, rgb_of
from blender.spec_face import Eyes, Identity, Pose
from blender.streams import generator

__all__ = [
    "sample_expression", "sample_eyes", "sample_identity", "sample_pose", "sample_skin",
]  # fmt: skip

_YOUNGEST, _OLDEST = 16.0, 85.0  # years
_AGE_BETA = (1.05, 1.55)  # of (years - youngest) / (oldest - youngest): median 42 years
_SEXES = (0.08, 0.92)  # gender of an average man and woman
_GENDER_SPREAD = 0.07
_ANCESTRY = 0.5  # Dirichlet's parameter: below 1 most people are mostly of one ancestry
_MUSCLE, _MUSCLE_SPREAD = (0.58, 0.44), 0.16  # man, woman
_WEIGHT, _WEIGHT_SPREAD = 0.50, 0.20
_GAZE = ((7.0, 18.0), (3.5, 9.0))  # degrees: standard deviation and limit of yaw and pitch
_STRAIGHT = 0.45  # share of people who look straight ahead of their face
_HEAD = ((4.5, 12.0), (3.0, 8.0), (2.5, 8.0))  # the same of the head's yaw, pitch and roll

_LIGHT_EYED = (1.5, 5.0)  # skin tones between which light eyes grow rare
# name -> (sRGB, chance among dark-eyed and among light-eyed people)
_IRISES: dict[str, tuple[Rgb, float, float]] = {
    "dark brown": ((0.27, 0.155, 0.095), 0.55, 0.06),
    "brown": ((0.38, 0.225, 0.13), 0.36, 0.20),
    "amber": ((0.52, 0.33, 0.13), 0.04, 0.05),
    "hazel": ((0.44, 0.34, 0.17), 0.03, 0.15),
    "green": ((0.31, 0.40, 0.27), 0.01, 0.14),
    "grey": ((0.44, 0.48, 0.51), 0.005, 0.12),
    "blue": ((0.29, 0.41, 0.53), 0.005, 0.28),
}


def _normal(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    return round(float(np.clip(rng.normal(mean, sd), low, high)), 4)


def sample_identity(seed: int) -> Identity:
    """Sex, age, ancestry, build and the face's own shape."""
    rng = generator(seed, "identity")
    woman = rng.random() < 0.5
    gender = _normal(rng, _SEXES[woman], _GENDER_SPREAD, 0.0, 1.0)
    years = _YOUNGEST + (_OLDEST - _YOUNGEST) * rng.beta(*_AGE_BETA)
    age = round(float(np.interp(years, [11, 25, 85], [1 / 3, 2 / 3, 1.0])), 4)
    african, asian, caucasian = (round(float(s), 4) for s in rng.dirichlet([_ANCESTRY] * 3))
    return Identity(
        gender=gender,
        age=age,
        african=african,
        asian=asian,
        caucasian=caucasian,
        muscle=_normal(rng, _MUSCLE[woman], _MUSCLE_SPREAD, 0.05, 0.95),
        weight=_normal(rng, _WEIGHT, _WEIGHT_SPREAD, 0.05, 0.98),
        targets=sample_targets(seed, gender, age),
    )


def sample_eyes(seed: int, identity: Identity, tone: float) -> Eyes:
    """Iris loosely by ancestry and skin tone (0 lightest .. 7 darkest), gaze near the front."""
    rng = generator(seed, "eyes")
    light = identity.caucasian**1.4 * np.interp(tone, _LIGHT_EYED, (1.0, 0.0))
    chances = {name: a * (1 - light) + b * light for name, (_, a, b) in _IRISES.items()}
    colour = pick(rng, chances)
    shade = np.clip(rng.normal(1.0, 0.13), 0.7, 1.35) * (1 + rng.normal(0.0, 0.03, 3))
    (yaw_sd, yaw_limit), (pitch_sd, pitch_limit) = _GAZE
    calm = 0.25 if rng.random() < _STRAIGHT else 1.0
    return Eyes(
        colour=colour,
        rgb=rgb_of(np.array(_IRISES[colour][0]) * shade),
        pupil=_normal(rng, 0.38, 0.06, 0.26, 0.54),
        yaw=_normal(rng, 0.0, yaw_sd * calm, -yaw_limit, yaw_limit),
        pitch=_normal(rng, 0.0, pitch_sd * calm, -pitch_limit, pitch_limit),
    )


def sample_pose(seed: int) -> Pose:
    """A head held nearly straight."""
    rng = generator(seed, "pose")
    yaw, pitch, roll = (_normal(rng, 0.0, sd, -limit, limit) for sd, limit in _HEAD)
    return Pose(yaw=yaw, pitch=pitch, roll=roll)
