"""A backend that runs the Python code in its trial's option `code` and then declines."""

from harness.api import Context, Trial, UnsupportedTrialError, hookimpl


@hookimpl
def harness_infer(trial: Trial, context: Context) -> None:
    """Run the code."""
    exec(str(trial.options["code"]), {})  # noqa: S102 - this is what the probe is for
    raise UnsupportedTrialError("the probe has no work")
