"""The parts of DCNN-LSTMWA's lists. The expected speakers and sentences are those that its scripts wrote."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from kanjo.corpora import read_corpus
from kanjo.corpora.original_filelists import ListParts, original_parts

_ENGLISH = [f"{number:04d}" for number in range(11, 21)]


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _parts(name: str, root: Path, protocol: str, emotions: list[str] | None = None) -> dict[str, ListParts]:
    parts = original_parts(name, protocol, read_corpus(name, root).utterances, emotions)
    assert parts is not None
    return {part.folder: part for part in parts}


def _speakers(rows: Iterable[object]) -> list[str]:
    return sorted({row.speaker for row in rows})  # type: ignore[attr-defined]


@pytest.fixture
def esd(tmp_path: Path) -> Path:
    root = tmp_path / "esd"
    for speaker in ["0004", *_ENGLISH]:
        for n, emotion in enumerate(("Neutral", "Angry", "Happy", "Sad", "Surprise")):
            _touch(root, f"{speaker}/{emotion}/{speaker}_{350 * n + 1:06d}.wav")
    return root


@pytest.mark.parametrize(
    ("protocol", "validation", "train"),
    [
        ("female", ["0015"], ["0016", "0017", "0018", "0019"]),
        ("male", ["0011"], ["0012", "0013", "0014", "0020"]),
        ("all", [], _ENGLISH),
    ],
)
def test_original_parts_of_esd_are_those_of_the_scripts(
    esd: Path, protocol: str, validation: list[str], train: list[str]
) -> None:
    (part,) = _parts("esd", esd, protocol).values()
    assert (part.folder, _speakers(part.validation), _speakers(part.train)) == (protocol, validation, train)
    assert {row.emotion for row in part.train} == {"neutral", "happiness", "sadness", "anger"}
    assert len(part.train) == 4 * len(train) and len(part.validation) == 4 * len(validation)


def test_original_parts_of_esd_loso_leave_each_english_speaker_out(esd: Path) -> None:
    parts = _parts("esd", esd, "loso", ["anger", "surprise"])
    assert list(parts) == [f"loso{speaker}" for speaker in _ENGLISH]
    part = parts["loso0013"]
    assert _speakers(part.validation) == ["0013"]
    assert _speakers(part.train) == [speaker for speaker in _ENGLISH if speaker != "0013"]
    assert {row.emotion for row in part.train} == {"anger", "surprise"}


def test_original_parts_of_jtes_cv_hold_out_ten_women_and_ten_men(tmp_path: Path) -> None:
    speakers = [f"{sex}{number:02d}" for sex in "fm" for number in range(1, 51)]
    _touch(tmp_path, *(f"wav/{s}/{emotion}/{s}_{emotion}_01.wav" for s in speakers for emotion in ("neu", "ang")))
    parts = _parts("jtes", tmp_path, "cv")
    assert list(parts) == ["cv10", "cv20", "cv30", "cv40", "cv50"]
    held_out = ["f41", "f42", "f43", "f44", "f45", "f46", "f47", "f48", "f49", "f50"]
    held_out += [speaker.replace("f", "m") for speaker in held_out]
    assert _speakers(parts["cv50"].validation) == held_out
    assert _speakers(parts["cv50"].train) == [speaker for speaker in speakers if speaker not in held_out]
    assert len(parts["cv50"].train) == 160 and len(_parts("jtes", tmp_path, "all")["all"].train) == 200


#: Sentences of the validation lists that the scripts for cv20, cv60 and cv100 wrote.
_STUDIES_ANGRY = {
    "cv20": "2 4 8 10 15 23 25 29 30 45 46 51 61 64 65 68 76 85 88 94",
    "cv60": "20 22 26 28 33 34 39 42 50 52 54 59 60 62 63 66 71 73 74 81",
    "cv100": "5 7 12 14 18 21 32 35 43 44 49 53 69 72 87 89 90 91 99 100",
}
_STUDIES_NEUTRAL_CV60 = "39 52 55 72 92 123 128 141 165 170 202 240 255 264 269 271 284 301 307 319"


def test_original_parts_of_studies_cv_are_five_parts_of_the_sentences_of_ita(tmp_path: Path) -> None:
    for folder, label, word, n in (
        ("ITA/Emotion100-Angry", "怒り", "Angry", 100),
        ("ITA/Recitation324", "平静", "Normal", 324),
        ("Short_dialogue/SD01/SD01-1", "喜び", "Happy", 2),
    ):
        _touch(tmp_path, *(f"{folder}/wav/{word}-Teacher-{i:03d}.wav" for i in range(1, n + 1)))
        (tmp_path / folder / "txt").mkdir()
        text = "".join(f"講師|{label}|文{i}|x\n" for i in range(1, n + 1))
        (tmp_path / folder / "txt" / "a.txt").write_text(text, encoding="utf-8")
    parts = _parts("studies", tmp_path, "cv")
    assert list(parts) == ["cv20", "cv40", "cv60", "cv80", "cv100"]

    def numbers(folder: str, emotion: str) -> str:
        rows = [row for row in parts[folder].validation if row.emotion == emotion]
        return " ".join(map(str, sorted(int(Path(row.file).stem[-3:]) for row in rows)))

    assert {folder: numbers(folder, "anger") for folder in _STUDIES_ANGRY} == _STUDIES_ANGRY
    assert numbers("cv60", "neutral") == _STUDIES_NEUTRAL_CV60
    for part in parts.values():
        assert len(part.validation) == 40 and len(part.train) == 384
        assert not {row.file for row in part.validation} & {row.file for row in part.train}
    assert len(_parts("studies", tmp_path, "all")["all"].train) == 426


def test_original_parts_of_ravdess_cv_hold_out_four_actors_with_normal_intensity(tmp_path: Path) -> None:
    names = [f"03-01-{e:02d}-{i:02d}-01-01-{a:02d}.wav" for a in range(1, 25) for e in range(1, 9) for i in (1, 2)]
    _touch(tmp_path, *(f"Actor_{name[-6:-4]}/{name}" for name in names))
    parts = _parts("ravdess", tmp_path, "cv")
    assert list(parts) == ["cv4", "cv8", "cv12", "cv16", "cv20", "cv24"]
    assert _speakers(parts["cv8"].validation) == ["05", "06", "07", "08"]
    assert len(parts["cv8"].validation) == 16 and len(parts["cv8"].train) == 80


@pytest.mark.parametrize(("name", "protocol"), [("jtes", "female"), ("emodb", "all"), ("studies", "loso")])
def test_original_parts_without_script_are_none(name: str, protocol: str) -> None:
    assert original_parts(name, protocol, []) is None
