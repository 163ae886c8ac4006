"""People as the prior sees them: a latent of their portrait, and what their captions say.

The latents stand beside the shards of tri-planes or views in `latents/ENCODER.parquet`, named after
the digest of the encoder that made them: columns key, split, latent (D,), mirrored (D,) of the
mirrored portrait, and captions. What the captions mean to a text encoder stands with the prior, in
`models/prior/texts.safetensors`.

People need no tri-planes for that: those of a data set of views are as good, and cost far less.

Legend: N people, D latent, K captions of one person, E text embedding.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from infra.manifest import Dataset as Shards
from infra.plan import SPLITS
from infra.storage import NotFoundError, Store
from pipelines import data, models, traits
from pipelines.phrases import phrases
from pipelines.settings import SampleStage
from rodin import record
from rodin.decoder import TriplaneDecoder
from rodin.diffusion.base import BaseSystem
from rodin.generate import encode_portraits, gaussian_latent
from rodin.prior import PRIOR_SAMPLER, LatentPrior, TextStatistics, measure_latents
from rodin.text import open_encoder

TEXTS = "texts.safetensors"
_BATCH = 256  # captions embedded at a time
_MEASURED = 5_000  # people that the linear part of the prior is measured on: memory
_PENALTIES = np.logspace(0, 5, 11)  # of the ridge regression
_FOLDS = 5
_LUCK = 0.01  # share of a variance that a regression explains by chance

Source = tuple[Shards, str]  # a data set of tri-planes or views, and the name of its table


def encoder_digest(base: BaseSystem) -> str:
    """16 hex digits of the weights that turn portraits into latents."""
    found = hashlib.sha256()
    if base.encoder.clip is not None:
        found.update(base.encoder.clip.digest.encode())
    for name, value in sorted(base.encoder.state_dict().items()):
        found.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def table_name(encoder: str) -> str:
    return f"latents/{encoder}.parquet"


def ensure_table(shards: Shards, base: BaseSystem) -> str:
    """Writes the table of this encoder where the data set has none; its name in the data set.

    Of tri-planes, or of views, whose first one is the portrait.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = table_name(encoder_digest(base))
    if shards.store.exists(name):
        old = read_table(shards.store, name)
        if "mirrored" in old and _keys(shards) == old["key"]:
            return name
    columns = ("key", "split", "latent", "mirrored", "captions")
    rows: dict[str, list[Any]] = {column: [] for column in columns}
    for split in SPLITS:
        for row in tqdm(list(shards.rows(split)), f"latents of {split}", unit="person"):
            key, seen, meta = portrait_of(shards, row)
            found = encode_portraits(base, torch.stack((seen, seen.flip(-1))))
            rows["key"].append(key)
            rows["split"].append(split)
            for column, latent in zip(("latent", "mirrored"), found.cpu().numpy(), strict=True):
                rows[column].append(latent)
            rows["captions"].append(said_of(meta))
    stream = io.BytesIO()
    pq.write_table(pa.table(rows), stream, compression="zstd", store_schema=False)
    shards.store.write(name, stream.getvalue())
    return name


def portrait_of(shards: Shards, row: dict[str, Any]) -> tuple[str, Tensor, dict[str, Any]]:
    """Key, portrait (4, P, P) and meta.json of a row of tri-planes or views."""
    members = shards.read_row(row)
    if shards.info["dataset"] == "views":
        views = record.decode_views(members)
        return views.key, data.image(views.rgba[0]), views.meta
    sample = record.decode_triplane(members)
    return sample.key, data.image(sample.portrait), sample.meta


def said_of(meta: dict[str, Any]) -> list[str]:
    """Everything that is said of a sample's person: its captions, then short phrases."""
    told = captions_of(meta)
    return told + phrases(meta.get("attributes", {}), int(meta.get("seed", 0))) if told else []


def captions_of(meta: dict[str, Any]) -> list[str]:
    """The captions of a sample; older data sets have one."""
    found = meta.get("captions") or [meta.get("caption", "")]
    return [text for text in found if text]


def _keys(shards: Shards) -> list[str]:
    return [str(row["key"]) for split in SPLITS for row in shards.rows(split)]


def read_table(store: Store, name: str) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(store.read(name))).to_pydict()


def ensure_texts(sources: Sequence[Source], store: Store, encoder: str, dim: int) -> None:
    """Embeds all captions once, as (N, K, E) in half precision, in the tables' order.

    People with fewer captions than others have theirs repeated. ModelError without captions, or
    for an encoder of another size than `dim`.
    """
    from safetensors.torch import save

    captions = []
    for shards, table in sources:
        some = read_table(shards.store, table)["captions"]
        if not all(some):
            raise models.ModelError(
                f"{shards.store.uri}: some people have no captions; train without texts:"
                " --prior.text '' --prior.model.text-dim 0"
            )
        captions += some
    most = max(map(len, captions), default=0)
    embed = open_encoder(encoder)
    if embed.dim != dim:
        raise models.ModelError(
            f"prior.model.text_dim={dim}, but {encoder} gives {embed.dim} numbers; set it to that"
        )
    said = [row[i % len(row)] for row in captions for i in range(most)]
    digest = hashlib.sha256("\n".join([encoder, *said]).encode()).hexdigest()
    if _digest_of(store) == digest:
        return
    starts = tqdm(range(0, len(said), _BATCH), "captions", unit=f"{_BATCH} texts", file=sys.stderr)
    found = torch.cat([embed(said[i : i + _BATCH]) for i in starts]).half()
    texts = found.reshape(len(captions), most, dim)
    store.write(TEXTS, save({"texts": texts}, metadata={"digest": digest}))


