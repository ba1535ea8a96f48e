"""The base class of all recipe sections, and number types."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: A number from 0 up to, but without, 1.
Fraction = Annotated[float, Field(ge=0, lt=1)]
#: A number from 0 to 1.
UnitInterval = Annotated[float, Field(ge=0, le=1)]


class Config(BaseModel):
    """A section of a recipe: unknown keys are errors, values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
