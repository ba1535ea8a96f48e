"""The commands of the two pages "Coming from ...", in their order, on tiny trees in the original layouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import corpora_fixtures
from tests.shell import run_kanjo
from tests.test_docs import console_commands, split_command

PAGES = Path(__file__).parent.parent / "docs" / "how-to"
_JTES_EMOTIONS = ("neu", "joy", "sad", "ang")
_AIHUB_EMOTIONS = ("Angry", "Disgust", "Fear", "Neutral", "Sadness", "Happiness")
#: Overrides that make trainings tiny, by the command's recipe.
_ONE_EPOCH = ("training.epochs=1",)
_DCNN = (*_ONE_EPOCH, "stage1.epochs=1", "model.weights=none", "model.segment.size=63", "model.lstm_layers=1")
_KERAS = (*_ONE_EPOCH, "model.channels=[2,2,2,2]", "model.lstm_units=2")
_OVERRIDES = {
    "dcnn-blstm-reference": _DCNN,
    "cnn-lstm-2d-keras": _KERAS,
    "cnn-lstm-1d-keras": _KERAS,
}
_TUNE = ("tune.epochs=2", "tune.space={training.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}}")


def run_page(page: str, folder: Path, stdin: str = "") -> dict[str, str]:
    """Run the commands of a page in their order, with overrides that make trainings tiny.

    Returns:
        The standard output of each command line.
    """
    outputs = {}
    for line in console_commands(PAGES / page):
        words = split_command(line)
        if words[0] in ("train", "tune"):
            overrides = (*_OVERRIDES[words[1]], *(_TUNE if words[0] == "tune" else ()))
            words += [word for override in overrides for word in ("--set", override)]
            words += ["--trials", "1"] if words[0] == "tune" else ["--threads", "1"]
        result = run_kanjo(*words, cwd=folder, stdin=stdin if "<" in line.split() else "")
        assert result.returncode == 0, f"{line}: {result.stderr}"
        outputs[line] = result.stdout
    return outputs


@pytest.fixture
def jtes_tree(tmp_path: Path) -> Path:
    """A tree of DCNN-LSTMWA before its first step: recordings at 48 kHz, and configurations."""
    corpus = tmp_path / "dataset" / "jtes-48k"
    for number, speaker in enumerate(f"{sex}{n:02d}" for sex in "fm" for n in (1, 11, 12, 21)):
        for n, emotion in enumerate(_JTES_EMOTIONS):
            path = corpus / "wav" / speaker / emotion / f"{speaker}_{emotion}_01.wav"
            corpora_fixtures.write_clip(path, 10 * number + n, 0.5, 150.0 * 1.4**n, 48_000)
    (corpus / "trans").mkdir()
    texts = "".join(f"{emotion}_01 今日は雨{n}\n" for n, emotion in enumerate(_JTES_EMOTIONS))
    (corpus / "trans" / "kanji.txt").write_text(texts, encoding="utf-8")
    (tmp_path / "configs").mkdir()
    for name in ("finetune", "train"):
        (tmp_path / "configs" / f"jtes_{name}_cv10.json").write_text(
            '{\n    "train": {\n        "learning_rate": 5e-06,\n        "epochs": 30\n    },\n    "data": {\n'
            '        "training_files": "filelists/jtes/cv10/jtes_audio_sid_text_train_filelist.txt"\n    }\n}'
        )
    (tmp_path / "paths.txt").write_text("dataset/jtes/wav/f01/neu/f01_neu_01.wav\n")
    return tmp_path


@pytest.fixture
def keras_tree(tmp_path: Path) -> Path:
    """A tree of the Keras ports: two yearly tables and folders of AIHUB, and RAVDESS."""
    root = tmp_path / "corpora" / "aihub"
    raters = "".join(f"{n}번 감정,{n}번 감정세기," for n in range(1, 6))
    for year in ("4th", "5th"):
        rows = [f"wav_id,발화문,상황,{raters}나이,성별\n"]
        for n, emotion in enumerate(_AIHUB_EMOTIONS):
            for number in range(3):
                name = f"{year}-{n}-{number}"
                corpora_fixtures.write_clip(
                    root / year / f"{name}.wav", 100 * int(year[0]) + 10 * n + number, 0.3, 150.0 * 1.3**n
                )
                rows.append(f"{name},문장 {number},x,{f'{emotion},1,' * 5}30,여\n")
        (root / f"{year}.csv").write_bytes("".join(rows).encode("cp949"))
    corpora_fixtures.make_ravdess(tmp_path / "corpora" / "ravdess")
    return tmp_path


@pytest.mark.slow
def test_commands_of_the_dcnn_lstmwa_page_run_on_a_tree_of_its_layout(jtes_tree: Path) -> None:
    paths = (jtes_tree / "paths.txt").read_text()
    outputs = run_page("coming-from-dcnn-lstmwa.md", jtes_tree, stdin=paths)
    predicted = next(output for line, output in outputs.items() if line.endswith("< paths.txt"))
    assert "f01_neu_01.wav" in predicted
    configs = [json.loads(path.read_text()) for path in (jtes_tree / "configs").iterdir()]
    assert [config["train"]["learning_rate"] for config in configs] == [1e-4, 1e-4]
    assert (jtes_tree / "runs" / "jtes-cv10" / "stage1" / "log.txt").is_file()
    assert (jtes_tree / "segments.png").is_file() and (jtes_tree / "vectors.csv").is_file()


@pytest.mark.slow
def test_commands_of_the_keras_page_run_on_a_tree_of_its_layout(keras_tree: Path) -> None:
    outputs = run_page("coming-from-cnn-lstm-keras.md", keras_tree)
    assert sum("UAR" in output for line, output in outputs.items() if " train " in line) == 3
    assert (keras_tree / "mel.png").is_file() and (keras_tree / "wave.png").is_file()
    assert (keras_tree / "runs" / "2d" / "learning_curves.png").is_file()


def test_train_with_a_configuration_of_dcnn_lstmwa_names_the_page(jtes_tree: Path) -> None:
    pytest.importorskip("pydantic", reason="recipes need the extra train")
    result = run_kanjo("train", "configs/jtes_train_cv10.json", cwd=jtes_tree)
    assert result.returncode == 1 and "--filelists filelists/jtes/cv10" in result.stderr
    assert (
        "docs/how-to/coming-from-dcnn-lstmwa.md" in result.stderr and (PAGES / "coming-from-dcnn-lstmwa.md").is_file()
    )
