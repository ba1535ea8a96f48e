"""Speaker profiles: how they are built, stored and used. ``tests/integration`` tests them with a trained model."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import kanjo
from kanjo.bundle import Bundle
from kanjo.errors import AudioError, KanjoError
from kanjo.inference import speaker_profiles
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.speaker_profiles import SpeakerProfile
from tests.clips import SENTENCES
from tests.inference.conftest import EMBEDDING_SIZE


@dataclass(frozen=True)
class Clip:
    """A recording for enrollment."""

    embedding: np.ndarray | None
    speech_s: float
    window_probabilities: np.ndarray | None = None


@pytest.fixture(autouse=True)
def profiles_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of profiles for each test."""
    folder = tmp_path / "speakers"
    monkeypatch.setenv("KANJO_SPEAKERS", str(folder))
    return folder


@pytest.fixture(scope="module")
def profile(recognizer: kanjo.Recognizer) -> SpeakerProfile:
    return replace(recognizer.enroll("ana", SENTENCES), weight=0.75)


def test_build_profile_weighs_recordings_by_their_speech(random_bundle: Bundle) -> None:
    clips = [Clip(np.full(16, 1.0), 3.0), Clip(np.full(16, 5.0), 0.2), Clip(np.full(16, 9.0), 0.0), Clip(None, 1.0)]
    profile = speaker_profiles.build_profile("ana", random_bundle.metadata, clips)
    np.testing.assert_allclose(
        profile.mean, (3 * 1.0 + 1 * 5.0) / 4
    )  # windows of 1 s; a recording counts at least once
    assert (profile.clips, profile.speech_s) == (2, 3.2)


def test_build_profile_without_speech_raises(random_bundle: Bundle) -> None:
    with pytest.raises(KanjoError, match="ana: no speech detected in 1 recordings"):
        speaker_profiles.build_profile("ana", random_bundle.metadata, [Clip(np.zeros(16), 0.0)])


def test_enroll_unreadable_recording_raises(recognizer: kanjo.Recognizer) -> None:
    with pytest.raises(AudioError, match="missing.wav: no such file"):
        recognizer.enroll("ana", [SENTENCES[0], Path("missing.wav")])


def test_enroll_uses_the_embeddings_of_the_recordings(recognizer: kanjo.Recognizer, profile: SpeakerProfile) -> None:
    predictions = list(recognizer.predict_many(SENTENCES))
    weights = [max(1.0, prediction.speech_s) for prediction in predictions]
    expected = np.average([prediction.embedding for prediction in predictions], axis=0, weights=weights)
    np.testing.assert_allclose(profile.mean, expected, atol=1e-5)
    assert profile.sha256 == recognizer.metadata.sha256


def test_write_profile_then_read_profile_returns_the_same(profile: SpeakerProfile, profiles_folder: Path) -> None:
    path = speaker_profiles.write_profile(profile)
    assert path == profiles_folder / "ana.json"
    assert speaker_profiles.list_profiles() == ["ana"]
    for name in ("ana", path):
        stored = speaker_profiles.read_profile(name)
        np.testing.assert_allclose(stored.mean, profile.mean, atol=1e-6)
        assert stored.name == "ana" and stored.sha256 == profile.sha256


def test_profile_file_is_small_and_contains_no_audio(recognizer: kanjo.Recognizer) -> None:
    mean = np.random.default_rng(0).normal(size=1536).astype(np.float32)
    path = speaker_profiles.write_profile(SpeakerProfile("ana", "default", "0" * 64, 5, 12.0, mean))
    assert path.stat().st_size < 20_000
    keys = {"format_version", "name", "bundle", "sha256", "clips", "speech_s", "emotions", "variety", "weight", "mean"}
    assert set(json.loads(path.read_text())) == keys


def test_predict_with_profile_changes_probabilities_only(recognizer: kanjo.Recognizer, profile: SpeakerProfile) -> None:
    without, with_profile = recognizer.predict(SENTENCES[0]), recognizer.predict(SENTENCES[0], speaker=profile)
    assert without.probabilities != with_profile.probabilities
    assert without.ood_score == with_profile.ood_score
    path = speaker_profiles.write_profile(profile)
    for speaker in ("ana", path):
        prediction = recognizer.predict(SENTENCES[0], speaker=speaker)
        assert prediction.probabilities == pytest.approx(with_profile.probabilities, abs=1e-5)


