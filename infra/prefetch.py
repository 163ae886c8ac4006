"""Byte ranges of a store in order, read ahead by threads within a fixed amount of memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from infra.storage import Store

BUDGET = 256 << 20  # bytes read and not yet taken: some shards' worth of samples
THREADS = 8  # requests at once: hides the latency of S3


def read_ahead(
    store: Store,
    ranges: Iterable[tuple[str, int, int]],
    *,
    budget: int = BUDGET,
    threads: int = THREADS,
) -> Iterator[bytes | Exception]:
    """What `store.read(key, offset, size)` gives for each range, in order.

    An error of one range comes in its place, for the caller to raise or to count. At most `budget`
    bytes are read ahead; a range larger than that is read alone.
    """
    todo = iter(ranges)
    waiting: deque[tuple[Future[bytes], int]] = deque()
    held = 0
    pool = ThreadPoolExecutor(threads)
    try:
        following = next(todo, None)
        while waiting or following is not None:
            while (
                following is not None
                and len(waiting) < 4 * threads
                and (not waiting or held + following[2] <= budget)
            ):
                waiting.append((pool.submit(store.read, *following), following[2]))
                held += following[2]
                following = next(todo, None)
            future, size = waiting.popleft()
            try:
                yield future.result()
            except Exception as error:
                yield error
            held -= size
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
