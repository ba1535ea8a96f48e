"""Knowing the speaker: training with and without, the graph's optional input, profiles, and what is refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from safetensors.torch import load_file

import kanjo
from kanjo import bundle
from kanjo.corpora import read_corpus
from kanjo.errors import KanjoError
from kanjo.evaluation import evaluate as scoring
from kanjo.inference import speaker_profiles
from kanjo.train.config.loading import load_recipe, recipe_from
from kanjo.train.data.experiment_data import Material, emotions_of, prepare
from kanjo.train.export.onnx import Graph
from kanjo.train.fit import begun, fit
from kanjo.train.models.speaker_means import Voices, others_mean
from kanjo.train.tasks.base import WindowModule, system_of
from tests.conftest import train_words
from tests.shell import typed

SPOKEN = sorted((Path(__file__).parents[2] / "examples" / "recordings").glob("*.flac"))
RECIPE = """
name: known
corpora: [ravdess]
split: {protocol: speakers-k, k: 4}
audio: {sample_rate: 16000, window_s: 1.5, hop_s: 0.5, placement: random, crop_s: 1.28, trim_db: 38}
frontend: {n_fft: 512, hop_length: 160, n_mels: 64}
network: {type: mobilenet, weights: none, width: 0.1, pooling: blstm, lstm_units: 8, speaker: true}
augment: {speed: 0.05, background: 0.2, reverberation: 0.2, band: 0.2, codec: 0.2, mixup: 0.3}
training: {epochs: 6, batch_size: 8, learning_rate: 3.0e-3, patience: 9, precision: fp32, ema: 0.8, masked: true}
"""


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "known.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def run(recipe: Path, tiny_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network takes speakers, by the command."""
    folder = tmp_path_factory.mktemp("runs") / "known"
    done = typed(*train_words(recipe, tiny_corpora, folder))
    assert done.returncode == 0, done.stderr
    assert speakers_said(done.stdout)
    return folder


def speakers_said(text: str) -> bool:
    return "speakers known (enrolled with half of their clips, unlabelled)" in text


@pytest.fixture(autouse=True)
def _own_speakers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KANJO_SPEAKERS", str(tmp_path / "speakers"))


def test_scores_with_known_speakers_stand_beside_the_others(run: Path) -> None:
    plain, known = (json.loads((run / name).read_text()) for name in ("scores.json", "scores-enrolled.json"))
    assert plain["n"] == known["n"] == 16
    facts = bundle.read(run).facts
    assert facts.speaker_size == 32
    assert facts.enrolled == known
    assert "With speakers known" in (run / "report.html").read_text()
    rows = (run / "predictions.csv").read_text(), (run / "predictions-enrolled.csv").read_text()
    assert rows[0] != rows[1]


def test_nobody_known_and_somebody_known_are_what_torch_says(run: Path) -> None:
    made = bundle.read(run)
    recipe = recipe_from(made.facts.recipe, str(run))
    system = system_of(recipe, len(made.facts.labels))
    system.load_state_dict(load_file(run / "bundle" / bundle.WEIGHTS))
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.1, (3, made.facts.window)).astype(np.float32)
    told = np.concatenate([rng.normal(0, 1, (3, 32)), np.ones((3, 1))], 1).astype(np.float32)
    told[1] = 0
    session = onnxruntime.InferenceSession(str(made.graph))
    assert [item.name for item in session.get_inputs()] == ["signal"], "the speaker may be left out"
    plain = session.run(["probabilities"], {"signal": signal})[0]
    nobody = session.run(["probabilities"], {"signal": signal, "speaker": np.zeros((1, 33), np.float32)})[0]
    known = session.run(["probabilities"], {"signal": signal, "speaker": told})[0]
    np.testing.assert_array_equal(plain, nobody)
    np.testing.assert_allclose(known[1], plain[1], atol=1e-6)
    assert np.abs(known[0] - plain[0]).max() > 1e-4
    # the enrolled temperature is in the graph alone: what torch says at any other is another softening of the same order
    with torch.inference_mode():
        graph = Graph(system.eval(), made.facts.temperature, 1.0)
        ours = graph(torch.from_numpy(signal), torch.from_numpy(told))[0].numpy()
    np.testing.assert_allclose(ours[1], known[1], atol=1e-4)
    np.testing.assert_array_equal(ours.argsort(1), known.argsort(1))


