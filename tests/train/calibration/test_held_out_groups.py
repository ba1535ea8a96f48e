"""Calibration on held-out groups: which utterances are predicted by which classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kanjo.corpora.splits import Fold
from kanjo.train.calibration import held_out_groups
from kanjo.train.calibration.held_out_groups import calibrate_on_held_out_groups
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.experiment_data import ExperimentData, load_experiment_data
from kanjo.train.fit import build_training_run
from kanjo.train.models.emotion_model import EmotionModel
from tests import corpora_fixtures

SETTINGS = [
    "corpora=[ravdess,nemo]",
    "split.protocol=speaker_kfold",
    "split.n_folds=4",
    "model.weights=none",
    "audio.window_s=1",
    "audio.hop_s=0.5",
    "model.layers=[1]",
    "model.ffn_dim=64",
    "training.epochs=2",
    "training.precision=fp32",
    "training.n_augmented_copies=0",
    "training.calibration=held_out_groups",
    "training.balance=corpus_class_sampling",
]


@pytest.fixture
def data(tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentData:
    """Two corpora."""
    monkeypatch.setenv("KANJO_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "corpora"
    root.mkdir()
    (root / "ravdess").symlink_to(tiny_corpora / "ravdess")
    corpora_fixtures.make_nemo(root / "nemo")
    return load_experiment_data(load_recipe("whisper-tiny", SETTINGS), str(root))


@pytest.fixture
def fold(data: ExperimentData) -> Fold:
    """The first fold, with validation utterances among the training utterances."""
    first = data.fold(1)
    return replace(first, train=tuple(sorted((*first.train, *first.validation))))


@pytest.fixture
def model(data: ExperimentData, fold: Fold) -> EmotionModel:
    return build_training_run(data, fold).emotion_model


def test_calibrate_on_held_out_groups_never_predicts_training_speakers(
    data: ExperimentData, fold: Fold, model: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five groups of speakers, and each of two corpora; no emotion that the classifier was not trained on."""
    groups: list[Fold] = []
    predict = held_out_groups._predict_held_out

    def record_group(model: EmotionModel, data: ExperimentData, group: Fold, embeddings: Any) -> Any:
        groups.append(group)
        return predict(model, data, group, embeddings)

    monkeypatch.setattr(held_out_groups, "_predict_held_out", record_group)
    calibrate_on_held_out_groups(model, data, fold)
    assert len(groups) == 5 + 2
    for group in groups:
        train, held_out = ({data.utterances[i].speaker_key for i in part} for part in (group.train, group.validation))
        assert not train & held_out
        assert {*group.train, *group.validation} <= set(fold.train)
        assert {data.labels[i] for i in group.validation} <= {data.labels[i] for i in group.train}
    assert sorted(i for group in groups[:5] for i in group.validation) == sorted(fold.train)
    assert [{data.utterances[i].corpus for i in group.train} for group in groups[5:]] == [{"nemo"}, {"ravdess"}]


def test_calibrate_on_held_out_groups_fits_to_all_predictions(
    data: ExperimentData, fold: Fold, model: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def record_fit(logits: Tensor, labels: Tensor, speakers: Tensor, ood_ratio: Tensor) -> tuple[float, float]:
        calls.append((logits, labels, ood_ratio))
        return 1.0 + len(calls), 3.0 + len(calls)

    monkeypatch.setattr(held_out_groups, "fit_ood_temperature", record_fit)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calibration = calibrate_on_held_out_groups(model, data, fold)
    assert (calibration.temperature, calibration.temperature_enrolled) == (2.0, 3.0)
    ood_temperature = calibration.ood_temperature
    assert (ood_temperature.exponent, ood_temperature.exponent_enrolled) == (4.0, 5.0)
    logits, labels, ood_ratio = calls[0]
    assert ood_temperature.max_ratio == pytest.approx(float(ood_ratio.max())) and float(ood_ratio.min()) == 1
    assert len(labels) == len(ood_ratio) == len(logits) > len(fold.train)
    assert bool((logits.gather(1, labels[:, None]) > -1e3).all()), "the label is never an absent emotion"
    assert bool((logits < -1e3).any()), "absent emotions are excluded"
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
