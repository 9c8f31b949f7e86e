"""A plan for a person and as JSON; the documentation that is made from the models has not drifted."""

import json
from pathlib import Path

from matrix_texts import plan_of

from harness.matrix.listing import PlanReport, plan_json, plan_report, plan_schema, plan_table
from harness.matrix.loading import source_of, to_value
from harness.matrix.problems import parse_matrix
from harness.matrix.reference import TABLES, rewritten

DOCS = Path(__file__).parents[2] / "docs"
PLAN = plan_of(
    "name: m\ndevice: cpu\ntrials:\n"
    "  - {backend: box, phase: infer, axes: {precision: [fp32, tf32], seed: [1, 2], gpus: [1, 2]}}\n"
    "exclude:\n  - {when: {gpus: 2, seed: 2}, because: too long}\n"
)


def labels(lines):
    """The lines without the ends of the ids, which are digests."""
    return ["-".join(line.split("  seed")[0].split("-")[:-1]) + line.partition("  seed")[2] for line in lines]


def test_the_table_says_what_runs_what_is_dropped_and_what_cannot_run():
    """Each kind of point stands under its total, each reason once, with the values that tell points apart."""
    first, *rest = plan_table(PLAN)

    assert first == "will run: 3 of 8 points"
    assert [line.strip().partition("-r0-")[0] for line in rest[:3]] == [
        "box-infer-cpu1-b1-fp32",
        "box-infer-cpu2-b1-fp32",
        "box-infer-cpu1-b1-fp32",
    ]
    assert [line.rpartition("  ")[2] for line in rest[:3]] == ["seed=1", "seed=1", "seed=2"]
    assert rest[3:5] == ["dropped by a rule: 2 points", "  exclude[0]: too long (2 points)"]
    assert rest[7:9] == [
        "cannot run here: 3 points",
        "  tf32 needs a GPU of compute capability 8.0 or newer; this machine has none (no driver) (3 points)",
    ]
    assert len(rest) == 12


def test_estimates_stand_beside_the_points_and_in_the_total():
    """Known times are added up; how many points are without one is said."""
    runs = [point.trial.trial_id for point in PLAN.points if point.runs]

    some = plan_table(PLAN, {runs[0]: 12.0, runs[1]: 80.0, "other": 7.0})
    every = plan_table(PLAN, dict.fromkeys(runs, 10.0))

    assert some[0] == "will run: 3 of 8 points, about 1 min 32 s and 1 point of unknown time"
    assert some[1].endswith("  seed=1  ~12 s")
    assert every[0] == "will run: 3 of 8 points, about 30 s"


def test_json_holds_every_point_and_reads_back():
    """The JSON is the report, the same each time, with the status and reason of each point."""
    runs = [point.trial.trial_id for point in PLAN.points if point.runs]
    others = [point.trial.trial_id for point in PLAN.points if not point.runs]
    text = plan_json(PLAN, {runs[0]: 2.0, others[0]: 9.0})
    report = PlanReport.model_validate_json(text)

    assert report == plan_report(PLAN, {runs[0]: 2.0})
    assert text == plan_json(PLAN, {runs[0]: 2.0, others[0]: 9.0})
    assert [point.trial for point in report.points] == [point.trial for point in PLAN.points]
    assert [point.estimated_s for point in report.points if point.estimated_s is not None] == [2.0]
    assert (report.totals.runs, report.totals.dropped, report.totals.unsupported) == (3, 2, 3)
    assert (report.totals.estimated_s, report.totals.without_estimate) == (2.0, 2)
    assert {(point.status, point.reason is None) for point in report.points} == {
        ("runs", True),
        ("dropped", False),
        ("unsupported", False),
    }


def test_the_committed_schema_is_that_of_the_models():
    """docs/schema/plan.json is what the models make; `python -m harness.matrix.reference docs` rewrites it."""
    assert (DOCS / "schema" / "plan.json").read_text(encoding="utf-8") == plan_schema()


def test_the_schema_names_every_key_of_the_json():
    """Every key that plan --json prints stands in the schema, and what the schema requires is printed."""
    schema = json.loads(plan_schema())
    document = json.loads(plan_json(PLAN))

    def check(value, part):
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        if "properties" in part and isinstance(value, dict):
            assert value.keys() <= part["properties"].keys()
            assert set(part.get("required", ())) <= value.keys()
            for name, inner in value.items():
                check(inner, part["properties"][name])
        for each in value if isinstance(value, list) else ():
            check(each, part["items"])

    check(document, schema)


def test_the_manual_s_tables_are_those_of_the_models():
    """docs/matrix.md is what the models make of it, with every generated part in place."""
    page = (DOCS / "matrix.md").read_text(encoding="utf-8")

    assert all(page.count(f"<!-- generated: {name} -->") == 1 for name in (*TABLES, "axes"))
    assert rewritten(page) == page


def test_the_manual_s_example_is_a_matrix():
    """The first example of docs/matrix.md loads."""
    page = (DOCS / "matrix.md").read_text(encoding="utf-8")
    source = source_of(page.split("```yaml\n")[1].split("```")[0], "matrix.md")

    assert parse_matrix(to_value(source), source).name == "two-phases"
