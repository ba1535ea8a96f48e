"""Schemas of the requests and responses, as the OpenAPI document describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class NoParameters(BaseModel):
    """The path has no query parameters; others are refused."""

    model_config = ConfigDict(extra="forbid")


class PredictParameters(BaseModel):
    """Query parameters of ``/v1/predict``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    window_s: float | None = Field(None, description="length of a window in seconds, at most the model's window")
    hop_s: float | None = Field(None, description="seconds between the starts of two windows")
    min_confidence: float | None = Field(None, description="lower confidences get the label unsure")
    language: str | None = Field(None, description="code of the spoken language, such as ko")
    emotions: str | None = Field(None, description="choose among these emotions only, such as anger,neutral")
    sample_rate: int | None = Field(None, description="sample rate of raw samples in Hz")
    format: str | None = Field(None, description="format of raw samples: s16le or f32le")
    channels: int = Field(1, description="channels of raw samples")


class EnrollParameters(BaseModel):
    """Query parameters of ``/v1/enroll``."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("speaker", description="name of the speaker", min_length=1, max_length=64)


#: The query parameters of each path that has any, or that refuses all.
QUERY_PARAMETERS: dict[str, type[BaseModel]] = {
    "/v1/predict": PredictParameters,
    "/v1/enroll": EnrollParameters,
    "/v1/models": NoParameters,
    "/v1/stream": NoParameters,
}


class SegmentResponse(BaseModel):
    """The prediction for a part of a recording (see ``kanjo.Segment``); "silence" has no probabilities."""

    start_s: float = Field(examples=[0.0])
    end_s: float = Field(examples=[3.2])
    label: str = Field(examples=["happiness"])
    confidence: float = Field(examples=[0.71])
    probabilities: dict[str, float] = Field(examples=[{"anger": 0.29, "happiness": 0.71}])


class PredictionResponse(BaseModel):
    """The prediction for a recording (see ``kanjo.Prediction``); ``error`` is "" or the reason why there is none."""

    file: str = Field(examples=["talk.wav"])
    label: str = Field(examples=["happiness"])
    confidence: float = Field(examples=[0.71])
    probabilities: dict[str, float] = Field(examples=[{"anger": 0.29, "happiness": 0.71}])
    duration_s: float = Field(examples=[3.5])
    speech_s: float = Field(examples=[3.2])
    segments: list[SegmentResponse]
    windows: list[SegmentResponse]
    warnings: list[str] = Field(examples=[["clipped: 1.2 % of the samples are at full scale"]])
    ood_score: float | None = Field(examples=[0.6], description="out-of-distribution score")
    error: str = Field(examples=[""])


class PredictResponse(BaseModel):
    """The predictions, in the order of the uploaded recordings."""

    model: str = Field(examples=["default"])
    predictions: list[PredictionResponse]
    request_id: str = Field(examples=["8f14e45fceea167a"])


class SpeakerProfileResponse(BaseModel):
    """The profile of a speaker: the mean embedding of their recordings, and how far predictions rely on it."""

    format_version: int
    name: str = Field(examples=["ana"])
    bundle: str = Field(examples=["default"])
    sha256: str = Field(description="SHA-256 of the bundle's graph")
    clips: int = Field(examples=[12], description="number of recordings")
    speech_s: float = Field(examples=[31.5])
    emotions: dict[str, float] = Field(
        examples=[{"anger": 0.25, "happiness": 0.75}], description="fractions of the predictions for the recordings"
    )
    variety: float = Field(examples=[0.4], description="how much these predictions differ, in nats")
    weight: float = Field(examples=[0.84], description="weight of the profile in predictions, 0 to 1")
    mean: list[float]


class EnrollResponse(BaseModel):
    """The profile of the enrolled speaker."""

    speaker: SpeakerProfileResponse
    request_id: str


class ModelResponse(BaseModel):
    """A bundle that the service uses."""

    name: str
    version: str
    labels: list[str]
    emotions: list[str] = Field(description="the labels among which predictions choose by default")
    sample_rate: int
    window_s: float
    hop_s: float
    languages: list[str]
    license: str
    n_parameters: int
    supports_enrollment: bool = Field(description="whether it accepts a speaker profile")


class ModelsResponse(BaseModel):
    """All bundles that the service uses."""

    models: list[ModelResponse]


class ErrorDetail(BaseModel):
    """Code and message of an error."""

    code: str = Field(examples=["busy"])
    message: str = Field(examples=["the service is busy: try again in 1 s"])


class ErrorResponse(BaseModel):
    """The reason why a request failed."""

    error: ErrorDetail
    request_id: str


def _error_responses(descriptions: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return descriptions of error responses as FastAPI's ``responses`` expects them."""
    return {
        status: {"model": ErrorResponse, "description": description} for status, description in descriptions.items()
    }


#: Error responses of all paths below ``/v1``.
ERROR_RESPONSES = _error_responses(
    {
        401: "The token is missing or wrong.",
        403: "The request comes from a page of another site.",
        421: "The host name is not a name of this machine.",
        422: "A parameter is invalid or unknown.",
        500: "An error inside the service; its log has the details.",
        503: "The service is stopping.",
    }
)
#: Error responses of all paths that take recordings.
AUDIO_ERROR_RESPONSES = ERROR_RESPONSES | _error_responses(
    {
        408: "The request was not complete in time.",
        413: "The request is too large.",
        415: "The content type is not audio.",
        422: "A parameter is invalid or unknown, the audio cannot be decoded, or a limit is exceeded.",
        429: "The service is busy; the header Retry-After gives the seconds to wait.",
        503: "The service is stopping, or the prediction took too long.",
        507: "The disk has no space for the upload.",
    }
)

_BINARY = {"type": "string", "format": "binary"}

#: The request body of all routes that take recordings, as FastAPI's ``openapi_extra`` expects it.
AUDIO_REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": _BINARY},
                        "speaker": {"type": "string", "description": "a speaker profile from /v1/enroll, as JSON"},
                    },
                }
            },
            "audio/*": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
        },
    }
}
