"""Speaker profiles: adapt predictions to an enrolled speaker.

A profile is the mean of the model's embeddings of a few recordings of one speaker, with any emotions and without
labels, and a weight that says how far a prediction relies on it (kanjo.inference.profile_weight). Audio can't be
reconstructed from it, and only the bundle that computed it can use it.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kanjo import files
from kanjo.bundle import BundleMetadata
from kanjo.errors import KanjoError
from kanjo.inference.profile_weight import FULL_VARIETY, MIN_VARIETY, prediction_variety, profile_weight
from kanjo.parsing import parse_json

FORMAT_VERSION = 2
#: With fewer recordings or less speech than this, a profile has little weight.
RECOMMENDED_CLIPS, RECOMMENDED_SPEECH_S = 5, 10.0
#: More recordings than this do not make a profile better.
ENOUGH_CLIPS = 20
#: Variety (nats) below which a profile lacks emotions.
_LOW_VARIETY = (MIN_VARIETY + FULL_VARIETY) / 2
#: Fraction of the predictions from which one emotion is named as the one that dominates.
_DOMINANT_FRACTION = 0.6

#: If one of these dominates, calm recordings add most.
_LIVELY_EMOTIONS = ("anger", "disgust", "fear", "happiness", "surprise")

#: Largest magnitude of an embedding's value in a profile; those of the built-in bundles are below 100.
_MAX_EMBEDDING_VALUE = 1e6
#: Largest file of a profile.
_MAX_BYTES = 4_000_000
#: Longest text in a profile, in characters.
_MAX_TEXT_LENGTH = 256

_NAME = re.compile(r"[^\W_][\w .@+-]{0,63}")


@dataclass(frozen=True, eq=False)
class SpeakerProfile:
    """The profile of one speaker.

    Attributes:
        name: Name of the speaker.
        bundle: Name of the bundle that computed the embeddings.
        sha256: SHA-256 of that bundle's graph.
        clips: Number of recordings.
        speech_s: Seconds of speech in these recordings.
        mean: Mean embedding, shape (D,).
        emotions: Fraction of these recordings for which the bundle predicts each emotion, without a profile.
        variety: How much these predictions differ, in nats, see :mod:`kanjo.inference.profile_weight`.
        weight: Weight of the profile in predictions, from 0 (as without a profile) to 1.
    """

    name: str
    bundle: str
    sha256: str
    clips: int
    speech_s: float
    mean: npt.NDArray[np.float32]
    emotions: Mapping[str, float] = field(default_factory=dict)
    variety: float = 0.0
    weight: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "bundle": self.bundle,
            "sha256": self.sha256,
            "clips": self.clips,
            "speech_s": round(self.speech_s, 1),
            "emotions": {emotion: round(fraction, 3) for emotion, fraction in self.emotions.items()},
            "variety": round(self.variety, 4),
            "weight": round(self.weight, 4),
            "mean": [round(float(value), 6) for value in self.mean],
        }


class EnrollmentClip(Protocol):
    """What a profile needs of a recording; a prediction has it."""

    @property
    def embedding(self) -> npt.NDArray[np.float32] | None:
        """Embedding (D,)."""

    @property
    def window_probabilities(self) -> npt.NDArray[np.float32] | None:
        """Probabilities (W, E) of the bundle's emotions for each window with speech, without a profile."""

    @property
    def speech_s(self) -> float:
        """Seconds of speech."""


def build_profile(name: str, metadata: BundleMetadata, clips: Sequence[EnrollmentClip]) -> SpeakerProfile:
    """Build the profile of a speaker. A recording counts as often as it has windows of speech, at least once.

    Args:
        name: Name of the speaker.
        metadata: Metadata of the bundle that predicted the recordings.
        clips: Predictions of the speaker's recordings, without a speaker profile.

    Raises:
        KanjoError: No recording contains speech.
    """
    usable = [clip for clip in clips if clip.embedding is not None and clip.speech_s > 0]
    if not usable:
        raise KanjoError(
            f"{name}: no speech detected in {len(clips)} recordings; a profile needs recordings that contain speech"
        )
    weights = np.asarray([max(1.0, clip.speech_s / metadata.window_s) for clip in usable])
    mean = weights @ np.stack([clip.embedding for clip in usable if clip.embedding is not None]) / weights.sum()
    probabilities, window_weights = _window_predictions(usable, weights, len(metadata.labels))
    n_clips = float(weights.sum())
    variety = prediction_variety(probabilities, window_weights, n_clips)
    fractions = np.bincount(probabilities.argmax(1), window_weights, len(metadata.labels)) / window_weights.sum()
    return SpeakerProfile(
        name=name,
        bundle=metadata.name,
        sha256=metadata.sha256,
        clips=len(usable),
        speech_s=sum(clip.speech_s for clip in usable),
        mean=np.asarray(mean, np.float32),
        emotions=dict(zip(metadata.labels, fractions.tolist(), strict=True)),
        variety=variety,
        weight=profile_weight(n_clips, variety),
    )