def test_stream_and_predict_many_with_profile_equal_predict(
    recognizer: kanjo.Recognizer, profile: SpeakerProfile
) -> None:
    signal, rate = soundfile.read(SENTENCES[0], dtype="float32")
    expected = recognizer.predict_signal(signal, rate, speaker=profile).probabilities
    stream = kanjo.Stream(recognizer, rate, speaker=profile)
    for start in range(0, len(signal), 1000):
        stream.feed(signal[start : start + 1000])
    assert stream.finish().probabilities == pytest.approx(expected, abs=1e-5)
    predictions = list(recognizer.predict_many(SENTENCES, speaker=profile))
    assert predictions[0].probabilities == pytest.approx(expected, abs=1e-5)


def test_batch_of_enrolled_and_unknown_speakers_equals_predict(
    recognizer: kanjo.Recognizer, profile: SpeakerProfile
) -> None:
    options = [resolve_options(InferenceOptions(speaker=speaker), recognizer.metadata) for speaker in (profile, None)]
    enrolled, unknown = recognizer._predict_batch([recognizer._prepare(SENTENCES[0], item) for item in options])
    expected = recognizer.predict(SENTENCES[0], speaker=profile).probabilities
    assert enrolled.probabilities == pytest.approx(expected, abs=1e-5)
    assert unknown.probabilities == pytest.approx(recognizer.predict(SENTENCES[0]).probabilities, abs=1e-5)


def test_profile_of_another_bundle_raises(recognizer: kanjo.Recognizer, profile: SpeakerProfile) -> None:
    for other in (replace(profile, sha256="0" * 64), replace(profile, mean=profile.mean[:-1])):
        with pytest.raises(
            KanjoError, match="was enrolled with the bundle random .* enroll the speaker again"
        ) as caught:
            recognizer.predict(SENTENCES[0], speaker=other)
        assert len(str(caught.value).splitlines()) == 1


def test_bundle_without_speaker_input_raises(random_bundle: Bundle, profile: SpeakerProfile) -> None:
    recognizer = kanjo.Recognizer(replace(random_bundle, metadata=replace(random_bundle.metadata, speaker_size=0)))
    with pytest.raises(KanjoError, match="random does not support speaker profiles"):
        recognizer.enroll("ana", SENTENCES)
    with pytest.raises(KanjoError, match="random does not support speaker profiles"):
        recognizer.predict(SENTENCES[0], speaker=profile)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "not a speaker profile"),
        ('{"format_version": 99}', "profile format 99, but this version of kanjo reads format 2; upgrade"),
        (
            '{"format_version": 1}',
            "profile format 1, but this version of kanjo reads format 2; enroll the speaker again",
        ),
        ("{", "not valid JSON"),
        ('{"format_version": 2}', "damaged profile"),
        ('{"format_version": 2, "mean": [null]}', "damaged profile"),
        ('{"format_version": 2, "mean": []}', "damaged profile .mean is not a list of numbers"),
        ('{"format_version": 2, "mean": "x"}', "damaged profile"),
        ('{"format_version": 2, "mean": [1], "weight": 2}', "damaged profile .weight is 2.0; expected 0 to 1"),
    ],
)
def test_read_profile_invalid_file_raises_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(content)
    with pytest.raises(KanjoError, match=message) as caught:
        speaker_profiles.read_profile(path)
    assert len(str(caught.value).splitlines()) == 1


def test_read_profile_unknown_name_lists_the_enrolled_speakers(profile: SpeakerProfile) -> None:
    with pytest.raises(KanjoError, match=r"no profile of speaker ben .* enrolled speakers: none"):
        speaker_profiles.read_profile("ben")
    speaker_profiles.write_profile(profile)
    with pytest.raises(KanjoError, match="enrolled speakers: ana"):
        speaker_profiles.read_profile("ben")


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a/b", "ends.", "x" * 65])
def test_profile_path_invalid_name_raises(name: str) -> None:
    with pytest.raises(KanjoError, match="expected letters, digits"):
        speaker_profiles.profile_path(name)


