"""A committee: its arithmetic, runs joined by the command, what may be done with the bundle, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

import kanjo
from kanjo import bundle
from kanjo.cli import app
from kanjo.errors import KanjoError
from kanjo.evaluation.evaluate import read_answers
from kanjo.train.fit import begun, fit
from kanjo.train.join import joined as joined_runs
from kanjo.train.join import joined_recipe
from kanjo.train.material import prepare
from kanjo.train.module import WindowModule
from kanjo.train.networks.committee import Committee
from kanjo.train.networks.crnn import Crnn
from kanjo.train.recipe import load_recipe

RECIPE = """
name: seat
corpora: [ravdess]
split: {protocol: speakers-k, k: 2}
audio: {sample_rate: 16000, window_s: 1.5, hop_s: 0.5, placement: random, crop_s: 1.28}
frontend: {n_fft: 512, hop_length: 160, n_mels: 64, normalization: none}
network: {type: crnn, filters: [8, 8, 16, 16], lstm_units: 8, speaker: true, functionals: true}
training: {epochs: 2, batch_size: 16, learning_rate: 3.0e-3, precision: fp32, ema: 0.8, schedule: cosine}
"""


def _run(*words: object, code: int) -> Result:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, (done.output, done.exception)
    return done


def _refused(*words: object) -> str:
    done = _run(*words, code=1)
    assert isinstance(done.exception, KanjoError), done.output
    return str(done.exception)


@pytest.fixture(scope="module")
def home(tiny_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cross-validations whose first fold is done: ``one``, and ``two`` with another network."""
    folder = tmp_path_factory.mktemp("join")
    recipe = folder / "seat.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    other = ["--set", "training.seed=7", "--set", "network.lstm_units=6"]
    for place, words in (("one/fold-1", []), ("two/fold-1", other)):
        _run("train", recipe, "--corpus-root", tiny_corpora, "-s", "-o", folder / place, *words, code=0)
    return folder


@pytest.fixture(scope="module")
def joined(home: Path, tiny_corpora: Path) -> Path:
    """The fold of both, joined as cross-validations are: it is pooled, and the fold that is missing is named."""
    words = ["join", home / "one", home / "two", "-o", home / "out", "--corpus-root", tiny_corpora, "--name", "duo"]
    done = _run(*words, code=1)
    assert "1 of 2 folds pooled" in done.stdout and "speakers known" in done.stdout
    assert "missing folds: 2" in done.stderr
    return home / "out" / "fold-1"


def test_a_committee_answers_with_the_mean_of_its_members_probabilities() -> None:
    torch.manual_seed(0)
    members = [Crnn(3, (1, 64, 160), filters=(8, 8, 8, 8), lstm_units=n, speaker=True, functionals=True).eval() for n in (4, 6)]
    committee = Committee(members).eval()
    committee.temperatures.copy_(torch.tensor([[0.5, 0.7], [2.0, 3.0]]))
    features, frames = torch.randn(5, 1, 64, 160), torch.tensor([160, 80, 60, 160, 40])
    with torch.inference_mode():
        logits, embedding = committee(features, frames)
        theirs = [member(features, frames) for member in members]
        mean = sum(torch.softmax(own / heat, 1) for (own, _), heat in zip(theirs, (0.5, 2.0), strict=True)) / 2
        torch.testing.assert_close(torch.softmax(logits, 1), mean)
        assert embedding.shape == (5, sum(member.embedding_size for member in members)) == (5, committee.speaker_size)
        pooled = torch.cat([own[:, : member.pooled_size] for member, (_, own) in zip(members, theirs, strict=True)], 1)
        torch.testing.assert_close(embedding[:, : committee.pooled_size], pooled)
        # a speaker's mean goes to each member as its own does, and known speakers have temperatures of their own
        speaker, known = embedding.mean(0, keepdim=True).expand(5, -1), torch.tensor([[1.0], [0.0], [1.0], [0.0], [1.0]])
        told = [
            member(features, frames, own.mean(0, keepdim=True), known)[0]
            for member, (_, own) in zip(members, theirs, strict=True)
        ]
        heats = [torch.where(known > 0, 0.7, 0.5), torch.where(known > 0, 3.0, 2.0)]
        mean = sum(torch.softmax(own / heat, 1) for own, heat in zip(told, heats, strict=True)) / 2
        torch.testing.assert_close(torch.softmax(committee(features, frames, speaker, known)[0], 1), mean)