def _digest_of(store: Store) -> str:
    """What the stored embeddings were made of; empty where there are none."""
    try:
        head = store.read(TEXTS)
    except NotFoundError:
        return ""
    size = int.from_bytes(head[:8], "little")
    return str(json.loads(head[8 : 8 + size]).get("__metadata__", {}).get("digest", ""))


def _labels(row: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a row of the manifest."""
    found = (name for name in row if name.startswith("attr_"))
    return {name.removeprefix("attr_"): row[name] for name in found}


def scale_of(base: BaseSystem, std: Tensor) -> Tensor | None:
    """How much deviations (D,) of each number change of a portrait, of a mean square of 1; None
    where that is not known: of eigenfaces alone it is."""
    if base.encoder.faces is None:
        return None
    found = std * base.encoder.deviations
    return (found / found.square().mean().sqrt()).clamp_min(1e-3)


class LatentSource:
    """Latents of new avatars, as `sample.latent` says."""

    def __init__(self, out: Store, stage: SampleStage, decoder: TriplaneDecoder) -> None:
        """Reads what the run's models have; ModelError where a wanted prior is not trained."""
        self.stage = stage
        found = models.load_tensors(out.child("models/base"), "latents.safetensors")
        self.latents = found["latents"]
        self.prior: LatentPrior | None = None
        if stage.latent == "prior":
            self.prior = models.load_system(out, "prior", decoder, "cpu")

    def __call__(self, seed: int) -> Tensor:
        """The latent (D,) of a seed."""
        if self.stage.latent == "none":
            return torch.zeros_like(self.latents[0])
        if self.prior is not None:
            return self.prior.draw([seed], None, PRIOR_SAMPLER)[0]
        return gaussian_latent(self.latents, seed, self.stage.spread)


class LatentSamples(Dataset[dict[str, Tensor]]):
    """Latents (D,) of a split and, with texts, the embeddings (K, E) of their captions."""

    def __init__(
        self, sources: Sequence[Source], split: str, store: Store | None, mirror: bool = False
    ) -> None:
        """`store` has the embeddings; None for none. With `mirror` everyone's mirror image comes
        after all others, with the same captions."""
        self.sources, self.store = sources, store
        rows: dict[str, list[Any]] = {"key": [], "split": [], "latent": [], "mirrored": []}
        for shards, table in sources:
            for column, values in read_table(shards.store, table).items():
                rows.get(column, []).extend(values)
        chosen = [i for i, of in enumerate(rows["split"]) if of == split]
        self.people = len(chosen)
        columns = ("latent", "mirrored") if mirror else ("latent",)
        found = [rows[column][i] for column in columns for i in chosen]
        width = len(rows["latent"][0]) if rows["latent"] else 0
        self.latents = torch.from_numpy(np.array(found, np.float32).reshape(len(found), width))
        self.texts: Tensor | None = None
        if store is not None:
            self.texts = models.load_tensors(store, TEXTS)["texts"][chosen * len(columns)]

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        found = {"latent": self.latents[index]}
        return found if self.texts is None else found | {"text": self.texts[index].float()}

    def traits(self) -> dict[str, dict[str, Any]]:
        """What training people's labels say of their latents, see `traits.measure`; {} without."""
        known = []
        for shards, table in self.sources:
            of = read_table(shards.store, table)
            rows = {str(row["key"]): row for row in shards.rows("train")}
            keys = [
                key for key, split in zip(of["key"], of["split"], strict=True) if split == "train"
            ]
            known += [traits.classes(_labels(rows[key])) for key in keys]
        return traits.measure(self.latents[: self.people], known) if all(known) else {}

    def measure_texts(self) -> TextStatistics | None:
        """Of the first _MEASURED people, not mirrored; None without texts."""
        if self.texts is None:
            return None
        count = min(self.people, _MEASURED)
        return measure_texts(self.latents[:count], self.texts[:count])

    def held_out(self, count: int) -> dict[str, Tensor] | None:
        """The first `count` people held out from training as a batch; None where there are none."""
        found = self.first("val", count)
        return found if len(found["latent"]) else None

    def first(self, split: str, count: int) -> dict[str, Tensor]:
        """The first `count` people of a split as a batch."""
        people = LatentSamples(self.sources, split, self.store)
        found = {"latent": people.latents[:count]}
        return found if people.texts is None else found | {"text": people.texts[:count].float()}


def measure_texts(latents: Tensor, texts: Tensor) -> TextStatistics:
    """Statistics of texts (N, K, E) and the ridge regression of latents (N, D) on them.

    Each number of the latent has the penalty that tells most of people who were left out (5 folds):
    texts say much of some and nothing of others. It is zero where no penalty tells anything, or
    where there are too few people for that.
    """
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold, cross_val_predict

    count, said, size = texts.shape
    words = torch.nn.functional.normalize(texts.double(), dim=-1).reshape(-1, size)
    mean, std = words.mean(0), words.std(0, correction=0).clamp_min(1e-4)
    middle, deviation = measure_latents(latents)
    lead = np.zeros((size, latents.shape[1]))
    if count >= 2 * _FOLDS:
        x = ((words - mean) / std).numpy()
        y = ((latents - middle) / deviation).double().repeat_interleave(said, 0).numpy()
        groups = np.repeat(np.arange(count), said)
        least = (1 - _LUCK) * np.square(y).mean(0)
        for penalty in _PENALTIES:
            ridge = Ridge(penalty, fit_intercept=False)
            guess = cross_val_predict(ridge, x, y, groups=groups, cv=GroupKFold(_FOLDS))
            error = np.square(y - guess).mean(0)
            better = error < least
            if better.any():
                lead[:, better] = np.atleast_2d(ridge.fit(x, y[:, better]).coef_).T
            least = np.minimum(least, error)
    return TextStatistics(mean.float(), std.float(), torch.from_numpy(lead).float())
