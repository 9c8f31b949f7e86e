"""Checking a set in TFRecord files: every damaged record, without stopping at the first."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.data.findings import Finding, Report
from harness.data.loader import prefetch
from harness.data.tfrecord import TFRecordDataset
from harness.errors import DataError


def check_records(paths: Sequence[Path], *, decode: bool, threads: int) -> Report:
    """Compare all checksums, and decode every image and mask if asked.

    Raises:
        DataError: The set cannot be opened at all: a file is cut off, or a record is not of the layout.
    """
    dataset = TFRecordDataset(paths)

    def examine(index: int) -> list[Finding]:
        return list(_faults(dataset, index, decode=decode))

    found = prefetch(range(len(dataset)), examine, threads=threads, depth=4 * threads)
    findings = tuple(finding for findings in found for finding in findings)
    return Report(len(dataset), dataset.objects, len(dataset.category_ids), findings, ())


def _faults(dataset: TFRecordDataset, index: int, *, decode: bool) -> Iterator[Finding]:
    try:
        dataset.encoded(index)
        if decode:
            dataset.load(index)
            tuple(dataset.annotations(index).segmentations)
    except DataError as error:
        yield Finding("fault", f"image {dataset.image(index).id}", str(error))
