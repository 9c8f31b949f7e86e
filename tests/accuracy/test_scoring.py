"""COCO scoring on sets whose numbers are known, and the two scorers against each other."""

import copy
import importlib.metadata
import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from harness.accuracy.ground_truth import check_ground_truth
from harness.accuracy.scoring import METRICS, score
from harness.errors import BackendError, DataError, HarnessError

BOTH = ("bbox", "segm")
BOX = [10.0, 10.0, 20.0, 20.0]
ONE = pytest.approx(1.0, abs=1e-15)  # of a single object pycocotools says 1 / (1 + 2e-16)
POLYGON = [[10, 10, 30, 10, 30, 30, 10, 30]]


def truth(*annotations, images=(1, 2)):
    """A ground truth of one category; each annotation is (image id, box, crowd)."""
    return {
        "images": [{"id": i, "height": 100, "width": 100} for i in images],
        "categories": [{"id": 5, "name": "thing"}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": 5, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
            for n, (i, box, crowd) in enumerate(annotations)
        ],
    }


def found(image_id, box, confidence, category_id=5):
    """One detected box."""
    return {"image_id": image_id, "category_id": category_id, "bbox": box, "score": confidence}


def numbers(accuracy):
    """All numbers by kind and name."""
    return {(m.kind, name): getattr(m, name) for m in accuracy.metrics for name in METRICS}


def bbox(ground_truth, *results):
    """The twelve numbers of boxes."""
    return score(ground_truth, results, ("bbox",)).metrics[0]


@pytest.mark.parametrize("scorer", ["pycocotools", "hotcoco"])
@pytest.mark.parametrize("seed", [1, 2])
def test_perfect_detections_score_exactly_one(make_set, as_results, seed, scorer):
    """Ground truth repeated as detections has AP 1.0, also with holes and an id of 0; crowds are ignored."""
    if scorer == "hotcoco":
        pytest.importorskip("hotcoco")
    ground_truth, _ = make_set(seed, 30, 0)
    accuracy = score(ground_truth, as_results(ground_truth), BOTH, scorer)
    assert [(m.kind, m.ap, m.ap50, m.ar_100) for m in accuracy.metrics] == [("bbox", 1, 1, 1), ("segm", 1, 1, 1)]


def test_area_range_without_ground_truth_is_unknown():
    """A set of one small object says nothing of medium and large ones: None, not -1 and not 0."""
    metrics = bbox(truth((1, BOX, 0)), found(1, BOX, 0.9))
    assert (metrics.ap, metrics.ap_small, metrics.ar_small) == (ONE, ONE, 1)
    assert (metrics.ap_medium, metrics.ap_large, metrics.ar_medium, metrics.ar_large) == (None,) * 4


@pytest.mark.parametrize("scorer", ["pycocotools", "hotcoco"])
def test_no_detection_scores_zero_where_there_is_something_to_find(scorer):
    """Without any detection AP is 0.0; areas without ground truth stay unknown."""
    if scorer == "hotcoco":
        pytest.importorskip("hotcoco")
    metrics = score(truth((1, BOX, 0)), [], ("bbox",), scorer).metrics[0]
    assert (metrics.ap, metrics.ap50, metrics.ap_small, metrics.ap_large) == (0.0, 0.0, 0.0, None)


def test_nothing_to_find_is_unknown():
    """Without ground truth every number is unknown, however much is detected."""
    metrics = bbox(truth(), found(1, BOX, 0.9))
    assert {getattr(metrics, name) for name in METRICS} == {None}


def test_half_found_is_recall_one_half():
    """One of two objects found perfectly: recall .5, and precision 1 at 51 of COCO's 101 recall points."""
    metrics = bbox(truth((1, BOX, 0), (2, BOX, 0)), found(1, BOX, 0.9))
    assert (metrics.ar_100, metrics.ap) == (0.5, pytest.approx(51 / 101))


def test_detection_on_an_image_without_ground_truth_is_a_false_positive():
    """A box on an empty image, more confident than the right one, halves the precision."""
    ground_truth = truth((1, BOX, 0))
    assert bbox(ground_truth, found(2, BOX, 0.9), found(1, BOX, 0.5)).ap == pytest.approx(0.5)
    assert bbox(ground_truth, found(2, BOX, 0.1), found(1, BOX, 0.5)).ap == ONE


def test_detections_within_a_crowd_count_neither_way():
    """Boxes inside a crowd region are neither right nor wrong, and several may match it."""
    ground_truth = truth((1, BOX, 0), (1, [50.0, 50.0, 40.0, 40.0], 1))
    inside = [found(1, [52.0 + k, 52.0, 20.0, 20.0], 0.9) for k in range(3)]
    assert bbox(ground_truth, *inside, found(1, BOX, 0.5)).ap == ONE
    assert bbox(truth((1, BOX, 0)), *inside, found(1, BOX, 0.5)).ap == pytest.approx(0.25)


def test_overlap_decides_by_threshold():
    """A box that covers .8 of an object and nothing else counts at thresholds .5 to .8: 7 of 10."""
    metrics = bbox(truth((1, BOX, 0)), found(1, [10.0, 10.0, 20.0, 16.0], 0.9))
    assert (metrics.ap, metrics.ap50, metrics.ap75) == (pytest.approx(0.7), ONE, ONE)


def test_category_that_the_set_lacks_counts_as_nothing():
    """A detection of an unknown category changes no metric but is counted as a detection."""
    accuracy = score(truth((1, BOX, 0)), [found(1, BOX, 0.1), found(1, BOX, 0.9, category_id=6)], ("bbox",))
    assert (accuracy.metrics[0].ap, accuracy.detections, accuracy.images) == (ONE, 2, 2)


