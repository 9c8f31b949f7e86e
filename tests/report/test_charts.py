"""Charts: what they show, when they are left out, and that they are files of their own."""

import subprocess
import sys
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import make_result, make_series, make_store

from harness.analysis.points import points
from harness.report.charts import MOST_STEPS, draw_charts, ecdf

SVG = "{http://www.w3.org/2000/svg}"


def drawn(results):
    """Charts by name."""
    return {chart.name: chart for chart in draw_charts(results)}


def texts(chart):
    """All text of a chart."""
    return ["".join(element.itertext()).strip() for element in ET.fromstring(chart.svg).iter(f"{SVG}text")]  # noqa: S314  made here


def infer(samples, **settings_of):
    """An inference trial with raw samples."""
    return make_result(phase="infer", measurements=(make_series("latency_ms", samples),), **settings_of)


@pytest.fixture(scope="module", name="charts")
def _charts():
    return drawn(make_store())


def test_charts_name_what_they_show(charts):
    """Units stand at the axes, and precisions, batch sizes and ranks in the labels."""
    assert list(charts) == ["throughput-train", "scaling-train", "throughput-infer", "latency-infer"]
    assert {"throughput, images/s", "fp32", "amp", "1 rank, batch 2", "2 ranks, batch 2", "7.92"} <= set(
        texts(charts["throughput-train"])
    )
    assert {"ranks (CPU processes)", "throughput, images/s", "linear"} <= set(texts(charts["scaling-train"]))
    assert {"latency of one batch, ms", "share", "batch 8"} <= set(texts(charts["latency-infer"]))


def test_the_same_results_give_the_same_bytes(charts):
    """No date, no random id."""
    assert drawn(make_store()) == charts
    assert all("2026" not in chart.svg and "date" not in chart.svg for chart in charts.values())


@pytest.mark.parametrize(
    ("results", "names"),
    [
        ([], []),
        ([make_result()], []),
        ([make_result(windows=())] * 2, []),
        ([make_result(), make_result(batch_size_per_gpu=2)], ["throughput-train"]),
        ([make_result(), make_result(rates=[(1, 1.0)] * 2)], ["throughput-train", "scaling-train"]),
        ([infer([5.0])], []),
        ([infer([5.0, 6.0])], ["latency-infer"]),
    ],
)
def test_charts_that_would_show_nothing_are_left_out(results, names):
    """One bar has nothing to stand beside, one rank does not scale, one sample is no distribution."""
    assert list(drawn(results)) == names


def test_any_option_can_label_a_chart():
    """Strings are text: no formula is set, nothing is hidden, the file stays XML."""
    strings = ["a $x^2$ b", "_hidden", "<&>\"'", "\x00\x1b\u202e", "漢字 عربي", "x" * 300]
    found = texts(drawn([infer([1.0, 2.0], backend=text) for text in strings])["latency-infer"])
    assert {"a $x^2$ b", "_hidden", "<&>\"'", "\\u0000\\u001b\\u202e", "漢字 عربي"} <= set(found)
    assert sum(label.startswith("xxx") for label in found) == 1


def test_many_curves_are_cut_and_said_to_be():
    """More curves than colours and dashes can tell apart are not drawn."""
    results = [infer([1.0, 2.0], batch_size_per_gpu=n) for n in range(1, 20)]
    assert any("(12 of 19)" in label for label in texts(drawn(results)["latency-infer"]))


def test_bars_of_many_points_do_not_overlap():
    """The chart grows with its bars, so that every label keeps its height."""
    results = [make_result(batch_size_per_gpu=n, precision=p) for n in range(1, 21) for p in ("fp32", "amp")]
    tree = ET.fromstring(drawn(results)["throughput-train"].svg)  # noqa: S314  made here
    values = [element for element in tree.iter(f"{SVG}text") if "".join(element.itertext()) == "4.00"]
    heights = sorted(float(element.get("y") or element.get("transform").split()[-1].strip(")")) for element in values)
    assert len(heights) == 40
    assert min(b - a for a, b in pairwise(heights)) >= 12


@settings(max_examples=50)
@given(st.lists(st.floats(0.1, 1e3), min_size=2, max_size=3 * MOST_STEPS))
def test_distribution_is_that_of_the_samples(samples):
    """Each drawn step is the share of samples at or below its place, and both ends are drawn."""
    ((_, point),) = points([infer(samples)], "infer")
    curve = ecdf("x", point, samples)
    assert len(curve.x) <= 2 * MOST_STEPS + 2
    assert (curve.x[0], curve.x[-1], curve.y[0], curve.y[-1]) == (min(samples), max(samples), 0.0, 1.0)
    ordered = np.sort(samples)
    for x, y in zip(curve.x[1:], curve.y[1:], strict=True):
        assert (
            np.searchsorted(ordered, x, "left") / len(ordered)
            < y
            <= np.searchsorted(ordered, x, "right") / len(ordered)
        )


def test_only_charts_load_matplotlib():
    """Tables, README blocks and the view of a trial load neither matplotlib nor pandas."""
    heavy = "{'matplotlib', 'pandas'}"
    code = f"import sys, harness.report.write, harness.report.show; sys.exit(bool({heavy} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
