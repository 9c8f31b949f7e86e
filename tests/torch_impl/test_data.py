"""Which images make up a step, where they stand, and what is learnt from them."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch_runs import opened, take, trial
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from backends.torch_impl.data import collate, inverse
from backends.torch_impl.maskrcnn.target_rules import TargetRules, resize_masks
from harness.data import (
    Annotations,
    Frame,
    Resizing,
    Share,
    common_canvas,
    flipped,
    label_map,
    open_dataset,
    rasterise,
    rasterise_all,
    shuffled_steps,
)

pytestmark = pytest.mark.torch
SIDES = st.integers(1, 700)
RULES = {
    flavour: TargetRules(flavour == "nvidia", flavour == "torchvision", {7: 1, 9: 2})
    for flavour in ("nvidia", "torchvision")
}


def resizing(shorter=64, longer=106, rule="floor", method="opencv"):
    """A small resizing."""
    return Resizing(shorter, longer, rule, method, 32)


def one_object(polygon, *, crowd=False, label=9):
    """The annotations of one polygon, its box the polygon's bounds."""
    points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    box = np.concatenate((points.min(axis=0), points.max(axis=0))).astype(np.float32)
    return Annotations(
        boxes_N4=box[None],
        labels_N=np.array([label]),
        crowd_N=np.array([crowd]),
        area_N=np.array([1.0]),
        ids_N=np.array([1]),
        segmentations=((points.reshape(-1),),),
    )


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES)
def test_the_floor_rule_is_torchvisions(height, width):
    """Both sides come out as torchvision's own transform makes them."""
    transform = GeneralizedRCNNTransform(64, 106, [0.0] * 3, [1.0] * 3)
    size = resizing().size(height, width)
    if min(height * 64 // max(height, width), width) < 1 or 0 in _scaled(height, width):
        return
    image, _ = transform.resize(torch.zeros(3, height, width), None)
    assert size == tuple(image.shape[-2:])


def _scaled(height, width):
    scale = min(64 / min(height, width), 106 / max(height, width))
    return int(height * scale), int(width * scale)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.sampled_from(["floor", "detectron"]))
def test_a_canvas_holds_its_image_and_is_of_the_image_alone(height, width, rule):
    """A canvas is the resized size rounded up to 32, and a batch's the smallest that holds all of its images."""
    scheme = resizing(rule=rule)
    size = scheme.size(height, width)
    canvas = scheme.canvas(size)
    assert all(side % 32 == 0 and 0 <= side - inner < 32 for side, inner in zip(canvas, size, strict=True))
    assert common_canvas(scheme, [size, (1, 1)]) == canvas


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 9), st.integers(0, 5))
def test_steps_are_full_of_one_group_and_see_every_image_once_an_epoch(groups, images, seed):
    """Steps are full, of one group, in the order of their first images, and draw each image once an epoch."""
    steps = list(islice(shuffled_steps(groups, images, seed), 30))
    assert {len(step) for step in steps} == {images}
    assert all(len({groups[draw.image] for draw in step}) == 1 for step in steps)
    drawn = Counter(draw for step in steps for draw in step)
    assert set(drawn.values()) == {1}
    last = max(draw.epoch for draw in drawn)
    waiting = 2 * (images - 1)  # what each group may leave over
    for epoch in range(last):
        seen = sum(draw.epoch == epoch for draw in drawn)
        assert len(groups) - waiting <= seen <= len(groups)


def test_an_epoch_has_every_image_where_steps_divide_it():
    """Two epochs of a set that divides both draw all of it, in two orders, and again the same for the same seed."""
    first, second = (list(islice(shuffled_steps([0] * 12, 4, 1), 6))[part] for part in (slice(3), slice(3, 6)))
    assert [sorted(draw.image for step in epoch for draw in step) for epoch in (first, second)] == [list(range(12))] * 2
    assert [draw.image for step in first for draw in step] != [draw.image for step in second for draw in step]
    assert list(islice(shuffled_steps([0] * 12, 4, 1), 3)) == first
    assert list(islice(shuffled_steps([0] * 12, 4, 2), 3)) != first


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_ranks_share_a_step_without_gap_or_overlap(world, batch, parts):
    """Put together, the ranks' micro-batches are the step, and each micro-batch is one global batch split."""
    shares = [Share(rank, world, batch, parts) for rank in range(world)]
    step = list(range(shares[0].images))
    split = [share.of(step) for share in shares]
    together = [image for part in range(parts) for rank in range(world) for image in split[rank][part]]
    assert together == step


