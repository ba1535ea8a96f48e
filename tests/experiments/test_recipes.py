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


def test_port_recipe_trains_as_the_keras_port() -> None:
    port = load_recipe("cnn-lstm-1d-port")
    assert (port.training.optimizer, port.training.learning_rate, port.training.momentum) == ("sgd", 1e-4, 0.9)
    assert port.model.aggregation == "last"  # type: ignore[union-attr]
    assert load_recipe("cnn-lstm-1d").model.aggregation == "mean"  # type: ignore[union-attr]
