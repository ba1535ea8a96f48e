"""Adaptation to a new source with unlabeled recordings of it, by one of two rules.

On recordings of a new microphone, language or style, a model predicts some emotions too often and others too rarely.

- With a bundle that supports speaker profiles, the source is treated like a speaker: the profile is a mean embedding of
  its recordings, and predictions use the difference from it with the weight :data:`WEIGHT`.
- With any other bundle, the profile is a bias: one number for each emotion, which is added to its log-probability. A
  quarter of the estimated bias is applied.

Recordings may really contain one emotion more often than another. So both means are class-balanced: the mean of one
mean for each emotion, over the recordings that seem to contain it.

benchmarks/accuracy/adaptation.py compares rules and strengths, and docs/how-to/adapt.md shows the effect.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from kanjo import files
from kanjo.bundle import BundleMetadata
from kanjo.errors import KanjoError
from kanjo.inference.emotion_selection import restrict_probabilities
from kanjo.inference.prediction import NO_SPEECH, SILENT, TOO_SHORT
from kanjo.inference.speaker_profiles import EnrollmentClip
from kanjo.parsing import parse_json

FORMAT_VERSION = 1
#: Fewer recordings with speech than this are refused.
MIN_CLIPS = 20
#: More recordings than this do not make a profile better.
ENOUGH_CLIPS = 200
#: Weight of the difference from the mean embedding, and the part of the estimated bias that is applied.
WEIGHT, STRENGTH = 0.5, 0.25

#: Steps of the iteration for the bias, and the number of recordings at which an emotion's mean counts half.
_ITERATIONS, _UNRELIABLE_CLIPS = 20, 1.0
#: Largest magnitude of a bias in a profile; e^20 outweighs any probability that matters.
_MAX_BIAS = 20.0
#: Smallest probability of which a logarithm is taken.
_TINY = 1e-12
_MAX_BYTES, _MAX_CLIPS, _MAX_EMBEDDING_VALUE = 4_000_000, 1_000_000, 1e6
_MAX_TEXT_LENGTH = 256
_ADVICE = "make it again with 'kanjo predict FOLDER --adapt --save-adaptation FILE'"

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class AdaptationProfile:
    """What a bundle knows of one source.

    Attributes:
        bundle: Name of the bundle that predicted the recordings.
        sha256: SHA-256 of that bundle's graph.
        clips: Number of recordings with speech.
        mean: Class-balanced mean embedding (D,), if the bundle supports speaker profiles, else of size 0.
        bias: For bundles that do not: what is added to the log-probability of each emotion among which the label is
            chosen; else empty.
    """

    bundle: str
    sha256: str
    clips: int
    mean: npt.NDArray[np.float32]
    bias: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "format_version": FORMAT_VERSION,
            "kind": "adaptation",
            "bundle": self.bundle,
            "sha256": self.sha256,
            "clips": self.clips,
            "bias": {emotion: round(value, 6) for emotion, value in self.bias.items()},
            "mean": [round(float(value), 6) for value in self.mean],
        }


class AdaptationClip(EnrollmentClip, Protocol):
    """What adaptation needs of a recording; a prediction has it."""

    @property
    def error(self) -> str:
        """Reason why there is no prediction, or ""."""

    @property
    def unsure_reason(self) -> str:
        """Why the label is "unsure", or ""."""


def build_adaptation(
    metadata: BundleMetadata, clips: Iterable[AdaptationClip], emotions: Sequence[str] | None = None
) -> AdaptationProfile:
    """Build the profile of a source. Recordings that failed or contain no speech do not count.

    Args:
        metadata: Metadata of the bundle that predicted the recordings.
        clips: Predictions of the recordings, without an adaptation profile.
        emotions: The emotions among which the label is chosen, in the bundle's order (default: all of the bundle).

    Raises:
        KanjoError: There are fewer than :data:`MIN_CLIPS` recordings with speech.
    """
    complete = list(clips)
    usable = [clip for clip in complete if _contains_speech(clip)]
    if len(usable) < MIN_CLIPS:
        raise KanjoError(
            f"adaptation needs at least {MIN_CLIPS} recordings with speech; here are {len(usable)} "
            f"(recordings in all: {len(complete)})"
        )
    labels = metadata.labels if emotions is None else tuple(emotions)
    indices = None if labels == metadata.labels else [metadata.labels.index(label) for label in labels]
    windows = [restrict_probabilities(np.asarray(clip.window_probabilities), indices) for clip in usable]
    common = (metadata.name, metadata.sha256, len(usable))
    if metadata.speaker_size:
        embeddings = np.stack([np.asarray(clip.embedding, np.float64) for clip in usable])
        mean = class_balanced_mean(np.stack([rows.mean(0, np.float64) for rows in windows]), embeddings)
        return AdaptationProfile(*common, np.asarray(mean, np.float32))
    weights = np.concatenate([np.full(len(rows), 1 / len(rows)) for rows in windows])
    probabilities = np.concatenate(windows).astype(np.float64)
    bias = STRENGTH * centering_bias(probabilities, weights)
    no_mean = np.zeros(0, np.float32)
    return AdaptationProfile(*common, no_mean, dict(zip(labels, bias.tolist(), strict=True)))


def describe(profile: AdaptationProfile) -> str:
    """Say in a few words what a profile does."""
    text = f"adapted to {profile.clips} recordings"
    if not profile.bias:
        return text
    least, most = (extreme(profile.bias, key=lambda emotion: profile.bias[emotion]) for extreme in (min, max))
    return f"{text}: {most} more often, {least} less often"


def choose_clips(items: Iterable[_T]) -> list[_T]:
    """Choose the recordings for a profile: all of them, or :data:`ENOUGH_CLIPS`, evenly spaced."""
    complete = list(items)
    if len(complete) <= ENOUGH_CLIPS:
        return complete
    return [complete[i * len(complete) // ENOUGH_CLIPS] for i in range(ENOUGH_CLIPS)]


def _contains_speech(clip: AdaptationClip) -> bool:
    if clip.error or clip.unsure_reason in (TOO_SHORT, SILENT, NO_SPEECH) or clip.speech_s <= 0:
        return False
    return clip.embedding is not None and clip.window_probabilities is not None and len(clip.window_probabilities) > 0


def class_balanced_mean(members: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Compute the mean of one mean for each emotion. It depends less on how often each emotion occurs than the mean.

    Args:
        members: How far each item belongs to each emotion. An emotion with few items counts less than the others.
        values: Values of the items.

    Shape:
        - members: (N, E)
        - values: (N, D)
        - Returns: (D,)
    """
    n_members = np.maximum(members.sum(0), _TINY)
    means = (members.T @ values) / n_members[:, None]
    reliability = n_members / (n_members + _UNRELIABLE_CLIPS)
    return np.asarray(reliability @ means / reliability.sum())


