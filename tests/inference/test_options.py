"""Options of a prediction: default values, ranges and speaker profiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kanjo.bundle import Bundle
from kanjo.errors import KanjoError
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.speaker_profiles import SpeakerProfile


def test_resolve_options_without_options_uses_the_bundle(random_bundle: Bundle) -> None:
    resolved = resolve_options(InferenceOptions(), replace(random_bundle.metadata, min_confidence=0.4))
    assert (resolved.window_length, resolved.hop_length) == (16_000, 8_000)
    assert (resolved.min_confidence, resolved.language, resolved.speaker) == (0.4, "", None)
    assert (resolved.emotions, resolved.emotion_indices) == (random_bundle.metadata.labels, None)


def test_resolve_options_window_without_hop_halves_the_window(random_bundle: Bundle) -> None:
    resolved = resolve_options(InferenceOptions(window_s=0.5), random_bundle.metadata)
    assert (resolved.window_length, resolved.hop_length) == (8_000, 4_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (InferenceOptions(window_s=5.0), "window of 5.0 s: expected 0.3 s to 1.0 s"),
        (InferenceOptions(window_s=0.01), "window of 0.01 s"),
        (InferenceOptions(hop_s=3.0), "hop of 3.0 s: expected 0.01 s to 1.0 s"),
        (InferenceOptions(hop_s=0.0), "hop of 0.0 s"),
        (InferenceOptions(min_confidence=2), "min_confidence of 2: expected 0 to 1"),
        (InferenceOptions(min_confidence=float("nan")), "min_confidence of nan"),
        (InferenceOptions(emotions=("anger", "boredom")), "emotion 'boredom': the bundle has only anger"),
    ],
)
def test_resolve_options_out_of_range_raises(random_bundle: Bundle, options: InferenceOptions, message: str) -> None:
    with pytest.raises(KanjoError, match=message):
        resolve_options(options, random_bundle.metadata)


def test_resolve_options_with_profile_gives_the_speaker_input(random_bundle: Bundle) -> None:
    metadata = random_bundle.metadata
    profile = SpeakerProfile("ana", metadata.name, metadata.sha256, 5, 12.0, np.arange(16, dtype=np.float32))
    resolved = resolve_options(InferenceOptions(speaker=profile), metadata)
    assert resolved.speaker is not None
    assert resolved.speaker.tolist() == [*range(16), 1]


def test_as_keywords_contains_every_option() -> None:
    options = InferenceOptions(
        window_s=1.0, hop_s=0.5, min_confidence=0.3, language="ko", speaker="ana", emotions="anger,fear"
    )
    assert InferenceOptions(**options.as_keywords()) == options
