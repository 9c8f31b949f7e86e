"""Where images stand on fixed canvases, drawn by chance or not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import Draw, FixedCanvas, Frame, OwnCanvas, Resizing, open_dataset, published_canvas, resize
from harness.data.framing import cropped

SIDES = st.integers(1, 700)
WIDE, TALL, SQUARE = (open_dataset(f"synthetic:{size}:3") for size in ("64x48", "48x64", "50x50"))


def test_the_published_canvas_is_832_by_1344():
    """A shorter side of 800 gives the published canvas; another keeps its shape in multiples of 64."""
    assert published_canvas(800) == (832, 1344)
    assert published_canvas(64) == (64, 128)
    assert published_canvas(400, 32) == (416, 672)


@pytest.mark.parametrize(
    ("dataset", "oriented", "canvas", "size"),
    [
        (WIDE, False, (64, 128), (64, 85)),
        (TALL, False, (64, 128), (64, 48)),
        (TALL, True, (128, 64), (85, 64)),
        (WIDE, True, (64, 128), (64, 85)),
        (SQUARE, True, (128, 64), (64, 64)),
    ],
)
def test_an_oriented_canvas_turns_for_tall_images(dataset, oriented, canvas, size):
    """A fixed canvas shrinks a portrait to its height; an oriented one is turned for it."""
    rule = FixedCanvas(64, 128, oriented=oriented)
    frame = rule.frame(dataset, 0)
    assert (rule.canvas([frame]), frame.size) == (canvas, size)
    assert rule.drawn(dataset, Draw(3, 0), seed=1) == frame
    assert rule.step_group(frame) == rule.batch_group(frame) == (oriented and dataset is not WIDE)


def test_an_own_canvas_groups_by_orientation_in_training_and_by_canvas_in_inference():
    """Training batches hold wide or tall images, inference batches images of one canvas."""
    rule = OwnCanvas(Resizing(64, 106, "floor", "opencv", 32))
    frames = [rule.frame(dataset, 0) for dataset in (WIDE, TALL, SQUARE)]
    assert [rule.step_group(frame) for frame in frames] == [False, True, True]
    assert [rule.batch_group(frame) for frame in frames] == [(64, 96), (96, 64), (64, 64)]
    assert rule.canvas(frames) == (96, 96)


@settings(max_examples=150, deadline=None)
@given(st.tuples(SIDES, SIDES), st.floats(0.1, 2.0), st.integers(0, 99))
def test_a_window_lies_in_the_image_and_fills_the_canvas(stored, scale, seed):
    """What is cut out lies inside of the image, and fits the canvas at the wanted scale to within a pixel."""
    factor = scale * 512 / max(stored)
    scaled = tuple(max(1, int(side * factor)) for side in stored)
    frame = cropped(1, stored, scaled, (512, 512), np.random.default_rng(seed))
    top, left, height, width = frame.region
    assert min(top, left) >= 0
    assert min(height, width) >= 1
    assert (top + height <= stored[0], left + width <= stored[1]) == (True, True)
    assert frame.size == tuple(min(side, 512) for side in scaled)
    for kept, window, whole, side in zip(frame.size, (height, width), scaled, stored, strict=True):
        assert abs(window - kept * side / whole) <= 1


def test_jitter_depends_on_seed_epoch_and_image_alone():
    """The same draw gives the same frame whatever was drawn before; another epoch, seed or image another one."""
    rule = FixedCanvas(96, 96, jitter=(0.1, 2.0))
    frames = {(seed, draw): rule.drawn(WIDE, draw, seed) for seed in (0, 1) for draw in map(Draw, (0, 0, 1), (0, 1, 0))}
    again = {key: rule.drawn(WIDE, key[1], key[0]) for key in reversed(frames)}
    assert again == frames
    assert len({(frame.size, frame.window) for frame in frames.values()}) == 6


def test_jitter_covers_its_range_and_every_place():
    """Scales spread evenly from a tenth to twice the fit, and large images are cut anywhere."""
    rule = FixedCanvas(96, 96, jitter=(0.1, 2.0))
    frames = [rule.drawn(WIDE, Draw(epoch, 0), 0) for epoch in range(600)]
    scales = np.array([frame.size[1] / frame.region[3] * 64 / 96 for frame in frames])
    assert (scales.min() < 0.15, scales.max() > 1.9) == (True, True)
    np.testing.assert_allclose(np.quantile(scales, (0.25, 0.5, 0.75)), (0.575, 1.05, 1.525), atol=0.1)
    cut = [frame for frame in frames if frame.window is not None and frame.region[3] < 40]
    assert {frame.region[1] == 0 for frame in cut} == {True, False}
    assert any(frame.region[1] + frame.region[3] == 64 for frame in cut)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_boxes_follow_their_pixels(seed, mirrored):
    """A white block in a cut, resized and mirrored image lies where its box does, to a pixel and a half."""
    random = np.random.default_rng(seed)
    image = np.zeros((120, 160, 3), dtype=np.uint8)
    x1, y1 = random.integers(20, 70, 2).tolist()
    x2, y2 = x1 + 60, y1 + 45
    image[y1:y2, x1:x2] = 255
    frame = cropped(1, (120, 160), (180, 240), (140, 170), random)
    top, left, height, width = frame.region
    seen = resize(image[top : top + height, left : left + width], *frame.size, "opencv")[:, :, 0] > 127
    seen = seen[:, ::-1] if mirrored else seen
    (box,) = frame.boxes(np.array([[x1, y1, x2, y2]], np.float32), mirrored=mirrored)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if min(box[2] - box[0], box[3] - box[1]) < 3:
        return
    np.testing.assert_allclose(box, [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], atol=1.5)


def test_boxes_without_a_window_are_scaled_and_clipped():
    """Without a window a box is scaled to the frame, mirrored at its width, and cut at its edge."""
    frame = Frame(1, (30, 40), (60, 80))
    boxes = np.array([[2, 5, 10, 20], [-3, 0, 50, 10]], np.float32)
    assert frame.boxes(boxes, mirrored=False).tolist() == [[4, 10, 20, 40], [0, 0, 80, 20]]
    assert frame.boxes(boxes, mirrored=True).tolist() == [[60, 10, 76, 40], [0, 0, 80, 20]]
