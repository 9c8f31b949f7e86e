import threading
import time
from itertools import count, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.loader import epoch_order, grouped_batches, prefetch, shard


def test_results_come_in_order():
    """Results keep the order of the items though threads finish out of order."""

    def slow_when_even(item):
        time.sleep(0.004 * (item % 2 == 0))
        return item * item

    assert list(prefetch(range(40), slow_when_even, threads=4, depth=8)) == [item * item for item in range(40)]


def test_no_more_than_the_depth_is_ahead():
    """Work runs ahead of the consumer by at most the depth."""
    started = []
    results = prefetch(count(), lambda item: started.append(item) or item, threads=2, depth=3)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    time.sleep(0.05)
    assert max(started) <= 4 + 3
    results.close()


def test_an_error_comes_where_its_result_would():
    """Earlier results arrive, then the exception of the item that failed."""
    results = prefetch(range(5), lambda item: 6 // (3 - item), threads=3)
    assert list(islice(results, 3)) == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_no_thread_is_left():
    """Exhausting, failing, closing and dropping an iterator all end its threads."""
    before = threading.active_count()
    list(prefetch(range(4), str))
    closed = prefetch(count(), str)
    next(closed)
    closed.close()
    dropped = prefetch(count(), str)
    next(dropped)
    del dropped
    with pytest.raises(ZeroDivisionError):
        list(prefetch([0], lambda item: 1 // item))
    assert threading.active_count() == before


@given(st.integers(0, 60), st.integers(1, 9))
def test_shards_cover_all_once(size, world_size):
    """Shards of all ranks together are the set, and differ in size by at most one."""
    shards = [shard(range(size), rank, world_size) for rank in range(world_size)]
    assert sorted(index for part in shards for index in part) == list(range(size))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_rank_outside_the_world_is_refused():
    """A rank is below the world's size."""
    with pytest.raises(ValueError, match="rank 2 of 2"):
        shard([1], 2, 2)


def test_epochs_are_shuffled_differently():
    """Seed and epoch decide the order; each order holds all."""
    orders = [epoch_order(50, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert epoch_order(50, 0, 1) == orders[1]
    assert orders[0] != list(range(50))


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 5))
def test_batches_have_one_key_and_lose_nothing(keys, batch_size):
    """All indices come once, each batch has one key and at most the wanted size."""
    batches = list(grouped_batches(range(len(keys)), keys, batch_size))
    assert sorted(index for batch in batches for index in batch) == list(range(len(keys)))
    assert all(len({keys[index] for index in batch}) == 1 for batch in batches)
    assert all(0 < len(batch) <= batch_size for batch in batches)
    full = list(grouped_batches(range(len(keys)), keys, batch_size, drop_last=True))
    assert full == [batch for batch in batches if len(batch) == batch_size]


def test_batches_follow_the_given_order():
    """Batches of one key follow the order given, and leftovers come by their first elements."""
    assert list(grouped_batches([5, 4, 3, 2, 1, 0], [0, 1, 0, 1, 0, 1], 2)) == [[5, 3], [4, 2], [1], [0]]
