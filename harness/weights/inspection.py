"""What a file of weights holds, as a record."""

import hashlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import WeightsError
from harness.weights.files import Contents, read_contents
from harness.weights.layouts import Layout
from harness.weights.loading import Weights
from harness.weights.names import Model, Part, recognise

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


class TensorEntry(BaseModel):
    """One tensor."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="as the file has it")
    shape: tuple[int, ...] = Field(description="as the file has it")
    dtype: str = Field(description="of its values in the file")


class OtherShape(BaseModel):
    """A tensor that cannot be the model's."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="by the model's names")
    given: tuple[int, ...] = Field(description="its shape, in PyTorch's layout")
    wanted: tuple[int, ...] = Field(description="the model's, in PyTorch's layout")


class WeightsReport(BaseModel):
    """A file of weights: what it is, and how it fits the model that its names are of."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="of the file")
    sha256: str = Field(description="of the file's bytes, in hexadecimal digits")
    size_bytes: int = Field(description="of the file")
    container: Literal["safetensors", "torch zip", "torch legacy"] = Field(description="how tensors are stored")
    entry: str | None = Field(description="the entry of a checkpoint that holds the tensors, if there is one")
    model: Model | None = Field(description="whose names these are; null if no model is known by them")
    kind: str | None = Field(description="which of the models of that family, in words")
    part: Part | None = Field(description="the whole model, or its trunk alone")
    layout: Layout | None = Field(description="of kernels and matrices: by the metadata, torch without any")
    metadata: dict[str, str] = Field(description="of a safetensors file")
    parameters: int = Field(description="values of all tensors but the running statistics of batch normalisation")
    dtypes: dict[str, int] = Field(description="how many tensors have each type of values")
    fits: int = Field(description="how many tensors of the model are there, in its shapes")
    missing: tuple[str, ...] = Field(description="tensors of the model that the file lacks")
    left_over: tuple[str, ...] = Field(description="tensors that are not of the model")
    reshaped: tuple[OtherShape, ...] = Field(description="tensors of another shape than the model's")
    tensors: tuple[TensorEntry, ...] = Field(description="all that the file holds, in its order")


def inspect(path: Path) -> WeightsReport:
    """Read a file and say what it holds.

    Raises:
        WeightsError: it cannot be read, or its tensors have shapes that their names cannot have.
    """
    contents = read_contents(path)
    entries = tuple(
        TensorEntry(name=name, shape=array.shape, dtype=contents.types[name])
        for name, array in contents.tensors.items()
    )
    counted = [entry.shape for entry in entries if entry.name.rpartition(".")[2] not in _BUFFERS]
    return WeightsReport(
        path=str(path),
        sha256=_digest(path),
        size_bytes=path.stat().st_size,
        container=contents.container,
        entry=contents.entry,
        metadata=dict(contents.metadata),
        parameters=sum(math.prod(shape) for shape in counted),
        dtypes=dict(sorted(Counter(entry.dtype for entry in entries).items())),
        tensors=entries,
        **_of_model(path, contents),
    )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


def _of_model(path: Path, contents: Contents) -> dict[str, Any]:
    """The fields that need a known model; without one every tensor is left over."""
    found = recognise(contents.tensors)
    if found is None:
        nothing = dict.fromkeys(("model", "kind", "part", "layout"))
        return {**nothing, "fits": 0, "missing": (), "left_over": tuple(contents.tensors), "reshaped": ()}
    weights = Weights(path, contents, found)
    fit = weights.fit(weights.part)
    return {
        "model": weights.model,
        "kind": weights.kind,
        "part": weights.part,
        "layout": weights.layout,
        "fits": len(fit.fits),
        "missing": fit.missing,
        "left_over": fit.left_over + found.classifier,
        "reshaped": tuple(
            OtherShape(name=name, given=given, wanted=wanted) for name, (given, wanted) in fit.reshaped.items()
        ),
    }


def report_json(report: WeightsReport) -> str:
    """As `docs/schema/weights.json` describes it."""
    return report.model_dump_json(indent=2)


def report_schema() -> str:
    """The JSON schema of `weights inspect --json`, as `docs/schema/weights.json` holds it."""
    return json.dumps(WeightsReport.model_json_schema(mode="serialization"), indent=2) + "\n"