def centering_bias(probabilities: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Compute the bias with which the class-balanced mean of the predictions is equal for all emotions.

    Which predictions belong to an emotion depends on the bias, so both are computed in turn.

    Args:
        probabilities: Predictions.
        weights: Weight of each prediction; their sum is the number of recordings.

    Returns:
        The bias; its mean is 0.

    Shape:
        - probabilities: (P, E)
        - weights: (P,)
        - Returns: (E,)
    """
    log_probabilities = np.log(np.maximum(probabilities, _TINY))
    bias = np.zeros(probabilities.shape[1])
    for _ in range(_ITERATIONS):
        members = weights[:, None] * apply_bias(probabilities, bias)
        center = class_balanced_mean(members, log_probabilities)
        bias = (bias - (center - center.mean())) / 2
    return np.clip(bias, -_MAX_BIAS, _MAX_BIAS)


def apply_bias(probabilities: npt.NDArray[np.floating[Any]], bias: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Multiply probabilities by e^bias and divide them by their sum.

    Shape:
        - probabilities: (..., E)
        - bias: (E,)
        - Returns: (..., E)
    """
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), _TINY)) + bias
    scaled = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(-1, keepdims=True))


def resolve_adaptation(
    adaptation: AdaptationProfile | str | Path | None, metadata: BundleMetadata, emotions: Sequence[str]
) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.float64] | None]:
    """Return the graph's speaker input (D + 1,) and the bias (E,) of the bundle's emotions for a profile.

    Args:
        adaptation: A profile, or the path of a profile; None without adaptation.
        metadata: Metadata of the bundle.
        emotions: The emotions among which the label is chosen.

    Returns:
        One of the two, the other is None; both are None without adaptation.

    Raises:
        KanjoError: Another bundle made the profile, or it was made for other emotions.
    """
    if adaptation is None:
        return None, None
    profile = adaptation if isinstance(adaptation, AdaptationProfile) else read_adaptation(adaptation)
    if profile.sha256 != metadata.sha256 or len(profile.mean) != metadata.speaker_size:
        raise KanjoError(
            f"the adaptation profile was made with the bundle {profile.bundle} ({profile.sha256[:12]}), but this "
            f"bundle is {metadata.name} ({metadata.sha256[:12]}); {_ADVICE}"
        )
    if metadata.speaker_size:
        return np.append(profile.mean, np.float32(WEIGHT)), None
    if set(profile.bias) != set(emotions):
        raise KanjoError(
            f"the adaptation profile is for the emotions {', '.join(profile.bias)}, but the label is chosen among "
            f"{', '.join(emotions)}; give the same --emotions, or {_ADVICE}"
        )
    return None, np.array([profile.bias.get(label, 0.0) for label in metadata.labels])


