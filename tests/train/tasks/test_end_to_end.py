"""Training all layers together: augmentation, speaker conditioning, masked labels and averaged weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kanjo.experiments.run_folder import RunFolder
from kanjo.train.cost_estimate import estimate_cost
from kanjo.train.data.experiment_data import ExperimentData, label_mask_per_corpus
from kanjo.train.fit import TrainingRun, build_training_run
from kanjo.train.tasks.base import MASKED_LOGIT
from kanjo.train.tasks.end_to_end import EndToEndModule, predict_enrolled_logits
from tests.train.training import SHORT_WINDOWS, fit_in, load_data


@pytest.fixture(scope="module")
def data(tiny_corpora: Path) -> ExperimentData:
    """MobileNet with speaker conditioning, without mixup."""
    return load_data("mobilenet", tiny_corpora, *SHORT_WINDOWS, "augment.mixup_alpha=0", "training.batch_size=8")


@pytest.fixture
def run(data: ExperimentData) -> TrainingRun:
    return build_training_run(data, data.fold(1))


def _module(run: TrainingRun) -> EndToEndModule:
    assert isinstance(run.module, EndToEndModule)
    return run.module


def test_training_logits_have_rows_with_speaker_means_once_these_are_known(run: TrainingRun) -> None:
    module, batch = _module(run), next(iter(run.train_loader))
    logits, targets = module.training_logits(batch)
    assert len(logits) == len(targets) == 8, "no speaker has a mean yet"
    logits, targets = module.training_logits(batch)
    assert len(logits) == len(targets) == 16
    assert torch.equal(targets[:8], targets[8:])


def test_training_logits_label_mask_excludes_other_emotions(run: TrainingRun) -> None:
    module, batch = _module(run), next(iter(run.train_loader))
    module.label_mask = torch.tensor([[True, True] + [False] * 6])
    batch["label"] = batch["label"] % 2
    logits, targets = module.training_logits(batch)
    assert (logits[:, 2:] == MASKED_LOGIT).all() and (targets[:, 2:] == 0).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(len(targets)))


def test_targets_label_smoothing_keeps_a_sum_of_one(run: TrainingRun) -> None:
    targets = _module(run).targets(torch.tensor([0, 3]))
    smoothing = run.task.training.label_smoothing
    assert smoothing > 0
    torch.testing.assert_close(targets.sum(1), torch.ones(2))
    torch.testing.assert_close(targets[0, 1:], torch.full((7,), smoothing / 8))


def test_label_mask_per_corpus_has_the_training_emotions_of_each_corpus(data: ExperimentData) -> None:
    fold = data.fold(1)
    assert label_mask_per_corpus(data, fold).tolist() == [[True] * 8]
    in_b = fold.train[:4]
    utterances = tuple(
        utterance._replace(corpus="b" if i in in_b else "a") for i, utterance in enumerate(data.utterances)
    )
    mask = label_mask_per_corpus(replace(data, utterances=utterances), fold)
    corpora = list(dict.fromkeys(utterance.corpus for utterance in utterances))
    assert set(mask[corpora.index("b")].nonzero().flatten().tolist()) == {data.labels[i] for i in in_b}


def test_predict_logits_enrolled_logits_use_means_of_other_utterances(run: TrainingRun) -> None:
    emotion_model = run.emotion_model.eval()
    predicted = run.task.predict_logits(emotion_model, run.validation_dataset)
    n = len(run.task.fold.validation)
    assert predicted.logits.shape == (n, 8) and predicted.labels.shape == (n,)
    assert predicted.speakers is not None and predicted.enrolled_logits is not None
    with torch.inference_mode():
        batch = run.validation_dataset.__getitems__(range(n))
        embeddings = emotion_model(batch["signal"])[1]
        mean = embeddings[1:].mean(0, keepdim=True)  # the validation set has one speaker
        expected = emotion_model.model.classify(embeddings[:1], mean, torch.ones(1, 1))
        assert torch.unique(batch["speaker"]).numel() == 1
        torch.testing.assert_close(predicted.enrolled_logits[:1], expected, atol=1e-4, rtol=1e-4)
        alone = predict_enrolled_logits(emotion_model.model, embeddings[:1], torch.tensor([-1]))
        torch.testing.assert_close(alone, predicted.logits[:1], atol=1e-4, rtol=1e-4)


def test_fit_with_ema_keeps_the_averaged_weights(data: ExperimentData, tmp_path: Path) -> None:
    training = data.recipe.training.model_copy(update={"epochs": 1, "refit_on_train_val": False})
    assert training.ema_decay > 0
    data = replace(data, recipe=data.recipe.model_copy(update={"training": training}))
    trained = fit_in(tmp_path / "run", data, data.fold(1))
    checkpoints = RunFolder(tmp_path / "run").checkpoints
    last, best = (torch.load(checkpoints / f"{name}.ckpt", weights_only=True) for name in ("last", "best"))
    key = "emotion_model.model.output.weight"
    difference = (last["state_dict"][key] - last["current_model_state"][key]).abs().max()
    assert difference > 1e-4, "the average differs from the last weights"
    torch.testing.assert_close(trained.emotion_model.state_dict()["model.output.weight"], best["state_dict"][key])
    assert trained.enrolled is not None and 0 <= trained.enrolled.validation_uar <= 1


def test_estimate_cost_counts_steps_and_refit(tiny_recipe: Path, tiny_corpora: Path) -> None:
    data = load_data(tiny_recipe, tiny_corpora)
    fold = data.fold(1)
    cost = estimate_cost(data, fold)
    assert cost.steps_per_epoch == -(-len(fold.train) // 8)
    assert cost.minutes * 60 >= 25 * cost.steps_per_epoch * cost.seconds_per_step
    assert cost.n_parameters > 1000 and cost.peak_memory_mb > 10
