"""Linear heads on a frozen encoder: scikit-learn's minimum, on embeddings that are computed once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from kanjo.array_files import load_arrays, save_arrays
from kanjo.experiments.run_folder import RunFolder
from kanjo.train.cost_estimate import estimate_cost
from kanjo.train.data.cache_files import cache_lock
from kanjo.train.data.datasets import WindowDataset
from kanjo.train.data.experiment_data import ExperimentData, sampling_weights, speaker_and_corpus_ids
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.export.bundle import export_bundle
from kanjo.train.fit import TrainingRun, build_training_run
from kanjo.train.models.emotion_model import EmotionModel
from kanjo.train.models.speaker_means import leave_one_out_speaker_mean
from kanjo.train.tasks.linear_probe import LinearProbeModule, fit_lbfgs
from tests.conftest import read_table
from tests.train.training import SHORT_WINDOWS, fit_in, load_data

SETTINGS = [*SHORT_WINDOWS, "audio.crop_s=null", "model.layers=[1]", "model.ffn_dim=64", "training.epochs=6"]
NO_COPIES = "training.n_augmented_copies=0"
ONE_COPY = "training.n_augmented_copies=1"


def _load(corpora: Path, *overrides: str) -> ExperimentData:
    return load_data("whisper-tiny", corpora, *SETTINGS, *overrides)


@pytest.fixture(scope="module")
def data(tiny_corpora: Path) -> ExperimentData:
    return _load(tiny_corpora, NO_COPIES)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("KANJO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _build(data: ExperimentData, fold: int = 1) -> TrainingRun:
    return build_training_run(data, data.fold(fold))


def _train_batch(run: TrainingRun) -> dict[str, Tensor]:
    (batch,) = run.train_loader
    return batch  # type: ignore[no-any-return]


def _probe_module(run: TrainingRun) -> LinearProbeModule:
    assert isinstance(run.module, LinearProbeModule)
    return run.module


def _embed(emotion_model: EmotionModel, data: ExperimentData, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings that the model itself computes, labels and speakers of utterances."""
    windows = WindowDataset(
        data.audio_cache,
        indices,
        data.labels,
        data.recipe.audio.window,
        speaker_and_corpus=speaker_and_corpus_ids(data),
    )
    with torch.inference_mode():
        batches = [
            (emotion_model(batch["signal"])[1], batch["label"], batch["speaker"])
            for batch in build_data_loader(windows, 8, shuffle=False)
        ]
    embedding, label, speaker = (torch.cat(values) for values in zip(*batches, strict=True))
    return embedding.clone(), label, speaker


def test_fit_heads_are_those_of_scikit_learn_and_encoder_is_unchanged(data: ExperimentData, tmp_path: Path) -> None:
    run = _build(data)
    encoder = {
        name: value.clone()
        for name, value in run.emotion_model.state_dict().items()
        if "output" not in name and "offset" not in name
    }
    trained = fit_in(tmp_path / "run", data, data.fold(1), refit=False)
    model = trained.emotion_model.model
    for name, value in encoder.items():
        assert torch.equal(trained.emotion_model.state_dict()[name], value), name
    batch = _train_batch(run)
    x, y, mean = (batch[name].numpy() for name in ("embedding", "label", "speaker_mean"))
    c = 1 / (len(y) * data.recipe.training.weight_decay)
    for head, inputs, intercept in ((model.output, x, True), (model.offset, x - mean, False)):
        expected = LogisticRegression(
            C=c, class_weight="balanced", fit_intercept=intercept, tol=1e-8, max_iter=5000
        ).fit(inputs, y)
        weights = head.weight.detach().numpy()
        assert weights.shape == expected.coef_.shape == (len(data.emotions), x.shape[1])
        # Only differences between classes matter.
        np.testing.assert_allclose(
            weights - weights.mean(0),
            expected.coef_ - expected.coef_.mean(0),
            atol=0.02 * np.abs(expected.coef_).max(),
        )
        predicted = head(torch.tensor(inputs)).detach().numpy().argmax(1)
        np.testing.assert_array_equal(predicted, expected.predict(inputs))
    rows = read_table(RunFolder(tmp_path / "run").metrics)
    assert len(rows) == 6 and trained.best_epoch == 6 and trained.minutes > 0
    assert float(rows[-1]["train_loss"]) <= float(rows[0]["train_loss"]) + 1e-3


def test_fit_lbfgs_gives_the_heads_of_fit(data: ExperimentData, tmp_path: Path) -> None:
    trained = fit_in(tmp_path / "run", data, data.fold(1), refit=False)
    run = _build(data)
    train, _ = run.task.datasets(run.emotion_model)
    model = fit_lbfgs(_probe_module(run), train, data.recipe.training.epochs)  # type: ignore[arg-type]
    torch.testing.assert_close(model.output.weight, trained.emotion_model.model.output.weight)


