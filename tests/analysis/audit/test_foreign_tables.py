"""Shapes of tables that others publish, in figures made up here: honest ones pass, and their derived cells count."""

import pytest

from harness.analysis.audit.checking import check_sheet
from harness.analysis.audit.tables import read_markdown

RATES = {1: (50.0, 80.0), 4: (192.0, 300.0), 8: (376.0, 584.0)}
"""Of a made-up system: by number of GPUs, in fp32 and amp."""


def table(heads, rows):
    """A markdown table."""
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in (heads, ["---"] * len(heads), *rows)) + "\n"


def judged(text):
    """What an audit of a page says."""
    return check_sheet(read_markdown(f"# Speed\n\n{text}", "page.md"))


def derived(audit):
    """How many ratios and scaling factors were recomputed."""
    return audit.checked.get("ratio", 0) + audit.checked.get("scaling", 0)


def multi_gpu(first, second, factor="{:.2f}", times=1):
    """A row for each number of GPUs, a column for each precision under the given heads, then three derived ones."""
    heads = ["Number of GPUs", "Batch size per GPU", first, second, "Speed-up with mixed precision"]
    heads += ["Multi-gpu weak scaling with FP32", "Multi-gpu weak scaling with FP16"]
    rows = [
        [gpus, 4, full, half, *(factor.format(times * each) for each in (half / full, full / 50, half / 80))]
        for gpus, (full, half) in RATES.items()
    ]
    return heads, rows


