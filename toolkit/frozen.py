"""The base of values that are checked when they are made, and never change."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Value of pydantic whose fields cannot be set; raises ValidationError for an unknown or a wrong one.

    A subclass that differs says in what: its ``model_config`` is merged with this one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
