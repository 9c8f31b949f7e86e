"""A store's results as all of its tables."""

from collections.abc import Sequence

from harness.analysis.accuracy import PHASES, evaluation_rows, stability_rows, training_accuracy_rows
from harness.analysis.circumstances import outcome_rows, provenance_facts, summary
from harness.analysis.frameworks import framework_rows
from harness.analysis.legacy import legacy_rows
from harness.analysis.performance import inference_rows, training_rows
from harness.analysis.points import common_settings, group
from harness.analysis.rows import Analysis
from harness.schema.result import TrialResult


def analyse(results: Sequence[TrialResult], *, legacy: bool = False) -> Analysis:
    """Derive every table, the legacy statistics where asked for; the order of rows is the order of the results."""
    provenance = provenance_facts(results)
    return Analysis(
        summary=summary(results, provenance),
        common_settings={phase: common_settings(group(results, phase)) for phase in PHASES},
        training=training_rows(results),
        inference=inference_rows(results),
        evaluation=evaluation_rows(results),
        frameworks=framework_rows(results),
        training_accuracy=training_accuracy_rows(results),
        stability=stability_rows(results),
        outcomes=outcome_rows(results),
        provenance=provenance,
        legacy=legacy_rows(results) if legacy else None,
    )
