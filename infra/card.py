"""The dataset card: README.md beside the shards. Its code blocks run as printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_READ = {
    "views": ("view000.webp", "Image.open(io.BytesIO(DATA)).size"),
    "triplanes": ("triplane.npy", "np.load(io.BytesIO(DATA), allow_pickle=False).shape"),
}
_IMPORT = {"views": "from PIL import Image", "triplanes": "import numpy as np"}


def dataset_card(
    info: Mapping[str, Any], contact_sheet: str | None = None, description: str = ""
) -> str:
    """Markdown for `info`, the content of dataset.json. The same info gives the same text."""
    counts, selected = info["counts"], "shards_at" in info
    rows = "\n".join(
        f"| {split} | {c['samples']} | {c['shards']} | {c['failures']} | {_size(c['bytes'])} |"
        for split, c in counts.items()
    )
    parts = [
        f"# Rodin {info['dataset']}",
        description or _ABOUT.get(info["dataset"], ""),
        f"![Some samples]({contact_sheet})" if contact_sheet else "",
        f"| split | samples | shards | failed | size |\n|---|---|---|---|---|\n{rows}",
        *([_SELECTION, _code(info, _SELECTION_BLOCKS)] if selected else [_LAYOUT, _code(info)]),
        _lineage(info),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


_ABOUT = {
    "views": "Posed RGBA images of synthetic people, rendered by Blender. No real person is in "
    "them.",
    "triplanes": "Tri-planes fitted to synthetic people, with a shared decoder "
    "(`decoder.safetensors`). No real person is in them.",
}

_LAYOUT = """## What is here

WebDataset tars `{split}/{shard}-{hash}.tar`: the files of one sample follow each other and share
their name up to the first dot. `dataset.json` lists the shards, counts, statistics and lineage;
`manifest.parquet` has a row per sample with shard, byte range, sha256, `metric_*` and `attr_*`.
Read the shards that `dataset.json` lists, not all tars of a folder: a stopped run may have left
others. The JSON beside each shard is its receipt."""


def _code(info: Mapping[str, Any], blocks: str = "") -> str:
    kind = info["dataset"] if info["dataset"] in _READ else "views"
    split = "train" if info["counts"]["train"]["samples"] else "val"
    member, look = _READ[kind]
    bindings = {
        "SPLIT": split,
        "MEMBER": member,
        "IMPORT": _IMPORT[kind],
        "LOOK_SAMPLE": look.replace("DATA", f'sample["{member}"]'),
        "LOOK_DATA": look.replace("DATA", "data"),
        "LOOK_HF": (
            'sample["view000.webp"].size' if kind == "views" else 'len(sample["triplane.npy"])'
        ),
    }
    text = blocks or _BLOCKS
    for name, value in bindings.items():
        text = text.replace(f"@{name}@", value)
    return text


_BLOCKS = """## How to read it

Run these in the folder of this file (for S3, copy it first: `aws s3 sync s3://... .`).

With `webdataset`:

```python
import io, json
@IMPORT@
import webdataset as wds

shards = json.load(open("dataset.json"))["shards"]["@SPLIT@"]
for sample in wds.WebDataset(shards, shardshuffle=False):
    print(sample["__key__"], json.loads(sample["meta.json"])["kind"], @LOOK_SAMPLE@)
```

With `ray.data`:

```python
import io, json, os
@IMPORT@
import ray

shards = json.load(open("dataset.json"))["shards"]["@SPLIT@"]
paths = [os.path.abspath(name) for name in shards]
dataset = ray.data.read_webdataset(paths, decoder=None, suffixes=["meta.json", "@MEMBER@"])
for sample in dataset.iter_rows():
    print(sample["__key__"], @LOOK_SAMPLE@)
```

With Hugging Face `datasets`:

```python
import json
from datasets import load_dataset

shards = json.load(open("dataset.json"))["shards"]["@SPLIT@"]
for sample in load_dataset("webdataset", data_files=shards, split="train", streaming=True):
    print(sample["__key__"], @LOOK_HF@)
```

One sample by its byte range, with nothing but pyarrow:

```python
import hashlib, io, tarfile
@IMPORT@
import pyarrow.parquet as pq

row = pq.read_table("manifest.parquet").slice(0, 1).to_pylist()[0]
with open(row["shard"], "rb") as file:
    file.seek(row["offset"])
    part = file.read(row["size"])
assert hashlib.sha256(part).hexdigest() == row["sha256"]
with tarfile.open(fileobj=io.BytesIO(part)) as tar:
    data = tar.extractfile(row["key"] + ".@MEMBER@").read()
    print(row["key"], @LOOK_DATA@)
```

With plain tar:

```sh
python3 -c 'import json; print(*json.load(open("dataset.json"))["shards"]["@SPLIT@"])' |
  tr ' ' '\\n' | while read shard; do tar -tf "$shard"; done
```"""


_SELECTION = """## What is here

A selection: `manifest.parquet` has a row per chosen sample; `dataset.json` says how they were
chosen (`lineage`) and where the shards lie (`shards_at`). The shards hold other samples too."""

_SELECTION_BLOCKS = """## How to read it

With `webdataset`, where the shards are in a folder:

```python
import io, json
@IMPORT@
import pyarrow.parquet as pq
import webdataset as wds

info = json.load(open("dataset.json"))
chosen = set(pq.read_table("manifest.parquet", columns=["key"])["key"].to_pylist())
shards = [info["shards_at"] + "/" + name for name in info["shards"]["@SPLIT@"]]
for sample in wds.WebDataset(shards, shardshuffle=False).select(lambda s: s["__key__"] in chosen):
    print(sample["__key__"], json.loads(sample["meta.json"])["kind"], @LOOK_SAMPLE@)
```

`rodin dataset merge THIS --out NEW` packs the chosen samples into shards of their own."""


def _lineage(info: Mapping[str, Any]) -> str:
    lines = [f"- schema version: {info['schema_version']}", f"- digest: `{info['digest']}`"]
    lines += [f"- settings: `{info['settings_hash']}`"]
    lines += [f"- {name}: `{value}`" for name, value in sorted(info["lineage"].items())]
    return "## Lineage\n\n" + "\n".join(lines)
