"""What a visitor of the viewer may wish for, and the avatars and files that come of it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from pipelines.view_frames import Level, View, draw
from rodin.avatar import Avatar, AvatarError
from rodin.model import Model
from rodin.text import check_text

MAX_UPLOAD = 10 << 20  # bytes of a portrait
MAX_STEPS = 50  # of each diffusion; the library takes more, a page must answer
PICTURE = Level(768, 192)  # of a saved picture
MESH_VOXELS = 192  # a side of a saved mesh's grid

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Wish:
    """A new avatar: from a portrait's bytes, else from a text, else from the seed alone."""

    seed: int = 0
    text: str = ""
    portrait: bytes = b""
    match: bool = False  # latent and planes brought nearer to the portrait by rendering
    guidance: float = 1.0
    text_guidance: float = 1.25
    steps: int | None = None  # the model's own


@dataclass(frozen=True)
class Change:
    """What becomes of an avatar: a share of another seed's, then steps in directions of texts."""

    other: int = 0  # seed
    share: float = 0.0  # of the other, in [0, 1]
    edits: tuple[tuple[str, float], ...] = ()  # text and strength


def make(model: Model, wish: Wish, progress: Progress) -> Avatar:
    """Raises AvatarError, PortraitError, TextError; whatever `progress` raises ends it."""
    if len(wish.portrait) > MAX_UPLOAD:
        raise AvatarError(
            f"the file has {len(wish.portrait) / 2**20:.1f} MiB; use a portrait of at most"
            f" {MAX_UPLOAD >> 20} MiB"
        )
    if wish.steps is not None and wish.steps > MAX_STEPS:
        raise AvatarError(f"steps is {wish.steps}; this page takes at most {MAX_STEPS}")
    return model.generate(
        wish.seed,
        check_text(wish.text) if wish.text.strip() and not wish.portrait else None,
        wish.portrait or None,
        match=wish.match and bool(wish.portrait),
        guidance=wish.guidance,
        text_guidance=wish.text_guidance,
        steps=wish.steps,
        progress=progress,
    )


def change(
    model: Model,
    origin: Avatar,
    wish: Change,
    direction: Callable[[str], Tensor],
    progress: Progress,
) -> Avatar:
    """`origin` as `wish` says, with its own noise; `direction(text)` is `Model.direction`.

    Whatever `progress` raises ends it.
    """
    if origin.latent is None:
        raise AvatarError("a fitted person has no latent to change; generate an avatar first")
    latent = origin.latent
    if wish.share:
        latent = latent.lerp(model.draw_latents([wish.other])[0], wish.share)
    for text, strength in wish.edits:
        if strength:
            latent = latent + strength * direction(text)
    if latent is origin.latent:
        return origin
    sampled: dict[str, Any] = {name: origin.facts[name] for name in ("guidance", "steps")}
    facts = {**origin.facts, "mixed": [wish.other, wish.share], "edits": [*wish.edits]}
    return model.from_latents(
        latent[None], [origin.seed], **sampled, facts=[facts], progress=progress
    )[0]


def file_of(avatar: Avatar, view: View, suffix: str) -> bytes:
    """The bytes of a .png (what `view` sees, square), .glb or .npz of an avatar."""
    if suffix == ".png":
        pixels = draw(avatar, View(view.camera_to_world, 1.0, view.fov), PICTURE)
        assert pixels is not None
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        return stream.getvalue()
    with tempfile.TemporaryDirectory(prefix="rodin-view-") as folder:
        return avatar.save(Path(folder) / f"avatar{suffix}", size=MESH_VOXELS).read_bytes()


def name_of(avatar: Avatar) -> str:
    """File name of an avatar, without suffix."""
    if "person" in avatar.facts:
        return f"person-{avatar.facts['person']}"
    changed = "-changed" if "edits" in avatar.facts else ""
    return f"{avatar.facts.get('from', 'seed')}-{avatar.seed:06d}{changed}"


def describe(avatar: Avatar) -> str:
    """A line of Markdown about what an avatar was made from."""
    facts = avatar.facts
    if "person" in facts:
        return f"**Person {facts['person']}**, as fitted"
    made = {"portrait": ", from the portrait", "text": ", from the description"}
    changed = ", changed" if "edits" in facts else ""
    return f"**Seed {avatar.seed}**{made.get(facts.get('from', ''), '')}{changed}"
