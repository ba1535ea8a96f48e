from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kanjo.corpora import read_corpus
from kanjo.corpora.check import CheckReport, check_corpus
from tests import corpora_fixtures


def _values(report: CheckReport) -> dict[str, str]:
    return {line.name: line.value for line in report.lines}


def test_check_corpus_incomplete_corpus_differs(tmp_path: Path) -> None:
    corpora_fixtures.make_ravdess(tmp_path, actors=1)
    (tmp_path / "Actor_01" / "03-01-01-01-01-01-01.wav").write_bytes(b"")
    report = check_corpus("ravdess", tmp_path)
    lines = {line.name: (line.value, line.status) for line in report.lines}
    assert lines["speakers"] == ("1", "differs")
    ((file, problem),) = report.unusable
    assert file == "Actor_01/03-01-01-01-01-01-01.wav" and "0 bytes" in problem
    assert not report.ok


def test_check_corpus_own_emotion_folders_are_ok(tmp_path: Path) -> None:
    assert check_corpus("own", corpora_fixtures.make_emotion_folders(tmp_path)).ok


def test_check_corpus_own_single_emotion_differs(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "angry/a.wav")
    report = check_corpus("own", tmp_path)
    assert not report.ok and _values(report)["emotions"] == "1"


def test_check_corpus_finds_copies_extra_recordings_and_missing_emotions(tmp_path: Path) -> None:
    root = corpora_fixtures.make_ravdess(tmp_path / "ravdess", actors=4)
    copy = root / "Actor_02" / "03-01-05-01-02-01-02.wav"
    copy.write_bytes((root / "Actor_01" / "03-01-05-01-01-01-01.wav").read_bytes())
    corpora_fixtures.write_clip(root / "notes.wav", 99)
    (root / "Actor_03" / "03-01-05-01-01-01-03.wav").unlink()
    report = check_corpus("ravdess", root)
    assert report.duplicates == (("Actor_01/03-01-05-01-01-01-01.wav", "Actor_02/03-01-05-01-02-01-02.wav"),)
    assert report.extra == ("notes.wav",)
    assert report.missing_emotions == (("03", "anger"),)
    values = _values(report)
    assert values["groups of identical recordings"] == "1"
    assert values["recordings not in the corpus"] == "1"
    assert values["speakers who lack an emotion"] == "1"
    assert report.as_dict()["missing_emotions"] == {"03": "anger"}
    assert all(item.rms_db is not None and -30 < item.rms_db < -5 for item in report.files)


def test_check_corpus_without_decoding_has_no_levels_and_duplicates(tmp_path: Path) -> None:
    root = corpora_fixtures.make_ravdess(tmp_path, actors=1)
    copy = root / "Actor_01" / "03-01-05-01-02-01-01.wav"
    copy.write_bytes((root / "Actor_01" / "03-01-05-01-01-01-01.wav").read_bytes())
    report = check_corpus("ravdess", root, decode=False)
    assert report.duplicates == () and {item.rms_db for item in report.files} == {None}
    assert report.duration_s == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("name", "make", "pattern", "missing"),
    [
        ("nemo", corpora_fixtures.make_nemo, "*WR0_anger_0.ogg", "WR0_anger_0.wav"),
        ("esd", corpora_fixtures.make_esd, "0011_00070*.wav", "0011_000701"),
        ("aihub", corpora_fixtures.make_aihub, "a1.wav", "a1"),
        ("iemocap", corpora_fixtures.make_iemocap, "Ses01F_impro01_F000.wav", "Ses01F_impro01_F000"),
    ],
)
def test_check_corpus_missing_recording_is_listed(
    tmp_path: Path, name: str, make: Callable[[Path], Path], pattern: str, missing: str
) -> None:
    root = make(tmp_path)
    before = set(check_corpus(name, root, decode=False).missing)
    next(root.rglob(pattern)).unlink()
    report = check_corpus(name, root, decode=False)
    assert {missing} == set(report.missing) - before
    assert ("missing recordings", "differs") in [(line.name, line.status) for line in report.lines]
    assert report.as_dict()["missing"] == list(report.missing)


