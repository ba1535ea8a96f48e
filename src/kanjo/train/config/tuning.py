"""The recipe section ``tune``: what ``kanjo tune`` searches."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)

from kanjo.train.config.base import Config, Seed

#: Keys that can be tuned: all that change neither the recordings that are read nor the split.
TUNABLE_KEYS = (
    "training.",
    "model.",
    "augment.",
    "features.",
    "audio.window_s",
    "audio.hop_s",
    "audio.placement",
)
_NOT_TUNABLE = ("training.epochs", "model.type", "features.type")


def _check_number(value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a number, found {value!r}")
    return value


Number = Annotated[float | int, PlainValidator(_check_number)]


class RangeConfig(Config):
    """Numbers from ``low`` to ``high``; integers if both are integers.

    Attributes:
        low: Smallest value.
        high: Largest value.
        log: Draw from a logarithmic scale, as many values between 1 and 10 as between 10 and 100.
        step: Distance of neighboring values (None: any value).
    """

    low: Number
    high: Number
    log: bool = False
    step: PositiveFloat | None = None

    @model_validator(mode="after")
    def _check_bounds(self) -> RangeConfig:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}; expected low below high")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError("log: true needs a low above 0 and no step")
        return self


class ChoiceConfig(Config):
    """One of several values.

    Attributes:
        choices: The values, of any type that the key accepts.
    """

    choices: Annotated[tuple[Any, ...], Field(min_length=2)]


def _kind_of_values(value: Any) -> str:
    """Which of the two sections describes the values of a key, so that errors are reported for that section only."""
    has_choices = "choices" in value if isinstance(value, dict) else isinstance(value, ChoiceConfig)
    return "<ChoiceConfig>" if has_choices else "<RangeConfig>"


Values = Annotated[
    Annotated[RangeConfig, Tag("<RangeConfig>")] | Annotated[ChoiceConfig, Tag("<ChoiceConfig>")],
    Discriminator(_kind_of_values),
]


class TuneConfig(Config):
    """What ``kanjo tune`` searches, and for how long.

    Attributes:
        space: Dotted keys of the recipe and their ranges or choices.
        trials: Number of trials.
        epochs: Most epochs of a trial (None: ``training.epochs``).
        min_epochs: Epochs after which Hyperband (Li et al. 2018) may first stop a trial.
        reduction: Hyperband continues one in so many trials of each round.
        metric: Metric on the validation utterances that is to be as high as possible: "uar" or "accuracy".
        seed: Seed of the sampler.
    """

    space: Annotated[dict[str, Values], Field(min_length=1)]
    trials: PositiveInt = 30
    epochs: PositiveInt | None = None
    min_epochs: PositiveInt = 2
    reduction: Annotated[int, Field(ge=2)] = 3
    metric: Literal["uar", "accuracy"] = "uar"
    seed: Seed = 0

    @field_validator("space")
    @classmethod
    def _check_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in value:
            if not key.startswith(TUNABLE_KEYS) or key in _NOT_TUNABLE:
                raise ValueError(f"{key} can't be tuned; expected a key that starts with {', '.join(TUNABLE_KEYS)}")
        return value
