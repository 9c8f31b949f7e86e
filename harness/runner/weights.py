"""Weights on their way from the trial that saves them, through the store, to the trials that read them by name."""

from collections.abc import Mapping
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path

from harness.results.store import Store
from harness.schema.result import Outcome, OutcomeKind
from harness.schema.trial import STORE_PREFIX, OptionValue, Trial

OWN_FILE = "weights"
"""The option by which a backend takes a weights file; also one outside the store is digested."""


def why_without(
    trial: Trial, savers: Mapping[str, str], outcomes: Mapping[str, OutcomeKind], store: Store
) -> Outcome | None:
    """Why a trial cannot have its weights, or None.

    Args:
        trial: the one about to run.
        savers: the id of the trial of this run that saves each name.
        outcomes: how the trials before it ended, by id.
        store: where the weights are.
    """
    for name in trial.weights_read().values():
        saver = savers.get(name)
        ended = outcomes.get(saver, "ok") if saver is not None else "ok"
        if ended != "ok":
            reason = f"needs weights {name!r} of {saver}, whose outcome is {ended}"
            return Outcome(kind="skipped", cause="weights_missing", reason=reason)
        if not store.weights(name).exists():
            reason = f"needs weights {name!r}, which the store does not have"
            return Outcome(kind="skipped", cause="weights_missing", reason=reason)
    return None


def resolved(trial: Trial, store: Store) -> Trial:
    """The trial with paths instead of names of weights in the store: what its workers are told."""
    paths = {option: str(store.weights(name).resolve()) for option, name in trial.weights_read().items()}
    return trial.model_copy(update={"options": trial.options | paths}) if paths else trial


def digests(told: Trial) -> dict[str, str]:
    """SHA-256 of each weights file that the workers are told of, by option; one that is unreadable is for them to name.

    Args:
        told: the trial as `resolved` has it.
    """
    given = {option: value for option, value in told.options.items() if option.endswith(OWN_FILE)}
    found = {}
    for option, value in given.items():
        with suppress(OSError):
            if isinstance(value, str) and Path(value).is_file():
                with Path(value).open("rb") as file:
                    found[option] = file_digest(file, "sha256").hexdigest()
    return found


def keep_weights(outcome: Outcome, left: Path, kept: Path) -> Outcome:
    """Move what a trial that went well saved into the store, whole or not at all; its outcome then.

    Raises:
        OSError: it cannot be moved.
    """
    if not left.exists():
        return Outcome(kind="failed", cause="broken_seam", reason="save() left no weights")
    left.replace(kept)
    return outcome


def with_names(settings: Mapping[str, str], trial: Trial, told: Trial) -> dict[str, str]:
    """A backend's settings with the names of weights again where they say a path in the store."""
    names = {told.options[option]: f"{STORE_PREFIX}{name}" for option, name in trial.weights_read().items()}
    return {key: _named(value, names) for key, value in settings.items()}


def _named(value: str, names: Mapping[OptionValue, str]) -> str:
    return names.get(value, value)