def test_check_corpus_meld_lists_missing_clips(tmp_path: Path) -> None:
    missing = check_corpus("meld", corpora_fixtures.make_meld(tmp_path), decode=False).missing
    assert missing == ("train: dia7_utt7", "validation: dia7_utt7", "test: dia7_utt7")


def test_check_corpus_emodb_counts_poorly_recognized_utterances(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "wav/03a01Fa.wav", "wav/03a01Nc.wav")
    rows = "Satz\xa0\terkannt\tnatürlich\n03a01Fa.wav\xa0\t90,00\xa0\t100,00\n03a01Nc.wav\t 79,5 \t15,00\n"
    (tmp_path / "erkennung.txt").write_text(rows, encoding="latin-1")
    assert _values(check_corpus("emodb", tmp_path))["recognized by under 80 %"] == "1"


def test_check_corpus_aihub_counts_ties(tmp_path: Path) -> None:
    report = check_corpus("aihub", corpora_fixtures.make_aihub(tmp_path))
    assert _values(report)["utterances without a majority"] == "1"


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "folder", "n_utterances"),
    [("ravdess", "ravdess", 1440), ("nemo", "nemo", 4481), ("emotiontts", "emotiontts_ko", 300)],
)
def test_check_corpus_real_corpus_is_complete(corpora: Path, name: str, folder: str, n_utterances: int) -> None:
    report = check_corpus(name, corpora / folder, decode=False)
    assert report.ok, [line for line in report.lines if line.status == "differs"]
    rows = read_corpus(name, corpora / folder).utterances
    assert len(rows) == n_utterances
    assert all(row.text and row.sex and row.speaker for row in rows)


def test_plot_corpus_returns_a_png(tmp_path: Path) -> None:
    from kanjo.evaluation.reports.figures import plot_corpus

    report = check_corpus("ravdess", corpora_fixtures.make_ravdess(tmp_path, actors=3))
    assert plot_corpus(report.files, report.utterances).png.startswith(b"\x89PNG")


def test_check_corpus_lists_parts_that_are_not_within_their_recording(tmp_path: Path) -> None:
    corpora_fixtures.write_clip(tmp_path / "a.wav", seconds=1.0)
    spans = ["0.5,99", "-1,0.5", "0.8,0.2", "0,inf", "2,", "0,1.005", "nan,0.5"]
    lines = (f"a.wav,{'sad' if n % 2 else 'angry'},{span}" for n, span in enumerate(spans))
    (tmp_path / "t.csv").write_text("file,emotion,start,end\n" + "\n".join(lines))
    for decode in (True, False):
        report = check_corpus("own", tmp_path / "t.csv", decode=decode)
        assert not report.ok and _values(report)["unusable recordings"] == "5"
        assert [problem for _, problem in report.unusable] == [
            "end_s is 99, but the recording ends at 1.00 s",
            "start_s is -1; expected at least 0",
            "start_s is 0.8 and end_s is 0.2; expected an end after the start",
            "end_s is inf; expected seconds, such as 1.5, or an empty cell",
            "start_s is 2, but the recording ends at 1.00 s",
        ]


def test_check_corpus_listed_recordings_are_not_extra_in_any_spelling(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "a.wav", "wav/b.wav", "wav/.ipynb_checkpoints/b-checkpoint.wav", "c.wav")
    (tmp_path / "t.csv").write_text(f"file,emotion\n./a.wav,sad\n{tmp_path}/wav/b.wav,angry\n")
    assert check_corpus("own", tmp_path / "t.csv").extra == ("c.wav",)


def test_check_corpus_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "angry/a.wav", "sad/b.wav")
    (tmp_path / "sad" / "b.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 72862\n")
    ((file, problem),) = check_corpus("own", tmp_path).unusable
    assert file == "sad/b.wav" and problem.startswith("a Git LFS pointer, not the recording; run 'git lfs pull'")
