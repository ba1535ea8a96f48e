from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kanjo.errors import RecipeError
from kanjo.train.config.loading import RECIPES, load_recipe, recipe_from, shipped

SMALL: dict[str, Any] = {"name": "x", "corpora": ["ravdess"], "network": {"type": "cnn-lstm-2d"}}


@pytest.mark.parametrize("name", shipped())
def test_every_recipe_in_the_box_is_valid_and_survives_being_written(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    (tmp_path / "recipe.yaml").write_text(recipe.text(), encoding="utf-8")
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe
    assert load_recipe(str(tmp_path)) == recipe
    assert (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").startswith("#")


def test_json_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(SMALL))
    assert load_recipe(str(tmp_path / "r.json")).corpora[0].name == "ravdess"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.learning_rte=1e-4", "unknown key 'training.learning_rte'; did you mean 'learning_rate'"),
        ("network.lstm_unit=3", "unknown key 'network.lstm_unit'; did you mean 'lstm_units'"),
        ("trianing.epochs=3", "unknown key 'trianing'; did you mean 'training'"),
        ("training.epochs=0", "training.epochs: .*greater than or equal to 1.*found 0"),
        ("training.epochs=many", "training.epochs: .*integer.*found 'many'"),
        ("training.optimizer=lion", "training.optimizer: .*'adam', 'adamw', 'sgd' or 'lbfgs'.*found 'lion'"),
        ("audio.hop_s=99", "hop_s 99.0 is longer than window_s"),
        ("split.protocol=lose", "unknown protocol 'lose', expected one of cross-corpus, emobox"),
        ("labels.keep=[anger, hapiness]", "unknown emotion label 'hapiness'; did you mean 'happiness'"),
        ("network.type=transformer", "network: .*'transformer'.* expected tags: 'cnn-lstm-2d', 'cnn-lstm-1d', "),
        ("network.weights=none", "unknown key 'network.weights'; known here: dropout, filters, kernel"),
        ("finetune={}", "finetune is for networks of two stages; cnn-lstm-2d has one"),
        ("corpora=[]", "expected at least one corpus"),
        ("training", "expected KEY=VALUE"),
        ("name.x.y=1", "has no keys below it"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        load_recipe("cnn-lstm-2d", [override])
    assert len(str(caught.value).splitlines()) == 1


def test_overrides_keep_types() -> None:
    recipe = load_recipe(
        "cnn-lstm-2d",
        ["training.learning_rate=1e-4", "training.epochs=3", "labels.map={calm: neutral}", "split.fold=2"],
    )
    assert recipe.training.learning_rate == 1e-4
    assert recipe.training.epochs == 3
    assert recipe.labels.map == {"calm": "neutral"}
    assert recipe.split.fold == 2


def test_corpus_root_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = SMALL | {"corpora": [{"name": "own", "path": "${corpus.root}/mine.csv"}]}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    assert load_recipe(str(tmp_path / "r.yaml"), corpus_root="/data").corpora[0].path == "/data/mine.csv"
    monkeypatch.setenv("KANJO_CORPORA", "/env")
    assert load_recipe(str(tmp_path / "r.yaml")).corpora[0].path == "/env/mine.csv"
    monkeypatch.delenv("KANJO_CORPORA")
    with pytest.raises(RecipeError, match="give --corpus-root, or set KANJO_CORPORA"):
        load_recipe(str(tmp_path / "r.yaml"))


@pytest.mark.parametrize(
    ("name", "said"),
    [("cnn-lstm-2", "did you mean cnn-lstm-2d"), ("nothing.yaml", "no such recipe file"), ("", "unknown recipe")],
)
def test_unknown_recipes(name: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe(name)


@pytest.mark.parametrize("text", ["{", "- a\n- b", "just words", "\tname: x"])
def test_files_that_are_no_recipe(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(tmp_path / "r.yaml"))
    assert len(str(caught.value).splitlines()) == 1


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["training", "network", "audio", "labels", "corpora", "x"]), _JSON, max_size=4))
@settings(suppress_health_check=[HealthCheck.too_slow])  # a machine that is busy
def test_any_content_is_a_recipe_or_a_recipe_error(content: dict[str, Any]) -> None:
    try:
        recipe_from(SMALL | content, "fuzz")
    except RecipeError as error:
        assert "fuzz" in str(error)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("network.segment.hops=3", "unknown key 'network.segment.hops'; did you mean 'hop'"),
        ("network.segment.hop=0", "network.segment.hop: .*greater than or equal to 1.*found 0"),
        ("network.attention=local", "network.attention: .*'self' or 'mean'.*found 'local'"),
        ("finetune.decay=2", "finetune.decay: .*less than or equal to 1.*found 2"),
        ("finetune.decai=1", "unknown key 'finetune.decai'; did you mean 'decay'"),
        ("augment.mixup=0.2", "augment.mixup blends whole utterances"),
        ("select.sex=woman", "select.sex: .*'female' or 'male'.*found 'woman'"),
        ("audio={window_s: 0.5, hop_s: 0.5}", "audio.window_s 0.5 is shorter than one segment"),
    ],
)
def test_the_staged_recipe_says_what_is_wrong_too(override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        load_recipe("dcnn-blstm-attention", [override])
    assert len(str(caught.value).splitlines()) == 1


def test_the_papers_recipe_holds_what_it_says() -> None:
    recipe = load_recipe("dcnn-blstm-attention")
    front = recipe.frontend
    assert (front.n_fft, front.hop_length, front.n_mels, front.fmin, front.fmax) == (400, 160, 64, 20, 8000)
    assert (front.mel_scale, front.preemphasis, front.with_deltas) == ("htk", 0.97, True)
    assert recipe.finetune is not None
    stage = recipe.finetune
    assert (stage.optimizer, stage.learning_rate, stage.schedule, stage.decay) == ("adam", 1e-4, "exponential", 0.695)
    assert (stage.epochs, stage.batch_size) == (30, 128)
    assert load_recipe("dcnn-blstm-attention", ["finetune=null"]).finetune is None
    for name, changes in recipe.ablations.items():
        assert load_recipe("dcnn-blstm-attention", list(changes)) != recipe, name
