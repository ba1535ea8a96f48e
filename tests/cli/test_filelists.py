"""Lists of DCNN-LSTMWA in train, evaluate, predict and embed, on a tiny tree of its layout."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from kanjo.bundle import read_bundle
from tests import corpora_fixtures
from tests.shell import run_kanjo

_EMOTIONS = {"Neutral": 0, "Happy": 1, "Sad": 2, "Angry": 3}
_VALIDATION, _TRAIN = ("0015",), ("0016", "0017", "0018", "0019")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with ``dataset/esd`` and the lists of ``filelists/esd/female``, five cells a line, no test list."""
    root = tmp_path_factory.mktemp("tree")
    lists = root / "filelists" / "esd" / "female"
    lists.mkdir(parents=True)
    for part, speakers in (("train", _TRAIN), ("val", _VALIDATION), ("test", ())):
        lines = []
        for speaker in speakers:
            for emotion, number in _EMOTIONS.items():
                file = f"dataset/esd/{speaker}/{emotion}/{speaker}_{350 * number + 1:06d}.wav"
                corpora_fixtures.write_clip(root / file, int(speaker) + number, 0.5, 150.0 * 1.4**number)
                lines.append(f"{file}|{int(speaker)}|The nine the eggs, I keep.|{number}|1\n")
        (lists / f"esd_audio_sid_text_{part}_filelist.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def run(tree: Path, tiny_recipe: Path) -> Path:
    """The run of a recipe on the lists, started in another folder."""
    lists = tree / "filelists" / "esd" / "female"
    options = ["--filelists", lists, "--set", "training.epochs=1", "-o", tree / "run"]
    result = run_kanjo("train", tiny_recipe, *options)
    assert result.returncode == 0, result.stderr
    assert "has no test utterances: the validation list tests" in result.stderr
    return tree / "run"


def test_train_filelists_trains_and_tests_on_the_lists(run: Path) -> None:
    with (run / "split.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    test = {row["file"].rsplit("/", 1)[-1][:4] for row in rows if row["split"] == "test"}
    others = {row["file"].rsplit("/", 1)[-1][:4] for row in rows if row["split"] in ("train", "validation")}
    assert (test, others) == (set(_VALIDATION), set(_TRAIN)) and len(rows) == 20
    metadata = read_bundle(run).metadata
    assert metadata.split["train_speakers"] == [f"esd/{speaker}" for speaker in _TRAIN]
    assert metadata.labels == ("anger", "happiness", "neutral", "sadness") and metadata.license == "research only"


def test_train_filelists_lists_of_kanjo_give_the_same_parts(tree: Path, run: Path, tiny_recipe: Path) -> None:
    written = run_kanjo("corpus", "filelists", "esd", tree / "dataset" / "esd", tree / "own", "--protocol", "female")
    assert written.returncode == 0, written.stderr
    again = run_kanjo("train", tiny_recipe, "--filelists", tree / "own" / "female", "--dry-run")
    assert again.returncode == 0, again.stderr
    assert "speaker-independent: none of the 1 test speakers" in again.stdout


def test_train_filelists_wrong_use_is_refused_in_one_line(tree: Path, tiny_recipe: Path) -> None:
    assert run_kanjo("train", tiny_recipe, "--root", tree).returncode == 2
    result = run_kanjo("train", tiny_recipe, "--filelists", tree / "filelists" / "esd")
    assert result.returncode == 1 and "give one of its folders" in result.stderr
    result = run_kanjo("train", tiny_recipe, "--filelists", tree / "filelists" / "esd" / "female", "--fold", "2")
    assert result.returncode == 2


# ---------------------------------------------------------------------------------------------- evaluate


def test_evaluate_list_leaves_out_training_speakers(tree: Path, run: Path) -> None:
    lists = tree / "filelists" / "esd" / "female"
    result = run_kanjo("evaluate", run, lists / "esd_audio_sid_text_train_filelist.txt", cwd=tree)
    assert result.returncode == 1 and "the bundle was trained on all" in result.stderr
    result = run_kanjo("evaluate", run, lists / "esd_audio_sid_text_val_filelist.txt", "-f", "json", cwd=tree)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["n"] == 4 and "omitted" not in result.stderr


def test_evaluate_list_names_the_line_of_a_missing_recording(tree: Path, run: Path, tmp_path: Path) -> None:
    path = tree / "filelists" / "esd" / "female" / "esd_audio_sid_text_val_filelist.txt"
    text = path.read_text().replace("0015_000351", "nothing").replace("0015_000701", "nowhere")
    (tmp_path / path.name).write_text(text.replace("\n", "\n\n", 1))
    result = run_kanjo("evaluate", run, tmp_path / path.name, "--root", tree)
    assert result.returncode == 1 and "2 recordings failed" in result.stderr
    assert f"{path.name}:3: no such file: {tree}/dataset/esd/0015/Happy/nothing.wav; 2 recordings" in result.stderr


def test_evaluate_list_of_unknown_corpus_never_claims_unseen_speakers(tree: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "dataset" / "esd", tmp_path / "clips")
    lines = [
        line.replace("dataset/esd", "/other/machine/clips")
        for part in ("train", "val")
        for line in (tree / "filelists" / "esd" / "female" / f"esd_audio_sid_text_{part}_filelist.txt")
        .read_text()
        .splitlines(keepends=True)
    ]
    (tmp_path / "list.txt").write_text("".join(lines))
    command = ["evaluate", run, tmp_path / "list.txt", "--root", tmp_path, "-f", "json"]
    unknown = run_kanjo(*command)
    assert json.loads(unknown.stdout)["n"] == 4
    assert "omitted: 16 utterances of speakers (16, 17, 18, ...)" in unknown.stderr
    assert "the corpus of list is unknown" in unknown.stderr
    named = run_kanjo(*command, "--corpus", "esd")
    assert json.loads(named.stdout)["n"] == 4
    assert "omitted: 16 utterances of speakers that the bundle was trained on" in named.stderr
    assert json.loads(run_kanjo(*command, "--corpus", "studio").stdout)["n"] == 20
    assert "did you mean esd" in run_kanjo(*command, "--corpus", "esdd").stderr
    everyone = run_kanjo(*command, "--include-training-speakers")
    assert json.loads(everyone.stdout)["n"] == 20 and "unknown" not in everyone.stderr


def test_evaluate_manifest_of_a_list_knows_its_corpus(tree: Path, run: Path, tmp_path: Path) -> None:
    path = tree / "filelists" / "esd" / "female" / "esd_audio_sid_text_train_filelist.txt"
    result = run_kanjo("corpus", "manifest", "own", path, "-o", tmp_path / "m.csv", cwd=tree)
    assert result.returncode == 0, result.stderr
    result = run_kanjo("evaluate", run, tmp_path / "m.csv")
    assert result.returncode == 1 and "the bundle was trained on all" in result.stderr


# ---------------------------------------------------------------------------------------------- predict, embed


def test_predict_list_predicts_its_recordings(tree: Path, run: Path, tmp_path: Path) -> None:
    path = tree / "filelists" / "esd" / "female" / "esd_audio_sid_text_val_filelist.txt"
    result = run_kanjo("predict", path, "--model", run, "-f", "jsonl", cwd=tree)
    assert result.returncode == 0, result.stderr
    assert [Path(json.loads(line)["file"]).name[:4] for line in result.stdout.splitlines()] == ["0015"] * 4
    text = path.read_text().replace("dataset/", "D:\\data\\").replace("0015_000001", "nothing")
    (tmp_path / "x_filelist.txt").write_text(text)
    result = run_kanjo("predict", tmp_path / "x_filelist.txt", "--root", tree / "dataset", "-f", "jsonl")
    errors = [json.loads(line).get("error", "") for line in result.stdout.splitlines()]
    assert result.returncode == 1 and [bool(error) for error in errors] == [True, False, False, False]
    assert errors[0] == f"no such file ({tmp_path / 'x_filelist.txt'}:1)"
    (tmp_path / "x_filelist.txt").write_text("a.wav|1|x|88|0\n")
    result = run_kanjo("predict", tmp_path / "x_filelist.txt", "-f", "jsonl")
    assert "1: unknown emotion '88'" in json.loads(result.stdout)["error"]


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_predict_without_path_reads_piped_paths(tree: Path, separator: str) -> None:
    paths = [str(path) for path in sorted((tree / "dataset" / "esd" / "0015").rglob("*.wav"))]
    result = run_kanjo("predict", "-f", "jsonl", stdin=separator.join(paths) + separator)
    assert result.returncode == 0, result.stderr
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == paths


def test_predict_piped_recording_without_path_and_empty_pipe_are_refused(tree: Path) -> None:
    clip = next((tree / "dataset").rglob("*.wav"))
    result = run_kanjo("predict", stdin=clip.read_bytes())
    assert result.returncode == 2 and "give - to predict it" in result.stderr
    assert run_kanjo("predict", "-", stdin=clip.read_bytes()).returncode == 0
    result = run_kanjo("predict", stdin="\n")
    assert result.returncode == 2 and "no recording; give paths" in result.stderr


def test_embed_csv_has_the_numbers_of_the_array(tree: Path, tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "broken.wav").write_bytes(b"x")
    arguments = [next((tree / "dataset").rglob("*.wav")), tmp_path / "broken.wav"]
    for name in ("x.csv", "y.npy"):
        assert run_kanjo("embed", *arguments, "-o", tmp_path / name).returncode == 1
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as stream:
        header, good, broken = csv.reader(stream)
    expected = np.load(tmp_path / "y.npy")[0]
    assert header[:3] == ["file", "label", "confidence"] and header[-1] == "error"
    n_labels = header.index("embedding_0") - 3
    assert len(good) == len(header) == 3 + len(expected) + 1
    assert np.array_equal(np.asarray(good[3 + n_labels : -1], np.float32), expected[n_labels:])
    assert np.allclose(np.asarray(good[3 : 3 + n_labels], float), expected[:n_labels], atol=1e-6)
    assert set(broken[2:-1]) == {""} and broken[-1]
