"""DCNN-BLSTM with attention: its parts against PyTorch's, and independence of padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kanjo.train.config.loading import load_recipe
from kanjo.train.models.dcnn_blstm import MaskedLstm, SelfAttention, UtteranceHead, masked_mean, segment_mask
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from tests.corpora_fixtures import SAMPLE_RATE, make_tone


@pytest.fixture(scope="module")
def emotion_model() -> EmotionModel:
    """The recipe's model with random weights."""
    torch.manual_seed(0)
    return build_emotion_model(load_recipe("dcnn-blstm-attention", ["model.weights=none"]), 5).eval()


def test_masked_lstm_equals_packed_bidirectional_lstm() -> None:
    lstm = MaskedLstm(6, 4)
    bidirectional = nn.LSTM(6, 4, batch_first=True, bidirectional=True)
    for name, value in lstm.forwards.state_dict().items():
        getattr(bidirectional, name).data.copy_(value)
        getattr(bidirectional, f"{name}_reverse").data.copy_(lstm.get_parameter(f"backwards.{name}"))
    x, counts = torch.randn(3, 7, 6), torch.tensor([7, 1, 4])
    packed, _ = bidirectional(nn.utils.rnn.pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False))
    expected, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    mask = segment_mask(counts, 7).unsqueeze(2)
    torch.testing.assert_close(lstm(x, counts) * mask, expected * mask, atol=1e-6, rtol=0)


def test_self_attention_equals_scaled_dot_product_attention_averaged() -> None:
    attention, x, counts = SelfAttention(8), torch.randn(2, 5, 8), torch.tensor([5, 3])
    output = attention(x, segment_mask(counts, 5))
    for row, count in enumerate(counts.tolist()):
        valid = x[row : row + 1, :count]
        expected = F.scaled_dot_product_attention(
            attention.query(valid), attention.key(valid), attention.value(valid)
        ).mean(1)
        torch.testing.assert_close(output[row : row + 1], expected, atol=1e-6, rtol=0)


def test_masked_mean_ignores_nan_outside_the_mask() -> None:
    x = torch.tensor([[[1.0], [3.0], [float("nan")]]])
    assert masked_mean(x, segment_mask(torch.tensor([2]), 3)).item() == 2.0


@pytest.mark.parametrize("settings", [{}, {"bidirectional": False}, {"attention": "mean"}])
def test_utterance_head_padding_changes_nothing(settings: dict[str, Any]) -> None:
    head = UtteranceHead(12, 4, lstm_units=6, dense_units=(10, 8), **settings).eval()
    x, counts = torch.randn(2, 5, 12), torch.tensor([3, 5])
    logits, embedding = head(x, counts)
    padded_with_nan = torch.where(segment_mask(counts, 5).unsqueeze(2), x, float("nan"))
    torch.testing.assert_close(head(padded_with_nan, counts)[0], logits)
    torch.testing.assert_close(head(x[:1, :3], counts[:1])[0], logits[:1], atol=1e-6, rtol=0)
    assert embedding.shape == (2, 6 if settings.get("bidirectional") is False else 12)
    assert not torch.allclose(head(torch.randn(2, 5, 12), counts)[0], logits)


