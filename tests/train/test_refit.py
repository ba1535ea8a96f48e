"""Training anew on training and validation speakers together, once the epoch and the temperature are chosen."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo.errors import RecipeError
from kanjo.inference import onnx_session
from kanjo.train.calibration.ood import OUTPUT, embeddings_of, plane_for, with_distance
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.audio_cache import Pack
from kanjo.train.data.datasets import Windows
from kanjo.train.data.experiment_data import Material, prepare
from kanjo.train.export.onnx import to_onnx
from kanjo.train.fit import REFIT, Fitted, fit
from tests.conftest import table, train_words
from tests.shell import typed

SHORT = ["training.refit=true", "training.epochs=3", "training.ema=0.9"]


def _material(recipe: Path, corpora: Path, *overrides: str) -> Material:
    return prepare(load_recipe(str(recipe), [*SHORT, *overrides]), str(corpora))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refit") / "run"


@pytest.fixture(scope="module")
def material(tiny_recipe: Path, tiny_corpora: Path) -> Material:
    return _material(tiny_recipe, tiny_corpora)


@pytest.fixture(scope="module")
def read() -> dict[str, set[int]]:
    return {}


@pytest.fixture(scope="module")
def fitted(run: Path, material: Material, read: dict[str, set[int]]) -> Fitted:
    """Fitted, with a note of which clips were read in which part of it."""
    honest, part = Pack.signal, read.setdefault("first", set())

    def noted(self: Pack, i: int) -> np.ndarray:
        read.setdefault("refit" if (run / REFIT).is_dir() else "first", part).add(i)
        return honest(self, i)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pack, "signal", noted)
        read["refit"] = set()
        return fit(material, material.fold(1), run)


def test_it_trains_on_all_but_the_test_speakers(
    fitted: Fitted, material: Material, run: Path, read: dict[str, set[int]]
) -> None:
    fold = material.fold(1)
    everybody = {*fold.train, *fold.validation}
    assert read["first"] | read["refit"] == everybody
    assert not read["refit"] & set(fold.test)
    steps = torch.load(run / REFIT / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert steps == 3 * -(-len(everybody) // material.recipe.training.batch_size)


def test_all_its_epochs_are_there_and_none_was_chosen(fitted: Fitted, run: Path) -> None:
    rows = table(run / REFIT / "metrics.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {row["validation_uar"] for row in rows} == {"nan"}
    assert all(0 <= float(row["train_uar"]) <= 1 and float(row["train_loss"]) > 0 for row in rows)
    last = torch.load(run / REFIT / "checkpoints" / "last.ckpt", weights_only=True)
    assert fitted.first is not None and not list(run.rglob("best.ckpt"))
    assert (
        fitted.best_epoch == 3
    )  # the first is left at the end of its schedule too: its temperature is to fit the second
    assert fitted.validation_uar == pytest.approx(float(table(run / "metrics.csv")[-1]["validation_uar"]), abs=1e-5)
    key = (
        "output.weight"
        if "system.network.output.weight" in last["state_dict"]
        else list(fitted.system.network.state_dict())[-1]
    )
    kept, before = (system.network.state_dict()[key] for system in (fitted.system, fitted.first))
    torch.testing.assert_close(kept, last["state_dict"][f"system.network.{key}"])
    assert not torch.equal(kept, before)


def test_a_finished_one_goes_on_to_the_same_weights(fitted: Fitted, material: Material, run: Path) -> None:
    again = fit(material, material.fold(1), run, resume=True)
    for name, value in fitted.system.state_dict().items():
        torch.testing.assert_close(again.system.state_dict()[name], value)
    assert (again.temperature, again.best_epoch) == (fitted.temperature, fitted.best_epoch)
    assert again.minutes == pytest.approx(fitted.minutes)


def test_the_distance_has_the_unit_of_speakers_that_were_new(fitted: Fitted, material: Material) -> None:
    fold, window = material.fold(1), material.recipe.audio.window
    assert fitted.first is not None
    graph, first = (to_onnx(system, fitted.temperature, window) for system in (fitted.system, fitted.first))
    batch = Windows(material.pack, fold.validation, material.labels, window).__getitems__(range(len(fold.validation)))

    def distances(found: bytes) -> np.ndarray:
        return np.asarray(onnx_session.session(found, 1).run([OUTPUT], {"signal": batch["signal"].numpy()})[0])

    last, before = partial(embeddings_of, graph, material), partial(embeddings_of, first, material)
    theirs = distances(with_distance(first, plane_for(fold, before)))
    assert np.mean(theirs <= 1) >= 0.8  # they set the unit
    honest = distances(with_distance(graph, plane_for(fold, last, before)))
    naive = distances(with_distance(graph, plane_for(fold, last)))
    assert not np.allclose(honest, naive)


def test_without_falling_rates_it_ends_where_the_first_was_best(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    material = _material(
        tiny_recipe, tiny_corpora, "training.schedule=constant", "training.epochs=6", "training.patience=2"
    )
    fitted = fit(material, material.fold(1), tmp_path / "run")
    assert len(table(tmp_path / "run" / REFIT / "metrics.csv")) == fitted.best_epoch


def test_left_out_where_only_validation_counts(material: Material, tmp_path: Path) -> None:
    assert fit(material, material.fold(1), tmp_path / "run", refit=False).first is None
    assert not (tmp_path / "run" / REFIT).exists()


def test_two_stages_are_refused() -> None:
    with pytest.raises(RecipeError, match="networks of one stage"):
        load_recipe("dcnn-blstm-attention", ["training.refit=true"])
    with pytest.raises(RecipeError, match=r"finetune\.refit"):
        load_recipe("dcnn-blstm-attention", ["finetune.refit=true"])


def test_from_the_shell_it_says_so(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = typed(*train_words(tiny_recipe, tiny_corpora, run), *(word for item in SHORT for word in ("--set", item)))
    assert done.returncode == 0, done.stderr
    assert "refit on 48 utterances, the 8 that validated among them" in done.stderr
    assert "Then trained anew, on the validation speakers too" in (run / "report.html").read_text(encoding="utf-8")
    facts = json.loads((run / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert len(facts["split"]["train_speakers"]) == 6
