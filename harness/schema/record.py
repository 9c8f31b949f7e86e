from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of every noun: immutable, an unknown field is an error, and NaN and infinity survive JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
