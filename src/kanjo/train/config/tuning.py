"""The recipe section ``tune``: what ``kanjo tune`` searches."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from kanjo.train.config.base import Config

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


class RangeConfig(Config):
    """Numbers from ``low`` to ``high``; integers if both are integers.

    Attributes:
        low: Smallest value.
        high: Largest value.
        log: Draw from a logarithmic scale, as many values between 1 and 10 as between 10 and 100.
        step: Distance of neighboring values (None: any value).
    """

    low: float | int
    high: float | int
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


class TuneConfig(Config):
    """What ``kanjo tune`` searches, and for how long.

    Attributes:
        space: Dotted keys of the recipe and their ranges or choices.
        trials: Number of trials.
        epochs: Most epochs of a trial (None: ``training.epochs``).
        min_epochs: Epochs after which Hyperband (Li et al. 2018) may first stop a trial.
        reduction: Hyperband continues one in so many trials of each round.
        seed: Seed of the sampler.
    """

    space: Annotated[dict[str, RangeConfig | ChoiceConfig], Field(min_length=1)]
    trials: PositiveInt = 30
    epochs: PositiveInt | None = None
    min_epochs: PositiveInt = 2
    reduction: Annotated[int, Field(ge=2)] = 3
    seed: int = 0

    @field_validator("space")
    @classmethod
    def _check_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in value:
            if not key.startswith(TUNABLE_KEYS) or key in _NOT_TUNABLE:
                raise ValueError(f"{key} can't be tuned; expected a key that starts with {', '.join(TUNABLE_KEYS)}")
        return value
