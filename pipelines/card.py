"""A model's card: what it was made of, what it is asked for and gives, what it cannot do.

Input    RUN with triplanes and models; --bundle FOLDER judges packed weights in place of the run's.
Output   --out FOLDER: model_card.md with tables, and its pictures. Where the page is there already,
         only what stands between its lines "<!-- measured -->" and "<!-- end -->" is replaced.
Work     one process; some 400 avatars, each drawn and looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor

from infra.manifest import Dataset, open_dataset
from infra.storage import Store, open_store
from pipelines import attributes, models, pictures, prompts
from pipelines.context import sample_stage
from pipelines.generate import open_model
from pipelines.judge import Judge, portraits_of
from pipelines.options import whole
from pipelines.tool import command, say
from pipelines.train_job import views_of
from rodin.avatar import Avatar
from rodin.model import Model

SIDE = 128  # px, of the portraits that are read
SAMPLES = 64  # along a ray
ACROSS = 10  # avatars in a row of the sheet
NEAREST = 10  # avatars shown beside the training person nearest to them
PAGE = "model_card.md"
MARKS = ("<!-- measured -->", "<!-- end -->")


@dataclass(frozen=True)
class Card:
    """What `rodin card` takes."""

    # the run that was trained: a folder or s3://bucket/prefix
    run: Annotated[str, tyro.conf.Positional]
    # folder for model_card.md and its pictures
    out: str
    # packed weights to judge, in place of the run's
    bundle: str = ""
    # avatars from seeds alone, on the sheet and for comparison
    avatars: int = 100
    # avatars of each text
    each: int = 8
    # avatars that every edit is tried on
    edited: int = 12

    def __post_init__(self) -> None:
        for name in ("avatars", "each", "edited"):
            if not 1 <= getattr(self, name) <= 1000:
                raise ValueError(f"--{name} is {getattr(self, name)}; use 1 to 1,000")


def portrait(avatar: Avatar, *, refine: bool | None = None) -> Tensor:
    """The avatar from the front (S, S, 3) in [0, 1]."""
    image = avatar.render(size=SIDE, samples=SAMPLES, refine=refine)
    return torch.from_numpy(np.array(image)).float() / 255


def made(model: Model, seeds: Sequence[int], text: str | None = None) -> list[Avatar]:
    found: list[Avatar] = []
    for seed in seeds:
        say(f"{text or 'from seeds'}: {len(found) + 1} of {len(seeds)}")
        found.append(model.generate(seed, text))
    return found


def learned(
    judge: Judge, portraits: Dataset | None
) -> tuple[attributes.Reader, dict[str, float], dict[str, float]]:
    """A reader of training people's real portraits and renders, and how well it reads other people:
    renders of their fits, and real portraits."""
    say("reader of attributes")
    reader = judge.reader(portraits)
    held_out = judge.held_out
    if not held_out:
        return reader, {}, {}
    known = [who.classes for who in held_out]
    fits = reader.read(torch.stack([judge.of_portrait(p.planes, p) for p in held_out]))
    real = [who.real[0] for who in held_out]
    wanted = list(known)
    if portraits is not None:
        for image, classes in portraits_of(portraits, "val", len(real[0])):
            real.append(image)
            wanted.append(classes)
    read = reader.read(torch.stack(real))
    return reader, attributes.agreement(fits, known), attributes.agreement(read, wanted)


def texts(
    model: Model, reader: attributes.Reader, free: Sequence[dict[str, str]], each: int
) -> list[str]:
    """Rows: group, share of each class's avatars that have it, their mean, that of no text."""
    rows = []
    for group, said in prompts.TEXTS.items():
        if group not in reader.models:
            rows.append(f"| {group} | too few people to learn it | | |")
            continue
        known = set(reader.models[group].classes_)
        asked: dict[str, float] = {}
        for kind, text in said.items():
            if kind in known:
                read = reader.read(
                    torch.stack([portrait(a) for a in made(model, range(each), text)])
                )
                asked[kind] = float(np.mean([one[group] == kind for one in read]))
        chance = np.mean([[one[group] == kind for one in free] for kind in asked])
        classes = ", ".join(f"{kind} {share:.0%}" for kind, share in asked.items())
        rows.append(f"| {group} | {classes} | {np.mean([*asked.values()]):.0%} | {chance:.0%} |")
    return rows


def edits(model: Model, reader: attributes.Reader, avatars: Sequence[Avatar]) -> list[str]:
    """Rows: text, share that has the attribute before and after, share of the others kept."""
    rows = []
    before = reader.read(torch.stack([portrait(avatar) for avatar in avatars]))
    for group, kind, text in prompts.EDITS.values():
        if group not in reader.models or kind not in reader.models[group].classes_:
            continue
        changed: list[Tensor] = []
        step = model.direction(text)
        for avatar in avatars:
            say(f"edit {text!r}: {len(changed) + 1} of {len(avatars)}")
            assert avatar.latent is not None
            changed.append(portrait(model.from_latent(avatar.latent + step, avatar.seed)))
        after = reader.read(torch.stack(changed))
        had, has = (np.mean([one[group] == kind for one in read]) for read in (before, after))
        others = [name for name in reader.models if name != group]
        pairs = zip(before, after, strict=True)
        kept = np.mean([[a[name] == b[name] for name in others] for a, b in pairs])
        rows.append(f"| {text} | {had:.0%} | {has:.0%} | {kept:.0%} |")
    return rows


