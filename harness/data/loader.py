"""Order and prefetching, for any framework."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    items: Iterable[Item], function: Callable[[Item], Result], threads: int = 2, depth: int = 8
) -> Iterator[Result]:
    """Yield function(item) in order, worked out ahead by threads.

    An exception of `function` is raised where its result would have come. Closing the iterator, or dropping it, waits
    for what is running and leaves no thread.

    Args:
        items: May be endless; read in the consumer's thread.
        function: Must be safe to call from several threads.
        threads: How many work at once.
        depth: How many results may be ahead of the consumer.
    """
    source = iter(items)
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
    try:
        pending.extend(pool.submit(function, item) for item in islice(source, max(depth, 1)))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def shard(indices: Sequence[int], rank: int, world_size: int) -> list[int]:
    """Return every world_size-th index from the rank-th on: the shards are disjoint and cover all."""
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size}")
    return list(indices[rank::world_size])


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Return a shuffle of range(count), another for each seed and epoch, the same on every rank."""
    random = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    return [int(index) for index in random.permutation(count)]


def grouped_batches(
    indices: Iterable[int], keys: Mapping[int, int] | Sequence[int], batch_size: int, *, drop_last: bool = False
) -> Iterator[list[int]]:
    """Yield batches of one key each, as wide with wide and tall with tall images.

    A batch comes out when it is full; what is left at the end comes out short, in the order of first elements, unless
    dropped. Within a batch, and among batches of one key, the given order is kept.
    """
    open_batches: dict[int, list[int]] = {}
    for index in indices:
        batch = open_batches.setdefault(keys[index], [])
        batch.append(index)
        if len(batch) == batch_size:
            yield open_batches.pop(keys[index])
    if not drop_last:
        yield from open_batches.values()
