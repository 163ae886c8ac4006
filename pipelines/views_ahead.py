"""Views of people, decoded before a fitting worker asks for them, in other processes.

Nothing here imports torch: a process that only decodes pictures must not wait for it to load.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from infra.manifest import Dataset, DatasetError
from infra.shards import Failure
from rodin import record


def decode(views: Dataset, row: dict[str, Any]) -> record.ViewsSample | Failure:
    """The views of one person; a damaged sample is the person's failure, not the shard's."""
    try:
        return record.decode_views(views.read_row(row))
    except (record.RecordError, DatasetError) as error:
        return Failure(row["key"], str(error), type(error).__name__)


def decoded(
    views: Dataset, keys: Sequence[str], ahead: int
) -> Iterator[record.ViewsSample | Failure]:
    """The views of `keys` in order, up to `ahead` of them decoded before they are asked for.

    Decoding is a Ray task: another process of this node, or of one that is free, so that it costs
    the fitting device no time. The tasks hold no CPU slot, because the workers may hold all of
    them; how many run at once is bounded by `ahead`, and so is the memory.
    """
    if not ahead:
        yield from (decode(views, views.row(key)) for key in keys)
        return
    import ray

    task = ray.remote(num_cpus=0, max_retries=3)(decode)
    source = ray.put(views)
    waiting: deque[Any] = deque()
    todo = iter(keys)
    for _ in keys:
        while len(waiting) <= ahead and (key := next(todo, None)) is not None:
            waiting.append(task.remote(source, views.row(key)))
        yield ray.get(waiting.popleft())
