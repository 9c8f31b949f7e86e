"""How the report shows compiling, XLA and several backends."""

from made_results import make_accuracy, make_compiling, make_pair, make_probe, make_result, make_series

from harness.analysis.tables import analyse
from harness.report.build import build_markdown
from harness.report.readme import readme_blocks
from harness.report.show import show_trial

INSIDE = "1 step of the timed window compiled first, 2.0 s: the throughput contains compiling"


def cells(block):
    """The rows of a table as mappings from head to cell."""
    lines = [line.strip("| \n").split(" | ") for line in block.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], row, strict=True)) for row in lines[2:]]


def test_a_throughput_that_contains_compiling_is_marked():
    """In its own table by a note, in the outcomes by words, and for one trial in full."""
    result = make_result(measurements=(make_compiling([2000.0], [1500.0]),))
    blocks = readme_blocks([result])
    (row,) = cells(blocks["training"])
    assert row["throughput, images/s"] == "4.00 (1)"
    assert row["compile, s"] == "3.50"
    assert f"(1) {INSIDE}" in blocks["training"]
    assert cells(blocks["outcomes"])[0]["note"] == INSIDE
    assert INSIDE in " ".join(show_trial(result).split())


def test_a_column_of_compiling_only_where_something_compiled():
    """And no mark where it was the warm-up that did."""
    assert "compile" not in readme_blocks([make_result()])["training"]
    block = readme_blocks([make_result(measurements=(make_compiling([], [1500.0]),))])["training"]
    assert cells(block)[0]["throughput, images/s"] == "4.00"
    assert cells(block)[0]["compile, s"] == "1.50"


def test_published_columns_are_there():
    """Precision speed-up over both baselines, XLA, weak scaling; latency mean and percentiles by batch size."""
    train = [
        make_result(rates=[(rate, 1.0)] * ranks, precision=precision, xla=xla)
        for rate, ranks, precision, xla in (
            (10, 1, "fp32", False), (12, 1, "tf32", False), (18, 1, "amp", False), (17, 2, "amp", False),
            (24, 1, "amp", True), (20, 2, "amp", True), (15, 1, "tf32", True),
        )
    ]  # fmt: skip
    infer = [
        make_result(
            phase="infer",
            precision=precision,
            xla=xla,
            batch_size_per_gpu=batch,
            measurements=(make_series("latency_ms", [1.0 * batch] * 700),),
        )
        for batch in (1, 8)
        for precision in ("tf32", "amp")
        for xla in (False, True)
    ]
    blocks = readme_blocks([*train, *infer])
    rows = cells(blocks["training"])
    assert [row["XLA"] for row in rows] == ["no", "no", "no", "no", "yes", "yes", "yes"]
    last = rows[4]
    assert last["speed-up vs tf32"] == "1.60 (amp / tf32)"
    assert last["speed-up by XLA"].startswith("1.33")
    assert rows[5]["weak-scaling factor T(N)/T(1)"] == "1.67"
    assert rows[0]["speed-up by XLA"] == "baseline"
    timed = cells(blocks["inference"])
    heads = ("speed-up vs tf32", "latency mean, ms", "p50, ms", "p90, ms", "p95, ms", "p99, ms")
    assert all(head in timed[0] for head in heads)
    assert {row["batch size per rank"] for row in timed} == {"1", "8"}
    assert timed[-1]["p99, ms"].startswith("8.00")


def test_the_same_weights_across_frameworks():
    """Both sides by name, AP side by side, the largest difference with its tensor and how much was compared."""
    results = make_pair(
        accuracy=(make_accuracy(0.3775, 0.3412),), probe=make_probe(C2=[0.5, -2.0, 1.01], box_logits=[1.0, -1.0])
    )
    block = readme_blocks(results)["frameworks"]
    (row,) = cells(block)
    assert (row["reference"], row["backend"]) == ("torch_maskrcnn", "tf_maskrcnn")
    assert row["weights"] == "store:small (abababab)"
    assert (row["bbox AP of the reference"], row["bbox AP"]) == ("0.377", "0.378")
    assert row["bbox: largest difference of the 12 numbers"] == "6.0e-04"
    assert row["largest difference of a tensor, relative"] == "0.005"
    assert (row["in tensor"], row["values compared"]) == ("C2", "5 of 2 tensors")


def test_the_caption_says_that_it_is_a_sample():
    """No more is claimed than was compared."""
    document = build_markdown(analyse(make_pair()))
    part = document.split("## The same weights across frameworks")[1].split("\n## ")[0]
    assert "at most 256 evenly spaced elements" in part
    assert "equal SHA-256" in part


def test_no_probe_is_explained():
    """A dash carries its note."""
    block = readme_blocks(make_pair(probe=None))["frameworks"]
    assert cells(block)[0]["largest difference of a tensor, relative"] == "– (1)"
    assert "(1) not probed on both sides; probe: true asks for it" in block


def test_other_weights_are_no_table():
    """Nothing is put side by side that only looks alike."""
    assert "No trial" in readme_blocks(make_pair(weights_read={"weights": "cd" * 32}))["frameworks"]


def test_frameworks_are_named_where_there_are_several_backends():
    """One backend alone needs no such column."""
    assert cells(readme_blocks(make_pair())["evaluation"])[1]["framework"] == "tensorflow"
    assert "framework" not in readme_blocks(make_pair()[:1])["evaluation"]


def test_one_trial_shows_its_weights_and_probe():
    """The digest of what it read, and the shape of every tensor that was sampled."""
    text = show_trial(make_pair()[0])
    assert f"weights  {'ab' * 32}" in text
    assert "1×3, 3 values, absolute maximum 2.00" in text


def test_a_baseline_that_nothing_ran_in_has_no_column():
    """A matrix of tf32 and amp, as published for A100, is not filled with dashes about fp32."""
    block = readme_blocks([make_result(precision=precision) for precision in ("tf32", "amp")])["training"]
    assert "speed-up vs fp32" not in block
    assert cells(block)[1]["speed-up vs tf32"] == "1.00 (amp / tf32)"
    assert "speed-up vs fp32" in readme_blocks([make_result(precision="amp")])["training"]