def _window_predictions(
    clips: Sequence[EnrollmentClip], weights: npt.NDArray[np.float64], n_emotions: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the predictions (P, E) of all windows and their weights (P,); the windows of a clip share its weight."""
    rows: list[npt.NDArray[np.float64]] = []
    row_weights: list[float] = []
    for clip, weight in zip(clips, weights, strict=True):
        windows = clip.window_probabilities
        if windows is None or not len(windows):
            windows = np.full((1, n_emotions), 1 / n_emotions, np.float32)
        rows.append(np.asarray(windows, np.float64))
        row_weights += [weight / len(windows)] * len(windows)
    return np.concatenate(rows), np.asarray(row_weights)


def describe_shortcomings(profile: SpeakerProfile) -> list[str]:
    """Say what a profile lacks, each as a phrase with advice; an empty list for a good profile."""
    shortcomings = []
    if profile.clips < RECOMMENDED_CLIPS or profile.speech_s < RECOMMENDED_SPEECH_S:
        recordings = f"{profile.clips} recording{'s' if profile.clips > 1 else ''}"
        shortcomings.append(
            f"{recordings} with {profile.speech_s:.1f} s of speech; {RECOMMENDED_CLIPS} to {ENOUGH_CLIPS} recordings "
            f"with at least {RECOMMENDED_SPEECH_S:.0f} s are better"
        )
    if profile.clips > 1 and profile.variety < _LOW_VARIETY and profile.emotions:
        emotion, fraction = max(profile.emotions.items(), key=lambda item: item[1])
        if fraction >= _DOMINANT_FRACTION:
            advice = "calm recordings" if emotion in _LIVELY_EMOTIONS else "recordings with other emotions"
            shortcomings.append(
                f"mostly one emotion ({emotion}, {100 * fraction:.0f} % of the predictions); add {advice}"
            )
        else:
            shortcomings.append("the recordings differ little in emotion; add recordings with other emotions")
    return shortcomings


def parse_profile(content: Any, source: str) -> SpeakerProfile:
    """Read a profile from parsed JSON.

    Args:
        content: The parsed JSON.
        source: Name of the input in messages.

    Raises:
        KanjoError: The content is not a profile, is damaged, or has another format.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("format_version"), int):
        raise KanjoError(f"{source}: not a speaker profile; create one with 'kanjo enroll'")
    if content["format_version"] > FORMAT_VERSION:
        raise KanjoError(
            f"{source}: profile format {content['format_version']}, but this version of kanjo reads format "
            f"{FORMAT_VERSION}; upgrade with: pip install -U kanjo"
        )
    if content["format_version"] < FORMAT_VERSION:
        raise KanjoError(
            f"{source}: profile format {content['format_version']}, but this version of kanjo reads format "
            f"{FORMAT_VERSION}; enroll the speaker again"
        )
    try:
        mean = np.asarray(content["mean"], np.float32)
        if mean.ndim != 1 or not mean.size or not (np.abs(mean) <= _MAX_EMBEDDING_VALUE).all():
            raise ValueError(f"mean is not a list of numbers up to {_MAX_EMBEDDING_VALUE:g}")
        weight = float(content["weight"])
        if not 0 <= weight <= 1:
            raise ValueError(f"weight is {weight}; expected 0 to 1")
        return SpeakerProfile(
            name=_profile_text(content, "name"),
            bundle=_profile_text(content, "bundle"),
            sha256=_profile_text(content, "sha256"),
            clips=int(content["clips"]),
            speech_s=_finite(content["speech_s"], "speech_s"),
            mean=mean,
            emotions={str(emotion): _finite(value, "emotions") for emotion, value in dict(content["emotions"]).items()},
            variety=_finite(content["variety"], "variety"),
            weight=weight,
        )
    except KeyError as error:
        raise KanjoError(f"{source}: damaged profile (no {error}); enroll the speaker again") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise KanjoError(f"{source}: damaged profile ({error}); enroll the speaker again") from error


