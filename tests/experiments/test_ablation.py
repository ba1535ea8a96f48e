"""Ablation: variants of a recipe, on test speakers and over seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from kanjo.errors import RecipeError
from kanjo.experiments.ablation import ORIGINAL, EffectRow, _effect_row, choose_variants
from kanjo.train.config.loading import load_recipe
from tests.conftest import TINY_RECIPE, read_table
from tests.shell import run_kanjo

ABLATIONS = "ablations: {one channel less: ['model.channels=[8, 8, 16, 15]'], no dropout: [model.dropout=0]}\n"
SHORT = ("--set", "training.epochs=1", "--set", "split.n_folds=2", "-s")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_RECIPE + ABLATIONS, encoding="utf-8")
    return path


def test_choose_variants_starts_with_the_original(recipe: Path) -> None:
    loaded = load_recipe(str(recipe))
    assert list(choose_variants(loaded)) == [ORIGINAL, "one channel less", "no dropout"]
    assert choose_variants(loaded, ["no dropout"]) == {ORIGINAL: (), "no dropout": ("model.dropout=0",)}


def test_choose_variants_unknown_ablation_is_refused(recipe: Path) -> None:
    with pytest.raises(RecipeError, match="no ablation mixup; expected one of one channel less, no dropout"):
        choose_variants(load_recipe(str(recipe)), ["mixup"])


def test_effect_row_compares_the_same_seeds() -> None:
    original = [{"uar": 0.5, "enrolled": None}, {"uar": 0.7, "enrolled": None}, None]
    variant = [{"uar": 0.6, "enrolled": 0.8}, None, {"uar": 0.9, "enrolled": 0.9}]
    row = _effect_row("variant", variant, original)
    assert (row.uar, row.seeds, row.enrolled) == (pytest.approx(0.75), 2, pytest.approx(0.85))
    assert (row.difference, row.difference_spread) == (pytest.approx(0.1), None)
    assert _effect_row(ORIGINAL, original, original) == EffectRow(
        ORIGINAL, pytest.approx(0.6), pytest.approx(0.02**0.5), 2, None, None, None
    )


@pytest.mark.slow
def test_ablate_on_test_speakers_prints_differences(recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    arguments = ("ablate", recipe, "--corpus-root", tiny_corpora, "-o", folder, "--only", "no dropout", *SHORT)
    result = run_kanjo(*arguments)
    assert result.returncode == 0, result.stderr
    assert [line[:28].strip() for line in result.stdout.splitlines()] == ["", ORIGINAL, "no dropout"]
    assert [row["variant"] for row in read_table(folder / "ablations.csv")] == [ORIGINAL, "no dropout"]
    assert (folder / "no-dropout" / "scores.json").is_file()


@pytest.mark.slow
def test_ablate_over_seeds_uses_validation_speakers_only(recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    arguments = ("--corpus-root", tiny_corpora, "-o", folder, "--only", "no dropout", "--seeds", 2, *SHORT)
    result = run_kanjo("ablate", recipe, *arguments)
    assert result.returncode == 0, result.stderr
    rows = read_table(folder / "effects.csv")
    assert [(row["variant"], row["seeds"]) for row in rows] == [(ORIGINAL, "2"), ("no dropout", "2")]
    assert rows[0]["difference"] == "" and float(rows[1]["difference"]) == pytest.approx(
        float(rows[1]["uar"]) - float(rows[0]["uar"])
    )
    assert not list(folder.glob("*/scores.json")) and len(list(folder.glob("*/validation.json"))) == 4
    assert "test speakers were not used" in result.stderr