def test_datasets_have_augmented_copies_after_the_original_utterances(tiny_corpora: Path) -> None:
    data = _load(tiny_corpora, "augment.max_speed_change=0.2", "training.n_augmented_copies=2")
    fold, run = data.fold(1), _build(data)
    batch, (validation,) = _train_batch(run), list(run.validation_loader)
    n = len(fold.train)
    assert len(batch["embedding"]) == 3 * n and len(validation["embedding"]) == len(fold.validation)
    original, label, speaker = _embed(run.emotion_model, data, fold.train)
    torch.testing.assert_close(batch["embedding"][:n], original, atol=1e-4, rtol=1e-4)
    for copy in (1, 2):
        rows = slice(copy * n, (copy + 1) * n)
        assert torch.equal(batch["label"][rows], label)
        assert (batch["embedding"][rows] - original).abs().mean() > 0.05
    expected, _, _ = _embed(run.emotion_model, data, fold.validation)
    torch.testing.assert_close(validation["embedding"], expected, atol=1e-4, rtol=1e-4)
    mean, has_mean = leave_one_out_speaker_mean(batch["embedding"], speaker.repeat(3))
    torch.testing.assert_close(batch["speaker_mean"], mean)
    assert bool(has_mean.all()) and bool((batch["has_speaker_mean"] == 1).all())


