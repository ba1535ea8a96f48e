"""A small model with speaker conditioning, trained, exported and evaluated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import kanjo
from kanjo import bundle
from kanjo.errors import KanjoError
from kanjo.experiments.run_folder import RunFolder
from kanjo.inference.onnx_session import create_session
from kanjo.train.config.loading import load_recipe, parse_recipe
from kanjo.train.data.audio_cache import AudioCache
from kanjo.train.data.experiment_data import ExperimentData, label_mask_per_corpus, load_experiment_data
from kanjo.train.export.bundle import export_bundle
from kanjo.train.export.onnx import ExportGraph
from kanjo.train.fit import build_training_run, fit
from kanjo.train.models.emotion_model import build_emotion_model
from kanjo.train.tasks.end_to_end import EndToEndModule
from tests.clips import SENTENCES
from tests.conftest import train_arguments
from tests.shell import run_kanjo

EMBEDDING_SIZE = 32
RECIPE = """
name: conditioned
corpora: [ravdess]
split: {protocol: speaker_kfold, n_folds: 4}
audio: {sample_rate: 16000, window_s: 1.5, hop_s: 0.5, placement: random, crop_s: 1.28, trim_db: 38}
features: {n_fft: 512, hop_length: 160, n_mels: 64}
model:
  type: mobilenet
  weights: none
  width: 0.1
  pooling: blstm
  lstm_units: 8
  speaker_conditioning: true
augment:
  max_speed_change: 0.05
  background_noise_prob: 0.2
  reverb_prob: 0.2
  bandpass_prob: 0.2
  telephone_prob: 0.2
  mixup_alpha: 0.3
training:
  epochs: 6
  batch_size: 8
  learning_rate: 3.0e-3
  early_stopping_patience: 9
  precision: fp32
  ema_decay: 0.8
  mask_missing_labels: true
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "conditioned.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(recipe: Path, tiny_corpora: Path) -> ExperimentData:
    return load_experiment_data(load_recipe(str(recipe)), str(tiny_corpora))


