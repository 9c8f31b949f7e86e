"""Run lengths of binary masks, column by column, in both forms that COCO files use.

A mask is read down its columns; counts alternate between runs of zeros and of ones and begin with zeros. The compressed
string holds each count, from the fourth on as its difference to the count two before, in groups of five bits.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

MAX_GROUPS = 7  # groups of five bits that a signed 32-bit difference can need


class Rle(NamedTuple):
    """A mask of height × width pixels as run lengths, int64 [R], zeros first."""

    height: int
    width: int
    counts_R: NDArray[np.int64]


def parse_rle(raw: Mapping[str, Any]) -> Rle:
    """Read a segmentation of a COCO file: `size` [height, width] and `counts` as a list, a str or bytes.

    Raises:
        DataError: The keys are not there, or the runs are not those of a mask of that size.
    """
    try:
        height, width = (int(side) for side in raw["size"])
        counts = raw["counts"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("run lengths lack `size` [height, width] or `counts`") from error
    counts_R = string_to_counts(counts) if isinstance(counts, str | bytes) else _integers(counts)
    total = int(counts_R.sum())
    if total != height * width or (counts_R < 0).any():
        raise DataError(f"run lengths cover {total} pixels, the size {height} x {width} has {height * width}")
    return Rle(height, width, counts_R)


def _integers(counts: Iterable[int]) -> NDArray[np.int64]:
    try:
        return np.asarray(counts, dtype=np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError("run lengths are neither a list of integers nor a string") from error


def encode(mask_HW: NDArray[Any]) -> Rle:
    """Return the run lengths of a mask [H, W]; anything but zero is one."""
    height, width = mask_HW.shape
    flat = np.asarray(mask_HW != 0).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], changes, [flat.size]])
    counts_R = np.diff(starts)
    if flat.size and flat[0]:
        counts_R = np.concatenate([[0], counts_R])
    return Rle(height, width, counts_R.astype(np.int64))


def decode(rle: Rle) -> NDArray[np.bool_]:
    """Return the mask, bool [H, W]."""
    ones = np.arange(rle.counts_R.size) % 2 == 1
    return np.repeat(ones, rle.counts_R).reshape(rle.width, rle.height).T


def area(rle: Rle) -> int:
    """Return the number of ones."""
    return int(rle.counts_R[1::2].sum())


def bounding_box(rle: Rle) -> tuple[int, int, int, int]:
    """Return x, y, width, height of the smallest box around the ones; zeros for an empty mask."""
    ends = rle.counts_R.cumsum()
    starts, stops = ends[:-1:2], ends[1::2]
    starts, stops = starts[stops > starts], stops[stops > starts]
    if starts.size == 0:
        return 0, 0, 0, 0
    left, right = int(starts[0] // rle.height), int((stops[-1] - 1) // rle.height)
    if (starts // rle.height != (stops - 1) // rle.height).any():  # a run that goes on in the next column spans it all
        return left, 0, right - left + 1, rle.height
    top, bottom = int((starts % rle.height).min()), int(((stops - 1) % rle.height).max())
    return left, top, right - left + 1, bottom - top + 1


def sample(rle: Rle, rows_P: NDArray[np.int64], columns_P: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the mask at P pixels, without decoding it; pixels outside are zeros."""
    inside = (rows_P >= 0) & (rows_P < rle.height) & (columns_P >= 0) & (columns_P < rle.width)
    run = np.searchsorted(rle.counts_R.cumsum(), columns_P * rle.height + rows_P, side="right")
    return np.asarray(inside & (run % 2 == 1))


def counts_to_string(counts_R: NDArray[np.int64]) -> str:
    """Compress run lengths to the ASCII form of COCO results."""
    differences = counts_R.copy()
    differences[3:] -= counts_R[1:-2]
    shifted = differences[:, None] >> (5 * np.arange(MAX_GROUPS + 1))
    groups, rest = shifted[:, :-1] & 31, shifted[:, 1:]
    sign_fits = np.where(groups & 16, rest == -1, rest == 0)
    length = sign_fits.argmax(axis=1) + 1
    place = np.arange(MAX_GROUPS)
    characters = groups + 48 + 32 * (place < length[:, None] - 1)
    code: bytes = characters[place < length[:, None]].astype(np.uint8).tobytes()
    return code.decode("ascii")


def string_to_counts(text: str | bytes) -> NDArray[np.int64]:
    """Expand the ASCII form to run lengths, int64 [R].

    Raises:
        DataError: The string breaks off, or holds a character outside the code.
    """
    data = text.encode("ascii", "replace") if isinstance(text, str) else text
    codes = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return codes
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise DataError("a compressed run length breaks off or holds a character outside the code")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(codes.size) - np.repeat(first, last - first + 1)
    differences = np.add.reduceat((codes & 31) << (5 * place), first)
    negative = (codes[last] & 16) != 0
    differences = np.where(negative, differences - (1 << (5 * (last - first + 1))), differences)
    counts_R = differences.copy()
    counts_R[1::2] = differences[1::2].cumsum()
    counts_R[2::2] = differences[2::2].cumsum()
    return counts_R
