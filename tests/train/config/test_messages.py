"""Errors in recipes are one line that names the right key or value."""

from __future__ import annotations

import pytest

from kanjo.corpora.protocols import PROTOCOLS
from kanjo.errors import RecipeError
from kanjo.train.config.loading import load_recipe, parse_recipe
from kanjo.train.config.messages import REMOVED_KEYS, REMOVED_MODELS, RENAMED_KEYS, RENAMED_VALUES

TWO_STAGES = "dcnn-blstm-attention"


def _error(recipe: str, override: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, [override])
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rte=1e-4", "unknown key 'training.learning_rte'; did you mean 'learning_rate'"),
        ("model.lstm_unit=3", "unknown key 'model.lstm_unit'; did you mean 'lstm_units'"),
        ("trianing.epochs=3", "unknown key 'trianing'; did you mean 'training'"),
        ("model.weights=none", "unknown key 'model.weights'; expected one of aggregation, channels, dropout"),
    ],
)
def test_unknown_key_names_the_nearest_or_all(override: str, message: str) -> None:
    assert message in _error("cnn-lstm-2d", override)


@pytest.mark.parametrize(
    ("recipe", "override", "words"),
    [
        ("cnn-lstm-2d", "training.epochs=0", "training.epochs: Input should be greater than 0 (found 0)"),
        ("cnn-lstm-2d", "training.epochs=many", "training.epochs: "),
        ("cnn-lstm-2d", "training.optimizer=lion", "'adam', 'adamw', 'sgd' or 'lbfgs' (found 'lion')"),
        ("cnn-lstm-2d", "labels.include=[anger, hapiness]", "'hapiness'; did you mean 'happiness'"),
        ("cnn-lstm-2d", "model.type=transformer", "'transformer'"),
        ("cnn-lstm-2d", "features.type=spectrogram", "unknown type; expected log-mel or waveform"),
        ("cnn-lstm-2d", "corpora=[]", "expected at least one corpus"),
        ("cnn-lstm-2d", "tune.space={split.seed: {low: 1, high: 2}}", "split.seed can't be tuned"),
        ("cnn-lstm-2d", "tune.space={training.epochss: 3}", "tune.space.training.epochss: expected a section"),
        ("cnn-lstm-2d", "corpora=[3]", "corpora.0: expected a section"),
        ("cnn-lstm-2d", "model=3", "model: expected a section"),
        (TWO_STAGES, "model.segment.hops=3", "unknown key 'model.segment.hops'; did you mean 'hop'"),
        (TWO_STAGES, "model.segment.hop=0", "model.segment.hop: "),
        (TWO_STAGES, "stage1.lr_gamma=2", "stage1.lr_gamma: "),
        (TWO_STAGES, "select.sex=woman", "select.sex: Input should be 'female' or 'male' (found 'woman')"),
    ],
)
def test_wrong_value_names_key_and_value(recipe: str, override: str, words: str) -> None:
    assert words in _error(recipe, override)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ("{low: 1, high: 0.1}", "low is 1 and high is 0.1; expected low below high"),
        ("{lo: 1, high: 2}", "unknown key 'tune.space.model.dropout.lo'; did you mean 'low'?"),
        ("{low: a, high: 2}", "tune.space.model.dropout.low: expected a number, found 'a'"),
        ("{low: .nan, high: 2}", "tune.space.model.dropout.low: expected a number, found nan"),
        ("{choices: [3]}", "tune.space.model.dropout.choices: "),
    ],
)
def test_wrong_range_of_a_search_is_named_without_names_of_classes(values: str, problem: str) -> None:
    message = _error("cnn-lstm-2d", f"tune.space={{model.dropout: {values}}}")
    assert problem in message and "Config" not in message


def test_wrong_override_is_named_with_the_recipe_and_not_blamed_on_its_file() -> None:
    message = _error("cnn-lstm-2d", "split.n_folds=1")
    assert message.startswith("cnn-lstm-2d with --set split.n_folds=1: split.n_folds: ")


def test_missing_key_is_named() -> None:
    with pytest.raises(RecipeError, match="the key 'model' is missing"):
        parse_recipe({"name": "x", "corpora": ["ravdess"]}, "r.yaml")


@pytest.mark.parametrize("key", sorted(key for key in RENAMED_KEYS if not key.startswith(("corpora.", "stage1."))))
def test_renamed_key_names_the_new_key(key: str) -> None:
    assert f"unknown key '{key.split('=')[0]}'; write {RENAMED_KEYS[key]!r}" in _error("whisper-tiny", f"{key}=1")


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        (TWO_STAGES, "stage1.decay=1", "unknown key 'stage1.decay'; write 'stage1.lr_gamma'"),
        ("cnn-lstm-2d", "network.filters=[3]", "unknown key 'network'; write 'model'"),
        ("cnn-lstm-2d", "corpora=[{name: ravdess, only_trains: true}]", "write 'corpora.train_only'"),
    ],
)
def test_renamed_key_in_a_section_names_the_new_key(recipe: str, override: str, message: str) -> None:
    assert message in _error(recipe, override)


@pytest.mark.parametrize("key", sorted(REMOVED_KEYS))
def test_removed_key_is_named_as_removed(key: str) -> None:
    assert f"unknown key {key!r}; it was removed" in _error("cnn-lstm-2d", f"{key}=1")


@pytest.mark.parametrize(("key", "old"), [(key, old) for key, values in RENAMED_VALUES.items() for old in values])
def test_renamed_value_names_the_new_value(key: str, old: str) -> None:
    assert f"{key}: unknown value {old!r}; write {RENAMED_VALUES[key][old]!r}" in _error(TWO_STAGES, f"{key}={old}")


@pytest.mark.parametrize("model", sorted(REMOVED_MODELS))
def test_removed_model_names_another(model: str) -> None:
    assert f"model {model!r} was removed; use {REMOVED_MODELS[model]!r}" in _error("cnn-lstm-2d", f"model.type={model}")


def test_new_names_of_protocols_are_valid() -> None:
    assert set(RENAMED_VALUES["split.protocol"].values()) <= set(PROTOCOLS)
