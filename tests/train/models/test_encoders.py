"""Speech encoders' lower layers: what they hear is what they were trained on, and the networks learn and export."""

from __future__ import annotations

import os
from pathlib import Path

import librosa
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from kanjo import audio
from kanjo.errors import RecipeError
from kanjo.inference import onnx_session
from kanjo.train.config.loading import load_recipe
from kanjo.train.export.onnx import Graph, to_onnx
from kanjo.train.export.onnx_weights import read_onnx
from kanjo.train.export.quantize import fp16_weights, int8_linear
from kanjo.train.features.log_mel import LogMel
from kanjo.train.models.encoder import bands_from
from kanjo.train.models.pretrained_weights import SMART_TURN, Published, read_weights
from kanjo.train.models.whisper import Whisper, sinusoids
from kanjo.train.tasks.base import System, system_of
from kanjo.train.warm_start import _unfolded
from tests.graph_fixtures import largest_pair

SPOKEN = Path(__file__).parents[3] / "examples" / "recordings"


@pytest.fixture
def system() -> System:
    torch.manual_seed(0)
    return system_of(load_recipe("whisper-linear", []), 8).eval()


@pytest.mark.parametrize(
    ("n", "within_db"), [(40, 1.0), (80, 1.6)]
)  # of 80 the lowest are narrower than the front end's bins
def test_it_hears_what_the_encoder_was_trained_on(n: int, within_db: float) -> None:
    """librosa's mel bands at 16 kHz, at -30 dB of full scale, made of 128 of Kaldi's at 32 kHz."""
    frontend = system_of(load_recipe("whisper-linear", []), 8).frontend
    assert isinstance(frontend, LogMel)
    mels, loudness = bands_from(frontend, n, -30.0)
    speech = audio.load(SPOKEN / "two-moods.flac", 16_000)
    rms = float(np.sqrt(np.square(speech).mean()))
    expected = librosa.feature.melspectrogram(
        y=speech / rms * 10 ** (-30 / 20), sr=16_000, n_fft=400, hop_length=160, n_mels=n
    )
    whole = LogMel(
        32_000,
        1024,
        320,
        128,
        win_length=800,
        fmax=15_000,
        mel_scale="kaldi",
        preemphasis=0.97,
        normalization="audioset",
    )
    features, _ = whole(torch.tensor(audio.load(SPOKEN / "two-moods.flac", 32_000))[None])
    power = torch.exp(5 * features[0, 0] - 4.5) - 1e-5
    level = float((loudness @ power).mean())
    assert 10 * np.log10(level) == pytest.approx(20 * np.log10(rms) + 30, abs=0.5)
    bands = (mels @ power).numpy() / level
    frames = min(bands.shape[1], expected.shape[1])
    loud = expected[:, :frames] > expected.max() * 1e-4
    apart = 10 * np.log10(np.maximum(bands[:, :frames], 1e-9) / expected[:, :frames])[loud]
    assert abs(np.median(apart)) < 0.2 and np.percentile(np.abs(apart), 80) < within_db


def test_loudness_and_padding_change_nothing(system: System) -> None:
    speech = torch.tensor(audio.load(SPOKEN / "two-moods.flac", 32_000)[:80_000])
    padded = torch.zeros(2, 128_000)
    padded[0, :80_000], padded[1, :80_000] = speech, speech * 0.25
    with torch.inference_mode():
        alone, both = (system(signal)[1] for signal in (speech[None], padded))
    np.testing.assert_allclose(both[0], alone[0], atol=1e-4)
    np.testing.assert_allclose(both[1], alone[0], atol=0.02)  # the quietest bands come nearer to the log-mels' floor
    assert float(alone.std()) > 0.01  # of random weights