def shown(model: Model, out: Path) -> None:
    """Pictures of whole sentences: a row each."""
    rows = [
        [portrait(avatar).numpy() for avatar in made(model, range(6), text)]
        for text in prompts.SHOWN
    ]
    save(pictures.grid(rows, list(prompts.SHOWN)), out / "model_card_texts.jpg")


def around(path: Path) -> tuple[str, str]:
    """What people wrote before and after the measured part, marks included."""
    began, ended = MARKS
    text = path.read_text() if path.exists() else f"{began}\n{ended}\n"
    head, found, rest = text.partition(began)
    _, closed, tail = rest.partition(ended)
    if not (found and closed):
        raise ValueError(f"{path} has no lines {began} and {ended}; add them, or use another --out")
    return f"{head}{began}\n", f"\n{ended}{tail}"


def save(image: Any, path: Path) -> None:
    image.save(path, "JPEG", quality=85, optimize=True)


def sources(out: Store, judge: Judge, portraits: Dataset | None) -> list[str]:
    """What the models were made of."""
    alone = []
    if portraits is not None:
        known = {split: len(portraits.keys(split)) for split in ("train", "val")}
        alone = [
            f"| people of whom there are portraits alone | {known['train']:,} trained with,"
            f" {known['val']} held out |"
        ]
    info = open_dataset(out.child("triplanes")).info
    counts = {split: info["counts"][split]["samples"] for split in ("train", "val")}
    rows = [
        f"| people | {counts['train']} trained with, {counts['val']} held out |",
        *alone,
        f"| data set | `{info['digest'][:16]}` |",
        f"| decoder | `{judge.decoder.digest()[:16]}` |",
    ]
    for name in models.KINDS:
        if meta := models.read_meta(out.child(f"models/{name}")):
            rows.append(f"| {name} | {meta['samples']:,} samples |")
    return rows


def work(args: Card) -> None:
    out = open_store(whole(args.run))
    shards = open_dataset(out.child("triplanes"))
    judge = Judge(out, shards, sample_stage(out), 100_000, say)
    prior = models.read_meta(out.child("models/prior"))
    portraits = views_of(out, prior["identity"]["settings"].get("views", "")) if prior else None
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    head, tail = around(folder / PAGE)
    with open_model(args.bundle or args.run) as model:
        reader, limit, real = learned(judge, portraits)
        avatars = made(model, range(args.avatars))
        views = [portrait(avatar) for avatar in avatars]
        sheet = [[v.numpy() for v in views[i : i + ACROSS]] for i in range(0, len(views), ACROSS)]
        save(pictures.grid(sheet, tile=SIDE), folder / "model_card.jpg")
        # beside renders of fits, which no refiner has sharpened either
        novelty, index = judge.novelty(torch.stack([a.planes for a in avatars]), [
            portrait(avatar, refine=False)[None] for avatar in avatars
        ])  # fmt: skip
        pairs = [
            [views[i].numpy() for i in range(NEAREST)],
            [judge.train[index[i]].real[0].numpy() for i in range(NEAREST)],
        ]
        labels = ["avatars from seeds", "the training person who looks nearest to each"]
        save(pictures.grid(pairs, labels, tile=SIDE), folder / "model_card_nearest.jpg")
        free = reader.read(torch.stack(views))
        said = texts(model, reader, free, args.each) if model.bundle.prior else []
        changed = edits(model, reader, avatars[: args.edited]) if model.bundle.prior else []
        if model.bundle.prior:
            shown(model, folder)
    say()
    page = [
        "| made of | |", "|---|---|", *sources(out, judge, portraits), "",
        "| novelty | |", "|---|---|",
        *(f"| {name.replace('_', ' ')} | {value:.2f} |" for name, value in novelty.items()), "",
        "| attribute | avatars of a text for each class that have it | mean | avatars of no text |",
        "|---|---|---|---|", *said, "",
        "| edit | have it before | after | other attributes kept |", "|---|---|---|---|", *changed,
        "", "| attribute | read off renders of held-out people | off their real portraits |",
        "|---|---|---|",
        *(f"| {name} | {share:.0%} | {real[name]:.0%} |" for name, share in limit.items()),
    ]  # fmt: skip
    (folder / PAGE).write_text(head + "\n".join(page) + tail)
    print(f"wrote {folder / PAGE} and its pictures")


def main(argv: Sequence[str] | None = None) -> None:
    command(Card, "rodin card", work, argv, __doc__ or "")


if __name__ == "__main__":
    main()
