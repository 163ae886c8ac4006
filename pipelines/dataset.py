"""Data sets of shards: look at them, check them, choose from them, put them together.

`rodin dataset verify runs/demo/triplanes` reads everything once; `filter` writes a new manifest
over the same shards; `merge` and `extend` put data sets that were made alike into one.
Addresses are folders or s3://bucket/prefix.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import tyro

from infra import edit
from infra.card import dataset_card
from infra.dataset import DATASET, Dataset, open_dataset
from infra.expression import choose
from infra.storage import NotFoundError, StorageError, open_store
from infra.verify import Report, verify
from pipelines.options import UsageError, whole
from pipelines.tool import command
from pipelines.views_card import VIEWS_CARD

KINDS = {"views": "views", "triplanes": "triplane"}  # data set -> kind of its samples
Place = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
Places = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
Expression = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="EXPRESSION")]


@dataclass(frozen=True)
class Verify:
    """Check every hash, count, schema, orphan and the decoder; exit code 1 for damage."""

    # the data set's folder or s3:// address
    dataset: Place
    # decode every image and tri-plane too (slow: some MB/s a core)
    decode: bool = False


@dataclass(frozen=True)
class Ls:
    """The shards of a data set: split, samples, bytes, name."""

    # the data set's folder or s3:// address
    dataset: Place


@dataclass(frozen=True)
class Head:
    """The first samples: what the manifest says of them and what they hold."""

    # the data set's folder or s3:// address
    dataset: Place
    # samples to show
    count: int = 3


@dataclass(frozen=True)
class Card:
    """The card of a data set: what it is, how to read it, where it comes from."""

    # the data set's folder or s3:// address
    dataset: Place


@dataclass(frozen=True)
class Merge:
    """Put data sets that were made alike into a new one; their samples are packed again."""

    # folders or s3:// addresses, two or more; one selection alone becomes shards of its own
    datasets: Places
    # where the new data set goes
    out: str


@dataclass(frozen=True)
class Extend:
    """Add the samples of other data sets to this one; its shards stay as they are."""

    # the data set that grows
    dataset: Place
    # data sets whose samples are added, such as that of --render.first-seed 1000
    others: Places


@dataclass(frozen=True)
class Filter:
    """Choose samples by their columns: a new manifest over the same shards."""

    # the data set's folder or s3:// address
    dataset: Place
    # such as: years>40 and glasses!=none, psnr>=25, hair_style in (bob, afro)
    expression: Expression
    # where the selection goes; empty: only count what would be chosen
    out: str = ""


def opened(address: str) -> Dataset:
    store = open_store(whole(address))
    if not store.exists(DATASET):
        inside = [kind for kind in KINDS if store.exists(f"{kind}/{DATASET}")]
        if inside:
            raise UsageError(
                f"{address} is a run; name one of its data sets: {address}/{inside[0]}"
            )
    return open_dataset(store)


def checker(kind: str, decode: bool, decoder: str) -> Callable[[str, Mapping[str, bytes]], None]:
    """What the schema asks of one sample; headers alone unless `decode`. Raises ValueError."""
    from rodin import codecs, record, truth

    limits = codecs.Limits()

    def look(key: str, members: Mapping[str, bytes]) -> None:
        meta = codecs.decode_json(members.get("meta.json", b""), limits)
        wanted = {"key": key, "kind": KINDS.get(kind), "schema_version": record.SCHEMA_VERSION}
        wanted |= {"decoder": decoder} if decoder else {}
        for name, value in wanted.items():
            if meta.get(name) != value:
                found = str(meta.get(name))[:80]
                raise ValueError(f"meta.json: {name} is {found}, the data set says {value}")
        codecs.decode_json(members.get("cameras.json", b""), limits)
        for name, data in members.items():
            if name.endswith(".webp"):
                codecs.webp_size(data)
        if kind == "triplanes":
            planes = members.get("triplane.npy", b"")
            shape, dtype, offset = codecs.npy_header(planes)
            size = offset + math.prod(shape) * dtype.itemsize
            if size != len(planes):
                raise ValueError(f"triplane.npy: has {len(planes)} bytes, {shape} needs {size}")
        if decode and kind == "views":
            record.decode_views(members)
            truth.decode_truth(members)
        elif decode:
            record.decode_triplane(members)

    return look


def check_decoder(data: Dataset, report: Report) -> str:
    """The decoder that all samples must name, compared with the file beside the shards."""
    from pipelines.models import load_decoder

    named = str(data.info["lineage"].get("decoder", ""))
    if data.info["dataset"] != "triplanes":
        return ""
    try:
        found = load_decoder(data.store).digest()
        if found != named:
            report.problem(
                f"decoder.safetensors: is decoder {found[:12]}, the planes belong to {named[:12]}"
            )
    except (ValueError, StorageError) as error:
        report.problem(str(error))
    return named


def run_verify(args: Verify) -> None:
    data = opened(args.dataset)
    extra = Report()
    check = checker(data.info["dataset"], args.decode, check_decoder(data, extra))
    report = verify(data, check)
    problems = extra.problems + report.problems
    for line in problems:
        print(f"damaged: {line}")
    for line in report.notes:
        print(f"note: {line}")
    rate = report.bytes / 1e6 / max(report.seconds, 1e-9)
    state = f"{len(problems) + report.unshown} problems" if problems else "sound"
    print(
        f"{data.store.uri}: {state}; {report.samples} samples in {report.shards} shards,"
        f" {report.bytes / 1e6:.1f} MB in {report.seconds:.1f} s ({rate:.0f} MB/s)"
    )
    if problems:
        raise SystemExit(1)


def run_ls(args: Ls) -> None:
    data = opened(args.dataset)
    print(f"{data.info['dataset']}, {len(data)} samples, digest {data.digest[:16]}")
    counts: dict[str, list[int]] = {}
    for row in data.rows():
        entry = counts.setdefault(row["shard"], [0, 0])
        entry[0] += 1
        entry[1] += row["size"]
    for split in data.info["shards"]:
        for shard in data.shards(split):
            samples, size = counts.get(shard, (0, 0))
            print(f"{split:<6}{samples:>7} samples {size / 1e6:>10.2f} MB  {shard}")
    for failure in data.info["failures"]:
        print(f"failed {failure['key']}: {str(failure.get('reason'))[:200]}")


def run_head(args: Head) -> None:
    if args.count < 1:
        raise UsageError(f"--count is {args.count}; use 1 or more")
    data = opened(args.dataset)
    for row, _ in zip(data.rows(), range(args.count), strict=False):
        facts = {n: v for n, v in row.items() if n.startswith(("metric_", "attr_"))}
        print(f"{row['key']}  {row['split']}  {row['shard']} bytes {row['offset']}+{row['size']}")
        for name, value in facts.items():
            print(f"  {name} = {value}")
        for name, content in data.read_row(row).items():
            print(f"  {name}: {len(content)} bytes")


def run_card(args: Card) -> None:
    data = opened(args.dataset)
    try:
        print(data.store.read("README.md", 0, 1 << 20).decode(errors="replace"), end="")
    except NotFoundError:
        print(dataset_card(data.info), end="")


def card_text(data: Dataset) -> str:
    """What the card of this kind of data set begins with."""
    return VIEWS_CARD if data.info["dataset"] == "views" else ""


def told(info: Mapping[str, Any], uri: str) -> str:
    counts = info["counts"]
    parts = [f"{split} {count['samples']}" for split, count in counts.items()]
    return f"{uri}: {', '.join(parts)} samples, digest {info['digest'][:16]}"


def run_merge(args: Merge) -> None:
    sources = [opened(address) for address in args.datasets]
    if len(sources) < 2 and not (sources and "shards_at" in sources[0].info):
        raise UsageError("merge takes two data sets or more, or one selection")
    out = open_store(whole(args.out))
    info, written = edit.append(out, sources, card=card_text(sources[0]))
    print(told(info, out.uri) if written else f"{out.uri}: nothing to do")


def run_extend(args: Extend) -> None:
    if not args.others:
        raise UsageError("extend takes the data set that grows and one or more to add")
    grown = opened(args.dataset)
    sources = [opened(address) for address in args.others]
    info, written = edit.append(grown.store, sources, card=card_text(grown))
    print(
        f"{told(info, grown.store.uri)}; {written} new shards"
        if written
        else f"{grown.store.uri}: nothing to do"
    )


def run_filter(args: Filter) -> None:
    data = opened(args.dataset)
    table = data.table()
    keys = table.filter(choose(table, args.expression))["key"].to_pylist()
    print(f"{len(keys)} of {len(data)} samples: {args.expression}")
    if args.out:
        out = open_store(whole(args.out))
        info = edit.select(data, out, keys, args.expression, card_text(data))
        print(told(info, out.uri))


RUN: dict[type, Callable[[Any], None]] = {
    Verify: run_verify, Ls: run_ls, Head: run_head, Card: run_card, Merge: run_merge,
    Extend: run_extend, Filter: run_filter,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    words = sys.argv[1:] if argv is None else list(argv)
    kind = cast(type, Verify | Ls | Head | Card | Merge | Extend | Filter)
    command(kind, "rodin dataset", lambda args: RUN[type(args)](args), words or ["--help"], __doc__)


if __name__ == "__main__":
    main()