def test_default_bundle_accepts_profiles(default_recognizer: kanjo.Recognizer) -> None:
    profile = replace(default_recognizer.enroll("ana", SENTENCES), weight=0.5)
    assert profile.mean.shape == (default_recognizer.metadata.speaker_size,)
    assert profile.mean.size > EMBEDDING_SIZE
    without, with_profile = (
        default_recognizer.predict(SENTENCES[0], speaker=speaker).probabilities for speaker in (None, profile)
    )
    assert without != with_profile


def test_profile_of_one_recording_has_no_weight_and_changes_nothing(default_recognizer: kanjo.Recognizer) -> None:
    clip = next(path for path in SENTENCES if path.name == "anger-1.flac")  # shorter than a window
    profile = default_recognizer.enroll("ana", [clip])
    assert profile.weight == 0
    without, with_profile = (default_recognizer.predict(SENTENCES[0], speaker=speaker) for speaker in (None, profile))
    assert without == with_profile
    np.testing.assert_array_equal(without.embedding, with_profile.embedding)


def test_profile_weight_interpolates_between_both_heads(default_recognizer: kanjo.Recognizer) -> None:
    full = replace(default_recognizer.enroll("ana", SENTENCES), weight=1.0)
    speakers = (None, replace(full, weight=0.5), full)
    without, half, with_profile = (
        np.log(list(default_recognizer.predict(SENTENCES[1], speaker=speaker).probabilities.values()))
        for speaker in speakers
    )
    centered = [logits - logits.mean() for logits in (without, half, with_profile)]
    weights, *_ = np.linalg.lstsq(np.stack([centered[0], centered[2]], 1), centered[1], rcond=None)
    assert (weights > 0.2).all()
    np.testing.assert_allclose(np.stack([centered[0], centered[2]], 1) @ weights, centered[1], atol=1e-4)


def test_build_profile_varied_predictions_have_more_weight_than_one_emotion(random_bundle: Bundle) -> None:
    labels = random_bundle.metadata.labels
    certain = 0.05 / (len(labels) - 1) + (0.95 - 0.05 / (len(labels) - 1)) * np.eye(len(labels), dtype=np.float32)
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(12, 16))

    def weight_of(classes: list[int]) -> float:
        clips = [Clip(embeddings[i], 1.0, certain[[c]]) for i, c in enumerate(classes)]
        return speaker_profiles.build_profile("ana", random_bundle.metadata, clips).weight

    assert weight_of([0] * 12) == 0
    assert 0 < weight_of([0, 1]) < weight_of([0, 1, 2, 0]) < weight_of([0, 1, 2] * 4) < 1


def test_describe_shortcomings_says_what_to_add(random_bundle: Bundle) -> None:
    profile = SpeakerProfile("ana", "random", "0" * 64, 12, 40.0, np.zeros(16, np.float32))
    one_emotion = replace(profile, emotions={"anger": 0.92, "neutral": 0.08}, variety=0.02)
    assert speaker_profiles.describe_shortcomings(one_emotion) == [
        "mostly one emotion (anger, 92 % of the predictions); add calm recordings"
    ]
    neutral = replace(one_emotion, emotions={"anger": 0.2, "neutral": 0.8})
    assert speaker_profiles.describe_shortcomings(neutral) == [
        "mostly one emotion (neutral, 80 % of the predictions); add recordings with other emotions"
    ]
    mixed = replace(one_emotion, emotions={"anger": 0.5, "neutral": 0.5})
    assert "differ little in emotion" in speaker_profiles.describe_shortcomings(mixed)[0]
    few = replace(profile, clips=2, speech_s=3.1, variety=1.0)
    assert speaker_profiles.describe_shortcomings(few) == [
        "2 recordings with 3.1 s of speech; 5 to 20 recordings with at least 10 s are better"
    ]
    assert speaker_profiles.describe_shortcomings(replace(few, clips=5, speech_s=12.0)) == []


def test_profile_does_not_depend_on_the_requested_emotions(recognizer: kanjo.Recognizer) -> None:
    some = recognizer.labels[:2]
    expected = speaker_profiles.build_profile("ana", recognizer.metadata, list(recognizer.predict_many(SENTENCES)))
    predictions = list(recognizer.predict_many(SENTENCES, emotions=some))
    profile = speaker_profiles.build_profile("ana", recognizer.metadata, predictions)
    assert (profile.weight, profile.variety) == pytest.approx((expected.weight, expected.variety))
    assert profile.emotions == pytest.approx(expected.emotions)
