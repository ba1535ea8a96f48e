"""Linear heads on a frozen encoder: the minimum that scikit-learn finds, on embeddings that nothing has moved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from kanjo.errors import KanjoError, RecipeError
from kanjo.inference import onnx_session
from kanjo.train.calibration import temperature
from kanjo.train.calibration.ood import OUTPUT, embeddings_of, plane_for, with_distance
from kanjo.train.config.loading import load_recipe
from kanjo.train.cost_estimate import cost
from kanjo.train.data.datasets import Windows, loader
from kanjo.train.data.experiment_data import Material, people_of, prepare, shares_of
from kanjo.train.export.onnx import export, to_onnx
from kanjo.train.fit import begun, fit
from kanjo.train.models.layers.pooling import Told
from kanjo.train.models.speaker_means import others_mean
from kanjo.train.tasks.base import System
from kanjo.train.tasks.linear_probe import HeadsModule
from tests import corpora_fixtures
from tests.conftest import table
from tests.shell import typed

HERE = [
    "training.precision=fp32",
    "split.protocol=speakers-k",
    "split.k=4",
    "network.weights=none",
    "training.epochs=6",
    "audio.window_s=1",
    "audio.hop_s=0.5",
    "audio.crop_s=0.5",
]


def _material(corpora: Path, recipe: str, *overrides: str) -> Material:
    return prepare(load_recipe(recipe, [*HERE, *overrides]), str(corpora))


@pytest.fixture(scope="module")
def material(tiny_corpora: Path) -> Material:
    return _material(tiny_corpora, "whisper-linear", "training.versions=0")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that nobody has filled."""
    monkeypatch.setenv("KANJO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _heard(system: System, material: Material, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """What the system itself says of utterances: embeddings, labels, speakers."""
    windows = Windows(material.pack, indices, material.labels, material.recipe.audio.window, people=people_of(material))
    with torch.inference_mode():
        batches = [
            (system(batch["signal"])[1], batch["label"], batch["speaker"])
            for batch in loader(windows, 8, shuffle=False)
        ]
    embedding, label, speaker = (torch.cat(part) for part in zip(*batches, strict=True))
    return embedding.clone(), label, speaker


def test_the_heads_are_scikit_learns_and_nothing_else_has_moved(material: Material, tmp_path: Path) -> None:
    """Both: of the embedding, and of how far it is from its speaker's mean over their other clips."""
    fold = material.fold(1)
    before, *_ = begun(material, fold, tmp_path / "begun", None, False)
    trunk = {
        name: value.clone()
        for name, value in before.state_dict().items()
        if "output" not in name and "offset" not in name
    }
    fitted = fit(material, fold, tmp_path / "run", refit=False)
    network = fitted.system.network
    assert isinstance(network, Told) and network.offset is not None
    for name, value in trunk.items():
        assert torch.equal(fitted.system.state_dict()[name], value), name
    (batch,) = begun(material, fold, tmp_path / "begun", None, False)[2]
    x, y, mean = batch["embedding"].numpy(), batch["label"].numpy(), batch["mean"].numpy()
    weight = len(y) * material.recipe.training.weight_decay
    n_classes = len(material.emotions)
    for head, rows, intercept in ((network.output, x, True), (network.offset, x - mean, False)):
        theirs = LogisticRegression(
            C=1 / weight, class_weight="balanced", fit_intercept=intercept, tol=1e-8, max_iter=5000
        ).fit(rows, y)
        weights, scores = head.weight.detach().numpy(), head(torch.tensor(rows)).detach().numpy()
        assert weights.shape == theirs.coef_.shape == (n_classes, x.shape[1])
        scale = np.abs(theirs.coef_).max()
        np.testing.assert_allclose(weights - weights.mean(0), theirs.coef_ - theirs.coef_.mean(0), atol=0.02 * scale)
        np.testing.assert_array_equal(scores.argmax(1), theirs.predict(rows))
    rows_of = table(tmp_path / "run" / "metrics.csv")
    assert len(rows_of) == 6 and fitted.best_epoch == 6 and fitted.minutes > 0
    assert float(rows_of[-1]["train_loss"]) <= float(rows_of[0]["train_loss"]) + 1e-3


def test_versions_stand_behind_the_clips_as_they_are(tiny_corpora: Path) -> None:
    material = _material(tiny_corpora, "whisper-linear", "augment.speed=0.2")
    fold = material.fold(1)
    system, module, batches, checks = begun(material, fold, Path(), None, False)
    assert isinstance(module, HeadsModule)
    (batch,), (check,) = list(batches), list(checks)
    n = len(fold.train)
    assert len(batch["embedding"]) == 3 * n and len(check["embedding"]) == len(fold.validation)
    plain, label, speaker = _heard(system, material, fold.train)
    torch.testing.assert_close(batch["embedding"][:n], plain, atol=1e-4, rtol=1e-4)
    for k in (1, 2):
        assert torch.equal(batch["label"][k * n : (k + 1) * n], label)
        assert (batch["embedding"][k * n : (k + 1) * n] - plain).abs().mean() > 0.05
    checked, _, _ = _heard(system, material, fold.validation)
    torch.testing.assert_close(check["embedding"], checked, atol=1e-4, rtol=1e-4)
    mean, known = others_mean(batch["embedding"], speaker.repeat(3))
    torch.testing.assert_close(batch["mean"], mean)
    assert bool(known.all()) and bool((batch["known"] == 1).all())


def test_what_is_heard_is_computed_once_for_all_folds(
    tiny_corpora: Path, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And anew for another encoder, window or augmentation; a fold's scale is its own."""
    material = _material(tiny_corpora, "whisper-linear", "training.versions=1")
    caplog.set_level("INFO", "kanjo")
    first, second = (fit(material, material.fold(k), tmp_path / f"fold-{k}", refit=False) for k in (1, 2))
    assert sum("embeddings of" in line for line in caplog.messages) == 2 == len(list(cache.rglob("*.npy")))
    assert not torch.equal(first.system.network.norm.mean, second.system.network.norm.mean)
    for change, fresh in (
        ("training.versions=2", 1),
        ("augment.band=0", 1),
        ("audio.window_s=0.9", 2),
        ("network.hidden=100", 2),
    ):
        caplog.clear()
        other = _material(tiny_corpora, "whisper-linear", "training.versions=1", change)
        begun(other, other.fold(1), tmp_path, None, False)
        assert sum("embeddings of" in line for line in caplog.messages) == fresh, change


def test_folds_side_by_side_share_what_is_to_be_computed(tiny_corpora: Path, tmp_path: Path, cache: Path) -> None:
    """While another process is at one version, the next is computed; then its own is waited for."""
    material = _material(tiny_corpora, "whisper-linear", "training.versions=1")
    begun(material, material.fold(1), tmp_path, None, False)
    (plain,), (varied,) = cache.rglob("plain.npy"), cache.rglob("*-1.npy")
    whole = plain.read_bytes(), varied.read_bytes()
    plain.unlink(), varied.unlink()
    with ThreadPoolExecutor() as pool:
        with FileLock(plain.with_suffix(".lock")):
            waiting = pool.submit(begun, material, material.fold(2), tmp_path, None, False)
            while not varied.is_file():
                assert not waiting.done()
                time.sleep(0.01)
            assert not plain.is_file()
        module = waiting.result(timeout=60)[1]
    assert isinstance(module, HeadsModule) and 0 < module.heard_seconds < 60
    assert (plain.read_bytes(), varied.read_bytes()) == whole


def test_test_speakers_have_no_say(tiny_corpora: Path, tmp_path: Path, cache: Path) -> None:
    """What the encoder makes of everybody is kept; with the test speakers' part of it spoilt, nothing that is fitted or calibrated changes."""
    material = _material(tiny_corpora, "whisper-linear", "training.versions=1")
    fold = material.fold(1)
    honest = fit(material, fold, tmp_path / "honest")
    for path in cache.rglob("embeddings/*/*.npy"):
        values = np.load(path)
        values[list(fold.test)] = np.nan
        np.save(path, values)
    spoilt = fit(material, fold, tmp_path / "spoilt")
    for name, value in honest.system.state_dict().items():
        assert torch.equal(spoilt.system.state_dict()[name], value), name
    assert (spoilt.temperature, spoilt.enrolled) == (honest.temperature, honest.enrolled)


def test_the_distance_is_of_what_the_graph_makes(tiny_corpora: Path, tmp_path: Path) -> None:
    """Its plane comes from what was kept; the graph's own answers lie as near it."""
    material = _material(tiny_corpora, "whisper-linear", "training.versions=0")
    fold = material.fold(1)
    fitted = fit(material, fold, tmp_path / "run", refit=False)
    graph = to_onnx(fitted.system, fitted.temperature, material.recipe.audio.window, 1.0)
    asked = with_distance(graph, plane_for(fold, partial(embeddings_of, graph, material), scaled=False))
    export(material, fold, fitted, tmp_path / "kept", {"protocol": "speakers-k"})
    windows = Windows(material.pack, fold.validation, material.labels, material.recipe.audio.window)
    signal = {"signal": windows.__getitems__(range(len(windows)))["signal"].numpy()}
    ours, theirs = (
        onnx_session.session(one, 1).run([OUTPUT], signal)[0]
        for one in ((tmp_path / "kept" / "model.onnx").read_bytes(), asked)
    )
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_a_damaged_cache_is_said(tiny_corpora: Path, tmp_path: Path, cache: Path) -> None:
    material = _material(tiny_corpora, "whisper-linear", "training.versions=0")
    begun(material, material.fold(1), tmp_path, None, False)
    (kept_at,) = cache.rglob("plain.npy")
    kept_at.write_bytes(kept_at.read_bytes()[:200])
    with pytest.raises(KanjoError, match=r"plain.npy can't be read \(.*\); delete it, and it is made anew"):
        begun(material, material.fold(1), tmp_path, None, False)
    np.save(kept_at, np.zeros((3, 4), np.float32))
    with pytest.raises(KanjoError, match=r"plain.npy is \(3, 4\), expected 64 rows"):
        begun(material, material.fold(1), tmp_path, None, False)


def test_corpora_count_as_their_shares_say(tiny_corpora: Path) -> None:
    material = _material(tiny_corpora, "whisper-linear", "training.balance=corpora", "training.versions=1")
    fold = material.fold(1)
    _, module, batches, _ = begun(material, fold, Path(), None, False)
    (batch,) = list(batches)
    share = torch.tensor(shares_of(material, fold))
    torch.testing.assert_close(batch["share"], (share / share.mean()).repeat(2))
    assert module.class_weights is None
    half = {**batch, "share": torch.cat([2 * batch["share"][: len(share)], 0 * batch["share"][len(share) :]])}
    first = {key: value[: len(share)] for key, value in batch.items()}
    torch.testing.assert_close(module.training_step(half, 0), module.training_step(first, 0))


def test_an_emotion_that_a_corpus_has_not_is_no_answer_there(tiny_corpora: Path) -> None:
    """Masked: what a head says of it makes no difference to the loss of that corpus's clips."""
    material = _material(tiny_corpora, "whisper-linear", "training.masked=true")
    fold = material.fold(1)
    _, module, batches, _ = begun(material, fold, Path(), None, False)
    assert isinstance(module, HeadsModule) and module.emotions is not None
    (batch,) = list(batches)
    module.emotions[:, 0] = False
    batch = {key: value[batch["label"] != 0] for key, value in batch.items()}
    loss = module.training_step(batch, 0).item()
    with torch.no_grad():
        module.network.output.bias[0] += 5
    assert module.training_step(batch, 0).item() == pytest.approx(loss, abs=1e-6)
    with torch.no_grad():
        module.network.output.bias[1] += 5
    assert module.training_step(batch, 0).item() > loss + 0.1


def test_heads_are_refitted_and_resumed(tiny_corpora: Path, tmp_path: Path) -> None:
    """A run as any other: its checkpoints hold what was fitted, and going on with it gives the same."""
    material, run = _material(tiny_corpora, "whisper-linear"), tmp_path / "run"
    fitted = fit(material, material.fold(1), run)
    assert fitted.first is not None
    for folder, system in ((run, fitted.first), (run / "refit", fitted.system)):
        state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name, value in system.state_dict().items():
            torch.testing.assert_close(state[f"system.{name}"], value)
    resumed = fit(material, material.fold(1), run, resume=True)
    assert resumed.temperature == pytest.approx(fitted.temperature) and resumed.validation_uar == fitted.validation_uar
    for name, value in fitted.system.state_dict().items():
        torch.testing.assert_close(resumed.system.state_dict()[name], value)


@pytest.mark.parametrize(
    ("recipe", "change", "said"),
    [
        ("whisper-linear", "training.optimizer=adamw", "network.type: whisper and training.optimizer: lbfgs go together"),
        ("mobilenet", "training.optimizer=lbfgs", "go together"),
        ("whisper-linear", "augment.mixup=0.3", "augment.mixup: of no use where heads are fitted to all utterances at once; set to 0"),
        ("whisper-linear", "training.ema=0.9", "training.ema: of no use"),
        ("whisper-linear", "network.dropout=0.1", "network.dropout: of no use"),
        ("whisper-linear", "training.calibration=strangers", "training.calibration: strangers is for training.optimizer lbfgs with refit"),
        ("mobilenet", "training.versions=2", "training.versions is for training.optimizer lbfgs"),
    ],
)  # fmt: skip
def test_settings_without_a_meaning_are_refused(recipe: str, change: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe(recipe, [change])


def test_what_it_costs_is_measured(tiny_corpora: Path) -> None:
    one, three = (_material(tiny_corpora, "whisper-linear", f"training.versions={n}") for n in (0, 2))
    n = len(one.rows)
    found, more = cost(one, one.fold(1)), cost(three, three.fold(1))
    assert found.steps == -(-n // 32) and more.steps == -(-3 * n // 32)
    assert 0 < found.minutes < 1 and more.minutes / more.seconds_a_step > 1.5 * found.minutes / found.seconds_a_step


def test_one_process_fits_them(tiny_corpora: Path, tmp_path: Path) -> None:
    words = [
        "train",
        "whisper-linear",
        "--set",
        "network.weights=none",
        "--corpus-root",
        tiny_corpora,
        "-o",
        tmp_path / "run",
    ]
    done = typed(*words, RANK="0", WORLD_SIZE="2", LOCAL_RANK="0", LOCAL_WORLD_SIZE="2")
    assert done.returncode == 1
    assert (
        "whisper-linear fits its heads to all utterances at once, in one process; start it without torchrun"
        in done.stderr
    )


def test_heads_begin_at_a_bundles_and_are_held_there(tiny_corpora: Path, tmp_path: Path) -> None:
    """By much decay they stay where the bundle's were, on its scale; an emotion it does not know begins at nought."""
    few = "labels.keep=[anger,happiness,neutral,sadness]"
    material = _material(tiny_corpora, "whisper-linear", few)
    donor = tmp_path / "donor"
    fitted = fit(material, material.fold(1), donor, refit=False)
    export(material, material.fold(1), fitted, donor / "bundle", {"protocol": "speakers-k"})
    theirs = fitted.system.network
    on = _material(
        tiny_corpora, "whisper-linear", f"init={donor}", "training.weight_decay=1e6", "labels.keep=[fear,anger,sadness]"
    )
    held = fit(on, on.fold(2), tmp_path / "on", refit=False).system.network
    assert isinstance(theirs, Told) and isinstance(held, Told) and held.offset is not None and theirs.offset is not None
    torch.testing.assert_close(held.norm.mean, theirs.norm.mean)
    for ours, known in ((held.output.weight, theirs.output.weight), (held.offset.weight, theirs.offset.weight)):
        torch.testing.assert_close(ours[1:], known[[0, 3]], atol=1e-5, rtol=0)
        assert ours[0].abs().max() < 1e-5 < known.abs().max()
    loose = _material(
        tiny_corpora,
        "whisper-linear",
        f"init={donor}",
        "training.weight_decay=0.01",
        "labels.keep=[fear,anger,sadness]",
    )
    moved = fit(loose, loose.fold(2), tmp_path / "loose", refit=False).system.network
    assert isinstance(moved, Told) and (moved.output.weight[0].abs().max() > 1e-3)


def test_strangers_choose_the_temperature(tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the test's, in five parts of whole speakers and once by corpus: never by heads that have heard them, nor of emotions that these have not."""
    both = tmp_path / "corpora"
    both.mkdir()
    (both / "ravdess").symlink_to(tiny_corpora / "ravdess")
    corpora_fixtures.nemo(both / "nemo")
    material = _material(
        both,
        "whisper-linear",
        "corpora=[ravdess,nemo]",
        "training.versions=0",
        "training.calibration=strangers",
        "training.balance=corpora",
    )
    fold, parts = material.fold(1), []
    honest, chosen = temperature.heads_task, []

    def noted(system, material_, part, found=None):  # type: ignore[no-untyped-def]
        parts.append(part)
        return honest(system, material_, part, found)

    def fitted_by(logits: Tensor, label: Tensor, speaker: Tensor, distance: Tensor) -> tuple[float, float]:
        chosen.append((logits, label, distance))
        return 1.25, 3.5

    monkeypatch.setattr(temperature, "heads_task", noted)
    monkeypatch.setattr(temperature, "fit_doubt", fitted_by)
    fitted = fit(material, fold, tmp_path / "run")
    assert fitted.temperature == 1.25 and fitted.enrolled is not None and fitted.enrolled.temperature == 1.25
    assert fitted.doubt is not None and (fitted.doubt.plain, fitted.doubt.enrolled) == (3.5, 3.5)
    assert (
        fitted.doubt.furthest == pytest.approx(float(chosen[0][2].max()), abs=1e-6) and float(chosen[0][2].min()) == 1
    )
    inner = parts
    everybody = {*fold.train, *fold.validation}
    assert len(inner) == 5 + 2
    for part in inner:
        speakers = [{material.rows[i].speaker_key for i in side} for side in (part.train, part.validation)]
        assert not speakers[0] & speakers[1] and {*part.train, *part.validation} <= everybody
        assert {material.labels[i] for i in part.validation} <= {material.labels[i] for i in part.train}
    assert sorted(i for part in inner[:5] for i in part.validation) == sorted(everybody)
    assert [{material.rows[i].corpus for i in part.train} for part in inner[5:]] == [{"nemo"}, {"ravdess"}]
    logits, label, distance = chosen[0]
    assert len(distance) == len(label) == sum(len(part.validation) for part in inner)
    assert bool((logits.gather(1, label[:, None]) > -1e3).all()) and bool((logits < -1e3).any())
