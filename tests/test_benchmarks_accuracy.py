"""docs/benchmarks/accuracy.md is rendered from benchmarks/accuracy; every score there belongs to an experiment."""

from __future__ import annotations

import itertools
import json
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
ACCURACY = ROOT / "benchmarks" / "accuracy"


@pytest.fixture
def results_page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ACCURACY))
    import results_page  # type: ignore[import-not-found]

    return sys.modules[results_page.__name__]


def test_results_page_of_the_repository_is_up_to_date(results_page: ModuleType) -> None:
    expected = (ROOT / "docs" / "benchmarks" / "accuracy.md").read_text(encoding="utf-8")
    assert results_page.render_page(ACCURACY) == expected, "run: make results ONLY=none"


def test_experiments_cover_all_scores_and_have_valid_recipes(results_page: ModuleType) -> None:
    from kanjo.train.config.loading import load_recipe

    names = {experiment.name for experiment in results_page.EXPERIMENTS}
    assert len(names) == len(results_page.EXPERIMENTS)
    assert {path.stem for path in ACCURACY.glob("*.json")} <= names
    for experiment in results_page.EXPERIMENTS:
        assert experiment.section in results_page.SECTIONS
        arguments = shlex.split(experiment.command)
        recipe = arguments[2] if arguments[0] == "baseline" else arguments[1]
        overrides = [value for option, value in itertools.pairwise(arguments) if option == "--set"]
        load_recipe(recipe, [value for value in overrides if not value.startswith("init_from=")])


def test_commands_in_the_scores_are_those_of_the_experiments(results_page: ModuleType) -> None:
    for experiment in results_page.EXPERIMENTS:
        path = ACCURACY / f"{experiment.name}.json"
        if path.is_file():
            assert json.loads(path.read_text(encoding="utf-8"))["command"] == f"kanjo {experiment.command}"


@pytest.mark.parametrize("path", sorted(ACCURACY.glob("*.yaml")), ids=lambda path: path.stem)
def test_ablation_recipe_has_the_variants_of_its_table(path: Path) -> None:
    import csv

    from kanjo.train.config.loading import load_recipe

    recipe = load_recipe(str(path))
    for overrides in recipe.ablations.values():
        load_recipe(str(path), [value for value in overrides if not value.startswith("init_from=")])
    with (ACCURACY / f"effects-{recipe.name}.csv").open(encoding="utf-8", newline="") as stream:
        variants = [row["variant"] for row in csv.DictReader(stream)]
    assert variants[1:] == list(recipe.ablations)


def test_render_page_formats_scores_and_leaves_out_empty_sections(results_page: ModuleType, tmp_path: Path) -> None:
    interval = {"value": 0.5, "low": 0.4, "high": 0.625}
    scores = {
        "uar": interval,
        "accuracy": interval,
        "macro_f1": {"value": 0.25, "low": None, "high": None},
        "ece": 0.0312,
    }
    content = {
        **scores,
        "n": 10,
        "n_parameters": 527_272,
        "model_megabytes": 2.61,
        "training_minutes": 12.3,
        "latency_ms": 4.9,
        "scores_enrolled": scores,
        "command": "kanjo x",
    }
    (tmp_path / "ravdess-mobilenet.json").write_text(json.dumps(content))
    (tmp_path / "effects-mobilenet.csv").write_text(
        "variant,uar,spread,seeds,difference,difference_spread,enrolled\n"
        "original,0.6,0.02,3,,,0.65\n"
        "no mixup,0.58,0.01,3,-0.02,0.005,\n"
    )
    page = results_page.render_page(tmp_path)
    assert (
        "| mobilenet | 50.0 [40.0, 62.5] | 50.0 [40.0, 62.5] | 25.0 | 0.031 | 0.53 M | 2.6 MB | 12 min | 5 ms |" in page
    )
    assert "| mobilenet, **with enrollment** | 50.0 [40.0, 62.5] |" in page
    assert "| no mixup | 58.0 | 1.0 | -2.0 | 0.5 |  |" in page
    assert "nEMO (Polish)" not in page


def test_render_page_of_a_benchmark_lists_corpora_and_leaves_out_small_ones(
    results_page: ModuleType, tmp_path: Path
) -> None:
    interval = {"value": 0.5, "low": 0.4, "high": 0.625}
    scores = {"uar": interval, "accuracy": interval, "ece": 0.0312}
    corpus = {
        "corpus": "emovo",
        "error": "",
        "seconds": 31.2,
        "speakers": 6,
        "utterances": 588,
        "emotions": ["anger", "neutral"],
        "chance_uar": 0.5,
        "omitted_utterances_of_training_speakers": 0,
        "among_bundle_labels": {**scores, "uar": {"value": 0.25, "low": None, "high": None}},
        "among_corpus_labels": scores,
        "enrolled": {"1": scores, "2": scores},
    }
    corpora = [
        {**corpus, "corpus": "esd", "utterances": 16, "enrolled": {}},
        corpus,
        {**corpus, "corpus": "ravdess", "omitted_utterances_of_training_speakers": 9, "enrolled": {"1": scores}},
        {"corpus": "nemo", "error": "no data.tsv", "seconds": 0.1},
    ]
    content = {"labels": ["anger", "fear", "neutral"], "corpora": corpora, "command": "kanjo benchmark default"}
    (tmp_path / "default-benchmark.json").write_text(json.dumps(content))
    page = results_page.render_page(tmp_path)
    cells = "50.0 % | 25.0 | 50.0 [40.0, 62.5] | 50.0 [40.0, 62.5] | 0.031 | 50.0 [40.0, 62.5]"
    assert f"| emovo | 6 | 588 | 2 | {cells} | 50.0 [40.0, 62.5] |" in page
    assert f"| ravdess | 6 | 588 | 2 | {cells} |  |" in page
    assert "| ECE | 1 clip | 2 clips |" in page
    assert "trained on: emovo. Not in the table, because it is too small: esd (16 utterances)." in page
    assert "Command: `kanjo benchmark default` (94 s on two cores)." in page and "nemo" not in page