def test_a_profile_is_the_mean_embedding_and_moves_the_answers(run: Path, tiny_corpora: Path) -> None:
    recognizer = kanjo.load(run)
    clips = sorted((tiny_corpora / "ravdess" / "Actor_01").glob("*"))
    heard = list(recognizer.predict_many(clips))
    spoken = [replace(item, speech_s=1.0) for item in heard]  # tones are no speech, and it is right about that
    with pytest.raises(KanjoError, match="no speech heard in"):
        speaker_profiles.profile_of("tone", recognizer.facts, heard)
    profile = speaker_profiles.profile_of("tone", recognizer.facts, spoken)
    np.testing.assert_allclose(profile.mean, np.mean([item.embedding for item in heard], 0), atol=1e-5)
    plain, known = recognizer.predict(clips[0]), recognizer.predict(clips[0], speaker=profile)
    assert plain.probabilities != known.probabilities
    assert plain.distance == known.distance
    path = speaker_profiles.write(profile)
    kept = speaker_profiles.read("tone")
    assert speaker_profiles.known() == ["tone"]
    np.testing.assert_allclose(kept.mean, profile.mean, atol=1e-6)
    for name in ("tone", path):
        again = recognizer.predict(clips[0], speaker=name)
        assert again.probabilities == pytest.approx(known.probabilities, abs=1e-5)


def test_a_stream_and_a_batch_with_known_speakers_say_what_predict_says(run: Path) -> None:
    recognizer = kanjo.load(run)
    profile = recognizer.enroll("synthesised", SPOKEN)
    signal, rate = soundfile.read(SPOKEN[0], dtype="float32")
    whole = recognizer.predict_signal(signal, rate, speaker=profile)
    stream = kanjo.Stream(recognizer, rate, speaker=profile)
    for start in range(0, len(signal), 1000):
        stream.feed(signal[start : start + 1000])
    assert stream.finish().probabilities == pytest.approx(whole.probabilities, abs=1e-5)
    many = list(recognizer.predict_many(SPOKEN, speaker=profile))
    assert many[0].probabilities == pytest.approx(
        recognizer.predict(SPOKEN[0], speaker=profile).probabilities, abs=1e-5
    )
    # side by side in one batch, somebody known and somebody not
    sides = [recognizer.hear(SPOKEN[0], recognizer.manner(speaker=one)) for one in (profile, None)]
    known, unknown = recognizer.answers(sides)
    assert known.probabilities == pytest.approx(whole.probabilities, abs=1e-5)
    assert unknown.probabilities == pytest.approx(recognizer.predict(SPOKEN[0]).probabilities, abs=1e-5)


def test_enrolling_listing_predicting_and_forgetting(run: Path) -> None:
    done = typed("enroll", "Ana B", *SPOKEN, "--model", run)
    assert done.returncode == 0, done.stderr
    assert f"Ana B: {len(SPOKEN)} recordings" in done.stdout
    assert "Ana B" in typed("enroll", "--list").stdout
    plain, known = (typed("predict", SPOKEN[0], "-m", run, "-f", "csv", *more) for more in ((), ("--speaker", "Ana B")))
    assert plain.returncode == known.returncode == 0
    assert plain.stdout != known.stdout
    assert typed("listen", "--from", SPOKEN[0], "-m", run, "--speaker", "Ana B").returncode == 0
    assert "forgotten" in typed("enroll", "Ana B", "--remove").stderr
    gone = typed("predict", SPOKEN[0], "-m", run, "--speaker", "Ana B")
    assert gone.returncode == 1 and "no speaker Ana B" in gone.stderr and "enrolled: nobody" in gone.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["enroll", "../up", *SPOKEN], "expected letters, digits"),
        (["enroll", "ana"], "expected a name and recordings"),
        (["enroll", "ana", "nothing.wav"], "1 of 1 recordings can't be heard; no profile was made"),
        (["enroll", "ana", *SPOKEN, "-o", "ana.txt"], "ends in .json"),
        (["enroll", "ana", "--remove"], "no speaker ana; enrolled: nobody"),
    ],
)
def test_what_cannot_be_enrolled(run: Path, words: list[object], said: str) -> None:
    done = typed(*words, "--model", run)
    assert done.returncode in (1, 2)
    assert said in " ".join(done.stderr.split()).replace("│ ", "")
    assert not speaker_profiles.known()


