"""Sampling a person: one integer seed in, an `AvatarSpec` out. Plain data, no Blender.

Every group draws from its own named stream, so that changing how hair is drawn leaves the same
face.
"""

from __future__ import annotations

from blender.sample_face import (
    sample_expression,
    sample_eyes,
    sample_identity,
    sample_pose,
    sample_skin,
)
from blender.spec_accessories import sample_accessories
from blender.spec_clothes import sample_clothes
from blender.spec_hair import sample_beard, sample_brows, sample_hair
from blender.spec_types import (
    Accessories,
    AvatarSpec,
    Beard,
    Brows,
    Clothes,
    Expression,
    Eyes,
    Hair,
    Identity,
    Pose,
    Skin,
    linear,
)

__all__ = [
    "Accessories", "AvatarSpec", "Beard", "Brows", "Clothes", "Expression", "Eyes", "Hair",
    "Identity", "Pose", "Skin", "linear", "sample_spec",
]  # fmt: skip


def sample_spec(seed: int) -> AvatarSpec:
    """The avatar of `seed` (from 0): always the same, independent of every other seed.

    Raises ValueError for a negative seed.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}; seeds start at 0")
    identity = sample_identity(seed)
    skin = sample_skin(seed, identity)
    hair = sample_hair(seed, identity)
    expression = sample_expression(seed)
    clothes = sample_clothes(seed, identity)
    return AvatarSpec(
        seed=seed,
        identity=identity,
        expression=expression,
        skin=skin,
        eyes=sample_eyes(seed, identity, skin.tone),
        hair=hair,
        brows=sample_brows(seed, identity, hair),
        beard=sample_beard(seed, identity, hair),
        clothes=clothes,
        accessories=sample_accessories(seed, identity, hair, clothes),
        pose=sample_pose(seed),
    )