SHAPES = {
    "sentences": multi_gpu("FP32 sentences/sec", "FP16 sentences/sec"),
    "tokens": multi_gpu("Throughput - FP32 (tok/s)", "Throughput - mixed precision (tok/s)"),
    "unnamed": multi_gpu("Number of spectra with FP32", "Number of spectra with mixed precision"),
    "percent": multi_gpu("Throughput - FP32", "Throughput - mixed precision", "{:.0f}%", 100),
    "times": multi_gpu("Throughput - FP32", "Throughput - mixed precision", "{:.2f} x"),
    "times in unicode": multi_gpu("Throughput - FP32", "Throughput - mixed precision", "**{:.2f}×**"),
    "footnotes": multi_gpu("Throughput - FP32", "Throughput - mixed precision", "{:.2f}†"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_tables_of_many_gpus_are_understood(name):
    """However rates and factors are spelled, all nine factors are recomputed, and a wrong one is found."""
    heads, rows = SHAPES[name]
    audit = judged(table(heads, rows))
    assert audit.findings == ()
    assert derived(audit) == 9
    wrong = [*rows[1][:5], str(rows[1][5]).replace("3", "2", 1), rows[1][6]]
    (found,) = judged(table(heads, [rows[0], wrong, rows[2]])).findings
    assert (found.check, found.column) == ("scaling", heads[5])


def test_scaling_over_gpus_has_more_names_than_weak():
    """A column of strong scaling is the same ratio."""
    rows = [[gpus, f"{full:.0f} img/s", f"{full / 50:.1f} x"] for gpus, (full, _) in RATES.items()]
    audit = judged(table(["GPUs", "Throughput - TF32", "TF32 Strong Scaling"], rows))
    assert (audit.findings, derived(audit)) == ((), 3)


def test_scaling_without_gpus_is_over_batch_sizes():
    """An inference table that counts no GPUs compares its batch sizes with the least of them, and says so."""
    rates = {1: (150.0, 140.0), 2: (291.0, 270.0), 8: (600.0, 742.0)}
    rows = [
        [batch, full, half, f"{100 * half / full:.0f}%", f"{100 * full / 150:.0f}%", f"{100 * half / 140:.0f}%"]
        for batch, (full, half) in rates.items()
    ]
    heads = ["Batch size", "Throughput - TF32", "Throughput - mixed precision"]
    heads += ["Throughput speedup (TF32 - mixed precision)", "Weak scaling - TF32", "Weak scaling - mixed precision"]
    audit = judged(table(heads, rows))
    assert (audit.findings, derived(audit)) == ((), 9)
    rows[2][4] = "390%"
    (found,) = judged(table(heads, rows)).findings
    assert (found.check, found.verdict, found.recomputed) == ("scaling", "error", pytest.approx(400))


def test_scaling_that_nothing_counts_has_no_baseline():
    """Without GPUs, nodes or batch sizes, a factor of 3.9 is not compared with 1."""
    audit = judged(table(["system", "throughput", "weak scaling", "efficiency, %"], [["a", 195.0, 3.9, 97.5]]))
    assert [(each.check, each.verdict) for each in audit.findings] == [("baseline", "missing")] * 2


def test_scaling_over_nodes():
    """In a table of nodes the one with fewest is the base."""
    rows = [[1, 400, "1.0"], [2, 780, "1.95"], [4, 1500, "3.75"]]
    audit = judged(table(["nodes", "throughput, images/s", "weak scaling"], rows))
    assert (audit.findings, derived(audit)) == ((), 3)


CLOCK_HEADS = ["GPUs", "Batch size / GPU", "Accuracy - FP32", "Accuracy - mixed precision", "Time to train - FP32"]
CLOCK_HEADS += ["Time to train - mixed precision", "Time to train speedup (FP32 to mixed precision)"]


def test_times_of_the_clock_are_times():
    """As hours, minutes and seconds, beside accuracies and cells that are not applicable."""
    rows = [
        [1, 32, 0.269, 0.271, "20:00:00", "08:00:00", "250%"],
        [8, 32, 0.271, 0.269, "02:40:00", "01:04:00", "250%"],
    ]
    rows.append([8, 64, "<N/A>", 0.270, "<N/A>", "00:59:59", "<N/A>"])
    audit = judged(table(CLOCK_HEADS, rows))
    assert (audit.findings, derived(audit)) == ((), 2)
    rows[1][5] = "01:14:00"
    (found,) = judged(table(CLOCK_HEADS, rows)).findings
    assert (found.printed, found.check, found.recomputed) == ("250%", "ratio", pytest.approx(100 * 160 / 74))


def test_a_speedup_in_a_table_of_times_is_of_times():
    """Batch sizes of two precisions in one cell are the batch sizes of neither."""
    heads = ["Number of GPUs", "Batch size per GPU", "Time to train with mixed precision (Hrs)"]
    heads += ["Time to train with FP32 (Hrs)", "Speed-up with mixed precision"]
    rows = [[1, "64@FP16, 32@FP32", 150, 240, 1.60], [8, "64@FP16, 32@FP32", 20, 32, 1.60]]
    sheet = read_markdown(table(heads, rows), "page.md")
    audit = check_sheet(sheet)
    assert (audit.findings, derived(audit)) == ((), 2)
    assert {figure.batch for figure in sheet.figures} == {None}


def test_only_images_fly_in_batches():
    """Audio samples by the second times latency are not the batch; images are."""
    heads = ["Batch size", "Precision", "Avg latency (s)", "Throughput ({}/sec)"]
    row = [4, "FP16", 4.00, "150,000"]
    assert judged(table([*heads[:3], heads[3].format("samples")], [row])).findings == ()
    (found,) = judged(table([*heads[:3], heads[3].format("images")], [row])).findings
    assert found.check == "flow"


def test_rates_of_other_things_are_no_throughput():
    """Bytes, operations and steps by the second have nothing to do with images."""
    heads = ["GPUs", "throughput, images/s", "bandwidth, GB/s", "TFLOPs/s", "iterations/s", "weak scaling"]
    audit = judged(table(heads, [[1, 50, 800, 90, 12.5, 1.0], [4, 195, 790, 88, 12.2, 3.9]]))
    assert (audit.findings, derived(audit)) == ((), 2)


HTML = """
<div align="center"><table>
  <thead>
    <tr><th rowspan="2">Model</th><th rowspan=2>GPUs</th><th colspan="2">Throughput<br>(images/s)</th>
        <th colspan=2>Weak scaling</th></tr>
    <tr><th>FP32</th><th>AMP</th><th>FP32</th><th>AMP</th></tr>
  </thead>
  <tbody>
    <tr><td rowspan="2"><a href="x.yaml">small</a></td><td>1</td><td>50</td><td><b>80</b></td><td>1.00</td>
        <td>1.00</td></tr>
    <tr><td>4</td><td>192</td><td>300<sup>1</sup></td><td>3.84</td><td>{}</td></tr>
    <tr><td>large</td><td>1</td><td colspan="2">1,200&nbsp;&plusmn; 10</td><td>1.00</td><td>1.00</td></tr>
  </tbody>
</table></div>
"""


def test_tables_of_html_are_read():
    """Heads of two rows are one head a column; a cell that spans rows and columns stands in all of them."""
    sheet = read_markdown(HTML.format("3.75"), "page.md")
    audit = check_sheet(sheet)
    assert (audit.findings, derived(audit)) == ((), 6)
    assert [(figure.column, figure.text, figure.line) for figure in sheet.figures[4:6]] == [
        ("Throughput (images/s) FP32", "192", 11),
        ("Throughput (images/s) AMP", "300 (1)", 11),
    ]
    assert [figure.point["model"] for figure in sheet.figures] == ["small"] * 8 + ["large"] * 4
    (found,) = check_sheet(read_markdown(HTML.format("3.25"), "page.md")).findings
    assert (found.check, found.line, found.recomputed) == ("scaling", 11, 3.75)


def test_html_as_generators_write_it():
    """Head cells outside any row, rows across lines, comments between them; comments may hold a table that is none."""
    rows = "".join(
        f'<!-- ROW -->\n<tr><td align="left">m{gpus}</td>\n<td>{gpus}</td>\n<td>{50 * gpus}</td>\n</tr>\n'
        for gpus in (1, 2)
    )
    heads = "<th>Name</th>\n<th>GPUs</th>\n<th>Speed<br/>(fps)</th>\n"
    text = (
        f"<!--\n| GPUs | throughput |\n| --- | --- |\n| 1 | 2 |\n-->\n<table><tbody>\n{heads}{rows}</tbody></table>\n"
    )
    sheet = read_markdown(text, "page.md")
    assert [(figure.text, figure.gpus, figure.column) for figure in sheet.figures] == [
        ("50", 1, "Speed (fps)"),
        ("100", 2, "Speed (fps)"),
    ]


@pytest.mark.parametrize("cell", ["97 fps", "97 FPS", "97 img/s", "97 images per second", "97*", "97 ± 3", "97 +/- 3"])
def test_units_and_notes_in_cells(cell):
    """What stands behind a number leaves it one."""
    (figure,) = read_markdown(table(["[model](a.md)", "GPUs", "throughput"], [["[a](b.md)", 1, cell]]), "p.md").figures
    assert (figure.printed.value, figure.unit, figure.point["model"]) == (97, "images/s", "a")


@pytest.mark.parametrize("cell", ["~14", "N/A", "<N/A>", "- fps", "5M/s", "90-97", "97 of 100", "OOM", "10³", "TBD"])
def test_cells_that_are_no_figure(cell):
    """What is about, a range without a value, or missing, is left alone."""
    figures = read_markdown(table(["GPUs", "throughput"], [[1, cell], [2, 5]]), "p.md").figures
    assert [figure.text for figure in figures] == ["5"]


@pytest.mark.parametrize("head", ["final loss {}", "DICE - {}", "memory, GB - {}", "epochs {}"])
def test_qualities_are_no_sides_of_a_speedup(head):
    """Without throughput or times there is nothing to check it against, which is said."""
    heads = ["GPUs", head.format("FP32"), head.format("mixed precision"), "Speed-up with mixed precision"]
    found = judged(table(heads, [[1, 10, 12, 2.5]])).findings
    assert [(each.check, each.verdict) for each in found] == [("baseline", "missing")]


def test_changes_are_no_ratios():
    """+60 % is 1.6 times as much; a speed-up of latencies is none of throughputs."""
    heads = ["GPUs", "throughput - fp32", "throughput - amp", "throughput speedup", "latency speedup (fp32 - amp)"]
    audit = judged(table(heads, [[1, 50, 80, "+60%", 1.2]]))
    assert (audit.findings, derived(audit)) == ((), 0)