def test_every_image_is_mirrored_in_half_of_its_epochs():
    """The chance is even, differs by image and epoch, and depends on the seed, the epoch and the image alone."""
    found = [[flipped(1, epoch, image_id) for epoch in range(40)] for image_id in (0, 7, 2**40, 2**63)]
    assert 0.35 < np.mean(found) < 0.65
    assert len({tuple(row) for row in found}) == 4
    assert found[1] == [flipped(1, epoch, 7) for epoch in range(40)]


@pytest.mark.parametrize(
    ("labels", "expected"), [("contiguous", {3: 1, 90: 3, 18: 2}), ("ids", {3: 3, 18: 18, 90: 90})]
)
def test_category_ids_become_classes_and_come_back(labels, expected):
    """Sorted ids become 1 to K, or stay what they are; the inverse leads back."""
    classes = label_map((3, 90, 18), labels)
    assert classes == expected
    back = inverse(classes, 1 + max(classes.values()))
    assert {label: int(back[label]) for label in classes.values()} == {label: key for key, label in classes.items()}


def test_images_stand_top_left_on_black():
    """A batch holds each image's bytes in its top left corner and zeros elsewhere."""
    images = [np.full((2, 3, 3), 9, dtype=np.uint8), np.full((4, 1, 3), 7, dtype=np.uint8)]
    batch = collate(images, (32, 64), pinned=False)
    assert (batch.dtype, tuple(batch.shape)) == (torch.uint8, (2, 32, 64, 3))
    assert [int(part.sum()) for part in batch] == [9 * 18, 7 * 12]
    assert (batch[0, :2, :3] == 9).all()


def test_masks_are_resized_as_torchvision_resizes_them():
    """Bitmaps at another size are those of torch's nearest interpolation."""
    masks = np.random.default_rng(0).random((3, 37, 53)) < 0.5
    for size in ((64, 106), (20, 31), (37, 53), (1, 1)):
        expected = torch.nn.functional.interpolate(torch.from_numpy(masks)[None].float(), size, mode="nearest")[0] > 0
        np.testing.assert_array_equal(resize_masks(masks, size), expected.numpy())


POINTS = st.tuples(st.integers(0, 40), st.integers(0, 30))


@settings(max_examples=40, deadline=None)
@given(st.lists(POINTS, min_size=3, max_size=6), st.sampled_from([(30, 40), (60, 80), (64, 85)]))
def test_mirroring_twice_is_not_mirroring(points, size):
    """Applied to mirrored annotations, mirroring gives back the boxes, the polygons and the bitmaps."""
    annotations, frame = one_object(points), Frame(1, (30, 40), size)
    for rules in RULES.values():
        plain, mirrored = (rules.target(annotations, frame, mirrored=flip) for flip in (False, True))
        if not len(plain.boxes_N4):
            continue
        span = size[1] - rules.one
        back = mirrored.boxes_N4[:, [2, 1, 0, 3]] * torch.tensor((-1.0, 1.0, -1.0, 1.0)) + torch.tensor(
            (span, 0, span, 0)
        )
        torch.testing.assert_close(back, plain.boxes_N4, rtol=0, atol=1e-4)
        if plain.polygons is not None:
            for shape, other in zip(plain.polygons[0], mirrored.polygons[0], strict=True):
                np.testing.assert_allclose(span - other[0::2], shape[0::2], atol=1e-9)
                np.testing.assert_array_equal(other[1::2], shape[1::2])
        else:
            assert torch.equal(plain.masks_NHW.flip(2), mirrored.masks_NHW)


def test_the_published_mirror_is_inclusive():
    """nvidia: box columns 2 to 9 of a 40-wide image become 30 to 37, and polygon points x become 39 - x."""
    square = one_object([(2, 5), (10, 5), (10, 20), (2, 20)])
    target = RULES["nvidia"].target(square, Frame(1, (30, 40), (30, 40)), mirrored=True)
    assert target.boxes_N4.tolist() == [[30, 5, 37, 19]]
    assert target.polygons[0][0].tolist() == [37, 5, 29, 5, 29, 20, 37, 20]
    assert (target.labels_N.tolist(), target.image_id) == ([2], 1)


def test_torchvisions_mirror_has_edges():
    """torchvision: edges 2 and 10 of a 40-wide image become 30 and 38, and the bitmap's columns follow."""
    square = one_object([(2, 5), (10, 5), (10, 20), (2, 20)])
    target = RULES["torchvision"].target(square, Frame(1, (30, 40), (30, 40)), mirrored=True)
    assert target.boxes_N4.tolist() == [[30, 5, 38, 20]]
    assert target.masks_NHW[0].any(dim=0).nonzero()[:, 0].tolist() == list(range(30, 38))


