"""Statistics of log-mels inside networks: what they are, whom they belong to, and that they are trained and exported with the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo import runtime
from kanjo.errors import RecipeError
from kanjo.train.export import Graph, to_onnx
from kanjo.train.fit import begun, fit
from kanjo.train.material import Material, prepare
from kanjo.train.module import WindowModule, system_of
from kanjo.train.networks.functionals import BANDS, CEPSTRA, FURTHEST, Functionals
from kanjo.train.recipe import load_recipe

RECIPE = """
name: tiny
corpora: [ravdess]
split: {protocol: speakers-k, k: 4}
audio: {sample_rate: 16000, window_s: 1.5, hop_s: 0.5}
frontend: {n_fft: 512, hop_length: 160, n_mels: 64, top_db: null}
network: {type: crnn, filters: [8, 8, 16, 16], lstm_units: 16, speaker: true, functionals: true}
training: {epochs: 2, batch_size: 8, precision: fp32}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("functionals") / "tiny.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def material(recipe: Path, tiny_corpora: Path) -> Material:
    return prepare(load_recipe(str(recipe)), str(tiny_corpora))


def test_against_numpy() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 2, (3, 1, 64, 90)).astype(np.float32).cumsum(3)
    frames = [90, 61, 40]
    found = Functionals(64)(torch.tensor(features), torch.tensor(frames)).numpy()
    assert found.shape == (3, 3 * BANDS + 3 * CEPSTRA + 64)
    for row, n in enumerate(frames):
        x = features[row, 0, :, :n].astype(float)
        change = x[:, 2:] - x[:, :-2]
        basis = np.cos(np.pi / 64 * (np.arange(64) + 0.5) * np.arange(CEPSTRA)[:, None])
        centred = x - x.mean(1, keepdims=True)
        spectrum = np.abs(np.exp(-2j * np.pi / 256 * np.outer(np.arange(40), np.arange(n))) @ centred.T).T / np.sqrt(n)
        parts = [x.mean(1), x.std(1), np.abs(change).mean(1), (basis @ x).mean(1), (basis @ x).std(1), (basis @ change).std(1)]
        parts.append(np.log(spectrum.reshape(8, 8, 8, 5).mean((1, 3))).ravel())
        np.testing.assert_allclose(found[row], np.concatenate(parts), rtol=2e-3, atol=2e-3)


def test_what_is_not_heard_changes_nothing_and_one_frame_is_enough() -> None:
    features = torch.randn(2, 1, 128, 60)
    louder = features.clone()
    louder[..., 30:] += 50
    told = Functionals(128)
    torch.testing.assert_close(told(features, torch.tensor([30, 30])), told(louder, torch.tensor([30, 30])))
    assert told(features, torch.tensor([1, 2])).isfinite().all()
    assert told(torch.full((1, 1, 128, 60), -5.0)).isfinite().all()
    with pytest.raises(ValueError, match="at least 20"):
        Functionals(16)


def test_they_are_standardised_by_training_speakers_alone(material: Material, tmp_path: Path) -> None:
    fold = material.fold(1)
    system, module, batches, checks = begun(material, fold, tmp_path, None, False)
    network = system.network
    whole = torch.cat([
        network.functionals.standardised(network.functionals(*system.features(batch["signal"])))  # type: ignore[operator,union-attr]
        for batch in batches
    ])  # fmt: skip
    assert len(whole) == len(fold.train)
    assert whole.mean(0).abs().max() < 0.1 and whole.abs().max() <= FURTHEST
    deviation = whole.std(0, correction=0)
    assert (
        (deviation - 1).abs() < 0.1
    ).float().mean() > 0.5 and deviation.max() < 1.01  # what hardly ever changes is not blown up
    assert len(checks.dataset) == len(fold.validation)  # type: ignore[arg-type]
    assert isinstance(module, WindowModule)


def test_bands_that_training_never_heard_are_not_blown_up() -> None:
    told = Functionals(64)
    deviation = torch.ones(told.size)
    deviation[50:64] = 1e-7  # above half the recordings' rate
    told.fit_statistics(torch.zeros(told.size), deviation)
    assert told.standardised(torch.full((1, told.size), 0.1)).max() == pytest.approx(0.2)
    assert told.standardised(torch.full((1, told.size), -100.0)).min() == -FURTHEST


def test_masks_and_blends_leave_them_whole(recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    """They are of what was heard: masks, which would be silence to them, come after; a blend has the blend of both."""
    masks = ["augment.frequency_masks=2", "augment.time_masks=2", "augment.time_width=60"]
    material = prepare(load_recipe(str(recipe), masks), str(tiny_corpora))
    system, module, batches, _ = begun(material, material.fold(1), tmp_path, None, False)
    asked: list[torch.Tensor] = []
    honest = system.network.embed

    def noted(features: torch.Tensor, frames: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
        asked.append(said)
        assert (features == 0).any()
        return honest(features, frames, said)  # type: ignore[operator,no-any-return]

    system.network.embed = noted  # type: ignore[method-assign,assignment]
    batch = next(iter(batches))
    module.train()
    module.training_logits(batch)
    clean = system.network.functionals(*system.features(batch["signal"]))  # type: ignore[operator]
    torch.testing.assert_close(asked[0], clean)


def test_the_graph_has_them(material: Material, tmp_path: Path) -> None:
    fitted = fit(material, material.fold(1), tmp_path / "run")
    assert fitted.system.network.functionals.mean.abs().max() > 0.1  # type: ignore[union-attr,operator]
    window = material.recipe.audio.window
    assert fitted.enrolled is not None
    graph = to_onnx(fitted.system, fitted.temperature, window, fitted.enrolled.temperature)
    signal = 0.1 * torch.randn(3, window)
    signal[1, window // 3 :] = 0
    session = runtime.session(graph, 1)
    shares, embedding = session.run(["probabilities", "embedding"], {"signal": signal.numpy()})
    with torch.inference_mode():
        ours = Graph(fitted.system, fitted.temperature, fitted.enrolled.temperature).eval()(signal)
    np.testing.assert_allclose(shares, ours[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(embedding, ours[1].numpy(), atol=2e-3)
    assert embedding.shape[1] == 4 * 16 + 3 * BANDS + 3 * CEPSTRA + 64


def test_what_does_not_fit_is_refused(recipe: Path) -> None:
    few = load_recipe(str(recipe), ["frontend.n_mels=64"])
    assert system_of(few, 4).network.functionals is not None
    with pytest.raises(RecipeError, match="functionals"):
        load_recipe("dcnn-blstm-mobilenet", ["network.functionals=true"])
