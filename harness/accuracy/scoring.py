"""One scorer for every backend: pycocotools gives the number of record, hotcoco the same numbers sooner."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Any

from harness.accuracy.encode import CocoResult
from harness.accuracy.ground_truth import GroundTruth, Kind, check_ground_truth, scorable
from harness.errors import BackendError, HarnessError
from harness.schema.measurement import Accuracy, CocoMetrics
from harness.schema.trial import Scorer

METRICS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
)
"""The twelve numbers in the order of COCO's summary."""


def score(
    ground_truth: GroundTruth, results: Sequence[CocoResult], kinds: tuple[Kind, ...], scorer: Scorer = "pycocotools"
) -> Accuracy:
    """Score a whole set; neither the ground truth nor the results are changed, and nothing is printed.

    Detections of categories that the set does not have count as nothing, as in COCO's own evaluation. Mask areas, not
    box areas, sort segm detections into small, medium and large. The numbers are the library's, unrounded: the only
    object of its category, found, scores 1 - 2e-16, since pycocotools keeps its divisor from being zero.

    Raises:
        DataError: the ground truth cannot be scored.
        BackendError: a result has an unknown image, or no mask of its image's size where segm is scored.
        HarnessError: the scorer is not installed.
    """
    library = _library(scorer)
    check_ground_truth(ground_truth, kinds)
    _check_results(ground_truth, results, kinds)
    known = {category["id"] for category in ground_truth["categories"]}
    matching = [result for result in results if result["category_id"] in known]
    metrics = []
    for kind in kinds:
        with redirect_stdout(io.StringIO()):
            stats = _evaluate(library, kind, scorable(ground_truth, kind), _only(matching, kind))
        metrics.append(_metrics(kind, stats))
    return Accuracy(
        metrics=tuple(metrics),
        images=len(ground_truth["images"]),
        detections=len(results),
        scorer=f"{scorer} {version(scorer)}",
    )


def _library(scorer: Scorer) -> tuple[Any, Any]:
    """Return the classes COCO and COCOeval; both libraries have the same ones."""
    if scorer == "pycocotools":
        return import_module("pycocotools.coco").COCO, import_module("pycocotools.cocoeval").COCOeval
    try:
        hotcoco: ModuleType = import_module("hotcoco")
    except ImportError as error:
        raise HarnessError(
            f"scorer hotcoco cannot be imported ({error}); pip install 'detection-harness[fast-eval]' brings it"
        ) from error
    return hotcoco.COCO, hotcoco.COCOeval


def _evaluate(library: tuple[Any, Any], kind: Kind, truth: dict[str, Any], found: list[CocoResult]) -> list[float]:
    coco, coco_eval = library
    expected = _indexed(coco, truth)
    # pycocotools' loadRes reads the format off the first result, so it cannot read none.
    detected = expected.loadRes(found) if found else _indexed(coco, {**truth, "annotations": []})
    evaluation = coco_eval(expected, detected, kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def _indexed(coco: Any, dataset: dict[str, Any]) -> Any:
    indexed = coco()
    indexed.dataset = dataset
    indexed.createIndex()
    return indexed


def _only(results: Sequence[CocoResult], kind: Kind) -> list[CocoResult]:
    """Copy what one kind of scoring reads: given a box as well, loadRes would sort masks by the area of their boxes."""
    shape = "segmentation" if kind == "segm" else "bbox"
    return [{key: result[key] for key in ("image_id", "category_id", "score", shape)} for result in results]


def _metrics(kind: Kind, stats: Sequence[float]) -> CocoMetrics:
    values = {name: None if value < 0 else value for name, value in zip(METRICS, stats, strict=True)}
    return CocoMetrics(kind=kind, **values)


def _check_results(ground_truth: GroundTruth, results: Sequence[CocoResult], kinds: tuple[Kind, ...]) -> None:
    sizes = {image["id"]: [image["height"], image["width"]] for image in ground_truth["images"]}
    for result in results:
        image_id = result["image_id"]
        if image_id not in sizes:
            raise BackendError(f"result for image {image_id}, which is not in the set of {len(sizes)} images")
        if "segm" in kinds:
            found = result.get("segmentation", {}).get("size")
            if found != sizes[image_id]:
                raise BackendError(
                    f"result for image {image_id} has "
                    + (f"a mask of {found}" if found else "no mask")
                    + f"; segm needs masks of {sizes[image_id]} (height, width)"
                )
