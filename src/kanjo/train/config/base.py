"""What a recipe's sections are made of, and the one that searches the others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Pool = tuple[Count, Count]
#: What the dense layer reads of the LSTM: see kanjo.train.models.cnn_lstm.Trunk.
Read = Literal["last", "mean"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class RangeSection(Section):
    """Numbers from ``low`` to ``high``, whole where both are; ``log``: as many between 1 and 10 as between 10 and 100."""

    low: float | int
    high: float | int
    log: bool = False
    step: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _sensible(self) -> RangeSection:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError("a log range starts above 0 and takes no step")
        return self


class ChoiceSection(Section):
    """One of these values, which may be anything that the key takes."""

    choices: Annotated[tuple[Any, ...], Field(min_length=2)]


#: What of a recipe may be searched: all of it that doesn't change what is read from disk, or who tests.
SEARCHED = ("training.", "network.", "augment.", "frontend.", "audio.window_s", "audio.hop_s", "audio.placement")


class TuneSection(Section):
    """What ``kanjo tune`` looks for: ``space`` maps dotted keys to ranges or choices.

    ``trials`` of at most ``epochs`` epochs (None: the recipe's); Hyperband (Li et al. 2018) cuts the poor ones, the first
    after ``min_epochs``, and lets one in ``reduction`` of each round go on.
    """

    space: Annotated[dict[str, RangeSection | ChoiceSection], Field(min_length=1)]
    trials: Count = 30
    epochs: Count | None = None
    min_epochs: Count = 2
    reduction: Annotated[int, Field(ge=2)] = 3
    seed: int = 0

    @field_validator("space")
    @classmethod
    def _searchable(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in value:
            if not key.startswith(SEARCHED) or key in ("training.epochs", "network.type", "frontend.type"):
                raise ValueError(f"{key} can't be searched; what can: {', '.join(SEARCHED)}")
        return value
