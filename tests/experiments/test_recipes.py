"""Built-in recipes of the reference experiments, and recipes that are based on others."""

from __future__ import annotations

from pathlib import Path

import pytest

from kanjo.errors import RecipeError
from kanjo.train.config.loading import load_recipe
from tests.conftest import TINY_RECIPE


def _write(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


def test_recipe_with_base_takes_missing_keys_from_it(tmp_path: Path) -> None:
    base = load_recipe(_write(tmp_path, "base", TINY_RECIPE))
    text = "name: derived\nbase: base.yaml\ntraining: {epochs: 7}\nmodel: {dropout: 0.5}\n"
    derived = load_recipe(_write(tmp_path, "derived", text))
    assert derived.training.epochs == 7 and derived.training.learning_rate == base.training.learning_rate
    assert derived.model.dropout == 0.5 and derived.model.lstm_units == 16  # type: ignore[union-attr]


def test_recipe_with_base_replaces_ablations(tmp_path: Path) -> None:
    text = "name: own\nbase: mobilenet\nablations: {small batches: [training.batch_size=8]}\n"
    assert list(load_recipe(_write(tmp_path, "own", text)).ablations) == ["small batches"]


def test_recipe_with_another_model_type_takes_no_model_keys_from_its_base(tmp_path: Path) -> None:
    _write(tmp_path, "base", TINY_RECIPE)
    text = "name: raw\nbase: base.yaml\nfeatures: {type: waveform}\nmodel: {type: cnn-lstm-1d}\n"
    assert load_recipe(_write(tmp_path, "raw", text)).model.lstm_units == 64  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("base", "message"), [("loop.yaml", "loop.yaml"), ("cnn-lstm-2", "'cnn-lstm-2'; did you mean cnn-lstm-2d")]
)
def test_recipe_with_invalid_base_is_refused(base: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(_write(tmp_path, "loop", f"name: loop\nbase: {base}\n"))


@pytest.mark.parametrize("model", ["1d", "2d"])
@pytest.mark.parametrize(
    ("corpus", "protocol"),
    [
        ("emodb-dependent", "speaker_dependent"),
        ("emodb-independent", "loso"),
        ("aihub", "speaker_dependent"),
        ("nemo", "loso"),
    ],
)
def test_reference_recipe_has_the_protocol_of_its_paper(model: str, corpus: str, protocol: str) -> None:
    recipe = load_recipe(f"cnn-lstm-{model}-{corpus}")
    assert recipe.model.type == f"cnn-lstm-{model}" and recipe.split.protocol == protocol
    assert {section.name for section in recipe.corpora} <= {"emodb", "aihub-first", "nemo"}


def test_1d_keras_recipe_trains_as_the_port() -> None:
    port = load_recipe("cnn-lstm-1d-keras")
    training = port.training
    assert (training.optimizer, training.learning_rate, training.momentum) == ("sgd", 1e-4, 0.9)
    assert (training.lr_schedule, training.lr_decay, training.weight_decay) == ("inverse_time", 1e-6, 0.0)
    assert (training.epochs, training.early_stopping_patience, training.early_stopping_metric) == (5, 8, "loss")
    assert (port.model.lstm_units, port.audio.window) == (128, 128_000)  # type: ignore[union-attr]
    assert port.model.aggregation == "last"  # type: ignore[union-attr]
    assert load_recipe("cnn-lstm-1d").model.aggregation == "mean"  # type: ignore[union-attr]


def test_2d_keras_recipe_has_the_settings_of_the_port() -> None:
    port = load_recipe("cnn-lstm-2d-keras")
    features, training = port.features, port.training
    assert (port.audio.sample_rate, port.audio.window) == (48_000, 384_000)
    assert (features.n_fft, features.hop_length) == (384_000 * 4 // 250, 384_000 // 250)  # type: ignore[union-attr]
    assert (training.optimizer, training.learning_rate, training.batch_size) == ("adam", 6.7e-4, 32)
    assert (training.epochs, training.early_stopping_patience) == (30, 8)
    assert (training.early_stopping_metric, training.best_epoch_metric) == ("loss", "accuracy")
    assert [(corpus.name, corpus.limit_per_emotion) for corpus in port.corpora] == [("aihub-first", 645)]


@pytest.mark.parametrize("name", ["cnn-lstm-2d-keras", "cnn-lstm-1d-keras"])
def test_keras_recipe_searches_the_space_of_the_port(name: str) -> None:
    tune = load_recipe(name).tune
    if tune is None:
        raise AssertionError
    space = {key: section.model_dump() for key, section in tune.space.items()}
    assert space == {
        "training.learning_rate": {"low": 1e-7, "high": 1e-2, "log": True, "step": None},
        "training.batch_size": {"low": 16, "high": 256, "log": False, "step": 16},
    }
    assert tune.metric == "accuracy"


def test_reference_recipe_has_the_settings_of_the_reference() -> None:
    recipe = load_recipe("dcnn-blstm-reference")
    stages = [recipe.stage1, recipe.training]
    rates = [(s.learning_rate, s.lr_gamma, s.min_lr_fraction, s.batch_size, s.epochs) for s in stages if s]
    assert rates == [(1e-4, 0.695, 0.0, 128, 30), (5e-6, 0.59, 0.0, 16, 30)]
    assert {s.best_epoch_metric for s in stages if s} == {"last"}
    assert recipe.model.model_dump()["freeze"] is False


def test_renamed_recipe_says_its_new_name() -> None:
    with pytest.raises(RecipeError, match="'cnn-lstm-1d-port'; it is now called 'cnn-lstm-1d-keras'"):
        load_recipe("cnn-lstm-1d-port")
