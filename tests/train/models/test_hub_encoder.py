"""Encoders of the library transformers: equal to transformers, indifferent to padding, trained, exported, predicted."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from kanjo import bundle as bundles
from kanjo.errors import KanjoError, RecipeError
from kanjo.inference import onnx_session
from kanjo.train.config.loading import load_recipe, override_values
from kanjo.train.models import hub_source
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from kanjo.train.models.hub_encoder import HubEncoder
from tests.conftest import read_table
from tests.shell import run_kanjo

transformers = pytest.importorskip("transformers", reason="transformers (extra hub) is not installed")

CONVOLUTIONAL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 2048,  # the smallest layers that --int8 quantizes have 65,536 weights
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 10,
}
PRE_NORM: dict[str, Any] = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
DATA2VEC: dict[str, Any] = {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}
W2V_BERT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 2048,
    "vocab_size": 10,
}
WHISPER: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 2048,
    "decoder_ffn_dim": 64,
    "vocab_size": 60,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1),
}
#: Name, class of the configuration, its settings.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2": ("Wav2Vec2Config", CONVOLUTIONAL),
    "hubert": ("HubertConfig", CONVOLUTIONAL),
    "wavlm": ("WavLMConfig", CONVOLUTIONAL),
    "data2vec-audio": ("Data2VecAudioConfig", {**CONVOLUTIONAL, **DATA2VEC}),
    "w2v-bert": ("Wav2Vec2BertConfig", W2V_BERT),
    "whisper": ("WhisperConfig", WHISPER),
}
OTHER_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2-pre-norm": ("Wav2Vec2Config", {**CONVOLUTIONAL, **PRE_NORM}),
    "wavlm-pre-norm": ("WavLMConfig", {**CONVOLUTIONAL, **PRE_NORM}),
    "unispeech": ("UniSpeechConfig", CONVOLUTIONAL),
    "unispeech-sat": ("UniSpeechSatConfig", CONVOLUTIONAL),
}
VARIANTS = {**FAMILIES, **OTHER_VARIANTS}
N_SAMPLES = 12_160


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny model of each family, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("encoders")
    transformers.utils.logging.disable_progress_bar()
    for name, (config_class, settings) in VARIANTS.items():
        torch.manual_seed(0)
        config = getattr(transformers, config_class)(**settings)
        transformers.AutoModel.from_config(config).save_pretrained(folder / name)
    return folder


def _recipe_text(source: Path, *, whisper: bool = False, **model: Any) -> str:
    content = {
        "base": "whisper-base" if whisper else "hub-encoder",
        "name": "tiny",
        "split": {"protocol": "speaker_kfold", "n_folds": 4},
        "audio": {"window_s": 2.0, "hop_s": 0.5},
        "model": {"source": str(source), "layers": [1, 2], **model},
        "training": {"n_augmented_copies": 0},
    }
    return yaml.safe_dump(content)


def _write_recipe(folder: Path, source: Path, **settings: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(_recipe_text(source, **settings), encoding="utf-8")
    return path


def _build(folder: Path, source: Path, **settings: Any) -> EmotionModel:
    """Build the model with the weights of the source."""
    recipe = load_recipe(str(_write_recipe(folder, source, **settings)))
    emotion_model = build_emotion_model(recipe, 4).eval()
    _encoder(emotion_model).load_pretrained()
    return emotion_model


def _encoder(emotion_model: EmotionModel) -> HubEncoder:
    encoder = emotion_model.model.encoder
    assert isinstance(encoder, HubEncoder)
    return encoder


def _speech(n_samples: int = N_SAMPLES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(n_samples, generator=generator) * torch.linspace(0.02, 0.1, n_samples)


def _expected_layers(name: str, source: Path, speech: torch.Tensor) -> tuple[torch.nn.Module, list[torch.Tensor]]:
    """The model of transformers, and the outputs of its two layers without padding; the last is normalized."""
    model = transformers.AutoModel.from_pretrained(source, attn_implementation="eager").eval()
    if name == "w2v-bert":
        scaled = speech / speech.square().mean().sqrt() * 0.1
        extractor = transformers.SeamlessM4TFeatureExtractor()
        inputs = extractor(scaled.numpy(), sampling_rate=16_000, return_tensors="pt")
    else:
        extractor = transformers.Wav2Vec2FeatureExtractor()
        inputs = extractor(speech.numpy(), sampling_rate=16_000, return_tensors="pt")
        inputs = {"input_values": inputs.input_values}  # without padding, a mask changes nothing
    output = model(**inputs, output_hidden_states=True)
    return model, [output.hidden_states[1], output.last_hidden_state]


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "whisper"])
def test_hub_encoder_layers_equal_those_of_transformers(name: str, sources: Path, tmp_path: Path) -> None:
    emotion_model, speech = _build(tmp_path, sources / name), _speech()
    with torch.inference_mode():
        outputs, mask = _encoder(emotion_model)(*emotion_model.features(speech[None]))
        model, expected = _expected_layers(name, sources / name, speech)
        last = model.encoder.layer_norm(outputs[1]) if "pre-norm" in name else outputs[1]
    n_steps = int(mask.sum())
    assert n_steps == expected[0].shape[1] == (N_SAMPLES - 400) // 320 + 1
    for output, layer in zip((outputs[0], last), expected, strict=True):
        torch.testing.assert_close(output[:, :n_steps], layer, atol=1e-4, rtol=0)


def test_hub_encoder_whisper_of_30_s_equals_transformers(sources: Path, tmp_path: Path) -> None:
    emotion_model = _build(tmp_path, sources / "whisper", whisper=True)
    model = transformers.AutoModel.from_pretrained(sources / "whisper", attn_implementation="eager").eval()
    with torch.inference_mode():
        features, n_frames = emotion_model.features(_speech(480_000)[None])
        outputs, _ = _encoder(emotion_model)(features, n_frames)
        expected = model.encoder(features[:, 0], output_hidden_states=True).hidden_states
    torch.testing.assert_close(outputs[0], expected[1], atol=1e-4, rtol=0)
    assert len(outputs) == 2 and outputs[0].shape == (1, 1500, 32)


@pytest.mark.parametrize("name", VARIANTS)
def test_hub_encoder_padding_changes_nothing(name: str, sources: Path, tmp_path: Path) -> None:
    emotion_model, speech = _build(tmp_path, sources / name, whisper=name == "whisper"), _speech()
    padded = torch.zeros(2, 32_000)
    padded[0, :N_SAMPLES], padded[1] = speech, _speech(32_000)
    with torch.inference_mode():
        expected, embeddings = emotion_model(speech[None])[1], emotion_model(padded)[1]
        silence = emotion_model(torch.zeros(1, 8000))[1]
    torch.testing.assert_close(embeddings[:1], expected, atol=1e-3, rtol=0)
    assert float(expected.std()) > 0.01 and torch.isfinite(silence).all()


def test_hub_encoder_keeps_only_the_layers_up_to_the_highest(sources: Path, tmp_path: Path) -> None:
    one, two = (_build(tmp_path, sources / "wavlm", layers=layers) for layers in ([1], [2]))
    assert (len(_encoder(one).layers), len(_encoder(two).layers)) == (1, 2)
    with torch.inference_mode():
        inputs = one.features(_speech()[None])
        torch.testing.assert_close(_encoder(one)(*inputs)[0][0], _encoder(two)(*inputs)[0][0])
    assert len(_encoder(two).parts()) == 2


def test_hub_encoder_settings_are_part_of_the_cache_keys(sources: Path, tmp_path: Path) -> None:
    digests = []
    for normalize in (True, False):
        (sources / "hubert" / hub_source.PREPROCESSOR_FILE).write_text(
            json.dumps({"do_normalize": normalize, "sampling_rate": 16_000}), encoding="utf-8"
        )
        encoder = _encoder(_build(tmp_path, sources / "hubert"))
        assert encoder.normalize is normalize
        digests.append([value.tolist() for part in encoder.parts()[0][:1] for value in part.state_dict().values()])
    (sources / "hubert" / hub_source.PREPROCESSOR_FILE).unlink()
    assert digests[0] != digests[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_hub_encoder_is_trained_exported_and_predicts(
    name: str, sources: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    recipe = _write_recipe(tmp_path, sources / name, whisper=name == "whisper")
    result = run_kanjo("train", recipe, "--corpus-root", tiny_corpora, "-o", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    bundle = bundles.read_bundle(tmp_path / "run" / "bundle")
    assert bundle.metadata.export_check["largest_difference"] < 1e-4
    assert bundle.metadata.recipe["model"]["weights"] == str(sources / name)
    clip = sorted(tiny_corpora.rglob("*.wav"))[0]
    predicted = run_kanjo("predict", clip, "--model", tmp_path / "run" / "bundle", "--format", "json")
    assert predicted.returncode == 0 and json.loads(predicted.stdout), predicted.stderr
    small = tmp_path / "small"
    result = run_kanjo(
        "export", tmp_path / "run" / "bundle", "-o", small, "--int8", "--fp16", "--corpus-root", tiny_corpora
    )
    assert result.returncode == 0, result.stderr
    assert "int8" in bundles.read_bundle(small).metadata.quantization
    signal = {"signal": _speech()[None].numpy()}
    outputs = [
        onnx_session.create_session(folder / bundles.GRAPH_FILE, 1).run(["probabilities"], signal)[0]
        for folder in (tmp_path / "run" / "bundle", small)
    ]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=0.05)
    assert read_table(tmp_path / "run" / "predictions.csv")


def _train_error(recipe: Path, corpora: Path, run: Path, *overrides: str) -> str:
    """The last line of stderr of a training that fails."""
    settings = [word for override in overrides for word in ("--set", override)]
    result = run_kanjo("train", recipe, "--corpus-root", corpora, "-o", run, *settings)
    assert result.returncode != 0 and "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.layers=[1, 3]"], "has the layers 1 to 2"),
        (["audio.sample_rate=8000"], "audio.sample_rate is 8000; .* needs 16000"),
        (["features={type: log-mel}"], "needs features.type waveform"),
        (["model.source=./no-such-folder"], "no-such-folder: no such folder"),
        (["model.weights=imagenet"], "weights imagenet: expected auto, none or"),
        (["model.revision=main"], "is a folder, which has no revisions"),
        (["model.ffn_dim=64"], "ffn_dim is for kanjo's own Whisper"),
        (["model.source=wav2vec2"], "needs features.type log-mel"),
    ],
)
def test_train_bad_setting_is_one_line(
    overrides: list[str], message: str, sources: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    recipe = _write_recipe(tmp_path, sources / "wav2vec2")
    line = _train_error(recipe, tiny_corpora, tmp_path / "run", *overrides)
    assert re.search(message, line), line


def _copy_source(source: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a model with other values in config.json."""
    folder.mkdir()
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    (folder / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "a model of type 'bert'; expected a speech encoder"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 1]}, "it has 100 steps per second; expected an encoder with 50"),
        ({"hidden_size": "many"}, "config.json can't be used"),
        ({"hidden_size": 64}, "the weights can't be read"),
    ],
)
def test_hub_encoder_unsuitable_configuration_is_an_error(
    changes: dict[str, Any], message: str, sources: Path, tmp_path: Path
) -> None:
    source = _copy_source(sources / "wav2vec2", tmp_path / "copy", **changes)
    with pytest.raises(RecipeError, match=message) as raised:
        _build(tmp_path, source)
    assert "\n" not in str(raised.value)


