"""Sections of a recipe must fit each other."""

from __future__ import annotations

import pytest

from kanjo.errors import RecipeError
from kanjo.train.config.loading import load_recipe

TWO_STAGES = "dcnn-blstm-attention"


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("cnn-lstm-2d", "audio.hop_s=99", "hop_s 99.0 is longer than window_s"),
        ("cnn-lstm-2d", "audio.crop_s=2", "model cnn-lstm-2d trains on whole windows"),
        ("cnn-lstm-2d", "split.protocol=lose", "unknown protocol 'lose'; expected one of leave_one_corpus_out, emobox"),
        ("cnn-lstm-2d", "stage1={}", "model cnn-lstm-2d has one stage"),
        ("cnn-lstm-2d", "features={type: waveform}", "model cnn-lstm-2d needs features.type log-mel"),
        ("cnn-lstm-1d", "augment.frequency_masks=1", "need log-mel features"),
        ("cnn-lstm-1d", "augment.max_vtlp_warp=0.1", "need log-mel features"),
        (TWO_STAGES, "init_from=default", "can't start from a bundle"),
        (TWO_STAGES, "augment.mixup_alpha=0.2", "augment.mixup_alpha mixes whole utterances"),
        (TWO_STAGES, "audio={window_s: 0.5, hop_s: 0.5}", "audio.window_s 0.5 is shorter than one segment"),
        (TWO_STAGES, "training.refit_on_train_val=true", "models of one stage"),
        (TWO_STAGES, "stage1.refit_on_train_val=true", r"stage1\.refit_on_train_val"),
        ("whisper-tiny", "training.optimizer=adamw", "encoder and training.optimizer: lbfgs need each other"),
        ("mobilenet", "training.optimizer=lbfgs", "need each other"),
        ("mobilenet", "training.n_augmented_copies=2", "n_augmented_copies is for training.optimizer lbfgs"),
        ("whisper-tiny", "augment.mixup_alpha=0.3", "augment.mixup_alpha: not used with training.optimizer lbfgs"),
        ("whisper-tiny", "training.ema_decay=0.9", "training.ema_decay: not used"),
        ("whisper-tiny", "augment.max_vtlp_warp=0.1", "augment.max_vtlp_warp: not used"),
        ("whisper-tiny", "training.calibration=held_out_groups", "held_out_groups needs training.optimizer lbfgs"),
    ],
)
def test_sections_that_do_not_fit_each_other_fail(recipe: str, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe, [override])


def test_dcnn_recipe_has_the_settings_of_the_paper_and_its_reference() -> None:
    recipe = load_recipe(TWO_STAGES)
    features = recipe.features.model_dump()
    expected = {"n_fft": 400, "hop_length": 160, "n_mels": 64, "fmin": 20, "fmax": 8000, "mel_scale": "htk"}
    assert expected.items() <= features.items()
    assert (features["preemphasis"], features["with_deltas"]) == (0.97, True)
    assert recipe.stage1 is not None
    stage1 = recipe.stage1
    assert (stage1.optimizer, stage1.learning_rate, stage1.lr_schedule, stage1.lr_gamma) == (
        "adam",
        1e-4,
        "exponential",
        0.695,
    )
    assert (stage1.epochs, stage1.batch_size) == (30, 128)
    assert load_recipe(TWO_STAGES, ["stage1=null"]).stage1 is None


@pytest.mark.parametrize("name", ["mobilenet", "whisper-tiny", TWO_STAGES])
def test_ablations_of_built_in_recipes_change_them(name: str) -> None:
    recipe = load_recipe(name)
    for ablation, overrides in recipe.ablations.items():
        assert load_recipe(name, list(overrides)) != recipe, ablation


def test_training_config_properties_follow_optimizer_and_schedule() -> None:
    training = load_recipe("whisper-tiny").training
    assert training.full_batch and training.anneals_to_zero
    training = load_recipe("cnn-lstm-1d-keras").training
    assert not training.full_batch and not training.anneals_to_zero
