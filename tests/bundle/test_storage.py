from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import kanjo
from kanjo import bundle
from kanjo.errors import BundleError
from kanjo.inference import onnx_session
from kanjo.train.config.loading import load_recipe
from kanjo.train.export import onnx
from kanjo.train.export.onnx import speaker_size, to_onnx
from kanjo.train.export.quantize import fp16_weights, int8_linear
from kanjo.train.tasks.base import system_of
from tests.graph_fixtures import largest_pair


@pytest.fixture
def copy(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run / "bundle", tmp_path / "copy"))


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_bundle_says_what_it_is(tiny_run: Path) -> None:
    facts = bundle.read(tiny_run).facts
    assert facts.labels == ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    assert (facts.sample_rate, facts.window_s, facts.hop_s) == (16_000, 1.0, 0.5)
    assert facts.licence == "CC BY-NC-SA 4.0"
    assert facts.scores is not None and facts.scores["n"] == 16
    assert facts.parity["largest_difference"] <= 1e-4 and facts.parity["clips"] == 64
    assert facts.n_parameters > 1000
    assert len(facts.split["train_speakers"]) == 6 and len(facts.split["test_speakers"]) == 2
    assert facts.corpora[0]["speakers"] == "6" and facts.corpora[0]["utterances"] == "48"
    assert set(facts.split["validation_speakers"]) < set(facts.split["train_speakers"])
    card = (tiny_run / "bundle" / "README.md").read_text()
    for needed in (
        "CC BY-NC-SA 4.0",
        "RAVDESS",
        "Do not use it to judge people",
        "| UAR | accuracy |",
        "speaker-independent",
    ):
        assert needed in card


def test_what_is_written_is_read(tiny_run: Path, tmp_path: Path) -> None:
    found = bundle.read(tiny_run)
    bundle.write(tmp_path / "b", found.graph.read_bytes(), found.facts)
    assert bundle.read(tmp_path / "b").facts == found.facts


def test_a_changed_byte_is_noticed(copy: Path) -> None:
    content = bytearray((copy / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.onnx").write_bytes(bytes(content))
    with pytest.raises(BundleError, match=r"is not the file that was exported \(sha256 "):
        bundle.read(copy)


def test_a_newer_format_asks_for_an_upgrade(copy: Path) -> None:
    _edit(copy, format_version=99, something_new=True)
    with pytest.raises(BundleError, match="bundle format 99, this kanjo reads up to 1; upgrade"):
        bundle.read(copy)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "model.onnx").unlink(), "can't read model.onnx"),
        (lambda f: (f / "bundle.json").write_text("{"), "not JSON"),
        (lambda f: (f / "bundle.json").write_text("[]"), "not a kanjo bundle"),
        (lambda f: (f / "bundle.json").write_text('{"format_version": 1}'), "missing .* required"),
        (lambda f: _edit(f, hop_s=7.0), "not usable"),
        (lambda f: shutil.rmtree(f), "no such folder"),
    ],
)
def test_bundles_that_are_none(copy: Path, spoil: object, said: str) -> None:
    spoil(copy)  # type: ignore[operator]
    with pytest.raises(BundleError, match=said) as caught:
        bundle.read(copy)
    assert len(str(caught.value).splitlines()) == 1


def test_the_graph_is_torchs(tiny_run: Path) -> None:
    """Rebuild the system from weights.safetensors and compare with the graph, in batches of several sizes."""
    from safetensors.torch import load_file

    from kanjo.inference.recognizer import Recognizer

    found = bundle.read(tiny_run)
    system = system_of(load_recipe(str(tiny_run)), len(found.facts.labels))
    system.load_state_dict(load_file(found.folder / "weights.safetensors"))
    graph = onnx.Graph(system, found.facts.temperature).eval()
    recognizer = Recognizer(found)
    for size in (1, 2, 7):
        batch = np.random.default_rng(size).normal(0, 0.1, (size, 16_000)).astype(np.float32)
        with torch.inference_mode():
            expected = graph(torch.from_numpy(batch))[0].numpy()
        np.testing.assert_allclose(recognizer.probabilities(batch), expected, atol=1e-4)
        np.testing.assert_allclose(recognizer.probabilities(batch).sum(1), 1, atol=1e-5)


def test_the_graph_holds_no_trace_of_the_machine_that_made_it(tiny_run: Path) -> None:
    content = (tiny_run / "bundle" / "model.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(Path.cwd()).encode() not in content


def test_an_export_that_differs_fails_and_writes_nothing(
    tiny_run: Path, tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kanjo.train.data.experiment_data import prepare
    from kanjo.train.fit import Fitted

    recipe = load_recipe(str(tiny_run))
    material = prepare(recipe, str(tiny_corpora))
    system = system_of(recipe, 8).eval()
    honest = onnx.to_onnx
    monkeypatch.setattr(onnx, "to_onnx", lambda system, t, n, e: honest(system, 3 * t, n, e))  # another temperature
    for parameter in system.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    with pytest.raises(BundleError, match=r"torch and ONNX Runtime differ by .* on 64 clips"):
        onnx.export(material, material.folds[0], Fitted(system, 1.0, 1, 0.5, 0.0), tmp_path / "bundle", {})
    assert not (tmp_path / "bundle").exists()


def test_facts_can_be_replaced_and_the_card_follows(copy: Path) -> None:
    found = bundle.read(copy)
    bundle.rewrite_facts(copy, replace(found.facts, name="renamed"))
    assert bundle.read(copy).facts.name == "renamed"
    assert (copy / "README.md").read_text().startswith("# renamed")


def test_a_smaller_one_of_a_network_that_takes_speakers_answers_alike() -> None:
    torch.manual_seed(0)
    recipe = load_recipe("mobilenet")
    system = system_of(recipe, 7).eval()
    whole = to_onnx(system, 1.0, recipe.audio.window, 1.0)
    signal = 0.05 * np.random.default_rng(0).normal(size=(2, recipe.audio.window)).astype(np.float32)
    speaker = np.random.default_rng(1).normal(size=(1, speaker_size(system) + 1)).astype(np.float32)
    speaker[:, -1] = 1
    graph, n = fp16_weights(whole)
    assert n > 0 and len(graph) < len(whole)
    for given in ({"signal": signal}, {"signal": signal, "speaker": speaker}):
        ours, theirs = (onnx_session.session(one, 1).run(["probabilities"], given)[0] for one in (graph, whole))
        np.testing.assert_allclose(ours, theirs, atol=0.05)
    assert int8_linear(whole)[1] == 0, "its dense layers are small: int8 would save nothing, and the command says so"


def test_processors_whose_products_of_bytes_saturate_answer_the_same() -> None:
    """Two activations (0 to 255) times two neighbouring weights are added in 16 bits by x86 processors without VNNI: in the box no such sum leaves them."""
    assert 0 < largest_pair((kanjo.load().bundle.folder / bundle.GRAPH).read_bytes()) <= 128
