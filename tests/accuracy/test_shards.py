"""Results of several ranks, put together again."""

import os
import random

import pytest

from harness.accuracy.scoring import score
from harness.accuracy.shards import read_shards, write_shard
from harness.errors import BackendError, StoreError


def shard_out(folder, results, image_ids, count):
    """Deal images out to ranks in turn, as a distributed sampler does, and write each rank's shard."""
    paths = [folder / f"shard{rank}of{count}.json" for rank in range(count)]
    for rank, path in enumerate(paths):
        mine = image_ids[rank::count]
        write_shard(path, [r for image in mine for r in results if r["image_id"] == image], mine)
    return paths


@pytest.mark.parametrize("order", [1, 2])
def test_numbers_are_equal_for_any_number_of_shards(tmp_path, make_set, order):
    """Any number of ranks and any order of images give the same results in the same order, and so equal numbers."""
    ground_truth, results = make_set(11, 40, 80)  # scores of many results are equal
    image_ids = [image["id"] for image in ground_truth["images"]]  # five: neither 2 nor 3 divides them
    random.Random(order).shuffle(image_ids)
    read = [read_shards(shard_out(tmp_path, results, image_ids, count), image_ids) for count in (1, 2, 3)]
    assert read[0] == read[1] == read[2]
    accuracies = [score(ground_truth, merged, ("bbox", "segm")) for merged, _ in read]
    assert accuracies[0] == accuracies[1] == accuracies[2] == score(ground_truth, results, ("bbox", "segm"))


def test_images_without_detections_are_kept(tmp_path):
    """A rank that found nothing still reports which images it looked at, by ascending id."""
    write_shard(tmp_path / "a.json", [], [9, 2**40])
    write_shard(tmp_path / "b.json", [{"image_id": 3, "score": 0.1}], [3])
    assert read_shards([tmp_path / "a.json", tmp_path / "b.json"], {3, 9, 2**40}) == (
        [{"image_id": 3, "score": 0.1}],
        [3, 9, 2**40],
    )


@pytest.mark.parametrize(
    ("shards", "expected", "words"),
    [
        ([[1, 2], [2, 3]], {1, 2, 3}, "image 2 evaluated more than once"),
        ([[1, 1]], {1}, "image 1 evaluated more than once"),
        ([[1, 7]], {1, 2}, "image 7 evaluated but not in the set of 2 images"),
        ([[1], []], {1, 2, 3}, "images 2, 3 not evaluated"),
        ([[]], range(1, 10), "images 1, 2, 3 and 6 more not evaluated"),
    ],
)
def test_images_must_be_evaluated_exactly_once(tmp_path, shards, expected, words):
    """An image twice, a strange one or a missing one is refused by its id."""
    paths = [tmp_path / f"{rank}.json" for rank in range(len(shards))]
    for path, image_ids in zip(paths, shards, strict=True):
        write_shard(path, [], image_ids)
    with pytest.raises(BackendError, match=words):
        read_shards(paths, expected)


def test_missing_shard_is_refused(tmp_path):
    """A rank that left no shard is named by its file."""
    write_shard(tmp_path / "0.json", [], [1])
    with pytest.raises(StoreError, match=r"1\.json: shard is missing; each of the 2 ranks must leave one"):
        read_shards([tmp_path / "0.json", tmp_path / "1.json"], {1})


@pytest.mark.parametrize("content", ['{"image_ids": [1], "resu', "[]", '{"results": []}', "é"])
def test_broken_shard_is_refused(tmp_path, content):
    """A truncated or strange file is not read as an empty shard."""
    path = tmp_path / "0.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StoreError, match="not a shard"):
        read_shards([path], {1})


def test_results_of_images_not_evaluated_are_refused(tmp_path):
    """A rank cannot report detections on an image that it does not list."""
    with pytest.raises(BackendError, match="results for image 4, which this rank did not evaluate"):
        write_shard(tmp_path / "0.json", [{"image_id": 4}], [3])


def test_shard_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    """When the disk fails the old shard stays, no partial file is left, and the error names the file."""
    path = tmp_path / "0.json"
    write_shard(path, [], [1])

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"0\.json: shard cannot be written: No space left on device"):
        write_shard(path, [], [2])
    assert read_shards([path], {1}) == ([], [1])
    assert [entry.name for entry in tmp_path.iterdir()] == ["0.json"]
