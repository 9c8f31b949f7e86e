from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from harness.errors import BackendError
from harness.hookspecs import Detections

CocoResult = dict[str, Any]
"""One detection in COCO's result format: image_id, category_id, score, bbox (x, y, w, h), segmentation (RLE)."""


def coco_results(detections: Detections) -> list[CocoResult]:
    """Return one image's detections as COCO results, in their order; ready for JSON.

    Raises:
        BackendError: shapes or types are not those of Detections, a number is not finite, or a box ends before it
            starts.
    """
    _check(detections)
    image_id = int(detections.image_id)
    corners_N4 = detections.boxes_N4.astype(np.float64)
    boxes_N4 = np.concatenate([corners_N4[:, :2], corners_N4[:, 2:] - corners_N4[:, :2]], axis=1)
    results: list[CocoResult] = [
        {"image_id": image_id, "category_id": label, "bbox": box, "score": score}
        for label, box, score in zip(
            detections.labels_N.tolist(), boxes_N4.tolist(), detections.scores_N.tolist(), strict=True
        )
    ]
    if detections.masks_NHW is not None:
        for result, mask_HW in zip(results, detections.masks_NHW, strict=True):
            result["segmentation"] = encode_mask(mask_HW)
    return results


def encode_mask(mask_HW: NDArray[np.bool_] | NDArray[np.uint8]) -> dict[str, Any]:
    """Return a mask [H, W], set where not zero, as compressed RLE whose counts are a string."""
    rle = coco_mask.encode(_column_order(mask_HW))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _column_order(mask_HW: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Copy a mask as 0 and 1 in column order; only the part that is set, since transposing all of it costs the most."""
    ordered_HW = np.zeros(mask_HW.shape, np.uint8, order="F")
    rows = np.flatnonzero(mask_HW.any(axis=1))
    if len(rows):
        high = slice(rows[0], rows[-1] + 1)
        columns = np.flatnonzero(mask_HW[high].any(axis=0))
        wide = slice(columns[0], columns[-1] + 1)
        ordered_HW[high, wide] = mask_HW[high, wide] != 0
    return ordered_HW


def _check(detections: Detections) -> None:
    boxes_N4, scores_N, labels_N = detections.boxes_N4, detections.scores_N, detections.labels_N
    count = len(scores_N)
    if boxes_N4.shape != (count, 4) or scores_N.shape != (count,) or labels_N.shape != (count,):
        raise _broken(
            detections,
            f"boxes {boxes_N4.shape}, scores {scores_N.shape}, labels {labels_N.shape} do not agree; "
            "they must be (N, 4), (N,), (N,)",
        )
    if not np.issubdtype(labels_N.dtype, np.integer):
        raise _broken(detections, f"labels are {labels_N.dtype}; they must be integer category ids")
    _check_numbers(detections)
    _check_masks(detections, count)


def _check_numbers(detections: Detections) -> None:
    boxes_N4, scores_N = detections.boxes_N4, detections.scores_N
    for name, finite_N in (("box", np.isfinite(boxes_N4).all(axis=1)), ("score", np.isfinite(scores_N))):
        if not finite_N.all():
            index = int(np.argmin(finite_N))
            value = boxes_N4[index].tolist() if name == "box" else float(scores_N[index])
            raise _broken(detections, f"{name} {index} is {value}; it must be finite")
    ordered_N = (boxes_N4[:, 2:] >= boxes_N4[:, :2]).all(axis=1)
    if not ordered_N.all():
        index = int(np.argmin(ordered_N))
        raise _broken(detections, f"box {index} is {boxes_N4[index].tolist()}; x1 <= x2 and y1 <= y2 must hold")


def _check_masks(detections: Detections, count: int) -> None:
    masks_NHW = detections.masks_NHW
    if masks_NHW is None:
        return
    if masks_NHW.ndim != 3 or len(masks_NHW) != count:
        raise _broken(detections, f"masks {masks_NHW.shape} for {count} boxes; they must be ({count}, H, W)")
    if masks_NHW.dtype not in (np.bool_, np.uint8):
        raise _broken(detections, f"masks are {masks_NHW.dtype}; they must be bool or uint8")


def _broken(detections: Detections, what: str) -> BackendError:
    return BackendError(f"detections of image {detections.image_id}: {what}")