@pytest.mark.parametrize(
    "n_samples",
    [
        SAMPLE_RATE,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (SAMPLE_RATE // 2, 40_000, 62_000)),
    ],
)
def test_dcnn_blstm_padding_changes_nothing(emotion_model: EmotionModel, n_samples: int) -> None:
    """A tone in a window of its length and in a window of 4 s has the same logits and embedding."""
    window = max(n_samples, 11_000)
    overrides = ["model.weights=none", f"audio.window_s={window / SAMPLE_RATE}", "audio.hop_s=0.5"]
    short_model = build_emotion_model(load_recipe("dcnn-blstm-attention", overrides), 5).eval()
    short_model.load_state_dict(emotion_model.state_dict())
    signal = torch.from_numpy(make_tone(4.0, 300))[None, :n_samples]
    with torch.inference_mode():
        padded = emotion_model(F.pad(signal, (0, 4 * SAMPLE_RATE - n_samples)))
        short = short_model(F.pad(signal, (0, window - n_samples)))
    torch.testing.assert_close(short[0], padded[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(short[1], padded[1], atol=1e-5, rtol=0)


def test_dcnn_blstm_other_items_of_the_batch_change_nothing(emotion_model: EmotionModel) -> None:
    first = torch.from_numpy(make_tone(4.0, 300))[None]
    second = torch.from_numpy(make_tone(4.0, 900, seed=3))[None] * 0.01
    second[:, 20_000:] = 0
    with torch.inference_mode():
        batch, alone = emotion_model(torch.cat([first, second]))[0], emotion_model(first)[0]
    torch.testing.assert_close(batch[:1], alone, atol=1e-5, rtol=0)


def test_dcnn_blstm_silence_has_finite_logits(emotion_model: EmotionModel) -> None:
    with torch.inference_mode():
        assert torch.isfinite(emotion_model(torch.zeros(1, 4 * SAMPLE_RATE))[0]).all()


def test_dcnn_blstm_features_without_deltas_are_repeated_three_times() -> None:
    recipe = load_recipe("dcnn-blstm-attention", ["model.weights=none", "features.with_deltas=false"])
    emotion_model = build_emotion_model(recipe, 5)
    features, _ = emotion_model.features(torch.from_numpy(make_tone(4.0))[None])
    assert features.shape == (1, 1, 64, 401)
    repeated = emotion_model.model.to_three_channels(features)
    assert repeated.shape == (1, 3, 64, 401) and torch.equal(repeated[:, 0], repeated[:, 2])


def test_utterance_head_of_the_reference_equals_stacked_blstm_and_summed_attention() -> None:
    """nn.LSTM(num_layers=11), and attention summed over the segments (models.py of the reference)."""
    torch.manual_seed(0)
    head = UtteranceHead(12, 4, lstm_units=6, lstm_layers=11, attention="self-sum", dense_units=(10, 8)).eval()
    stacked = nn.LSTM(12, 6, batch_first=True, num_layers=11, bidirectional=True)
    for layer, lstm in enumerate([head.lstm, *head.upper_lstms]):
        for name, value in lstm.forwards.state_dict().items():
            stacked.get_parameter(name.replace("l0", f"l{layer}")).data.copy_(value)
            backward = lstm.get_parameter(f"backwards.{name}")
            stacked.get_parameter(name.replace("l0", f"l{layer}_reverse")).data.copy_(backward)
    x = torch.randn(2, 11, 12)
    steps, attention = stacked(x)[0], head.attention
    if attention is None:
        raise AssertionError
    scores = attention.query(steps) @ attention.key(steps).transpose(1, 2) / (12**0.5)
    expected = (scores.softmax(2) @ attention.value(steps)).sum(1)
    torch.testing.assert_close(head(x, torch.tensor([11, 11]))[1], expected, atol=1e-5, rtol=0)


def test_reference_recipe_has_the_layers_of_the_reference() -> None:
    recipe = load_recipe("dcnn-blstm-reference", ["model.weights=none"])
    emotion_model = build_emotion_model(recipe, 4).eval()
    model = emotion_model.model
    attention = 3 * (256 * 256 + 256)
    dense = 256 * 512 + 512 + 512 * 256 + 256 + 256 * 4 + 4
    blstm = sum(p.numel() for p in nn.LSTM(4096, 128, num_layers=11, bidirectional=True).parameters())
    assert sum(p.numel() for p in model.head.parameters()) == blstm + attention + dense
    assert sum(p.numel() for p in model.extractor.parameters()) == 57_003_840 + 4 * 4096 + 4  # torchvision's AlexNet
    # padding is silence to the model: 401 frames have 11 segments, however short the clip is
    signal = torch.zeros(1, recipe.audio.window)
    signal[0, :SAMPLE_RATE] = torch.from_numpy(make_tone(1.0, 300))
    features, n_frames = emotion_model.features(signal)
    assert n_frames.tolist() == [401] and model.segments.count(n_frames).tolist() == [model.segments.n_segments] == [11]
    assert not torch.allclose(features[..., 99], features[..., -1])  # the last frame of the clip is not repeated
