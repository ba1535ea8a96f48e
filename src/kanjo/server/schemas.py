"""The shapes of the service's answers, as OpenAPI tells them. They are those of ``Prediction.as_dict``."""

from __future__ import annotations

from pydantic import BaseModel, Field


class SegmentOut(BaseModel):
    """A part of a recording; "silence" has no probabilities."""

    start_s: float = Field(examples=[0.0])
    end_s: float = Field(examples=[3.2])
    label: str = Field(examples=["happiness"])
    confidence: float = Field(examples=[0.71])
    probabilities: dict[str, float] = Field(examples=[{"anger": 0.29, "happiness": 0.71}])


class PredictionOut(BaseModel):
    """The answer for a recording; ``error`` says why there is none."""

    file: str = Field(examples=["talk.wav"])
    label: str = Field(examples=["happiness"])
    confidence: float = Field(examples=[0.71])
    probabilities: dict[str, float] = Field(examples=[{"anger": 0.29, "happiness": 0.71}])
    duration_s: float = Field(examples=[3.5])
    speech_s: float = Field(examples=[3.2])
    segments: list[SegmentOut]
    windows: list[SegmentOut]
    warnings: list[str] = Field(examples=[["clipped: 1.2 % of the samples are at full scale"]])
    distance: float | None = Field(examples=[0.6])
    error: str = Field(examples=[""])


class Predictions(BaseModel):
    """The answers, in the order in which the recordings were sent."""

    model: str = Field(examples=["default"])
    predictions: list[PredictionOut]
    request_id: str = Field(examples=["8f14e45fceea167a"])


class ProfileOut(BaseModel):
    """What is known of a speaker: the mean of the network's embeddings."""

    format_version: int
    name: str = Field(examples=["ana"])
    bundle: str = Field(examples=["default"])
    sha256: str
    clips: int = Field(examples=[12])
    speech_s: float = Field(examples=[31.5])
    mean: list[float]


class EnrolledOut(BaseModel):
    speaker: ProfileOut
    request_id: str


class ModelOut(BaseModel):
    """A bundle that answers here."""

    name: str
    version: str
    labels: list[str]
    sample_rate: int
    window_s: float
    hop_s: float
    languages: list[str]
    licence: str
    parameters: int
    speakers: bool = Field(description="whether it takes a speaker's profile")


class ModelsOut(BaseModel):
    models: list[ModelOut]


class ErrorDetail(BaseModel):
    code: str = Field(examples=["busy"])
    message: str = Field(examples=["busy: try again in 1 s"])


class ErrorOut(BaseModel):
    """Why a request got no answer."""

    error: ErrorDetail
    request_id: str
