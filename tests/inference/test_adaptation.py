"""Adaptation profiles: how they are built, stored and used."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import kanjo
from kanjo.bundle import Bundle, BundleMetadata
from kanjo.errors import KanjoError
from kanjo.inference import adaptation
from kanjo.inference.adaptation import AdaptationProfile
from kanjo.inference.options import InferenceOptions, resolve_options
from tests.clips import SENTENCES
from tests.inference.conftest import EMBEDDING_SIZE, LABELS

N_EMOTIONS = len(LABELS)


@dataclass(frozen=True)
class Clip:
    """A prediction for adaptation."""

    embedding: npt.NDArray[np.float32] | None
    window_probabilities: npt.NDArray[np.float32] | None
    speech_s: float = 2.0
    error: str = ""
    unsure_reason: str = ""


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def make_clips(n: int, bias: npt.NDArray[np.float64] | None = None) -> tuple[list[Clip], npt.NDArray[np.int64]]:
    """Clips of all emotions in turn whose logits have this bias, and their emotions."""
    rng = np.random.default_rng(0)
    label = np.arange(n) % N_EMOTIONS
    logits = 3 * np.eye(N_EMOTIONS)[label] + rng.normal(0, 0.8, (n, N_EMOTIONS))
    probabilities = softmax(logits + (0 if bias is None else bias)).astype(np.float32)
    embeddings = rng.normal(size=(n, EMBEDDING_SIZE)).astype(np.float32)
    return [Clip(e, p[None]) for e, p in zip(embeddings, probabilities, strict=True)], label


@pytest.fixture
def bias_metadata(random_bundle: Bundle) -> BundleMetadata:
    """Metadata of a bundle without the speaker input."""
    return replace(random_bundle.metadata, speaker_size=0)


@pytest.fixture
def profile(random_bundle: Bundle) -> AdaptationProfile:
    return adaptation.build_adaptation(random_bundle.metadata, make_clips(24)[0])


@pytest.fixture
def bias_profile(bias_metadata: BundleMetadata) -> AdaptationProfile:
    return adaptation.build_adaptation(bias_metadata, make_clips(24, np.linspace(-1, 1, N_EMOTIONS))[0])


def test_build_adaptation_with_too_few_clips_raises(random_bundle: Bundle) -> None:
    with pytest.raises(KanjoError, match="adaptation needs at least 20 recordings with speech; here are 19"):
        adaptation.build_adaptation(random_bundle.metadata, make_clips(19)[0])


def test_build_adaptation_does_not_count_clips_without_speech(random_bundle: Bundle) -> None:
    clips, _ = make_clips(20)
    unusable = [
        Clip(None, None, 0.0, error="can't be decoded"),
        replace(clips[0], unsure_reason="no speech"),
        replace(clips[0], unsure_reason="silent"),
        replace(clips[0], unsure_reason="too short"),
        replace(clips[0], speech_s=0.0),
        replace(clips[0], embedding=np.full(EMBEDDING_SIZE, 1e3, np.float32), window_probabilities=np.zeros((0, 8))),
    ]
    with pytest.raises(KanjoError, match=r"here are 19 \(recordings in all: 25\)"):
        adaptation.build_adaptation(random_bundle.metadata, [*clips[:19], *unusable])
    profile = adaptation.build_adaptation(random_bundle.metadata, [*unusable, *clips])
    assert profile.clips == 20
    expected = adaptation.build_adaptation(random_bundle.metadata, clips)
    np.testing.assert_array_equal(profile.mean, expected.mean)
    low = replace(clips[19], unsure_reason="low confidence")
    assert adaptation.build_adaptation(random_bundle.metadata, [*clips[:19], low]).clips == 20


def test_centering_bias_removes_a_known_bias() -> None:
    known = np.linspace(-1, 1, N_EMOTIONS)
    clips, _ = make_clips(400, known)
    probabilities = np.concatenate([clip.window_probabilities for clip in clips]).astype(np.float64)
    bias = adaptation.centering_bias(probabilities, np.ones(400))
    np.testing.assert_allclose(bias, -known, atol=0.25)
    assert bias.mean() == pytest.approx(0)


def test_class_balanced_mean_of_skewed_clips_is_closer_to_that_of_balanced_clips_than_the_mean() -> None:
    clips, label = make_clips(800)
    members = np.concatenate([clip.window_probabilities for clip in clips]).astype(np.float64)
    embeddings = np.eye(N_EMOTIONS)[label]
    skewed = np.concatenate([np.flatnonzero(label == 2), np.flatnonzero(label != 2)[:43]])  # 70 % of one emotion
    mean = adaptation.class_balanced_mean(members[skewed], embeddings[skewed])
    assert 0.125 < mean[2] < 0.55 < 0.65 < embeddings[skewed].mean(0)[2]
    np.testing.assert_allclose(adaptation.class_balanced_mean(members, embeddings), 0.125, atol=0.01)


def test_centering_bias_of_certain_predictions_is_finite() -> None:
    certain = np.eye(N_EMOTIONS)[np.zeros(30, int)]
    assert np.isfinite(adaptation.centering_bias(certain, np.ones(30))).all()


def test_bias_increases_the_accuracy_of_balanced_clips(bias_metadata: BundleMetadata) -> None:
    clips, label = make_clips(200, np.linspace(-3, 3, N_EMOTIONS))
    profile = adaptation.build_adaptation(bias_metadata, clips)
    probabilities = np.concatenate([clip.window_probabilities for clip in clips])
    adapted = adaptation.apply_bias(probabilities, np.array(list(profile.bias.values())))
    before, after = (float(np.mean(rows.argmax(1) == label)) for rows in (probabilities, adapted))
    assert after > before + 0.1
    np.testing.assert_allclose(adapted.sum(1), 1, atol=1e-6)


def test_describe_of_a_bias_names_the_emotions_that_change_most(bias_profile: AdaptationProfile) -> None:
    assert adaptation.describe(bias_profile) == "adapted to 24 recordings: anger more often, surprise less often"


def test_describe_of_a_mean_embedding_names_the_number_of_clips(profile: AdaptationProfile) -> None:
    assert adaptation.describe(profile) == "adapted to 24 recordings"


def test_choose_clips_takes_an_even_selection_of_many() -> None:
    assert adaptation.choose_clips(range(30)) == list(range(30))
    chosen = adaptation.choose_clips(range(1000))
    assert len(chosen) == adaptation.ENOUGH_CLIPS and chosen[:3] == [0, 5, 10] and chosen[-1] == 995


@pytest.mark.parametrize("name", ["profile", "bias_profile"])
def test_write_adaptation_then_read_adaptation_returns_the_same(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    profile = request.getfixturevalue(name)
    adaptation.write_adaptation(profile, tmp_path / "source.json")
    stored = adaptation.read_adaptation(tmp_path / "source.json")
    np.testing.assert_allclose(stored.mean, profile.mean, atol=1e-6)
    assert stored.bias == pytest.approx(profile.bias, abs=1e-6)
    assert (stored.bundle, stored.sha256, stored.clips) == (profile.bundle, profile.sha256, profile.clips)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "speaker"}, "not an adaptation profile"),
        ({"format_version": 9}, "adaptation profile of format 9, but this version of kanjo reads format 1"),
        ({"clips": None}, "damaged adaptation profile"),
        ({"clips": 3}, "damaged adaptation profile .clips is 3; expected 20"),
        ({"mean": "abc"}, "damaged adaptation profile"),
        ({"mean": [[1.0]]}, "damaged adaptation profile .mean is not a list"),
        ({"mean": [1e30]}, "damaged adaptation profile .mean is not a list"),
        ({"bias": [1]}, "damaged adaptation profile .bias is not an object"),
        ({"bias": {"anger": 1e9}}, r"damaged adaptation profile .bias is 1e\+09"),
        ({"bias": {"a\nb": 1}}, "damaged adaptation profile .emotion is not a text"),
        ({"bundle": "x" * 1000}, "damaged adaptation profile .bundle is not a text"),
    ],
)
def test_damaged_profile_raises_one_line(
    profile: AdaptationProfile, change: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "source.json"
    path.write_text(json.dumps({**profile.as_dict(), **change}))
    with pytest.raises(KanjoError, match=message) as caught:
        adaptation.read_adaptation(path)
    assert len(str(caught.value).splitlines()) == 1


def test_read_adaptation_of_other_files_raises(profile: AdaptationProfile, tmp_path: Path) -> None:
    with pytest.raises(KanjoError, match="can't read .*missing.json"):
        adaptation.read_adaptation(tmp_path / "missing.json")
    (tmp_path / "text.json").write_text("not JSON")
    with pytest.raises(KanjoError, match="not valid JSON"):
        adaptation.read_adaptation(tmp_path / "text.json")
    content = profile.as_dict()
    del content["sha256"]
    with pytest.raises(KanjoError, match="damaged adaptation profile .no 'sha256'"):
        adaptation.parse_adaptation(content, "source.json")


def test_predict_with_adaptation_gives_the_mean_embedding_and_its_weight(
    recognizer: kanjo.Recognizer, profile: AdaptationProfile, tmp_path: Path
) -> None:
    resolved = resolve_options(InferenceOptions(adaptation=profile), recognizer.metadata)
    assert resolved.speaker is not None and resolved.bias is None
    assert resolved.speaker.tolist() == [*profile.mean, adaptation.WEIGHT]
    adapted = recognizer.predict(SENTENCES[0], adaptation=profile)
    assert adapted.probabilities != recognizer.predict(SENTENCES[0]).probabilities
    adaptation.write_adaptation(profile, tmp_path / "source.json")
    from_file = recognizer.predict(SENTENCES[0], adaptation=tmp_path / "source.json")
    assert from_file.probabilities == pytest.approx(adapted.probabilities, abs=1e-5)


def test_predict_with_a_bias_multiplies_the_probabilities(
    random_bundle: Bundle, bias_metadata: BundleMetadata, bias_profile: AdaptationProfile
) -> None:
    recognizer = kanjo.Recognizer(replace(random_bundle, metadata=bias_metadata))
    plain = recognizer.predict(SENTENCES[0])
    adapted = recognizer.predict(SENTENCES[0], adaptation=bias_profile)
    bias = np.array([bias_profile.bias[label] for label in LABELS])
    for before, after in zip(plain.windows, adapted.windows, strict=True):
        expected = adaptation.apply_bias(np.array(list(before.probabilities.values())), bias)
        np.testing.assert_allclose(list(after.probabilities.values()), expected, atol=1e-5)
    assert plain.window_probabilities is not None and adapted.window_probabilities is not None
    np.testing.assert_array_equal(plain.window_probabilities, adapted.window_probabilities)


def test_bias_for_other_emotions_is_refused(bias_metadata: BundleMetadata) -> None:
    clips, _ = make_clips(24)
    profile = adaptation.build_adaptation(bias_metadata, clips, ("anger", "fear"))
    assert set(profile.bias) == {"anger", "fear"}
    resolved = resolve_options(InferenceOptions(adaptation=profile, emotions="fear,anger"), bias_metadata)
    assert resolved.bias is not None and resolved.bias.shape == (N_EMOTIONS,)
    with pytest.raises(
        KanjoError, match="profile is for the emotions anger, fear, but the label is chosen among anger,"
    ):
        resolve_options(InferenceOptions(adaptation=profile), bias_metadata)


def test_profile_of_another_bundle_is_refused(recognizer: kanjo.Recognizer, profile: AdaptationProfile) -> None:
    for other in (replace(profile, sha256="0" * 64), replace(profile, mean=profile.mean[:-1])):
        with pytest.raises(KanjoError, match="made with the bundle random .*, but this bundle is random") as caught:
            recognizer.predict(SENTENCES[0], adaptation=other)
        assert len(str(caught.value).splitlines()) == 1


def test_adaptation_with_a_speaker_profile_is_refused(recognizer: kanjo.Recognizer, profile: AdaptationProfile) -> None:
    with pytest.raises(KanjoError, match="can't be combined with a speaker profile"):
        recognizer.predict(SENTENCES[0], adaptation=profile, speaker="ana")
    with pytest.raises(KanjoError, match="is made without another profile"):
        recognizer.adapt(SENTENCES, adaptation=profile)


def test_adapt_counts_the_recordings_with_speech(recognizer: kanjo.Recognizer, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    n = 20 // len(SENTENCES) + 1
    profile = recognizer.adapt([*SENTENCES * n, tmp_path / "empty.wav"])
    assert profile.clips == n * len(SENTENCES)
    assert (profile.bundle, profile.sha256) == ("random", recognizer.metadata.sha256)
    with pytest.raises(KanjoError, match="adaptation needs at least 20 recordings"):
        recognizer.adapt([SENTENCES[0]] * 19)
