"""How sure answers are: the temperature and the doubt, as they are fitted and as the graph has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo import bundle
from kanjo.inference import onnx_session
from kanjo.train.calibration.ood import OUTPUT, Doubt, plane_of, strangeness
from kanjo.train.calibration.temperature import fit_doubt
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.experiment_data import prepare
from kanjo.train.export.onnx import export
from kanjo.train.fit import begun, fit

SMALL = ["network.weights=none", "split.protocol=speakers-k", "split.k=4", "training.versions=0", "training.epochs=2"]
SHORT = ["audio.window_s=1", "audio.hop_s=0.5", "audio.crop_s=0.5"]


def test_a_temperature_and_a_doubt_that_made_the_labels_are_found() -> None:
    chance = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(6000, 5, generator=chance)
    distance = (0.6 + 1.4 * torch.rand(6000, generator=chance)).clamp(min=1)
    shares = torch.softmax(logits / (1.5 * distance**3.0)[:, None], 1)
    labels = torch.multinomial(shares, 1, generator=chance)[:, 0]
    speakers = torch.arange(6000) % 20
    temperature, doubt = fit_doubt(logits, labels, speakers, distance)
    assert temperature == pytest.approx(1.5, rel=0.1) and doubt == pytest.approx(3.0, abs=0.5)
    assert fit_doubt(logits, labels, speakers, torch.ones(6000))[1] == 0, "nothing is further than anything: no doubt"


def test_the_median_of_its_own_is_usual() -> None:
    chance = np.random.default_rng(0)
    own = chance.normal(size=(400, 60)).astype(np.float32) * np.linspace(3, 0.1, 60, dtype=np.float32)
    plane = plane_of(own, scaled=False)
    assert np.median(strangeness(plane, own)) == pytest.approx(1, abs=0.01)
    assert strangeness(plane, own + 3).min() > 2


@pytest.mark.parametrize("knows_speakers", [True, False])
def test_the_graph_is_less_sure_the_further_off(
    tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows_speakers: bool
) -> None:
    monkeypatch.setenv("KANJO_CACHE", str(tmp_path / "cache"))
    words = [*SMALL, *SHORT, f"network.speaker={str(knows_speakers).lower()}"]
    material = prepare(load_recipe("whisper-linear", words), str(tiny_corpora))
    fold = material.fold(1)
    fitted = fit(material, fold, tmp_path / "run")
    known = replace(fitted.enrolled, temperature=0.8) if fitted.enrolled else None
    sure = replace(fitted, temperature=0.7, doubt=Doubt(2.5, 1.0, 1.6), enrolled=known)
    made = export(material, fold, sure, tmp_path / "made", {})
    assert (
        f"x min(max(1, distance / {made.facts.doubt['usual']:.2f}), 1.60)^2.5"
        in (tmp_path / "made" / bundle.CARD).read_text()
    )
    session = onnx_session.session(made.graph, 1)
    chance, n = np.random.default_rng(0), material.recipe.audio.window
    windows = [
        material.pack.signal(fold.train[0])[:n],
        0.3 * chance.standard_normal(n),
        0.01 * chance.standard_normal(n),
    ]
    signal = np.stack([np.pad(one, (0, n - len(one))) for one in windows]).astype(np.float32)
    system = fitted.system.eval()
    with torch.inference_mode():
        logits, embedding = (value.numpy() for value in system(torch.from_numpy(signal)))
    shares, distance = session.run(["probabilities", OUTPUT], {"signal": signal})
    further = np.clip(distance / made.facts.doubt["usual"], 1, 1.6)[:, None]
    assert further[0] < further[1:].max() and further.max() > 1.2
    np.testing.assert_allclose(shares, _softmax(logits / (0.7 * further**2.5)), atol=1e-4)
    if known:
        speaker = np.append(embedding.mean(0), 1)[None].astype(np.float32)
        mean = torch.from_numpy(speaker[:, :-1]).expand(3, -1)
        told = system.network.classify(torch.from_numpy(embedding), mean, torch.ones(3, 1)).detach().numpy()  # type: ignore[operator, union-attr]
        answers = session.run(["probabilities"], {"signal": signal, "speaker": speaker})[0]
        np.testing.assert_allclose(answers, _softmax(told / (0.8 * further**1.0)), atol=1e-4)
        again = prepare(load_recipe("whisper-linear", [*words, f"init={tmp_path / 'made'}"]), str(tiny_corpora))
        begun(
            again, again.fold(1), tmp_path / "again", None, False
        )  # refuses weights that don't make the graph's answers


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))
