"""What the data path costs, in images per CPU-second of one thread, beside the library that a user would reach for."""

import io
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from harness.data import crop_targets, decode, resize
from harness.data.masks import parse_segmentation

ROUNDS = 7
CALLS = 20
Rates = tuple[float, float]


def interleaved(ours: Callable[[], object], theirs: Callable[[], object]) -> Rates:
    """Calls per CPU-second of two functions: medians of rounds that take turns."""
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for function, found in zip((ours, theirs), rates, strict=True):
            start = time.process_time()
            for _ in range(CALLS):
                function()
            found.append(CALLS / (time.process_time() - start))
    return float(np.median(rates[0])), float(np.median(rates[1]))


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """A picture with the smoothness and the noise of one: low frequencies, and a little of all."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return np.clip(large + random.normal(0, 6, large.shape), 0, 255).astype(np.uint8)


def decoding() -> Rates:
    """A 640 × 480 JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(photograph(480, 640)).save(buffer, "JPEG", quality=90)
    data = buffer.getvalue()
    return interleaved(lambda: decode(data), lambda: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def resizing() -> Rates:
    """640 × 480 to a shorter side of 800."""
    image = photograph(480, 640)
    picture = Image.fromarray(image)
    return interleaved(
        lambda: resize(image, 800, 1066, "opencv"), lambda: picture.resize((1066, 800), Image.Resampling.BILINEAR)
    )


def mask_targets() -> Rates:
    """Seven polygons of 40 points as 28 × 28 targets, against pycocotools on polygons that are cropped already."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle_P2 = np.stack([14 + 12 * np.cos(angles), 14 + 12 * np.sin(angles)], axis=1)
    polygon = circle_P2.ravel().tolist()
    segmentations = [parse_segmentation([polygon])] * 7
    boxes_N4 = np.array([[0, 0, 28, 28]] * 7, np.float32)
    return interleaved(
        lambda: crop_targets(segmentations, boxes_N4, 28),
        lambda: [coco_mask.decode(coco_mask.frPyObjects([polygon], 28, 28)) for _ in range(7)],
    )


def main() -> None:
    """Print one line for each."""
    rows = (
        ("decode a JPEG of 640 × 480", "Pillow", decoding),
        ("resize it to 800 × 1066", "Pillow", resizing),
        ("rasterise 7 mask targets of 28 × 28", "pycocotools", mask_targets),
    )
    for title, peer, measure in rows:
        ours, theirs = measure()
        print(f"{title}: {ours:,.0f} per CPU-second, {peer} {theirs:,.0f} ({ours / theirs:.2f} ×)")


if __name__ == "__main__":
    main()