def test_embeddings_are_computed_once_for_all_folds(
    tiny_corpora: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kanjo")
    data = _load(tiny_corpora, ONE_COPY)
    first, second = (_build(data, fold).emotion_model for fold in (1, 2))
    assert sum("embeddings" in line for line in caplog.messages) == 2 == len(list(cache.rglob("embeddings/*/*.npz")))
    assert not torch.equal(first.model.norm.mean, second.model.norm.mean), "each fold has its own scale"


@pytest.mark.parametrize(
    ("change", "n_computed"),
    [
        ("training.n_augmented_copies=2", 1),
        ("augment.bandpass_prob=0", 1),
        ("audio.window_s=0.9", 2),
        ("model.ffn_dim=100", 2),
    ],
)
def test_embeddings_are_computed_again_after_a_change(
    change: str, n_computed: int, tiny_corpora: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _build(_load(tiny_corpora, ONE_COPY))
    caplog.set_level("INFO", "kanjo")
    caplog.clear()  # another test may have left the log level at INFO
    _build(_load(tiny_corpora, ONE_COPY, change))
    assert sum("embeddings" in line for line in caplog.messages) == n_computed


def test_embeddings_of_parallel_folds_are_shared(tiny_corpora: Path, cache: Path) -> None:
    """A fold computes what no other process is computing, then waits for the rest."""
    data = _load(tiny_corpora, ONE_COPY)
    _build(data)
    (original,), (copy,) = cache.rglob("original.npz"), cache.rglob("*-1.npz")
    contents = original.read_bytes(), copy.read_bytes()
    original.unlink()
    copy.unlink()
    with ThreadPoolExecutor() as pool:
        with cache_lock(original):
            waiting = pool.submit(_build, data, 2)
            while not copy.is_file():
                assert not waiting.done()
                time.sleep(0.01)
            assert not original.is_file()
        run = waiting.result(timeout=60)
    assert 0 < run.module.preparation_seconds < 60
    assert (original.read_bytes(), copy.read_bytes()) == contents


def test_fit_test_embeddings_do_not_change_the_model(tiny_corpora: Path, tmp_path: Path, cache: Path) -> None:
    data = _load(tiny_corpora, ONE_COPY)
    fold = data.fold(1)
    expected = fit_in(tmp_path / "expected", data, fold)
    for path in cache.rglob("embeddings/*/*.npz"):
        values = load_arrays(path)
        for layer in values.values():
            layer[list(fold.test)] = np.nan
        save_arrays(path, **values)
    trained = fit_in(tmp_path / "run", data, fold)
    for name, value in expected.emotion_model.state_dict().items():
        assert torch.equal(trained.emotion_model.state_dict()[name], value), name
    assert (trained.temperature, trained.enrolled) == (expected.temperature, expected.enrolled)


def test_corpus_class_sampling_weights_the_loss(tiny_corpora: Path) -> None:
    data = _load(tiny_corpora, "training.balance=corpus_class_sampling", ONE_COPY)
    run = _build(data)
    batch, module = _train_batch(run), run.module
    weight = torch.tensor(sampling_weights(data, data.fold(1)))
    n = len(weight)
    torch.testing.assert_close(batch["weight"], (weight / weight.mean()).repeat(2))
    assert module.class_weights is None
    without_copies = {**batch, "weight": torch.cat([2 * batch["weight"][:n], 0 * batch["weight"][n:]])}
    original = {name: value[:n] for name, value in batch.items()}
    torch.testing.assert_close(module.training_step(without_copies, 0), module.training_step(original, 0))


def test_label_mask_logits_of_missing_emotions_do_not_change_the_loss(tiny_corpora: Path) -> None:
    run = _build(_load(tiny_corpora, "training.mask_missing_labels=true", NO_COPIES))
    module, batch = _probe_module(run), _train_batch(run)
    assert module.label_mask is not None
    module.label_mask[:, 0] = False
    batch = {name: value[batch["label"] != 0] for name, value in batch.items()}
    loss = module.training_step(batch, 0).item()  # type: ignore[arg-type]
    with torch.no_grad():
        module.model.output.bias[0] += 5
    assert module.training_step(batch, 0).item() == pytest.approx(loss, abs=1e-6)  # type: ignore[arg-type]
    with torch.no_grad():
        module.model.output.bias[1] += 5
    assert module.training_step(batch, 0).item() > loss + 0.1  # type: ignore[arg-type]


def test_fit_with_refit_writes_checkpoints_and_resumes(tiny_corpora: Path, tmp_path: Path) -> None:
    data, folder = _load(tiny_corpora, NO_COPIES), RunFolder(tmp_path / "run")
    trained = fit_in(folder.path, data, data.fold(1))
    assert trained.before_refit is not None
    for paths, emotion_model in (
        (folder.training_paths, trained.before_refit),
        (folder.refit.training_paths, trained.emotion_model),
    ):
        state = torch.load(paths.last_checkpoint, weights_only=True)["state_dict"]
        for name, value in emotion_model.state_dict().items():
            torch.testing.assert_close(state[f"emotion_model.{name}"], value)
    resumed = fit_in(folder.path, data, data.fold(1), resume=True)
    assert resumed.temperature == pytest.approx(trained.temperature)
    assert resumed.validation_uar == trained.validation_uar
    for name, value in trained.emotion_model.state_dict().items():
        torch.testing.assert_close(resumed.emotion_model.state_dict()[name], value)


def test_estimate_cost_counts_utterances_and_copies(tiny_corpora: Path) -> None:
    without, with_copies = (_load(tiny_corpora, f"training.n_augmented_copies={n}") for n in (0, 2))
    n = len(without.utterances)
    cost, more = estimate_cost(without, without.fold(1)), estimate_cost(with_copies, with_copies.fold(1))
    assert cost.steps_per_epoch == -(-n // 32) and more.steps_per_epoch == -(-3 * n // 32)
    assert 0 < cost.minutes < 1
    assert more.minutes / more.seconds_per_step > 1.5 * cost.minutes / cost.seconds_per_step


@pytest.fixture
def donor(tiny_corpora: Path, tmp_path: Path) -> tuple[Path, EmotionModel]:
    """The run folder and the model of a bundle with four emotions."""
    data = _load(tiny_corpora, "labels.include=[anger,happiness,neutral,sadness]", NO_COPIES)
    folder = RunFolder(tmp_path / "donor")
    trained = fit_in(folder.path, data, data.fold(1), refit=False)
    export_bundle(data, data.fold(1), trained, folder.bundle, {"protocol": "speaker_kfold"})
    return folder.path, trained.emotion_model


def _continue(donor: Path, corpora: Path, run: Path, weight_decay: float) -> EmotionModel:
    overrides = [f"init_from={donor}", f"training.weight_decay={weight_decay}", "labels.include=[fear,anger,sadness]"]
    data = _load(corpora, NO_COPIES, *overrides)
    return fit_in(run, data, data.fold(2), refit=False).emotion_model


def test_fit_from_bundle_weight_decay_keeps_heads_at_the_weights_of_the_bundle(
    donor: tuple[Path, EmotionModel], tiny_corpora: Path, tmp_path: Path
) -> None:
    folder, donor_model = donor
    kept = _continue(folder, tiny_corpora, tmp_path / "kept", 1e6).model
    expected = donor_model.model
    torch.testing.assert_close(kept.norm.mean, expected.norm.mean)
    for weight, donor_weight in (
        (kept.output.weight, expected.output.weight),
        (kept.offset.weight, expected.offset.weight),
    ):
        torch.testing.assert_close(weight[1:], donor_weight[[0, 3]], atol=1e-5, rtol=0)
        assert weight[0].abs().max() < 1e-5 < donor_weight.abs().max(), "fear is new, and starts at zero"
    moved = _continue(folder, tiny_corpora, tmp_path / "moved", 0.01).model
    assert moved.output.weight[0].abs().max() > 1e-3
