"""A sample of a batch's intermediate tensors, for a comparison across frameworks."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.errors import BackendError
from harness.hookspecs import Batch, InferenceWork
from harness.schema.measurement import Probe, ProbedTensor

SAMPLES = 256


def take_probe(work: InferenceWork, batches: Iterator[Batch]) -> Probe:
    """Probe the first batch; the ids of its images come with its detections.

    Raises:
        BackendError: there is no batch, or a tensor is not float32.
    """
    batch = next(batches, None)
    if batch is None:
        raise BackendError("batches() is empty on rank 0; a probe needs a first batch")
    image_ids = tuple(found.image_id for found in work.detections(work.step(batch)))
    tensors = work.probe(batch)
    return Probe(image_ids=image_ids, tensors=tuple(sampled(name, tensor) for name, tensor in tensors.items()))


def sampled(name: str, tensor: NDArray[np.float32]) -> ProbedTensor:
    """At most `SAMPLES` elements, evenly spaced over the flattened tensor, its shape and its absolute maximum.

    Raises:
        BackendError: it is not float32, or empty.
    """
    if tensor.dtype != np.float32 or tensor.size == 0:
        found = f"{tensor.dtype} of shape {list(tensor.shape)}"
        raise BackendError(f"probe() returned {name} as {found}; it would be float32 and not empty")
    places = np.linspace(0, tensor.size - 1, min(SAMPLES, tensor.size)).round().astype(np.int64)
    values = tensor.reshape(-1)[places]
    return ProbedTensor(
        name=name, shape=tensor.shape, largest=float(np.abs(tensor).max()), values=tuple(values.tolist())
    )
