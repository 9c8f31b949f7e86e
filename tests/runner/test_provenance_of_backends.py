"""What a run's records say of a backend."""

from harness.runner.prepare import provenance_of
from harness.schema.backend import BackendInfo


def test_a_record_knows_framework_and_model() -> None:
    """As the backend describes itself, so that a report needs no backend to be installed."""
    info = BackendInfo(
        name="b",
        framework="chalk",
        model="Mask R-CNN",
        phases=("infer",),
        precisions=("fp32",),
        distributions=("numpy",),
    )
    found = provenance_of(info, {"val": "aa"})
    assert (found.framework, found.model, found.data_fingerprints) == ("chalk", "Mask R-CNN", {"val": "aa"})
    assert next(iter(found.packages)) == "numpy"
