"""What callers pass from Python: arrays of any layout, tensors, bytes, and objects of wrong types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kanjo
from kanjo.errors import AudioError, KanjoError
from tests.corpora_fixtures import make_tone

TONE = make_tone(2.0)


@pytest.fixture(scope="module")
def recognizer() -> kanjo.Recognizer:
    return kanjo.load(threads=1)


@pytest.mark.parametrize(
    "convert",
    [
        lambda tone: tone[None],
        lambda tone: np.stack([tone, tone]),
        lambda tone: np.stack([tone, tone], 1),
        lambda tone: tone.astype(">f4"),
        lambda tone: tone.tolist(),
    ],
    ids=["(1, N)", "(2, N)", "(N, 2)", "big endian", "list"],
)
def test_every_entry_point_any_layout_gives_the_same_result(
    recognizer: kanjo.Recognizer, convert: Callable[[np.ndarray], Any]
) -> None:
    expected = recognizer.predict_signal(TONE, 16_000)
    samples = convert(TONE)
    assert recognizer.predict_signal(samples, 16_000.0).probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    stream = kanjo.Stream(recognizer, 16_000)
    stream.feed(samples)
    assert stream.finish().probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    np.testing.assert_allclose(recognizer.embed_signal(samples), recognizer.embed_signal(TONE), atol=1e-5)


def test_every_entry_point_tensor_is_accepted(recognizer: kanjo.Recognizer) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(TONE)[None].requires_grad_()
    assert recognizer.predict_signal(tensor, 16_000).duration_s == 2.0
    assert kanjo.Stream(recognizer, 16_000).feed(tensor) == []
    windows = torch.zeros(2, recognizer.metadata.window_length)
    assert recognizer.probabilities(windows).shape == (2, len(recognizer.labels))


@pytest.mark.parametrize("value", [None, "text", 5, [[1.0, 2.0], [3.0]], np.zeros((2, 3, 4)), np.zeros(3, int), [1j]])
def test_every_entry_point_other_objects_raise_one_line(recognizer: kanjo.Recognizer, value: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: recognizer.predict_signal(value, 16_000),
        lambda: kanjo.Stream(recognizer, 16_000).feed(value),
        lambda: recognizer.embed_signal(value),
        lambda: recognizer.probabilities(value),
    ]
    for call in calls:
        with pytest.raises(AudioError) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1


def test_predict_many_and_enroll_one_path_instead_of_a_list_is_refused(recognizer: kanjo.Recognizer) -> None:
    for paths in ("a.wav", b"a.wav", None, 5):
        with pytest.raises(KanjoError, match="expected a list of paths"):
            list(recognizer.predict_many(paths))  # type: ignore[arg-type]
        with pytest.raises(KanjoError, match="expected a list of paths"):
            recognizer.enroll("a", paths)  # type: ignore[arg-type]


def test_predict_many_none_in_the_list_does_not_end_it(recognizer: kanjo.Recognizer) -> None:
    predictions = list(recognizer.predict_many([None, "a.wav"]))  # type: ignore[list-item]
    assert [bool(prediction.error) for prediction in predictions] == [True, True]


def test_predict_signal_channels_of_opposite_phase_warns(recognizer: kanjo.Recognizer) -> None:
    warnings = recognizer.predict_signal(np.stack([TONE, -TONE], 1), 16_000).warnings
    assert any("opposite phase" in warning for warning in warnings)
    assert not any(warning.startswith("silent") for warning in warnings)


def test_stream_samples_at_the_scale_of_integers_are_refused(recognizer: kanjo.Recognizer) -> None:
    stream = kanjo.Stream(recognizer, 16_000)
    with pytest.raises(AudioError, match="expected float samples from -1 to 1"):
        stream.feed(TONE * 32767)
    assert stream.feed(TONE) == []
