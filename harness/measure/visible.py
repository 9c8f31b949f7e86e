"""Which GPUs CUDA_VISIBLE_DEVICES leaves visible."""

from collections.abc import Sequence


def select(visible: str | None, uuids: Sequence[str | None]) -> tuple[list[int], list[str]]:
    """Return the indexes of `uuids` that a value of CUDA_VISIBLE_DEVICES selects, in its order, and what is odd in it.

    As CUDA reads it: indexes or beginnings of UUIDs; the first entry that fits no device hides those after it. `uuids`
    are in NVML's order, by PCI bus, None for a device that does not answer. Slices of a GPU (MIG-...) are left out.
    """
    if visible is None:
        return list(range(len(uuids))), []
    chosen: list[int] = []
    notes: list[str] = []
    if visible.strip() in {"", "-1"}:  # the two usual ways to hide all
        return chosen, notes
    for entry in (part.strip() for part in visible.split(",")):
        if entry.startswith("MIG-"):
            notes.append(f"CUDA_VISIBLE_DEVICES names {entry}, a slice of a GPU; only whole GPUs are listed")
            continue
        index = _index(entry, uuids)
        if index is None or index in chosen:
            reason = "no one GPU" if index is None else "a GPU twice"
            notes.append(
                f"CUDA_VISIBLE_DEVICES entry {entry!r} names {reason} of {len(uuids)}; GPUs from there on are hidden"
            )
            break
        chosen.append(index)
    return chosen, notes


def _index(entry: str, uuids: Sequence[str | None]) -> int | None:
    if entry.isdecimal():
        return int(entry) if int(entry) < len(uuids) else None
    fits = [index for index, uuid in enumerate(uuids) if entry.startswith("GPU-") and uuid and uuid.startswith(entry)]
    return fits[0] if len(fits) == 1 else None
