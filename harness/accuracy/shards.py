"""Results of an evaluation on their way from the ranks to the one scorer, a file for each rank.

Every image is evaluated exactly once: an image that two ranks report, even with equal detections, is refused, since a
sampler that pads its shards also counts the padding as throughput.
"""

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from pathlib import Path

from harness.accuracy.encode import CocoResult
from harness.errors import BackendError, StoreError

NAMED_IDS = 3


def write_shard(path: Path, results: Sequence[CocoResult], image_ids: Sequence[int]) -> None:
    """Write one rank's results and the ids of all images it evaluated, also those without a detection.

    The file appears whole or not at all.

    Raises:
        BackendError: a result belongs to an image that is not among image_ids.
        StoreError: the file cannot be written.
    """
    strangers = {result["image_id"] for result in results} - set(image_ids)
    if strangers:
        raise BackendError(f"shard {path.name}: results for {_some(strangers)}, which this rank did not evaluate")
    text = json.dumps({"image_ids": [int(i) for i in image_ids], "results": list(results)}, separators=(",", ":"))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path}: shard cannot be written: {error.strerror}") from error


def read_shards(paths: Sequence[Path], expected_ids: Collection[int]) -> tuple[list[CocoResult], list[int]]:
    """Return all results and all evaluated image ids, both by ascending image id, for any number of shards.

    Results of one image keep their order, so equal scores rank the same however the images were dealt out.

    Raises:
        StoreError: a shard is missing or not readable.
        BackendError: an image was evaluated more than once, not at all, or is not in the set.
    """
    results: list[CocoResult] = []
    image_ids: list[int] = []
    for path in paths:
        shard_results, shard_ids = _read(path, len(paths))
        results += shard_results
        image_ids += shard_ids
    _check_ids(image_ids, expected_ids)
    return sorted(results, key=itemgetter("image_id")), sorted(image_ids)


def _read(path: Path, count: int) -> tuple[list[CocoResult], list[int]]:
    try:
        shard = json.loads(path.read_text(encoding="ascii"))
        return shard["results"], shard["image_ids"]
    except FileNotFoundError as error:
        raise StoreError(f"{path}: shard is missing; each of the {count} ranks must leave one") from error
    except OSError as error:
        raise StoreError(f"{path}: shard cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a shard of COCO results: {error}") from error


def _check_ids(image_ids: Sequence[int], expected_ids: Collection[int]) -> None:
    expected = set(expected_ids)
    twice = [image_id for image_id, times in Counter(image_ids).items() if times > 1]
    if twice:
        raise BackendError(f"{_some(twice)} evaluated more than once; each image belongs to one rank's shard")
    strangers = set(image_ids) - expected
    if strangers:
        raise BackendError(f"{_some(strangers)} evaluated but not in the set of {len(expected)} images")
    missing = expected.difference(image_ids)
    if missing:
        raise BackendError(f"{_some(missing)} not evaluated; all {len(expected)} images of the set must be")


def _some(image_ids: Iterable[int]) -> str:
    ordered = sorted(image_ids)
    named = ", ".join(str(image_id) for image_id in ordered[:NAMED_IDS])
    rest = len(ordered) - NAMED_IDS
    return f"image {named}" if len(ordered) == 1 else f"images {named}" + (f" and {rest} more" if rest > 0 else "")
