"""The same weights in two backends: what is compared, how far it is apart, and what is never put side by side."""

import pytest
from made_results import PROVENANCE, make_accuracy, make_pair, make_probe, make_result

from harness.analysis.frameworks import framework_rows
from harness.schema.result import Outcome

OTHER_DATA = PROVENANCE.model_copy(update={"data_fingerprints": {"coco-mini/val": "cc" * 32}})


def only(results):
    """The one row of these results."""
    (row,) = framework_rows(results)
    return row


def test_equal_sides_are_equal():
    """Names of both sides, quality of both, and a difference of zero over all sampled values."""
    row = only(make_pair())
    assert (row.reference.backend, row.point.backend) == ("torch_maskrcnn", "tf_maskrcnn")
    assert (row.reference.framework, row.point.framework) == ("torch", "tensorflow")
    assert (row.weights, row.weights_sha256, row.images) == ("store:small", "ab" * 32, 50)
    assert [(pair.kind, pair.reference_ap, pair.ap, pair.largest_difference) for pair in row.quality] == [
        ("bbox", 0.3771, 0.3771, 0.0),
        ("segm", 0.3412, 0.3412, 0.0),
    ]
    assert (row.difference.value, row.difference.tensors, row.difference.values) == (0.0, 2, 5)


def test_a_planted_difference_is_found_in_its_tensor():
    """Relative to the absolute maximum of that tensor in the reference: 0.01 of 2 is more than 0.002 of 1."""
    row = only(make_pair(probe=make_probe(C2=[0.5, -2.0, 1.01], box_logits=[1.0, -0.998])))
    assert row.difference.tensor == "C2"
    assert row.difference.value == pytest.approx(0.005)


def test_a_difference_beside_the_samples_shows_in_the_maximum():
    """The absolute maximum of the whole tensor is compared too."""
    probe = make_probe(C2=[0.5, -2.0, 1.0], box_logits=[1.0, -1.0])
    hidden = probe.tensors[1].model_copy(update={"largest": 1.5})
    row = only(make_pair(probe=probe.model_copy(update={"tensors": (probe.tensors[0], hidden)})))
    assert (row.difference.tensor, row.difference.value) == ("box_logits", pytest.approx(0.5))


def test_the_largest_difference_of_the_twelve_numbers():
    """AP may agree where another number does not."""
    accuracy = make_accuracy(0.3771, 0.3412)
    moved = accuracy.metrics[0].model_copy(update={"ar_small": 0.3801})
    row = only(make_pair(accuracy=(accuracy.model_copy(update={"metrics": (moved, accuracy.metrics[1])}),)))
    assert row.quality[0].ap == row.quality[0].reference_ap
    assert row.quality[0].largest_difference == pytest.approx(0.003)
    assert row.quality[1].largest_difference == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"weights_read": {"weights": "cd" * 32}},
        {"weights_read": {}},
        {"provenance": OTHER_DATA},
        {"provenance": None},
        {"image_size": 128},
        {"settings": {"flavour": "nvidia"}},
        {"precision": "amp"},
        {"accuracy": ()},
        {"phase": "infer"},
        {"outcome": Outcome(kind="crashed", reason="x")},
        {"backend": "torch_maskrcnn", "batch_size_per_gpu": 2},
    ],
)
def test_what_is_not_alike_is_not_compared(changes):
    """Other weights, images, sizes, flavours or precisions, and one backend alone, make no row."""
    assert framework_rows(make_pair(**changes)) == ()


def test_every_point_of_the_other_backend_has_its_row():
    """XLA and batch size may differ from the reference's."""
    first, second = make_pair()
    third = make_pair(xla=True, batch_size_per_gpu=2)[1]
    rows = framework_rows([first, second, third])
    assert [(row.point.xla, row.point.batch_size_per_gpu) for row in rows] == [(False, 1), (True, 2)]
    assert {row.reference.trial_ids for row in rows} == {(first.trial_id,)}


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (None, "not probed on both sides; probe: true asks for it"),
        (make_probe((8,), C2=[1.0]), "the first batches hold other images: images 7 and images 8"),
        (make_probe(other=[1.0]), "no tensor can be compared"),
    ],
)
def test_tensors_that_cannot_be_compared_have_a_reason(probe, reason):
    """Accuracy stands all the same."""
    row = only(make_pair(probe=probe))
    assert (row.difference.value, row.difference.reason) == (None, reason)
    assert row.quality[0].ap == 0.3771


def test_tensors_left_out_are_named():
    """Of another shape, not finite, or on one side only."""
    probe = make_probe(C2=[0.5, -2.0], box_logits=[float("nan"), -1.0], P6=[1.0])
    row = only(make_pair(probe=probe))
    assert row.difference.left_out == (
        "C2: shape [1, 3] and [1, 2]",
        "box_logits: not finite",
        "P6: on one side only",
    )


def test_a_tensor_of_zeros_hides_nothing():
    """Any value where the reference has none is a large difference."""
    results = [
        result.model_copy(update={"probe": make_probe(C2=[value])})
        for result, value in zip(make_pair(), (0.0, 1e-6), strict=True)
    ]
    assert only(results).difference.value > 1


def test_a_store_without_such_trials_has_no_rows():
    """Random weights are no file."""
    assert framework_rows([make_result(phase="eval", accuracy=(make_accuracy(0.1),))]) == ()
