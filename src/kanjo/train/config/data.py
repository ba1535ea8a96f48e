"""The recipe sections that describe the data: ``corpora``, ``labels``, ``select``, ``split`` and ``audio``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from kanjo.corpora.protocols import get_protocol
from kanjo.errors import CorpusError, KanjoError
from kanjo.labels import canonical_emotion, fold_word, is_known_word
from kanjo.languages import language_code
from kanjo.train.config.base import Config, Seed


class CorpusConfig(Config):
    """A corpus.

    Attributes:
        name: A published corpus, "own" for your own table or folder, "manifest" for a manifest file, or "filelists"
            for a folder of training, validation and test lists (with ``split.protocol: manifest``).
        path: Where it is (None: in the corpus root, under its own name). Required for "own", "manifest" and
            "filelists".
        root: Folder of the recordings that a table or lists name, if it is not the folder that the paths start from.
        train_only: Use its utterances in the training set of every fold, and never for validation or test.
        limit_per_emotion: Use at most so many utterances of each emotion, drawn by ``split.seed`` (None: all).
    """

    name: str
    path: str | None = None
    root: str | None = None
    train_only: bool = False
    limit_per_emotion: PositiveInt | None = None


class LabelsConfig(Config):
    """Which emotions the model predicts.

    Attributes:
        map: Emotions to rename, such as ``{calm: neutral}``, and emotions for labels of your own data that the
            vocabulary does not contain, such as ``{grumpy: anger}``.
        include: Emotions to keep after renaming, in the model's order (None: all that the corpora have).
    """

    map: dict[str, str] = Field(default_factory=dict)
    include: tuple[str, ...] | None = None

    @field_validator("map")
    @classmethod
    def _check_map(cls, value: dict[str, str]) -> dict[str, str]:
        return {_emotion(old) if is_known_word(old) else fold_word(old): _emotion(new) for old, new in value.items()}

    @field_validator("include")
    @classmethod
    def _check_include(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(_emotion(word) for word in value)


class SplitConfig(Config):
    """How utterances are split into training, validation and test (kanjo.corpora.splits).

    Attributes:
        protocol: Name of the protocol.
        fold: Number of the fold, from 1.
        n_folds: Number of folds, for protocols that don't fix it.
        seed: Seed of the split.
        validation_fraction: Fraction of the training speakers that are used for validation.
        folds_file: CSV file of test folds, for protocol "emobox" (not needed for RAVDESS).
        allow_shared_speakers: Allow test speakers in the training set.
    """

    protocol: str = "speaker_kfold"
    fold: PositiveInt = 1
    n_folds: Annotated[int, Field(ge=2, le=100_000)] = 5
    seed: Seed = 0
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    folds_file: str | None = None
    allow_shared_speakers: bool = False

    @field_validator("protocol")
    @classmethod
    def _check_protocol(cls, value: str) -> str:
        try:
            get_protocol(value)
        except CorpusError as error:
            raise ValueError(str(error)) from None
        return value


class SelectConfig(Config):
    """Which utterances are used at all.

    Attributes:
        sex: Only speakers of this sex (None: all).
        speakers: Only these speakers (None: all).
        languages: Only these languages, codes such as "ko" or names such as "Korean" (None: all).
    """

    sex: Literal["female", "male"] | None = None
    speakers: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None

    @field_validator("languages")
    @classmethod
    def _check_languages(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(map(_language, value))


class AudioConfig(Config):
    """Sample rate and windows.

    Attributes:
        sample_rate: Sample rate in Hz that recordings are resampled to.
        window_s: Length of the model's input.
        hop_s: Distance of neighboring windows in prediction.
        placement: Where a shorter training clip is put in its window: "start", or "random".
        crop_s: Train on random crops of this length that overlap the clip's speech (None: on whole windows).
        trim_db: Speech is between the first and the last 25 ms whose level is within so many dB of the loudest
            (None: the whole clip).
    """

    sample_rate: Annotated[int, Field(ge=4_000, le=192_000)] = 16_000
    window_s: Annotated[float, Field(ge=0.01, le=600)] = 8.0
    hop_s: PositiveFloat = 4.0
    placement: Literal["start", "random"] = "start"
    crop_s: PositiveFloat | None = None
    trim_db: PositiveFloat | None = None

    @model_validator(mode="after")
    def _check_lengths(self) -> AudioConfig:
        if self.crop_s and self.crop_s > self.window_s:
            raise ValueError(f"crop_s {self.crop_s} is longer than window_s {self.window_s}")
        if self.hop_s > self.window_s:
            raise ValueError(
                f"hop_s {self.hop_s} is longer than window_s {self.window_s}; speech between windows would be skipped"
            )
        return self

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.window_s * self.sample_rate)

    @property
    def crop(self) -> int:
        """Samples of a training crop."""
        return round((self.crop_s or self.window_s) * self.sample_rate)


def _language(word: str) -> str:
    try:
        return language_code(word)
    except KanjoError as error:
        raise ValueError(str(error)) from None


def _emotion(word: str) -> str:
    try:
        return canonical_emotion(word)
    except CorpusError as error:
        raise ValueError(str(error)) from None
