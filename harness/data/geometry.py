"""Geometry of images, boxes and their frames: resizing, mirroring, padding."""

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Method = Literal["opencv", "pillow"]

cv2.setNumThreads(1)  # images are handed to several threads; a second pool inside each would fight the first


def shorter_side_size(height: int, width: int, shorter: int, longer: int) -> tuple[int, int]:
    """Return the height and width at which the shorter side is `shorter`, or less so that none exceeds `longer`.

    The published PyTorch Mask R-CNN system's rule: the shorter side that keeps to the limit is rounded, the other side
    is cut to an integer.
    """
    least, greatest = min(height, width), max(height, width)
    if greatest / least * shorter > longer:
        shorter = round(longer * least / greatest)
    if least == shorter:
        return height, width
    if width < height:
        return int(shorter * height / width), shorter
    return shorter, int(shorter * width / height)


def resize(image_HW3: NDArray[np.uint8], height: int, width: int, method: Method) -> NDArray[np.uint8]:
    """Return the image, uint8 [height, width, 3], interpolated bilinearly between pixel centres.

    Args:
        image_HW3: uint8 [H, W, 3].
        height: Rows of the result.
        width: Columns of the result.
        method: `opencv` reads the four nearest pixels, fast; `pillow` widens the filter when shrinking (antialiased),
            as the published PyTorch system does.
    """
    if image_HW3.shape[:2] == (height, width):
        return image_HW3
    if method == "opencv":
        return np.asarray(cv2.resize(image_HW3, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return np.asarray(Image.fromarray(image_HW3).resize((width, height), Image.Resampling.BILINEAR))


def resize_into(image_HW3: NDArray[np.uint8], place_HW3: NDArray[np.uint8], method: Method, *, mirrored: bool) -> None:
    """Write the resized image, mirrored or not, into its place, uint8 [height, width, 3], which may be a window.

    The bytes are those of `resize` and `flip_image`, without their copies.
    """
    height, width = place_HW3.shape[:2]
    if method == "opencv" and image_HW3.shape != place_HW3.shape:
        cv2.resize(image_HW3, (width, height), dst=place_HW3, interpolation=cv2.INTER_LINEAR)
    else:
        place_HW3[:] = resize(image_HW3, height, width, method)
    if mirrored:
        cv2.flip(place_HW3, 1, dst=place_HW3)


def flip_image(image_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mirror left to right; a contiguous copy."""
    return np.asarray(cv2.flip(image_HW3, 1), dtype=np.uint8)


def flip_boxes(boxes_N4: NDArray[Any], width: float) -> NDArray[Any]:
    """Mirror boxes x1, y1, x2, y2 left to right in a frame of that width: x becomes width - x."""
    flipped = boxes_N4.copy()
    flipped[:, 0], flipped[:, 2] = width - boxes_N4[:, 2], width - boxes_N4[:, 0]
    return flipped


def pad_to(image_HW3: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Put the image in the top left corner of a black one, uint8 [height, width, 3]."""
    padded = np.zeros((height, width, 3), dtype=np.uint8)
    padded[: image_HW3.shape[0], : image_HW3.shape[1]] = image_HW3
    return padded