def test_masks_are_sorted_by_their_own_area():
    """A stray thin mask in a large box is a small object: it costs precision among small ones, not among large."""
    square = np.zeros((100, 100), bool)
    square[10:30, 10:30] = True
    ground_truth = truth((1, BOX, 0), (2, BOX, 0))
    for annotation in ground_truth["annotations"]:
        annotation["segmentation"] = POLYGON
    frame = {"size": [100, 100], "counts": [0, 101, *[99, 1] * 98, 99]}  # the first column and the first row
    frame = {"size": [100, 100], "counts": coco_mask.frPyObjects(frame, 100, 100)["counts"].decode()}
    right = {
        "size": [100, 100],
        "counts": coco_mask.encode(np.asfortranarray(square, dtype=np.uint8))["counts"].decode(),
    }
    results = [
        {**found(1, [0.0, 0.0, 100.0, 100.0], 0.9), "segmentation": frame},
        *({**found(i, BOX, 0.5), "segmentation": right} for i in (1, 2)),
    ]
    metrics = score(ground_truth, results, ("segm",)).metrics[0]
    assert (metrics.ap, metrics.ap_small) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


@given(seed=st.integers(0, 2**32), annotations=st.integers(0, 25), results=st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_hotcoco_equals_pycocotools(make_set, seed, annotations, results):
    """All 24 numbers of both scorers are equal, bit for bit, on odd and on empty sets."""
    pytest.importorskip("hotcoco")
    ground_truth, detections = make_set(seed, annotations, results)
    ours, fast = (score(ground_truth, detections, BOTH, scorer) for scorer in ("pycocotools", "hotcoco"))
    assert numbers(fast) == numbers(ours)
    assert len(numbers(ours)) == 24


@pytest.mark.parametrize("kind", BOTH)
def test_numbers_are_those_of_pycocotools_used_by_hand(make_set, kind, capsys):
    """The wrapping changes no number: the library called directly on a clean set says the same."""
    ground_truth, detections = make_set(5, 40, 60)
    for number, annotation in enumerate(ground_truth["annotations"], start=1):
        annotation["id"] = number
    expected = COCO()
    expected.dataset = copy.deepcopy(ground_truth)
    expected.createIndex()
    drop = "segmentation" if kind == "bbox" else "bbox"
    by_hand = COCOeval(
        expected, expected.loadRes([{k: v for k, v in r.items() if k != drop} for r in detections]), kind
    )
    by_hand.evaluate()
    by_hand.accumulate()
    by_hand.summarize()
    metrics = score(ground_truth, detections, (kind,)).metrics[0]
    assert [getattr(metrics, name) for name in METRICS] == [None if v < 0 else v for v in by_hand.stats]


def test_inputs_are_left_alone_and_nothing_is_printed(make_set, capfd):
    """Scoring neither changes its inputs nor writes to stdout, by whichever scorer."""
    ground_truth, detections = make_set(3, 10, 10)
    before = copy.deepcopy((ground_truth, detections))
    for scorer in ("pycocotools", *(["hotcoco"] if importlib.util.find_spec("hotcoco") else [])):
        score(ground_truth, detections, BOTH, scorer)
    assert (ground_truth, detections) == before
    assert capfd.readouterr().out == ""


def test_scorer_is_recorded_with_its_version():
    """The result says which program of which version gave the numbers."""
    version = importlib.metadata.version("pycocotools")
    assert score(truth((1, BOX, 0)), [], ("bbox",)).scorer == f"pycocotools {version}"


def test_missing_hotcoco_is_an_error_that_names_the_extra(monkeypatch):
    """Asked for and not installed, hotcoco is never replaced by another scorer."""
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    with pytest.raises(HarnessError, match="fast-eval"):
        score(truth((1, BOX, 0)), [], ("bbox",), "hotcoco")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"area": None}, "annotation 0: no area"),
        ({"image_id": 9}, "its image 9 is not in the set"),
        ({"category_id": 9}, "its category 9 is not in the set"),
        ({"segmentation": None}, "no segmentation"),
        ({"segmentation": []}, "no segmentation"),
        ({"segmentation": [[1, 2, 3, 4]]}, "polygon of 4 numbers"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, "mask of size [9, 9]; its image is [100, 100]"),
    ],
)
def test_unscorable_annotation_is_named(change, words):
    """What pycocotools would crash on or misread is refused beforehand, in one line with the annotation's id."""
    ground_truth = truth((1, BOX, 0))
    changed = {**ground_truth["annotations"][0], "segmentation": POLYGON, **change}
    ground_truth["annotations"] = [{key: value for key, value in changed.items() if value is not None}]
    with pytest.raises(DataError) as caught:
        check_ground_truth(ground_truth, BOTH)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"images": []}, "no list of annotations"),
        ({"images": [{"id": 3}], "annotations": [], "categories": []}, "image 3: scoring needs"),
    ],
)
def test_set_that_is_not_coco_format_is_refused(broken, words):
    """A missing list or an image without its size is named."""
    with pytest.raises(DataError, match=words):
        score(broken, [], ("bbox",))


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (found(9, BOX, 0.5), "image 9, which is not in the set of 2 images"),
        (found(1, BOX, 0.5), "image 1 has no mask"),
        ({**found(1, BOX, 0.5), "segmentation": {"size": [9, 9], "counts": ""}}, "image 1 has a mask of [9, 9]"),
    ],
)
def test_result_that_does_not_fit_the_set_is_refused(result, words):
    """A detection of an unknown image, without a mask, or with a mask of another size names its image."""
    ground_truth = truth((1, BOX, 0))
    ground_truth["annotations"][0]["segmentation"] = POLYGON
    with pytest.raises(BackendError) as caught:
        score(ground_truth, [result], BOTH)
    assert words in str(caught.value)
