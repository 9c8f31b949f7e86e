from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Record(BaseModel):
    """Base of every noun: immutable, an unknown field is an error, and NaN and infinity survive JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def spelled_out(text: str) -> str:
    """The text as UTF-8 can have it: a byte of a file name that is none, half a character to Python, as its number."""
    return text.encode("utf-8", "backslashreplace").decode()


Words = Annotated[str, AfterValidator(spelled_out)]
"""Text from outside that a record must be able to hold: names of files, messages, environment variables."""