def test_training_starts_from_the_member_that_is_its_network(joined: Path, home: Path, tiny_corpora: Path) -> None:
    """Not from the first: from the one with as many units; and another network is told which the committee has."""
    words = ["--corpus-root", tiny_corpora, "-s", "--set", f"init={joined}", "--set", "training.epochs=1"]
    words += ["--set", "training.learning_rate=1e-9", "--set", "training.weight_decay=0", "--set", "training.ema=0"]
    _run("train", home / "seat.yaml", "-o", home / "second", *words, "--set", "network.lstm_units=6", code=0)
    ours, theirs = (load_file(bundle.read(path).folder / bundle.WEIGHTS) for path in (home / "second", home / "two" / "fold-1"))
    for name in ("network.lstm.weight_hh_l0", "network.convolutions.3.weight", "network.output.weight"):
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=0)
    said = _refused("train", home / "seat.yaml", "-o", home / "third", *words, "--set", "network.lstm_units=5")
    assert "the bundle duo holds another network: network.type is crnn, the bundle's committee" in said


def test_joined_runs_are_a_run_with_a_bundle_of_its_own(joined: Path, home: Path) -> None:
    facts = bundle.read(joined).facts
    members = [bundle.read(path).facts for path in (home / "one" / "fold-1", home / "two" / "fold-1")]
    assert facts.name == "duo"
    assert facts.n_parameters == sum(member.n_parameters for member in members)
    assert facts.speaker_size == sum(member.speaker_size for member in members)
    assert [corpus["name"] for corpus in facts.corpora] == ["ravdess"], "what both members learnt from is said once"
    assert set(facts.split["train_speakers"]) == {name for member in members for name in member.split["train_speakers"]}
    assert facts.scores and facts.enrolled
    for name in ("report.html", "split.csv", "predictions.csv", "predictions-enrolled.csv", "log.txt"):
        assert (joined / name).is_file()
    assert (joined / "split.csv").read_bytes() == (home / "two" / "fold-1" / "split.csv").read_bytes()
    assert "joined after training" in (joined / "report.html").read_text(encoding="utf-8")
    assert yaml.safe_load((joined / "recipe.yaml").read_text())["network"]["of"] == [
        str(home / "one" / "fold-1"),
        str(home / "two" / "fold-1"),
    ]


def test_its_answers_lie_between_its_members(joined: Path, home: Path) -> None:
    """What most of the members hold least likely, and most likely, bounds what the committee holds, up to the temperatures chosen anew."""
    places = [home / "one" / "fold-1", home / "two" / "fold-1", joined]
    shares = [np.array([answer.probabilities for answer in read_answers(path / "predictions.csv")[1]]) for path in places]
    assert shares[0].shape == shares[1].shape == shares[2].shape == (len(shares[2]), 8)
    agreed = shares[0].argmax(1) == shares[1].argmax(1)
    assert agreed.any() and not np.allclose(shares[0], shares[1], atol=1e-3)
    assert (shares[2].argmax(1) == shares[0].argmax(1))[agreed].mean() > 0.9
    nearer = np.abs(shares[2] - shares[0]).mean() + np.abs(shares[2] - shares[1]).mean()
    assert nearer < 1.5 * np.abs(shares[0] - shares[1]).mean() + 0.05


