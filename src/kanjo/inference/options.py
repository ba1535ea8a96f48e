"""Options of one prediction: what the caller requests, and the values that they resolve to for one bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from kanjo.bundle import BundleMetadata
from kanjo.errors import KanjoError
from kanjo.inference.adaptation import AdaptationProfile, apply_bias, resolve_adaptation
from kanjo.inference.emotion_selection import restrict_probabilities, select_emotions
from kanjo.inference.speaker_profiles import SpeakerProfile, speaker_vector
from kanjo.languages import language_code

#: Shortest window and shortest recording, in seconds, for which a label is predicted.
MIN_DURATION_S = 0.3
#: Shortest distance between the starts of two windows, in seconds.
MIN_HOP_S = 0.01


class InferenceKeywords(TypedDict, total=False):
    """The fields of :class:`InferenceOptions` as keyword arguments of the public methods."""

    window_s: float | None
    hop_s: float | None
    min_confidence: float | None
    language: str | None
    speaker: SpeakerProfile | str | Path | None
    emotions: Sequence[str] | str | None
    adaptation: AdaptationProfile | str | Path | None


@dataclass(frozen=True)
class InferenceOptions:
    """Options of a prediction. ``None`` stands for the default value of the bundle.

    Attributes:
        window_s: Length of a window in seconds, at most the bundle's window. For bundles that take segments of speech,
            such as the built-in ones: longest segment.
        hop_s: Seconds between the starts of two windows; for bundles that take segments of speech, of two time steps
            of the timeline.
        min_confidence: Confidence, 0 to 1, below which the label is "unsure".
        language: Code ("ko", "kor") or English name of the spoken language. A language without training data causes
            a warning.
        speaker: Profile of the speaker, the name of a stored profile, or the path of a profile file.
        emotions: At least two emotions of the bundle, among which the label is chosen; their probabilities are
            divided by their sum. Words such as "angry" are understood. One string with commas is possible, too.
        adaptation: Adaptation profile of the source of the recordings, or the path of its file. It is made for one
            selection of emotions, and without a speaker profile.
    """

    window_s: float | None = None
    hop_s: float | None = None
    min_confidence: float | None = None
    language: str | None = None
    speaker: SpeakerProfile | str | Path | None = None
    emotions: Sequence[str] | str | None = None
    adaptation: AdaptationProfile | str | Path | None = None

    def as_keywords(self) -> InferenceKeywords:
        """Return the options as keyword arguments for the public methods."""
        return InferenceKeywords(
            window_s=self.window_s,
            hop_s=self.hop_s,
            min_confidence=self.min_confidence,
            language=self.language,
            speaker=self.speaker,
            emotions=self.emotions,
            adaptation=self.adaptation,
        )


@dataclass(frozen=True)
class ResolvedOptions:
    """Options of a prediction with one bundle: all defaults are filled in, and all values are valid.

    Attributes:
        window_length: Samples in a window, or in the longest segment of speech, at the bundle's sample rate.
        hop_length: Samples between the starts of two windows or time steps.
        speech_segments: Whether the bundle takes segments of speech in place of windows.
        min_confidence: Confidence, 0 to 1, below which the label is "unsure".
        emotions: The emotions among which the label is chosen, in the bundle's order.
        emotion_indices: Their indices among the bundle's emotions, or None if they are all of them.
        language: Code of the spoken language, or "" if it is not given.
        speaker: Input ``speaker`` of the graph, shape (D + 1,), or None without a profile.
        bias: Bias (E,) of the bundle's emotions from an adaptation profile, or None without one.
    """

    window_length: int
    hop_length: int
    min_confidence: float
    emotions: tuple[str, ...]
    speech_segments: bool = False
    emotion_indices: tuple[int, ...] | None = None
    language: str = ""
    speaker: npt.NDArray[np.float32] | None = field(default=None, compare=False)
    bias: npt.NDArray[np.float64] | None = field(default=None, compare=False)

    def final_probabilities(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Apply the adaptation, then keep the requested emotions.

        Shape:
            - probabilities: (E,) or (T, E), as the graph computes them
            - Returns: (K,) or (T, K) for K requested emotions
        """
        if self.bias is not None:
            probabilities = apply_bias(probabilities, self.bias).astype(np.float32)
        return restrict_probabilities(probabilities, self.emotion_indices)


def resolve_options(options: InferenceOptions, metadata: BundleMetadata) -> ResolvedOptions:
    """Fill in the bundle's defaults and check all values.

    Args:
        options: The options that the caller requests.
        metadata: Metadata of the bundle that makes the predictions.

    Returns:
        The options in samples at the bundle's sample rate.

    Raises:
        KanjoError: A value is out of range, the language is unknown, or the bundle does not support the speaker
            profile, the adaptation profile or an emotion.
    """
    window_s = metadata.window_s if options.window_s is None else options.window_s
    if not MIN_DURATION_S <= window_s <= metadata.window_s:
        raise KanjoError(
            f"window of {window_s} s: expected {MIN_DURATION_S} s to {metadata.window_s} s, the window of this bundle"
        )
    keeps_hop = options.window_s is None or metadata.uses_speech_segments
    default_hop_s = min(metadata.hop_s, window_s) if keeps_hop else window_s / 2
    hop_s = default_hop_s if options.hop_s is None else options.hop_s
    if not MIN_HOP_S <= hop_s <= window_s:
        raise KanjoError(f"hop of {hop_s} s: expected {MIN_HOP_S} s to {window_s} s, the length of a window")
    min_confidence = metadata.min_confidence if options.min_confidence is None else options.min_confidence
    if not 0 <= min_confidence <= 1:
        raise KanjoError(f"min_confidence of {min_confidence}: expected 0 to 1")
    emotions = select_emotions(options.emotions, metadata.labels)
    if options.speaker is not None and options.adaptation is not None:
        raise KanjoError("an adaptation profile can't be combined with a speaker profile; give one of them")
    source, bias = resolve_adaptation(options.adaptation, metadata, emotions)
    is_subset = len(emotions) < len(metadata.labels)
    return ResolvedOptions(
        window_length=round(window_s * metadata.sample_rate),
        hop_length=round(hop_s * metadata.sample_rate),
        min_confidence=min_confidence,
        emotions=emotions,
        speech_segments=metadata.uses_speech_segments,
        emotion_indices=tuple(map(metadata.labels.index, emotions)) if is_subset else None,
        language=language_code("" if options.language is None else options.language),
        speaker=speaker_vector(options.speaker, metadata) if source is None else source,
        bias=bias,
    )