@pytest.mark.parametrize("flavour", ["nvidia", "torchvision"])
def test_boxes_and_masks_stay_together(mini, flavour):
    """Mirrored or not, each object's mask fills its box in the resized frame, to within a pixel or two."""
    dataset = open_dataset(mini[0])
    rules = TargetRules(flavour == "nvidia", flavour == "torchvision", label_map(dataset.category_ids, "contiguous"))
    compared = 0
    for index in range(len(dataset)):
        frame = resizing(100, 166).frame(dataset, index)
        for flip in (False, True):
            target = rules.target(dataset.annotations(index), frame, mirrored=flip)
            bitmaps = (
                target.masks_NHW.numpy() if target.polygons is None else rasterise_all(target.polygons, *frame.size)
            )
            for box, bitmap in zip(target.boxes_N4.tolist(), bitmaps, strict=True):
                rows, columns = bitmap.any(axis=1).nonzero()[0], bitmap.any(axis=0).nonzero()[0]
                bounds = [columns[0], rows[0], columns[-1] + 1 - rules.one, rows[-1] + 1 - rules.one]
                np.testing.assert_allclose(box, bounds, atol=3.5)
                compared += 1
    assert compared > 50


@pytest.mark.parametrize("flavour", ["nvidia", "torchvision"])
def test_crowds_and_boxes_without_extent_are_not_learnt(flavour):
    """A crowd, a line and an object outside the image leave no target; a plain object leaves one."""
    square = [(2, 5), (10, 5), (10, 20), (2, 20)]
    frame = Frame(1, (30, 40), (30, 40))
    cases = [
        one_object(square, crowd=True),
        one_object([(2, 5), (2, 9), (2, 20)]),
        one_object([(50, 5), (60, 5), (60, 20)]),
        one_object(square),
    ]
    assert [len(RULES[flavour].target(case, frame, mirrored=False).boxes_N4) for case in cases] == [0, 0, 0, 1]


def test_boxes_are_clipped_to_the_image():
    """A box that leaves the image ends at its edge, in either convention."""
    wide = one_object([(-5, 5), (60, 5), (60, 50)])
    frame = Frame(1, (30, 40), (30, 40))
    found = {flavour: rules.target(wide, frame, mirrored=False).boxes_N4.tolist() for flavour, rules in RULES.items()}
    assert found == {"nvidia": [[0, 5, 39, 29]], "torchvision": [[0, 5, 40, 30]]}


def test_run_lengths_become_bitmaps_in_either_flavour(mini):
    """An image with an object in run lengths has bitmaps, equal to the decoded mask."""
    dataset = open_dataset(mini[0])
    rules = TargetRules(inclusive=True, bitmaps=False, classes=label_map(dataset.category_ids, "contiguous"))
    compared = 0
    for index in range(len(dataset)):
        annotations, record = dataset.annotations(index), dataset.image(index)
        plain = [
            shape for shape, crowd in zip(annotations.segmentations, annotations.crowd_N, strict=True) if not crowd
        ]
        if all(isinstance(shape, tuple) and not hasattr(shape, "counts_R") for shape in plain):
            continue
        frame = Frame(record.id, (record.height, record.width), (record.height, record.width))
        target = rules.target(annotations, frame, mirrored=False)
        expected = np.stack([rasterise(shape, record.height, record.width) for shape in plain])
        np.testing.assert_array_equal(target.masks_NHW.numpy(), expected[: len(target.masks_NHW)])
        compared += 1
    assert compared > 0


def test_what_the_device_gets_is_pillows_pixels(mini):
    """nvidia: every image, gray and CMYK too, arrives as Pillow decodes and resizes it, uint8, mirrored or not."""
    dataset = open_dataset(mini[0])
    paths = {dataset.image(index).id: dataset.path(index) for index in range(len(dataset))}
    compared = set()
    with opened(trial(options={"flavour": "nvidia"}, batch_size_per_gpu=3), *mini) as work:
        for batch in take(work, 12):
            (inputs,) = batch.payload
            assert inputs.images_BHW3.dtype == torch.uint8
            for image, (height, width), target in zip(
                inputs.images_BHW3.numpy(), inputs.sizes_B2.tolist(), inputs.targets, strict=True
            ):
                with Image.open(paths[target.image_id]) as file:
                    expected = np.array(file.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
                found = image[:height, :width]
                assert (found == expected).all() or (found == expected[:, ::-1]).all()
                compared.add(target.image_id)
    assert len(compared) > 20


def test_training_never_sees_an_image_without_objects(mini):
    """Empty and crowd-only images are left out; every target has an object and a class from 1 to K."""
    with opened(trial(batch_size_per_gpu=2), *mini) as work:
        targets = [target for batch in take(work, 20) for inputs in batch.payload for target in inputs.targets]
    assert min(len(target.boxes_N4) for target in targets) >= 1
    assert {label for target in targets for label in target.labels_N.tolist()} == {1, 2, 3, 4, 5}