def test_the_bundle_enrols_teaches_and_is_not_trained(joined: Path, home: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    recognizer = kanjo.load(joined)
    clips = sorted((Path(__file__).parent.parent / "examples" / "recordings").glob("*.flac"))
    profile = recognizer.enroll("ana", clips)
    assert len(profile.mean) == recognizer.facts.speaker_size
    plain, told = recognizer.predict(clips[0]), recognizer.predict(clips[0], speaker=profile)
    assert plain.probabilities != told.probabilities
    changes = [f"training.teachers=[{joined}]", "training.taught=1.0"]
    material = prepare(load_recipe(str(home / "seat.yaml"), changes, str(tiny_corpora)), str(tiny_corpora))
    _, module, batches, _ = begun(material, material.fold(1), tmp_path, None, False)
    assert isinstance(module, WindowModule)
    assert len(module.teachers) == 2, "each member teaches"
    first, second = (module.training_logits(next(iter(batches)))[1] for _ in range(2))
    torch.testing.assert_close(first.sum(1), torch.ones(len(first)))
    assert len(second) > len(first), "speakers whom the teachers have come to know"
    # what is taught of the same clips differs where the speaker is known: the teachers know them too
    n = len(second) - len(first)
    assert not torch.allclose(second[-n:], second[:n], atol=1e-3)
    assert "is a committee, which isn't trained" in _refused("train", joined, "--corpus-root", tiny_corpora, "-o", tmp_path / "b")


def test_of_a_run_that_was_refitted_the_last_network_answers_and_the_one_before_is_judged(
    home: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    """Temperatures by the network that has not heard the validation speakers; answers by the one that was trained on them too."""
    runs, fits = [tmp_path / "a", tmp_path / "b"], []
    for run, changes in zip(runs, (["training.refit=true"], ["training.refit=true", "training.seed=7"]), strict=True):
        material = prepare(load_recipe(str(home / "seat.yaml"), changes, str(tiny_corpora)), str(tiny_corpora))
        fits.append(fit(material, material.fold(1), run))
        (run / "recipe.yaml").write_text(material.recipe.text(), encoding="utf-8")
        (run / "scores.json").write_text('{"minutes": 1.5}', encoding="utf-8")
    together = replace(material, recipe=joined_recipe(runs, "both"))
    made = joined_runs(together, material.fold(1), runs)
    assert made.first is not None and made.minutes == 3.0
    for committee, systems in ((made.system, [one.system for one in fits]), (made.first, [one.first for one in fits])):
        network = committee.network
        assert isinstance(network, Committee)
        for member, system in zip(network.members, systems, strict=True):
            assert system is not None
            torch.testing.assert_close(dict(member.state_dict()), dict(system.network.state_dict()))
        heats = [[one.temperature, one.enrolled.temperature] for one in fits if one.enrolled]
        torch.testing.assert_close(network.temperatures, torch.tensor(heats))


def test_what_is_done_stays(joined: Path, home: Path, tiny_corpora: Path) -> None:
    graph = joined / "bundle" / "model.onnx"
    written = graph.stat().st_mtime_ns
    common = [home / "one" / "fold-1", home / "two" / "fold-1", "-o", joined, "--corpus-root", tiny_corpora]
    assert "not empty" in _refused("join", *common)
    assert f"try: kanjo predict --model {joined}" in _run("join", *common, "--resume", code=0).stderr
    assert graph.stat().st_mtime_ns == written


def test_what_cannot_be_joined(home: Path, joined: Path, tiny_run: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    one, two, out = home / "one" / "fold-1", home / "two" / "fold-1", ["--corpus-root", tiny_corpora, "-o"]
    assert "alone is nothing to join" in _refused("join", one, *out, tmp_path / "a")
    assert "a run is named twice" in _refused("join", one, two, one, *out, tmp_path / "a")
    assert "no run folder" in _refused("join", one, tmp_path, *out, tmp_path / "a")
    assert "members are mobilenet, crnn, ge2e or whisper, and this is cnn-lstm-2d" in _refused(
        "join", one, tiny_run, *out, tmp_path / "a"
    )
    assert "and this is committee" in _refused("join", one, joined, *out, tmp_path / "a")
    assert "join runs of the same folds" in _refused("join", home / "one", two, *out, tmp_path / "a")
    broken = tmp_path / "broken"
    shutil.copytree(two, broken)
    recipe = (broken / "recipe.yaml").read_text(encoding="utf-8")
    (broken / "recipe.yaml").write_text(recipe.replace("n_mels: 64", "n_mels: 80"), encoding="utf-8")
    assert "differ in frontend" in _refused("join", one, broken, *out, tmp_path / "a")
    (broken / "recipe.yaml").write_text(recipe, encoding="utf-8")
    table = (broken / "split.csv").read_text(encoding="utf-8").splitlines()
    (broken / "split.csv").write_text("\n".join(table[:-1]), encoding="utf-8")
    assert "their corpora were not the same" in _refused("join", one, broken, *out, tmp_path / "a")
    shutil.copy(two / "split.csv", broken / "split.csv")
    shutil.rmtree(broken / "checkpoints")
    assert "what it had learnt is gone" in _refused("join", one, broken, *out, tmp_path / "b")
    (broken / "scores.json").unlink()
    assert "is not finished" in _refused("join", one, broken, *out, tmp_path / "d")
