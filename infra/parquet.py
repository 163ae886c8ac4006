"""A manifest that may come from a stranger: what it claims is compared before it is expanded."""

from __future__ import annotations

import io
from typing import Any

_NEEDED = {
    "key": "string", "split": "string", "shard": "string", "offset": "int64", "size": "int64",
    "sha256": "string",
}  # fmt: skip
_KINDS = {"string", "int64", "double", "bool"}
_MAX_COLUMNS = 4096
_PER_ROW = 64 << 10  # bytes that a row may take on average: captions are some hundred
_BASE = 64 << 20  # bytes that any manifest may take
_METADATA = 64 << 20  # bytes and entries of the footer


class ManifestError(ValueError):
    """A manifest that is damaged or would take too much memory; one line without the place."""


def read_manifest(data: bytes, rows: int) -> Any:
    """The pyarrow table of a manifest of `rows` rows. Raises ManifestError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    limit = _BASE + rows * _PER_ROW
    try:
        file = pq.ParquetFile(
            io.BytesIO(data),
            thrift_string_size_limit=_METADATA,
            thrift_container_size_limit=_METADATA,
        )
        _check_claims(file, rows, limit)
        texts = [field.name for field in file.schema_arrow if str(field.type) == "string"]
        # Dictionaries stay as they are: a short file may repeat a long text a million times.
        table = pq.read_table(io.BytesIO(data), read_dictionary=texts)
        total = sum(_text_bytes(table[name]) for name in texts)
        if total > limit:
            raise ManifestError(f"damaged: holds {total} bytes of text, more than {limit}")
        for index, name in enumerate(table.column_names):
            if name in texts:
                table = table.set_column(index, name, table[name].cast(pa.string()))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ManifestError(f"damaged ({type(error).__name__})") from None
    return table


def _check_claims(file: Any, rows: int, limit: int) -> None:
    facts = file.metadata
    if facts.num_rows != rows:
        raise ManifestError(
            f"count mismatch, dataset.json says {rows} samples, the manifest has {facts.num_rows}"
        )
    kinds = {field.name: str(field.type) for field in file.schema_arrow}
    if len(kinds) != len(file.schema_arrow) or len(kinds) > _MAX_COLUMNS:
        raise ManifestError(f"damaged: {len(file.schema_arrow)} columns, some twice or too many")
    for name, kind in kinds.items():
        if kind not in _KINDS:
            raise ManifestError(f"damaged: column {name[:80]!r} holds {kind[:80]}")
    for name, kind in _NEEDED.items():
        if kinds.get(name) != kind:
            raise ManifestError(f"damaged: no column {name!r} of {kind}")
    claimed = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
    if claimed > limit:
        raise ManifestError(f"damaged: needs {claimed} bytes, more than {limit}")


def _text_bytes(column: Any) -> int:
    """Bytes of all texts of a dictionary column, without expanding it."""
    import pyarrow.compute as pc

    total = 0
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary)
        total += pc.sum(lengths.cast("int64").take(chunk.indices)).as_py() or 0
    return total
