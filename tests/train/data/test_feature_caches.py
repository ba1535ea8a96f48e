"""Caches of encoder embeddings and of segment features: reuse, locks and damage."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo.array_files import save_arrays
from kanjo.train.config.loading import load_recipe
from kanjo.train.data import segment_feature_cache
from kanjo.train.data.cache_files import cache_lock
from kanjo.train.data.embedding_cache import compute_embeddings
from kanjo.train.data.experiment_data import ExperimentData, load_experiment_data, train_val_datasets
from kanjo.train.data.segment_feature_cache import segment_feature_datasets
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model

_FEW = [
    "corpora=[ravdess]",
    "select.speakers=['01','02','03','04']",
    "split.protocol=speaker_kfold",
    "split.n_folds=2",
    "model.weights=none",
]
_SHORT = ["audio.window_s=1", "audio.hop_s=0.5"]


def _load(corpora: Path, recipe: str, *overrides: str) -> tuple[ExperimentData, EmotionModel]:
    data = load_experiment_data(load_recipe(recipe, [*_FEW, *_SHORT, *overrides]), str(corpora))
    torch.manual_seed(0)
    return data, build_emotion_model(data.recipe, len(data.emotions)).eval()


def _load_whisper(corpora: Path, *overrides: str) -> tuple[ExperimentData, EmotionModel]:
    settings = ["labels.include=null", "model.layers=[1]", "model.ffn_dim=8"]
    return _load(corpora, "whisper-tiny", *settings, "training.n_augmented_copies=1", *overrides)


def test_compute_embeddings_again_reads_the_cache(tiny_corpora: Path, tmp_path: Path) -> None:
    data, emotion_model = _load_whisper(tiny_corpora)
    first = compute_embeddings(emotion_model, data, tmp_path)
    second = compute_embeddings(emotion_model, data, tmp_path)
    assert first.pooled_statistics.shape == (2, 32, 768)
    assert first.seconds > 0 and second.seconds == 0
    assert torch.equal(first.pooled_statistics, second.pooled_statistics)
    assert not torch.allclose(first.pooled_statistics[0], first.pooled_statistics[1])


def test_compute_embeddings_original_copy_is_not_augmented(tiny_corpora: Path, tmp_path: Path) -> None:
    data, emotion_model = _load_whisper(tiny_corpora, "training.precision=fp32")
    statistics = compute_embeddings(emotion_model, data, tmp_path).pooled_statistics
    signal = torch.zeros(1, data.recipe.audio.window)
    clip = data.audio_cache.signal(5)
    signal[0, : len(clip)] = torch.from_numpy(clip)
    with torch.inference_mode():
        expected = emotion_model.model.pooled_statistics(*emotion_model.features(signal))
    torch.testing.assert_close(statistics[0, 5:6], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("override", "n_new_files"),
    [("training.n_augmented_copies=2", 1), ("augment.bandpass_prob=0", 1), ("model.ffn_dim=9", 2)],
)
def test_compute_embeddings_changed_recipe_computes_what_depends_on_it(
    tiny_corpora: Path, tmp_path: Path, override: str, n_new_files: int
) -> None:
    for overrides in ((), (override,)):
        data, emotion_model = _load_whisper(tiny_corpora, *overrides)
        compute_embeddings(emotion_model, data, tmp_path)
    assert len(list(tmp_path.rglob("*.npz"))) == 2 + n_new_files


def test_compute_embeddings_fitted_heads_change_nothing(tiny_corpora: Path, tmp_path: Path) -> None:
    data, emotion_model = _load_whisper(tiny_corpora)
    compute_embeddings(emotion_model, data, tmp_path)
    torch.nn.init.ones_(emotion_model.model.output.weight)
    assert compute_embeddings(emotion_model, data, tmp_path).seconds == 0


def test_compute_embeddings_file_locked_by_another_process_is_computed_last(tiny_corpora: Path, tmp_path: Path) -> None:
    data, emotion_model = _load_whisper(tiny_corpora)
    expected = compute_embeddings(emotion_model, data, tmp_path).pooled_statistics
    (original,), (augmented,) = tmp_path.rglob("original.npz"), tmp_path.rglob("*-1.npz")
    original.unlink(), augmented.unlink()
    with ThreadPoolExecutor() as pool:
        with cache_lock(original):
            future = pool.submit(compute_embeddings, emotion_model, data, tmp_path)
            while not augmented.is_file():
                assert not future.done()
            assert not original.is_file()
        result = future.result(timeout=60)
    assert result.seconds > 0 and torch.equal(result.pooled_statistics, expected)


def _flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _replace_by_other_shape(path: Path) -> None:
    save_arrays(path, pooled_statistics=np.zeros((3, 4), np.float32))


@pytest.mark.parametrize("damage", [_flip_bit, _cut, _replace_by_other_shape, lambda path: path.write_bytes(b"")])
def test_compute_embeddings_damaged_file_is_computed_again(
    damage: Callable[[Path], object], tiny_corpora: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, emotion_model = _load_whisper(tiny_corpora)
    expected = compute_embeddings(emotion_model, data, tmp_path)
    (path,) = tmp_path.rglob("original.npz")
    content = path.read_bytes()
    damage(path)
    again = compute_embeddings(emotion_model, data, tmp_path)
    assert torch.equal(again.pooled_statistics, expected.pooled_statistics) and again.seconds > 0
    assert path.read_bytes() == content
    assert f"the cache {path} is damaged" in caplog.text


def test_segment_feature_datasets_equal_the_model_and_are_computed_once(
    tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, emotion_model = _load(tiny_corpora, "dcnn-blstm-attention", "model.segment.size=64")
    windows = train_val_datasets(data, data.fold(1))
    train, validation = segment_feature_datasets(emotion_model, windows, tmp_path, bf16=False)
    batch, window_batch = validation.__getitems__([0, 3]), windows[1].__getitems__([0, 3])
    with torch.inference_mode():
        logits = emotion_model.model.head(batch["features"].float(), batch["count"])[0]
        torch.testing.assert_close(logits, emotion_model(window_batch["signal"])[0], atol=1e-3, rtol=1e-3)
    assert batch["label"].tolist() == window_batch["label"].tolist()
    assert train.values.dtype == np.float16 and isinstance(train.values, np.memmap)
    monkeypatch.setattr(segment_feature_cache, "_compute_features", None)  # a call would fail
    cached, _ = segment_feature_datasets(emotion_model, windows, tmp_path, bf16=False)
    assert np.array_equal(cached.values, train.values)


@pytest.mark.parametrize(
    ("name", "damage"), [("index.npz", _cut), ("index.npz", _flip_bit), ("features.f16", _flip_bit)]
)
def test_segment_feature_datasets_damaged_file_is_computed_again(
    name: str, damage: Callable[[Path], object], tiny_corpora: Path, tmp_path: Path
) -> None:
    data, emotion_model = _load(tiny_corpora, "dcnn-blstm-attention", "model.segment.size=64")
    windows = train_val_datasets(data, data.fold(1))[1:]
    (expected,) = segment_feature_datasets(emotion_model, windows, tmp_path, bf16=False)
    values = expected.values.copy()
    (path,) = tmp_path.rglob(name)
    damage(path)
    (again,) = segment_feature_datasets(emotion_model, windows, tmp_path, bf16=False)
    assert np.array_equal(again.values, values) and np.array_equal(again.offsets, expected.offsets)
