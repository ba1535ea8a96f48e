"""Recipes are read, extended and overridden."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kanjo.errors import RecipeError
from kanjo.train.config.loading import (
    RECIPE_FILE,
    RECIPES_FOLDER,
    list_recipes,
    load_recipe,
    override_values,
    parse_recipe,
)

MINIMAL: dict[str, Any] = {"name": "x", "corpora": ["ravdess"], "model": {"type": "cnn-lstm-2d"}}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _write(path: Path, content: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", list_recipes())
def test_load_recipe_built_in_recipe_equals_its_written_copy(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    (tmp_path / RECIPE_FILE).write_text(recipe.text(), encoding="utf-8")
    assert load_recipe(str(tmp_path / RECIPE_FILE)) == recipe
    assert load_recipe(str(tmp_path)) == recipe, "a run folder"


@pytest.mark.parametrize("path", sorted(RECIPES_FOLDER.rglob("*.yaml")), ids=lambda path: path.stem)
def test_built_in_recipe_starts_with_a_comment_and_has_short_lines(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("#")
    assert max(map(len, lines)) <= 120


def test_load_recipe_json_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(MINIMAL), encoding="utf-8")
    assert load_recipe(str(tmp_path / "r.json")).corpora[0].name == "ravdess"


def test_load_recipe_does_not_import_torch() -> None:
    code = "import sys; from kanjo.train.config.loading import load_recipe; load_recipe('default')"
    code += "; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_load_recipe_base_is_merged_section_by_section(tmp_path: Path) -> None:
    base = MINIMAL | {"training": {"epochs": 3, "batch_size": 8}, "ablations": {"a": ["training.epochs=1"]}}
    _write(tmp_path / "base.yaml", base)
    content = {"base": "base.yaml", "training": {"epochs": 4}, "ablations": {"b": ["training.epochs=2"]}}
    recipe = load_recipe(_write(tmp_path / "r.yaml", content))
    assert (recipe.training.epochs, recipe.training.batch_size) == (4, 8)
    assert list(recipe.ablations) == ["b"], "ablations are replaced"


def test_load_recipe_base_section_of_other_type_is_replaced(tmp_path: Path) -> None:
    _write(tmp_path / "base.yaml", MINIMAL | {"model": {"type": "cnn-lstm-2d", "lstm_units": 7}})
    content = {"base": "base.yaml", "model": {"type": "cnn-lstm-1d"}, "features": {"type": "waveform"}}
    assert load_recipe(_write(tmp_path / "r.yaml", content)).model.lstm_units == 64  # type: ignore[union-attr]


def test_load_recipe_base_of_itself_fails(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="extends this recipe itself"):
        load_recipe(_write(tmp_path / "r.yaml", MINIMAL | {"base": "r.yaml"}))


def test_load_recipe_overrides_keep_types() -> None:
    overrides = ["training.learning_rate=1e-4", "training.epochs=3", "labels.map={calm: neutral}", "split.fold=2"]
    recipe = load_recipe("cnn-lstm-2d", overrides)
    assert recipe.training.learning_rate == 1e-4
    assert recipe.training.epochs == 3
    assert recipe.labels.map == {"calm": "neutral"}
    assert recipe.split.fold == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [("training", "expected KEY=VALUE"), ("name.x.y=1", "name.x is not a section"), ("split={", "is not YAML")],
)
def test_load_recipe_malformed_override_fails(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("cnn-lstm-2d", [override])


def test_override_values_changes_only_the_given_keys() -> None:
    recipe = load_recipe("cnn-lstm-2d")
    changed = override_values(recipe, {"training.epochs": 3, "model.dropout": 0.5})
    assert (changed.training.epochs, changed.model.dropout) == (3, 0.5)
    assert override_values(changed, {"training.epochs": 30, "model.dropout": 0.0}) == recipe


def test_load_recipe_corpus_root_is_inserted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = MINIMAL | {"corpora": [{"name": "own", "path": "${corpus.root}/my.csv"}]}
    name = _write(tmp_path / "r.yaml", content)
    assert load_recipe(name, corpus_root="/data").corpora[0].path == "/data/my.csv"
    monkeypatch.setenv("KANJO_CORPORA", "/env")
    assert load_recipe(name).corpora[0].path == "/env/my.csv"
    monkeypatch.delenv("KANJO_CORPORA")
    with pytest.raises(RecipeError, match="give --corpus-root, or set KANJO_CORPORA"):
        load_recipe(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [("cnn-lstm-2", "did you mean cnn-lstm-2d"), ("nothing.yaml", "no such recipe file"), ("", "unknown recipe")],
)
def test_load_recipe_unknown_name_fails(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(name)


@pytest.mark.parametrize("text", ["{", "- a\n- b", "just words", "\tname: x"])
def test_load_recipe_file_without_keys_fails_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(tmp_path / "r.yaml"))
    assert len(str(caught.value).splitlines()) == 1


@given(st.dictionaries(st.sampled_from(["training", "model", "audio", "labels", "corpora", "x"]), _JSON, max_size=4))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_parse_recipe_any_content_is_a_recipe_or_a_recipe_error(content: dict[str, Any]) -> None:
    try:
        parse_recipe(MINIMAL | content, "fuzz")
    except RecipeError as error:
        assert "fuzz" in str(error)