def test_a_gradient_reaches_every_part() -> None:
    system = system_of(load_recipe("whisper-linear", []), 4).train()
    features, frames = system.features(torch.randn(4, 80_000) * 0.05)
    logits, embedding = system.network(features, frames)
    assert logits.shape == (4, 4) and embedding.shape == (4, 768)
    logits.square().sum().backward()
    learning = {name for name, p in system.network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    trunks = {name for name, _ in system.network.named_parameters() if name.startswith(("conv", "layers."))}
    assert trunks and {"output.weight", "attention.score.weight", *trunks} <= learning
    assert sum(p.numel() for p in system.network.parameters()) < 2e6


def test_layers_are_pooled_side_by_side() -> None:
    """Of two layers that are both read, each half of the embedding's mean is the one that a network of so many layers gives."""
    torch.manual_seed(0)
    both = system_of(load_recipe("whisper-linear", ["network.layers=2", "network.read=all"]), 4).eval()
    last = system_of(load_recipe("whisper-linear", ["network.layers=2"]), 4).eval()
    first = system_of(load_recipe("whisper-linear", []), 4).eval()
    trunk = {key: value for key, value in both.network.state_dict().items() if key.startswith(("conv", "layers."))}
    last.network.load_state_dict(trunk, strict=False)
    first.network.load_state_dict(
        {key: value for key, value in trunk.items() if not key.startswith("layers.1")}, strict=False
    )
    signal = torch.tensor(audio.load(SPOKEN / "two-moods.flac", 32_000))[None, :96_000]
    with torch.inference_mode():
        whole, second, lowest = (system(signal)[1].reshape(2, -1) for system in (both, last, first))
    assert whole.shape == (2, 768)
    np.testing.assert_allclose(whole[:, :384], lowest, atol=1e-5)
    np.testing.assert_allclose(whole[:, 384:], second, atol=1e-5)
    assert (whole[:, :384] - whole[:, 384:]).abs().mean() > 0.01


def test_the_graph_is_the_network(system: System) -> None:
    session = onnx_session.session(to_onnx(system, 1.0, 128_000, 1.0), 1)
    signal = np.zeros((2, 128_000), np.float32)
    signal[0, :96_000] = audio.load(SPOKEN / "two-moods.flac", 32_000)[:96_000]
    shares, embedding = session.run(["probabilities", "embedding"], {"signal": signal})
    with torch.inference_mode():
        ours = Graph(system, 1.0, 1.0).eval()(torch.tensor(signal))
    np.testing.assert_allclose(shares, ours[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(embedding[0], ours[1].numpy()[0], atol=2e-3)
    assert np.isfinite(shares[1]).all()  # silence


def test_small_enough_for_the_box_and_back(tmp_path: Path) -> None:
    """Whisper in int8 and fp16 is a third of the file and answers alike; its weights come out of the graph again, for training to start from."""
    torch.manual_seed(0)
    system = system_of(load_recipe("whisper-linear", []), 8).eval()
    with torch.no_grad():
        for value in system.network.parameters():  # what training has moved; equal ones are one in a graph
            value.add_(0.01 * torch.randn_like(value))
        system.network.attention.score.bias.zero_()  # as a frozen encoder's stays: the exporter leaves it out
    whole = to_onnx(system, 1.0, 128_000, 1.0)
    small, n = int8_linear(whole)
    small, halves = fp16_weights(small)
    assert n == 8 and halves and len(small) < 0.34 * len(whole)
    assert largest_pair(small) <= 128, (
        "255 times that is within 16 bits: processors that saturate there answer as others do"
    )
    signal = audio.load(SPOKEN / "two-moods.flac", 32_000)[None, :128_000]
    speaker = np.append(np.random.default_rng(0).normal(size=768), 1)[None].astype(np.float32)
    for given in ({"signal": signal}, {"signal": signal, "speaker": speaker}):
        ours, theirs = (onnx_session.session(graph, 1).run(["probabilities"], given)[0] for graph in (small, whole))
        np.testing.assert_allclose(ours, theirs, atol=0.02)
    (tmp_path / "model.onnx").write_bytes(small)
    donor = system_of(load_recipe("whisper-linear", []), 8).eval()
    assert _unfolded(donor, tmp_path / "model.onnx", torch.tensor(signal)) is True
    for name, value in system.network.state_dict().items():
        apart = (donor.network.state_dict()[name] - value).abs().max() / value.abs().max().clamp(min=1e-9)
        assert apart < 0.01, name


def _parts(quantise: bool) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A graph as an exporter leaves it: dense layers without names, int8 or not; and the weights that are in it."""
    random = np.random.default_rng(0)
    size, nodes, held, weights = 6, [], [], {}

    def kept(name: str, value: np.ndarray, axis: int) -> str:
        if not quantise:
            held.append(numpy_helper.from_array(value.astype(np.float32), name))
            return name
        others = tuple(n for n in range(value.ndim) if n != axis)
        scale = (np.abs(value).max(others) / 127).astype(np.float32)
        shape = [-1 if n == axis else 1 for n in range(value.ndim)]
        held.append(
            numpy_helper.from_array(np.round(value / scale.reshape(shape)).astype(np.int8), f"{name}_quantized")
        )
        held.append(numpy_helper.from_array(scale, f"{name}_scale"))
        held.append(numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_zero_point"))
        parts = [f"{name}_{part}" for part in ("quantized", "scale", "zero_point")]
        nodes.append(helper.make_node("DequantizeLinear", parts, [f"{name}_DequantizeLinear_Output"], axis=axis))
        return f"{name}_DequantizeLinear_Output"

    weights["trunk.conv1.weight"] = random.normal(size=(size, size, 3))
    weights["trunk.conv1.bias"] = random.normal(size=size)
    held.append(numpy_helper.from_array(weights["trunk.conv1.bias"].astype(np.float32), "trunk.conv1.bias"))
    nodes.append(
        helper.make_node(
            "Conv", ["x", kept("trunk.conv1.weight", weights["trunk.conv1.weight"], 0), "trunk.conv1.bias"], ["c"]
        )
    )
    nodes.append(helper.make_node("Transpose", ["c"], ["steps"], perm=[0, 2, 1]))
    outputs = []
    for n, part in enumerate(("q_proj", "k_proj", "v_proj")):
        name = f"trunk.layers.0.self_attn.{part}"
        matrix = random.normal(size=(size, size))
        weights[f"{name}.weight"] = matrix.T
        nodes.append(helper.make_node("MatMul", ["steps", kept(f"val_{n}", matrix, 1)], [f"product_{n}"]))
        outputs.append(f"product_{n}")
        if part != "k_proj":
            weights[f"{name}.bias"] = random.normal(size=size)
            held.append(numpy_helper.from_array(weights[f"{name}.bias"].astype(np.float32), f"{name}.bias"))
            nodes.append(helper.make_node("Add", [f"product_{n}", f"{name}.bias"], [f"sum_{n}"]))
            outputs[-1] = f"sum_{n}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    start = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, size, 5])
    graph = helper.make_graph(nodes, "parts", [start], ends, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), weights


@pytest.mark.parametrize("quantise", [False, True])
def test_weights_come_out_of_a_graph(tmp_path: Path, quantise: bool) -> None:
    """Under the names that the module had, the nameless matrix of the keys too; int8 within half a step."""
    model, weights = _parts(quantise)
    onnx.save(model, tmp_path / "graph.onnx")
    found = read_onnx(tmp_path / "graph.onnx")
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_allclose(
            found[name].numpy(), value, atol=np.abs(value).max() / 127 / 2 * 1.01 if quantise else 1e-6
        )


def test_a_graph_of_weights_is_read_whole_or_refused(tmp_path: Path) -> None:
    model, weights = _parts(quantise=False)
    onnx.save(model, tmp_path / "graph.onnx")
    network = torch.nn.Module()
    network.conv1 = torch.nn.Conv1d(6, 6, 3)
    trunk = Published("donor", "the donor", "https://example.org/graph.onnx", "", (), ("layers.",), within="trunk.")
    read_weights(network, str(tmp_path / "graph.onnx"), trunk)
    np.testing.assert_allclose(network.conv1.weight.detach().numpy(), weights["trunk.conv1.weight"], atol=1e-6)
    network.conv2 = torch.nn.Conv1d(6, 6, 3)
    with pytest.raises(RecipeError, match=r"conv2\.(weight|bias) is missing; expected the donor"):
        read_weights(network, str(tmp_path / "graph.onnx"), trunk)
    (tmp_path / "graph.onnx").write_bytes(b"no graph" * 9)
    with pytest.raises(RecipeError, match="not a file of weights"):
        read_weights(network, str(tmp_path / "graph.onnx"), trunk)


def test_the_published_encoder_is_the_graph_it_came_in() -> None:
    """With its own file: our stem and first layers answer as the published int8 graph does, of whisper's own log-mels."""
    path = Path(os.environ.get("KANJO_WEIGHTS", "")) / SMART_TURN.name
    if not path.is_file():
        pytest.skip(f"smart-turn's published weights are not at {path}; KANJO_WEIGHTS names the folder")
    system = system_of(load_recipe("whisper-linear", ["network.layers=2", "network.hidden=1536"]), 8).eval()
    network = system.network
    assert isinstance(network, Whisper)
    read_weights(network, SMART_TURN.word, SMART_TURN)
    speech = audio.load(SPOKEN / "two-moods.flac", 16_000)[: 4 * 16_000]
    speech = speech / np.sqrt(np.square(speech).mean())
    power = librosa.feature.melspectrogram(y=speech, sr=16_000, n_fft=400, hop_length=160, n_mels=80)[:, :400]
    bels = np.log10(np.maximum(power, 1e-10))
    mels = (np.maximum(bels, bels.max() - 8) + 4) / 4
    model = onnx.load(path)
    layers = [node.input[0] for node in model.graph.node if "self_attn_layer_norm.weight" in " ".join(node.input)]
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in (layers[0], layers[2]))
    session = onnx_session.session(model.SerializeToString(), 1)
    whole = np.full((1, 80, 800), mels.min(), np.float32)
    whole[0, :, :400] = mels
    stem, second = session.run(None, {"input_features": whole})
    everything = torch.ones(1, 800, 1, dtype=torch.bool)
    with torch.inference_mode():
        network.register_buffer("positions", sinusoids(400, 384), persistent=False)
        ours, _ = network.encode(torch.tensor(10 ** (whole * 4 - 4)), everything)
        network.layers = torch.nn.ModuleList()
        first, _ = network.encode(torch.tensor(10 ** (whole * 4 - 4)), everything)
    assert np.corrcoef(first.numpy().ravel(), stem.ravel())[0, 1] > 0.995
    assert np.corrcoef(ours.numpy().ravel(), second.ravel())[0, 1] > 0.98


def test_another_front_end_is_refused() -> None:
    for change in ("frontend.normalization=corpus", "frontend.hop_length=512"):
        with pytest.raises(RecipeError, match="normalization must be audioset, and their hop 10 ms"):
            system_of(load_recipe("whisper-linear", [change]), 8)