@pytest.fixture(scope="module")
def run(recipe: Path, tiny_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run of ``kanjo train``."""
    folder = tmp_path_factory.mktemp("runs") / "conditioned"
    result = run_kanjo(*train_arguments(recipe, tiny_corpora, folder))
    assert result.returncode == 0, result.stderr
    assert "with enrollment" in result.stdout
    return RunFolder(folder)


@pytest.mark.slow
def test_run_has_scores_with_and_without_enrollment(run: RunFolder) -> None:
    without, enrolled = (json.loads(path.read_text()) for path in (run.scores, run.scores_enrolled))
    assert without["n"] == enrolled["n"] == 16
    metadata = bundle.read_bundle(run.path).metadata
    assert metadata.speaker_size == EMBEDDING_SIZE
    assert metadata.scores_enrolled == enrolled
    assert "With enrollment" in run.report.read_text()
    assert run.predictions.read_text() != run.predictions_enrolled.read_text()


@pytest.mark.slow
def test_exported_graph_with_speaker_equals_pytorch(run: RunFolder) -> None:
    exported = bundle.read_bundle(run.path)
    recipe = parse_recipe(exported.metadata.recipe, str(run))
    model = build_emotion_model(recipe, len(exported.metadata.labels))
    model.load_state_dict(load_file(exported.folder / bundle.WEIGHTS_FILE))
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.1, (3, exported.metadata.window_length)).astype(np.float32)
    speaker = np.concatenate([rng.normal(0, 1, (3, EMBEDDING_SIZE)), np.ones((3, 1))], 1).astype(np.float32)
    speaker[1] = 0  # an unknown speaker
    session = create_session(exported.graph, 1)
    assert [node.name for node in session.get_inputs()] == ["signal"]  # the speaker input is optional
    unknown = np.zeros((1, EMBEDDING_SIZE + 1), np.float32)
    without, with_zeros, with_speaker = (
        session.run(["probabilities"], {"signal": signal, **inputs})[0]
        for inputs in ({}, {"speaker": unknown}, {"speaker": speaker})
    )
    np.testing.assert_array_equal(without, with_zeros)
    np.testing.assert_allclose(with_speaker[1], without[1], atol=1e-6)
    assert np.abs(with_speaker[0] - without[0]).max() > 1e-4
    # The temperature for enrolled speakers is only in the graph; another one does not change the order of emotions.
    with torch.inference_mode():
        graph = ExportGraph(model.eval(), exported.metadata.temperature, 1.0)
        expected = graph(torch.from_numpy(signal), torch.from_numpy(speaker))[0].numpy()
    np.testing.assert_allclose(expected[1], with_speaker[1], atol=1e-4)
    np.testing.assert_array_equal(expected.argsort(1), with_speaker.argsort(1))


@pytest.mark.slow
def test_profile_of_the_trained_model_changes_predictions(run: RunFolder, tiny_corpora: Path) -> None:
    recognizer = kanjo.load(run.path)
    clips = sorted((tiny_corpora / "ravdess" / "Actor_01").glob("*"))
    with pytest.raises(KanjoError, match="no speech detected"):  # the clips are tones
        recognizer.enroll("tone", clips)
    profile = replace(recognizer.enroll("ana", SENTENCES), weight=1.0)
    without, with_profile = recognizer.predict(clips[0]), recognizer.predict(clips[0], speaker=profile)
    assert without.probabilities != with_profile.probabilities
    assert without.ood_score == with_profile.ood_score


def test_evaluate_with_enrollment_needs_speaker_conditioning(tmp_path: Path) -> None:
    builtin = bundle.read_bundle("default")
    metadata = replace(builtin.metadata, name="plain", speaker_size=0)
    bundle.write_bundle(tmp_path / "plain", builtin.graph.read_bytes(), metadata)
    result = run_kanjo("evaluate", tmp_path / "plain", tmp_path, "--with-enrollment")
    assert result.stderr.startswith("kanjo: the bundle plain does not support speaker profiles")


@pytest.mark.slow
def test_fit_and_export_read_no_test_clip(
    data: ExperimentData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics, training, choice of the epoch, temperatures and the OOD scorer use no test clip."""
    fold = data.fold(1)
    original, read = AudioCache.signal, set()

    def recorded(self: AudioCache, i: int) -> np.ndarray:
        read.add(i)
        return original(self, i)

    monkeypatch.setattr(AudioCache, "signal", recorded)
    trained = fit(data, fold, RunFolder(tmp_path / "run").fit_paths())
    monkeypatch.setattr("kanjo.train.export.bundle.verify_export", lambda *_: {})  # it compares graphs on all clips
    export_bundle(data, fold, trained, tmp_path / "bundle", {})
    assert read == {*fold.train, *fold.validation}
    test_speakers = {data.utterances[i].speaker_key for i in fold.test}
    assert test_speakers and not test_speakers & {data.utterances[i].speaker_key for i in read}


@pytest.mark.slow
def test_fit_with_ema_keeps_the_averaged_weights(data: ExperimentData, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    trained = fit(data, data.fold(1), run.fit_paths())
    last, best = (torch.load(run.checkpoints / name, weights_only=True) for name in ("last.ckpt", "best.ckpt"))
    key = "emotion_model.model.output.weight"
    assert (last["state_dict"][key] - last["current_model_state"][key]).abs().max() > 1e-4
    torch.testing.assert_close(trained.emotion_model.state_dict()["model.output.weight"], best["state_dict"][key])
    assert trained.enrolled is not None and 0 <= trained.enrolled.validation_uar <= 1


def test_label_mask_per_corpus_contains_the_emotions_of_the_training_clips(data: ExperimentData) -> None:
    fold = data.fold(1)
    mask = label_mask_per_corpus(data, fold)
    assert mask.all() and mask.shape == (1, len(data.emotions))
    two_corpora = replace(
        data,
        utterances=tuple(
            row._replace(corpus="b" if i in fold.train[:4] else "a") for i, row in enumerate(data.utterances)
        ),
    )
    mask = label_mask_per_corpus(two_corpora, fold)
    corpora = list(dict.fromkeys(row.corpus for row in two_corpora.utterances))
    expected = {data.labels[i] for i in fold.train[:4]}
    assert set(mask[corpora.index("b")].nonzero().flatten().tolist()) == expected


def test_training_logits_with_label_mask_exclude_missing_emotions(data: ExperimentData) -> None:
    run = build_training_run(data, data.fold(1))
    assert isinstance(run.module, EndToEndModule)
    run.module.label_mask = torch.tensor([[True, True] + [False] * 6])
    batch = next(iter(run.train_loader))
    batch["label"] = batch["label"] % 2
    logits, targets = run.module.training_logits(batch)
    assert (logits[:, 2:] == -1e4).all() and (targets[:, 2:] == 0).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(len(targets)))