def write_adaptation(profile: AdaptationProfile, path: Path) -> None:
    """Write a profile. Raises KanjoError if the file can't be written."""
    files.write_text(path, json.dumps(profile.as_dict(), ensure_ascii=False) + "\n")


def read_adaptation(path: str | Path) -> AdaptationProfile:
    """Read a profile.

    Raises:
        KanjoError: There is no such file, it is not an adaptation profile, or it is damaged.
    """
    try:
        content = parse_json(files.read_bytes(Path(path), _MAX_BYTES))
    except OSError as error:
        raise KanjoError(f"can't read {path}: {files.os_error_message(error)}") from error
    except ValueError as error:
        raise KanjoError(f"{path}: not valid JSON ({error}); {_ADVICE}") from error
    return parse_adaptation(content, str(path))


def parse_adaptation(content: Any, source: str) -> AdaptationProfile:
    """Read a profile from parsed JSON.

    Args:
        content: The parsed JSON.
        source: Name of the input in messages.

    Raises:
        KanjoError: The content is not an adaptation profile, is damaged, or has another format.
    """
    if not isinstance(content, Mapping) or content.get("kind") != "adaptation":
        raise KanjoError(f"{source}: not an adaptation profile; {_ADVICE}")
    if content.get("format_version") != FORMAT_VERSION:
        raise KanjoError(
            f"{source}: adaptation profile of format {str(content.get('format_version'))[:20]}, but this version of "
            f"kanjo reads format {FORMAT_VERSION}; upgrade with: pip install -U kanjo"
        )
    try:
        return AdaptationProfile(
            bundle=_text(content["bundle"], "bundle"),
            sha256=_text(content["sha256"], "sha256"),
            clips=int(_number(content["clips"], "clips", MIN_CLIPS, _MAX_CLIPS)),
            mean=_mean(content["mean"]),
            bias=_biases(content["bias"]),
        )
    except KeyError as error:
        raise KanjoError(f"{source}: damaged adaptation profile (no {error}); {_ADVICE}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise KanjoError(f"{source}: damaged adaptation profile ({error}); {_ADVICE}") from error


def _mean(content: Any) -> npt.NDArray[np.float32]:
    """Return the mean embedding of a profile. Raises TypeError or ValueError if it is not a list of numbers."""
    mean = np.asarray(content, np.float32)
    if mean.ndim != 1 or not (np.abs(mean) <= _MAX_EMBEDDING_VALUE).all():
        raise ValueError(f"mean is not a list of numbers up to {_MAX_EMBEDDING_VALUE:g}")
    return mean


def _biases(content: Any) -> dict[str, float]:
    """Return the biases of a profile. Raises TypeError or ValueError if they are not numbers."""
    if not isinstance(content, Mapping):
        raise TypeError("bias is not an object")
    return {
        _text(emotion, "emotion"): _number(value, "bias", -_MAX_BIAS, _MAX_BIAS) for emotion, value in content.items()
    }


def _text(value: Any, key: str) -> str:
    """Return a text of a profile. Raises ValueError for one that is too long or can't be printed."""
    if not isinstance(value, str) or len(value) > _MAX_TEXT_LENGTH or not value.isprintable():
        raise ValueError(f"{key} is not a text of at most {_MAX_TEXT_LENGTH} printable characters")
    return value


def _number(value: Any, key: str, low: float, high: float) -> float:
    """Return a number of a profile. Raises ValueError for one that is out of range or not finite."""
    number = float(value)
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError(f"{key} is {number:g}; expected {low:g} to {high:g}")
    return number
