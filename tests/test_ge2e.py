"""The speaker encoder's lower layers: what they hear is what they were trained on, and the network learns, exports and joins."""

from __future__ import annotations

import os
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from kanjo import audio, runtime
from kanjo.errors import RecipeError
from kanjo.train.export import Graph, to_onnx
from kanjo.train.frontend import LogMel
from kanjo.train.module import System, system_of
from kanjo.train.networks.ge2e import Ge2e, bands_from
from kanjo.train.networks.weights import VOXCELEB, read_weights
from kanjo.train.recipe import load_recipe

SPOKEN = Path(__file__).parent.parent / "examples" / "recordings"


@pytest.fixture
def system() -> System:
    torch.manual_seed(0)
    return system_of(load_recipe("ge2e", []), 8).eval()


def test_it_hears_what_the_encoder_was_trained_on(system: System) -> None:
    """librosa's 40 mel bands at 16 kHz, at -30 dB of full scale, made of 128 of Kaldi's at 32 kHz."""
    assert isinstance(system.frontend, LogMel)
    mels, loudness = bands_from(system.frontend)
    speech = audio.load(SPOKEN / "two-moods.flac", 16_000)
    rms = float(np.sqrt(np.square(speech).mean()))
    expected = librosa.feature.melspectrogram(y=speech / rms * 10 ** (-30 / 20), sr=16_000, n_fft=400, hop_length=160, n_mels=40)
    whole = LogMel(
        32_000, 1024, 320, 128, win_length=800, fmax=15_000, mel_scale="kaldi", preemphasis=0.97, normalization="audioset"
    )
    features, _ = whole(torch.tensor(audio.load(SPOKEN / "two-moods.flac", 32_000))[None])
    power = torch.exp(5 * features[0, 0] - 4.5) - 1e-5
    level = float((loudness @ power).mean())
    assert 10 * np.log10(level) == pytest.approx(20 * np.log10(rms) + 30, abs=0.5)
    bands = (mels @ power).numpy() / level
    n = min(bands.shape[1], expected.shape[1])
    loud = expected[:, :n] > expected.max() * 1e-4
    apart = 10 * np.log10(np.maximum(bands[:, :n], 1e-9) / expected[:, :n])[loud]
    assert abs(np.median(apart)) < 0.2 and np.percentile(np.abs(apart), 80) < 1.0


def test_loudness_and_padding_change_nothing(system: System) -> None:
    speech = torch.tensor(audio.load(SPOKEN / "two-moods.flac", 32_000)[:80_000])
    padded = torch.zeros(2, 128_000)
    padded[0, :80_000], padded[1, :80_000] = speech, speech * 0.25
    with torch.inference_mode():
        alone, both = (system(signal)[1][:, : 2 * 256] for signal in (speech[None], padded))
    np.testing.assert_allclose(both[0], alone[0], atol=1e-4)
    np.testing.assert_allclose(both[1], alone[0], atol=0.005)  # the quietest bands come nearer to the log-mels' floor
    assert float(alone.std()) > 0.01  # of random weights


def test_every_part_learns_unless_it_is_frozen() -> None:
    for freeze in (False, True):
        system = system_of(load_recipe("ge2e", [f"network.freeze={freeze}"]), 4).train()
        features, frames = system.features(torch.randn(4, 80_000) * 0.05)
        logits, embedding = system.network(features, frames)
        assert logits.shape == (4, 4) and embedding.shape == (4, 512)
        logits.square().sum().backward()
        learning = {name for name, p in system.network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert {"output.weight", "attention.score.weight"} <= learning
        assert any(name.startswith("lstm.") for name in learning) is not freeze
    assert sum(p.numel() for p in system.network.parameters()) < 850_000


def test_the_graph_is_the_network(system: System) -> None:
    session = runtime.session(to_onnx(system, 1.0, 128_000, 1.0), 1)
    signal = np.zeros((2, 128_000), np.float32)
    signal[0, :96_000] = audio.load(SPOKEN / "two-moods.flac", 32_000)[:96_000]
    shares, embedding = session.run(["probabilities", "embedding"], {"signal": signal})
    with torch.inference_mode():
        ours = Graph(system, 1.0, 1.0).eval()(torch.tensor(signal))
    np.testing.assert_allclose(shares, ours[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(embedding[0], ours[1].numpy()[0], atol=2e-3)
    assert np.isfinite(shares[1]).all()  # silence


def test_weights_are_read_as_they_were_published(tmp_path: Path) -> None:
    """Two of the file's three layers; what told speakers apart is left out, and so is what the optimiser was at."""
    donor = torch.nn.LSTM(40, 256, 3)
    state = {f"lstm.{key}": value for key, value in donor.state_dict().items()}
    state |= {"linear.weight": torch.zeros(256, 256), "linear.bias": torch.zeros(256), "similarity_weight": torch.ones(1)}
    torch.save({"step": 3, "model_state": state, "optimizer_state": {}}, tmp_path / "encoder.pt")
    network = system_of(load_recipe("ge2e", []), 8).network
    assert isinstance(network, Ge2e)
    read_weights(network, str(tmp_path / "encoder.pt"), VOXCELEB)
    assert all(torch.equal(value, state[f"lstm.{key}"]) for key, value in network.lstm.state_dict().items())
    assert len(network.lstm.state_dict()) == 8
    del state["lstm.weight_hh_l1"]
    torch.save({"model_state": state}, tmp_path / "encoder.pt")
    with pytest.raises(RecipeError, match=r"lstm.weight_hh_l1 is missing; expected Resemblyzer's speaker encoder"):
        read_weights(network, str(tmp_path / "encoder.pt"), VOXCELEB)


def test_the_published_encoder_tells_voices_apart() -> None:
    """With its own file, the second layer's steps are no chance weights': they saturate less and follow the speech."""
    path = Path(os.environ.get("KANJO_WEIGHTS", "")) / VOXCELEB.name
    if not path.is_file():
        pytest.skip(f"Resemblyzer's published weights are not at {path}; KANJO_WEIGHTS names the folder")
    system = system_of(load_recipe("ge2e", []), 8).eval()
    read_weights(system.network, VOXCELEB.word, VOXCELEB)
    speech = torch.tensor(audio.load(SPOKEN / "two-moods.flac", 32_000))[None]
    with torch.inference_mode():
        halves = torch.cat([system(part)[1][:, :256] for part in torch.split(speech[:, :160_000], 80_000, 1)])
        noise = system(torch.randn(1, 80_000) * 0.05)[1][:, :256]
    same = torch.cosine_similarity(halves[:1], halves[1:])
    assert same > 0.7 and same > torch.cosine_similarity(halves[:1], noise) + 0.3


def test_another_front_end_is_refused() -> None:
    for change in ("frontend.normalization=corpus", "frontend.hop_length=512"):
        with pytest.raises(RecipeError, match="normalization must be audioset, and their hop 10 ms"):
            system_of(load_recipe("ge2e", [change]), 8)
