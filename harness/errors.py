"""Every error a user can meet; the command line turns each into one line and an exit code.

HarnessError                     exit 2
├── MatrixError                  the YAML does not describe a set of trials
├── DataError                    a data set is missing or broken
├── WeightsError                 weights cannot be read, written, or do not fit
├── KernelError                  native kernels cannot be built, loaded or run
├── BackendError                 a backend cannot be loaded or breaks the seam
│   ├── BackendImportError       its module, or one that it needs, cannot be imported
│   └── HookMismatchError        a hook, or what it returns, is not what the specification says
├── ReportError                  a report cannot be made from this store
├── AuditError                   a file holds no figures that could be checked
├── StoreError                   exit 1: results cannot be read or written
│   ├── StoreLockedError         exit 2: another runner holds the store
│   └── MissingStoreError        exit 2: the folder holds no results
└── TrialError                   one trial ends without a result; recorded, never fatal
    ├── UnsupportedTrialError    outcome unsupported: the backend declines this combination
    ├── DeviceOutOfMemoryError   outcome out_of_memory
    └── DivergedError            outcome diverged: a loss is NaN or infinite
"""


class HarnessError(Exception):
    """Base of all; its message is one line: what was found, where, what would be right."""

    exit_code = 2


class MatrixError(HarnessError):
    """The matrix file does not describe a set of trials."""


class DataError(HarnessError):
    """A data set is missing, unreadable or not in COCO format."""


class WeightsError(HarnessError):
    """A file of weights cannot be read or written, or is not for the model."""


class KernelError(HarnessError):
    """Native kernels cannot be built, loaded or run; where a trial asked for them, its framework's own take over."""


class BackendError(HarnessError):
    """A backend is missing, cannot be imported or does not match the hook specifications."""


class BackendImportError(BackendError):
    """A backend's module cannot be imported; raised from what importing it raised."""


class HookMismatchError(BackendError):
    """A hook has another name or other arguments than the specification, or returned no work."""


class ReportError(HarnessError):
    """A report cannot be made, or a README has no place for it."""


class AuditError(HarnessError):
    """A file holds no figures in a layout that can be checked."""


class StoreError(HarnessError):
    """Results cannot be read or written."""

    exit_code = 1


class StoreLockedError(StoreError):
    """Another runner is writing to the same store."""

    exit_code = 2


class MissingStoreError(StoreError):
    """A folder that holds no results."""

    exit_code = 2


class TrialError(HarnessError):
    """One trial ended without a result."""


class UnsupportedTrialError(TrialError):
    """The backend declines this combination of axes; the message is the reason."""


class DeviceOutOfMemoryError(TrialError):
    """The device or the process ran out of memory."""


class DivergedError(TrialError):
    """A loss became NaN or infinite."""