def test_hub_encoder_pickled_weights_are_refused(sources: Path, tmp_path: Path) -> None:
    source = _copy_source(sources / "wav2vec2", tmp_path / "copy")
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    with pytest.raises(RecipeError, match="only pickled weights, which may run code; expected model.safetensors"):
        _build(tmp_path, source)


def test_hub_encoder_damaged_or_missing_weights_are_an_error(sources: Path, tmp_path: Path) -> None:
    source = _copy_source(sources / "wav2vec2", tmp_path / "copy")
    (source / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(RecipeError, match="the weights can't be read"):
        _build(tmp_path, source)
    (source / "model.safetensors").unlink()
    with pytest.raises(RecipeError, match="no weights; expected model.safetensors"):
        _build(tmp_path, source)
    (source / "config.json").unlink()
    with pytest.raises(RecipeError, match=r"config.json: .*; expected a model of transformers"):
        _build(tmp_path, source)


def test_hub_encoder_other_models_weights_are_an_error(sources: Path, tmp_path: Path) -> None:
    source = _copy_source(sources / "wav2vec2", tmp_path / "copy")
    (source / "model.safetensors").write_bytes((sources / "whisper" / "model.safetensors").read_bytes())
    with pytest.raises(RecipeError, match=r"the weights lack .* and \d+ others"):
        _build(tmp_path, source)


def _hub_error(error: Exception) -> Any:
    def download(*_: Any, **__: Any) -> str:
        raise error

    return download


def test_find_encoder_on_the_hub_without_network_names_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RecipeError, match=r"neither cached nor can it be downloaded \(HF_HUB_OFFLINE is set\)"):
        hub_source.find_encoder("someone/no-such-encoder")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("GatedRepoError", "accept its conditions at https://huggingface.co/a/b, then log in"),
        ("RepositoryNotFoundError", "neither a folder nor a public name of the Hugging Face Hub"),
        ("RevisionNotFoundError", "model.revision x: a/b has no such commit, tag or branch"),
        ("RemoteEntryNotFoundError", "has no config.json at revision x"),
    ],
)
def test_find_encoder_refused_by_the_hub_is_one_line(error: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    kind = getattr(errors, error)
    exception = kind.__new__(kind)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", _hub_error(exception))
    with pytest.raises(RecipeError, match=message) as raised:
        hub_source.find_encoder("a/b", "x")
    assert "\n" not in str(raised.value)


def _fake_hub(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Let a folder named like a commit answer all downloads; returns the requests."""
    import huggingface_hub
    from huggingface_hub import errors

    requests: list[tuple[str, str | None]] = []

    def download(_: str, name: str, revision: str | None = None) -> str:
        requests.append((name, revision))
        if not (snapshot / name).is_file():
            raise errors.EntryNotFoundError(name)
        return str(snapshot / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return requests


@pytest.mark.slow
def test_train_hub_name_stores_the_commit(
    sources: Path, tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    requests = _fake_hub(_copy_source(sources / "hubert", tmp_path / commit), monkeypatch)
    recipe = _write_recipe(tmp_path, Path("user/model"))
    arguments = ("train", recipe, "--corpus-root", tiny_corpora, "-o", tmp_path / "run", "--skip-test")
    assert run_kanjo(*arguments).returncode == 0
    stored = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8"))["model"]
    assert (stored["revision"], stored["weights"]) == (commit, "user/model")
    assert requests[0] == ("config.json", None) and ("model.safetensors", commit) in requests


def test_pretrained_model_of_a_repository_without_safetensors_is_an_error(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _copy_source(sources / "hubert", tmp_path / "0123abc")
    (source / "model.safetensors").unlink()
    _fake_hub(source, monkeypatch)
    with pytest.raises(RecipeError, match="only pickled weights"):
        hub_source.pretrained_model(hub_source.find_encoder("user/model"), 1)


def test_find_encoder_without_transformers_names_the_extra(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(KanjoError, match=r"needs the package transformers: pip install 'kanjo\[hub\]'"):
        hub_source.find_encoder(str(sources / "wavlm")).transformers_config()


def test_recipe_revision_of_kanjos_own_whisper_is_an_error() -> None:
    with pytest.raises(RecipeError, match="revision is for names of the Hugging Face Hub"):
        override_values(load_recipe("whisper-base"), {"model.revision": "main"})