def test_profiles_of_other_bundles_and_damaged_ones_are_refused(run: Path, tiny_run: Path, tmp_path: Path) -> None:
    recognizer, without = kanjo.load(run), kanjo.load(tiny_run)
    with pytest.raises(KanjoError, match="tiny takes no speaker"):
        without.enroll("ana", SPOKEN)
    profile = recognizer.enroll("ana", SPOKEN)
    with pytest.raises(KanjoError, match="tiny takes no speaker"):
        without.predict(SPOKEN[0], speaker=profile)
    with pytest.raises(KanjoError, match="enroll them again"):
        recognizer.predict(SPOKEN[0], speaker=replace(profile, sha256="0" * 64))
    for name, content in {
        "none": "[]",
        "newer": '{"format_version": 99}',
        "torn": "{",
        "odd": '{"format_version": 1, "mean": [null]}',
    }.items():
        path = tmp_path / f"{name}.json"
        path.write_text(content)
        with pytest.raises(KanjoError, match=r"profile|not JSON"):
            recognizer.predict(SPOKEN[0], speaker=path)
    assert typed("evaluate", tiny_run, tmp_path, "--enrolled").stderr.startswith(
        "kanjo: the bundle tiny takes no speaker"
    )


def test_no_clip_is_answered_by_a_profile_that_heard_it(
    run: Path, tiny_corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = kanjo.load(run)
    manifest = read_corpus("ravdess", tiny_corpora / "ravdess")
    rows = [row for row in manifest.utterances if row.speaker in ("01", "02")]
    paths = [manifest.path(row) for row in rows]
    asked: list[tuple[set[str], str | None]] = []
    enrolled: list[set[str]] = []
    honest, profile_of = scoring._predictions, scoring.profile_of

    def noted(recognizer_, rows_, paths, known, speaker=None):  # type: ignore[no-untyped-def]
        asked.append(({rows_[i].file for i in known}, speaker.name if speaker else None))
        yield from (replace(item, speech_s=1.0) for item in honest(recognizer_, rows_, paths, known, speaker))

    def made(name, facts, heard):  # type: ignore[no-untyped-def]
        enrolled.append({answer.file for answer in heard})
        return profile_of(name, facts, heard)

    monkeypatch.setattr(scoring, "_predictions", noted)
    monkeypatch.setattr(scoring, "profile_of", made)
    before = scoring.evaluate(recognizer, rows, paths)
    found = scoring.evaluate_enrolled(recognizer, rows, paths, before)
    assert len(found.answers) == len(rows)
    (plain, nobody), *then = asked
    assert nobody is None and plain == {row.file for row in rows}
    assert len(then) == len(enrolled) == 4 and {who for _, who in then} == {"ravdess/01", "ravdess/02"}
    for heard, (answered, who) in zip(enrolled, then, strict=True):
        assert heard | answered == {row.file for row in rows if row.speaker_key == who} and not heard & answered
    assert sum(len(answered) for answered, _ in then) == len(rows), "each is answered once more, not twice"


def _material(recipe: Path, corpora: Path) -> Material:
    return prepare(load_recipe(str(recipe), [], str(corpora)), str(corpora))


def test_no_test_clip_reaches_training_validation_or_calibration(
    recipe: Path, tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every clip that is read while a network is fitted: statistics, training, choice of the epoch, temperatures, the plane of what is familiar."""
    from kanjo.train.calibration import ood
    from kanjo.train.data.audio_cache import Pack
    from kanjo.train.export.onnx import to_onnx

    material = _material(recipe, tiny_corpora)
    fold = material.fold(1)
    honest, read = Pack.signal, set()

    def noted(self: Pack, i: int) -> np.ndarray:
        read.add(i)
        return honest(self, i)

    monkeypatch.setattr(Pack, "signal", noted)
    fitted = fit(material, fold, tmp_path / "run")
    graph = to_onnx(fitted.system, 1.0, material.recipe.audio.window)
    ood.with_distance(graph, ood.plane_for(fold, partial(ood.embeddings_of, graph, material)))
    assert read == {*fold.train, *fold.validation}
    theirs = {material.rows[i].speaker_key for i in fold.test}
    assert theirs and not theirs & {material.rows[i].speaker_key for i in read}


def test_the_average_of_the_weights_is_what_is_kept(recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    material = _material(recipe, tiny_corpora)
    fitted = fit(material, material.fold(1), tmp_path / "run")
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    key = "system.network.output.weight"
    apart = (last["state_dict"][key] - last["current_model_state"][key]).abs().max()
    assert apart > 1e-4, "the average lags behind the newest weights"
    torch.testing.assert_close(fitted.system.state_dict()["network.output.weight"], best["state_dict"][key])
    assert fitted.enrolled is not None and 0 <= fitted.enrolled.validation_uar <= 1


def test_corpora_are_told_only_from_their_own_emotions(recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    material = _material(recipe, tiny_corpora)
    fold = material.fold(1)
    has = emotions_of(material, fold)
    assert has.all() and has.shape == (1, len(material.emotions))
    few = replace(
        material,
        rows=tuple(row._replace(corpus="b" if i in fold.train[:4] else "a") for i, row in enumerate(material.rows)),
    )
    known = emotions_of(few, fold)
    corpora = list(dict.fromkeys(row.corpus for row in few.rows))
    theirs = {few.labels[i] for i in fold.train[:4]}
    assert set(known[corpora.index("b")].nonzero().flatten().tolist()) == theirs
    _, module, batches, _ = begun(material, fold, tmp_path, None, False)
    assert isinstance(module, WindowModule)
    module.emotions = torch.tensor([[True, True] + [False] * 6])
    batch = next(iter(batches))
    batch["label"] = batch["label"] % 2
    logits, targets = module.training_logits(batch)
    assert (logits[:, 2:] == -1e4).all() and (targets[:, 2:] == 0).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(len(targets)))


def test_means_follow_each_speaker_and_leave_nobody_out() -> None:
    voices = Voices(3, 2)
    assert not voices.of(torch.tensor([0, -1]))[1].any()
    voices.update(torch.tensor([[1.0, 1.0], [3.0, 3.0], [9.0, 9.0]]), torch.tensor([0, 0, -1]))
    mean, known = voices.of(torch.tensor([0, 1, -1]))
    assert mean[0].tolist() == [2.0, 2.0]
    assert known.flatten().tolist() == [True, False, False]
    voices.update(torch.tensor([[4.0, 4.0]]), torch.tensor([0]))
    assert voices.means[0].tolist() == pytest.approx([2.1, 2.1])  # 0.95 of what was, 0.05 of what came
    mean, known = others_mean(torch.tensor([[1.0], [3.0], [8.0], [5.0]]), torch.tensor([0, 0, 1, 0]))
    assert mean.flatten().tolist()[:2] == [4.0, 3.0] and mean[3] == 2.0
    assert known.flatten().tolist() == [True, True, False, True]


def test_profiles_are_small_and_hold_no_sound(run: Path) -> None:
    profile = kanjo.load(run).enroll("ana", SPOKEN)
    path = speaker_profiles.write(profile)
    assert path.stat().st_size < 20_000
    assert set(json.loads(path.read_text())) == {
        "format_version",
        "name",
        "bundle",
        "sha256",
        "clips",
        "speech_s",
        "mean",
    }
    assert path.parent == Path(os.environ["KANJO_SPEAKERS"])
