"""The base class of all recipe sections, and number types."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: Seed of a random generator; NumPy accepts no larger one.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
#: Samples of a frame or Fourier transform.
FrameLength = Annotated[int, Field(ge=1, le=65_536)]
#: A number from 0 up to, but without, 1.
Fraction = Annotated[float, Field(ge=0, lt=1)]
#: A number from 0 to 1.
UnitInterval = Annotated[float, Field(ge=0, le=1)]


class Config(BaseModel):
    """A section of a recipe: unknown keys are errors, values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)