def _profile_text(content: Mapping[str, Any], key: str) -> str:
    """Return a text of a profile. Raises ValueError for one that is too long or can't be printed."""
    text = str(content[key])
    if len(text) > _MAX_TEXT_LENGTH or not text.isprintable():
        raise ValueError(f"{key} is not a text of at most {_MAX_TEXT_LENGTH} printable characters")
    return text


def _finite(value: Any, key: str) -> float:
    """Return a number of a profile. Raises ValueError for one that is not finite."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{key} is {number}; expected a finite number")
    return number


def profiles_folder() -> Path:
    """Return the folder of the profiles: ``KANJO_SPEAKERS``, or ``kanjo/speakers`` in the user's data folder.

    Raises:
        KanjoError: ``KANJO_SPEAKERS`` is not set, and the user has no home folder.
    """
    if folder := os.environ.get("KANJO_SPEAKERS"):
        return Path(folder)
    data = files.user_folder("XDG_DATA_HOME", ".local/share", "KANJO_SPEAKERS to a folder for the speakers' profiles")
    return data / "kanjo" / "speakers"


def profile_path(name: str) -> Path:
    """Return the path of a speaker's profile.

    Raises:
        KanjoError: The name can't be a file name.
    """
    if not _NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise KanjoError(
            f"speaker name {name!r}: expected letters, digits, spaces and . @ + - _, at most 64 characters, "
            "with a letter or digit first"
        )
    return profiles_folder() / f"{name}.json"


def list_profiles() -> list[str]:
    """Return the names of the enrolled speakers."""
    return sorted(path.stem for path in profiles_folder().glob("*.json"))


def write_profile(profile: SpeakerProfile, path: Path | None = None) -> Path:
    """Write a profile and return its path.

    Args:
        profile: The profile.
        path: Path of the file (default: the speaker's name in :func:`profiles_folder`).

    Raises:
        KanjoError: The file can't be written.
    """
    path = path or profile_path(profile.name)
    files.write_text(path, json.dumps(profile.as_dict(), ensure_ascii=False) + "\n")
    return path


def read_profile(name: str | Path) -> SpeakerProfile:
    """Read a profile.

    Args:
        name: Name of an enrolled speaker, or path of a ``.json`` file.

    Raises:
        KanjoError: There is no such profile, or it is damaged.
    """
    path = Path(name) if str(name).endswith(".json") else profile_path(str(name))
    try:
        return parse_profile(parse_json(files.read_bytes(path, _MAX_BYTES)), str(path))
    except FileNotFoundError as error:
        enrolled = ", ".join(list_profiles()) or "none"
        raise KanjoError(
            f"no profile of speaker {name} ({path} does not exist); enrolled speakers: {enrolled}. "
            "Create a profile with 'kanjo enroll NAME CLIPS...'"
        ) from error
    except OSError as error:
        raise KanjoError(f"can't read {path}: {files.os_error_message(error)}") from error
    except ValueError as error:
        raise KanjoError(f"{path}: not valid JSON ({error}); enroll the speaker again") from error


def require_speaker_input(metadata: BundleMetadata) -> None:
    """Raise KanjoError if a bundle does not support speaker profiles."""
    if not metadata.speaker_size:
        raise KanjoError(
            f"the bundle {metadata.name} does not support speaker profiles: its model has no speaker input; use the "
            "built-in bundles default or small, or a bundle that kanjo finetune made from two or more speakers with "
            "several emotions each"
        )


def speaker_vector(
    speaker: SpeakerProfile | str | Path | None, metadata: BundleMetadata
) -> npt.NDArray[np.float32] | None:
    """Return the graph's speaker input for a profile: the mean embedding and the weight of the profile.

    Args:
        speaker: A profile, the name of an enrolled speaker, or the path of a profile; None for an unknown speaker.
        metadata: Metadata of the bundle.

    Returns:
        The vector (D + 1,), or None for an unknown speaker or a profile without weight.

    Raises:
        KanjoError: The bundle does not support profiles, or another bundle computed this one.
    """
    if speaker is None:
        return None
    require_speaker_input(metadata)
    profile = speaker if isinstance(speaker, SpeakerProfile) else read_profile(speaker)
    if profile.sha256 != metadata.sha256 or len(profile.mean) != metadata.speaker_size:
        raise KanjoError(
            f"speaker {profile.name} was enrolled with the bundle {profile.bundle} ({profile.sha256[:12]}), but this "
            f"bundle is {metadata.name} ({metadata.sha256[:12]}); enroll the speaker again"
        )
    return np.append(profile.mean, np.float32(profile.weight)) if profile.weight > 0 else None
