"""Reading attributes off portraits: does an avatar have what its person, or its text, has?

A logistic regression for each attribute over features of a network trained on photographs, learned
from frontal renders of the training people. It is asked about others: real renders of people held
out (how good it is), avatars of their portraits, avatars of texts, avatars of nobody (the chance).

Legend: N people, S side of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rodin.perceptual import LitePerceptual, PerceptualDistance

GRID = 6  # cells a side that features are averaged over: a portrait has its parts where they are
DEPTHS = (2, 3)  # of the network's features: 1/8 and 1/16 of the image
LEAST = 6  # people of a class, and of others, from which it can be learned
_AXES = 400  # principal axes of the features: a tenth of them and of the time
_BATCH = 64  # images whose features are taken at a time: memory
_REGULAR = 0.003  # inverse strength of the regularisation: there are more features than people

_BARE = ("bald", "horseshoe")
_SHORT = (
    "buzz", "crew", "flattop", "short", "sidepart", "slick", "quiff", "undercut", "mohawk", "pixie",
    "curly", "coily", "cornrows",
)  # fmt: skip
_DYED = ("green", "blue", "pink", "purple", "bright red", "burgundy")
_SMILES = ("slight smile", "smile", "open smile", "laugh")


def _age(of: Mapping[str, Any]) -> str:
    years = float(of["years"])
    return "young" if years < 35 else "middle-aged" if years < 60 else "old"


def _skin(of: Mapping[str, Any]) -> str:
    tone = str(of["skin_tone"])
    if tone in ("very fair", "fair", "light"):
        return "light"
    return "medium" if tone in ("medium", "tan") else "dark"


def _hair_length(of: Mapping[str, Any]) -> str:
    style = str(of["hair_style"])
    return "bald" if style in _BARE else "short" if style in _SHORT else "long"


def _hair_colour(of: Mapping[str, Any]) -> str:
    """The colour seen at the roots; that of a bald head is none."""
    if of["hair_style"] == "bald":
        return "none"
    name = str(of["hair_colour"]).partition(" to ")[0]
    if name in _DYED:
        return "dyed"
    if name in ("grey", "white", "salt-and-pepper"):
        return "grey"
    if "blond" in name:
        return "blond"
    return "red" if name in ("red", "copper", "dark auburn") else "dark"


def _garment(of: Mapping[str, Any]) -> str:
    name = str(of["garment"])
    if name in ("suit", "blazer", "denim_jacket", "bomber", "cardigan", "hoodie"):
        return "jacket or hoodie"
    return "collar" if name in ("shirt", "polo", "turtleneck") else "top"


def _expression(of: Mapping[str, Any]) -> str:
    name = str(of["expression"])
    return "smiling" if name in _SMILES else "neutral" if name == "neutral" else "other"


def _has(column: str, *without: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda of: "no" if of[column] in ("none", *without) else "yes"


# What is read, of the columns that the avatar factory writes (`attr_*`).
GROUPS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "sex": lambda of: str(of["gender"]),
    "age": _age,
    "skin": _skin,
    "hair length": _hair_length,
    "hair colour": _hair_colour,
    "beard": _has("beard", "stubble"),
    "glasses": _has("glasses"),
    "hat": _has("headwear", "headband", "headphones"),
    "garment": _garment,
    "expression": _expression,
}


def classes(attributes: Mapping[str, Any]) -> dict[str, str]:
    """The class of a person in each group; {} where the data set has no such columns."""
    try:
        return {name: group(attributes) for name, group in GROUPS.items()}
    except KeyError:
        return {}


@torch.no_grad()
def layout(images: Tensor, network: PerceptualDistance) -> np.ndarray:
    """Colours and features (N, F) of images (N, S, S, 3) in [0, 1], means of a grid's cells."""
    rows = []
    for pixels in images.movedim(-1, 1).split(_BATCH):
        found = network.features(pixels)
        maps = [pixels, *(found[depth] for depth in DEPTHS)]
        cells = [functional.adaptive_avg_pool2d(each, GRID).flatten(1) for each in maps]
        rows.append(torch.cat(cells, 1))
    return torch.cat(rows).numpy()


class Reader:
    """Attributes of frontal portraits over white."""

    def __init__(self, network: PerceptualDistance | None = None) -> None:
        self.network = network or LitePerceptual()
        self.view: Any = None  # of features: standardised, on their principal axes
        self.models: dict[str, Any] = {}

    def learn(self, images: Tensor, known: Sequence[Mapping[str, str]]) -> Reader:
        """From images (N, S, S, 3) and the classes of their people; both also mirrored.

        Groups in which fewer than two classes have LEAST images are left out. ValueError where
        none remains.
        """
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        features = np.concatenate([layout(x, self.network) for x in (images, images.flip(2))])
        axes = PCA(min(_AXES, *features.shape), svd_solver="randomized", random_state=0)
        self.view = make_pipeline(StandardScaler(), axes)
        features = self.view.fit_transform(features)
        for name in GROUPS:
            words = np.array([one.get(name, "") for one in known] * 2)
            names, counts = np.unique(words, return_counts=True)
            kept = [n for n, c in zip(names, counts, strict=True) if n and c >= 2 * LEAST]
            if len(kept) < 2:
                continue
            chosen = np.isin(words, kept)
            model = LogisticRegression(C=_REGULAR, class_weight="balanced", max_iter=300)
            self.models[name] = model.fit(features[chosen], words[chosen])
        if not self.models:
            raise ValueError(
                f"attributes cannot be learned from {len(images)} images: no group has two classes"
                f" with {LEAST}; make more avatars"
            )
        return self

    def read(self, images: Tensor) -> list[dict[str, str]]:
        """The classes that images (N, S, S, 3) seem to have."""
        features = self.view.transform(layout(images, self.network))
        found = {name: model.predict(features) for name, model in self.models.items()}
        return [{name: str(words[i]) for name, words in found.items()} for i in range(len(images))]


def agreement(
    read: Sequence[Mapping[str, str]], wanted: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """For each group the share of people that agree, every class counting alike.

    Pairs whose wanted class the reader does not know, or that want nothing of a group, do not
    count. Guessing gets 1 / classes, whatever their shares.
    """
    found: dict[str, float] = {}
    for name in GROUPS:
        pairs = [
            (r[name], w[name]) for r, w in zip(read, wanted, strict=True) if name in r and name in w
        ]
        kinds = sorted({want for _, want in pairs})
        if len(kinds) < 2:
            continue
        shares = [np.mean([r == w for r, w in pairs if w == kind]) for kind in kinds]
        found[name] = float(np.mean(shares))
    return found
