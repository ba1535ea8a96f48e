from __future__ import annotations

from pathlib import Path

import pytest

from kanjo.corpora import read_corpus
from kanjo.corpora.filelist_folder import describe_test_part, read_filelist_folder
from kanjo.corpora.identify import check_corpus_name, read_labeled_table, speaker_name, without_assumed_corpus
from kanjo.errors import CorpusError
from tests.corpora_fixtures import write_clips


def _write_lists(folder: Path, name: str = "x_audio_sid_text_{}_filelist.txt", **parts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, text in parts.items():
        (folder / name.format(part)).write_text(text, encoding="utf-8", newline="")
    return folder


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the layout of DCNN-LSTMWA, which is the working folder."""
    write_clips(tmp_path, *(f"dataset/clips/{name}.wav" for name in "abcd"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


_TRAIN = "dataset/clips/a.wav|11|hello|0|1\ndataset/clips/b.wav|12|x|3|1\n"
_VAL, _TEST = "dataset/clips/c.wav|13|x|0|1\n", "dataset/clips/d.wav|14|x|3|1\n"


@pytest.mark.parametrize(
    "name",
    ["x_audio_sid_text_{}_filelist.txt", "{}_filelist.txt", "{}.txt"],
    ids=["original", "short", "plain"],
)
def test_read_filelist_folder_names_the_parts(tree: Path, name: str) -> None:
    folder = _write_lists(tree / "lists", name, train=_TRAIN, val=_VAL, test=_TEST)
    manifest = read_filelist_folder(folder)
    assert [(row.speaker, row.split) for row in manifest.utterances] == [
        ("11", "train"),
        ("12", "train"),
        ("13", "validation"),
        ("14", "test"),
    ]
    assert all(manifest.audio_path(row).is_file() for row in manifest.utterances)
    assert describe_test_part(folder) == ""


@pytest.mark.parametrize("test", ["", None])
def test_read_filelist_folder_without_test_list_tests_on_the_validation_list(tree: Path, test: str | None) -> None:
    parts = {"train": _TRAIN, "val": _VAL} | ({} if test is None else {"test": test})
    folder = _write_lists(tree / "lists", **parts)
    assert [row.split for row in read_filelist_folder(folder).utterances] == ["train", "train", "test"]
    assert "the validation list tests" in describe_test_part(folder)


def test_read_filelist_folder_finds_recordings_from_any_working_folder(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _write_lists(tree / "filelists" / "x" / "cv1", train=_TRAIN, val=_VAL)
    monkeypatch.chdir(tree / "filelists")
    manifest = read_filelist_folder(folder)
    assert all(manifest.audio_path(row).is_file() for row in manifest.utterances)


def test_read_filelist_folder_root_rebases_paths_of_another_machine(tree: Path) -> None:
    other = "/data/other/emo_clf2/"
    windows = "C:\\data\\clips\\d.wav|14|x|3|1\r\n"
    lists = {"train": _TRAIN.replace("dataset/", other), "val": _VAL.replace("dataset/", other), "test": windows}
    folder = _write_lists(tree / "lists", **lists)
    with pytest.raises(CorpusError, match=r"train_filelist.txt:1: no such file: .*4 of 4 recordings.*--root"):
        read_filelist_folder(folder)
    manifest = read_filelist_folder(folder, root=tree / "dataset")
    assert [row.file for row in manifest.utterances] == [f"clips/{name}.wav" for name in "abcd"]


def test_read_filelist_folder_variants_of_the_scripts_are_read(tree: Path) -> None:
    train = "\ufeffdataset/clips/a.wav|0|None|0\r\n\r\ndataset\\clips\\b.wav|spk|文|3|lang\r\n"
    rows = read_filelist_folder(_write_lists(tree / "lists", train=train, val=_VAL)).utterances
    assert [(row.speaker, row.text, row.emotion, row.language) for row in rows] == [
        ("0", "None", "neutral", ""),
        ("", "文", "anger", ""),
        ("13", "x", "neutral", "en"),
    ]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (_TRAIN + "dataset/clips/e.wav|11|x|0|1\n", r"train_filelist.txt:3: no such file: dataset/clips/e.wav"),
        (_TRAIN + "dataset/clips/d.wav|11|x|77|1\n", r"train_filelist.txt:3: unknown emotion '77'"),
        (_TRAIN + "dataset/clips/d.wav|11|x|0|99\n", r"train_filelist.txt:3: unknown language 99"),
        (
            _TRAIN + "dataset/clips/d.wav,11,x,0,1\n",
            r"train_filelist.txt:3: 1 cell \(this line has commas",
        ),
        (_TRAIN + "dataset/clips/d.wav|11;x|0|1\n", r"train_filelist.txt:3: 4 cells \(this line has semicolons"),
        ("dataset/clips/d.wav\t11\tx\t0\t1\n", r"train_filelist.txt:1: 1 cell \(this line has tabs"),
        (
            _TRAIN + _VAL,
            r"val_filelist.txt:1: .*dataset/clips/c.wav is also in x_.*_train_filelist.txt, line 3",
        ),
        ("", "the training list is empty"),
    ],
)
def test_read_filelist_folder_bad_line_is_named(tree: Path, train: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message) as caught:
        read_filelist_folder(_write_lists(tree / "lists", train=train, val=_VAL))
    assert len(str(caught.value).splitlines()) == 1


def test_read_filelist_folder_without_lists_or_with_two_is_refused(tree: Path) -> None:
    _write_lists(tree / "lists" / "cv10", train=_TRAIN, val="")
    with pytest.raises(CorpusError, match=r"no list there; give one of its folders, such as .*cv10"):
        read_filelist_folder(tree / "lists")
    with pytest.raises(CorpusError, match="lists of validation and test are empty"):
        read_filelist_folder(tree / "lists" / "cv10")
    _write_lists(tree / "lists" / "cv10", "y_{}_filelist.txt", train=_TRAIN)
    with pytest.raises(CorpusError, match="are both lists of train"):
        read_filelist_folder(tree / "lists" / "cv10")


# ---------------------------------------------------------------------------------------------- corpora


def test_read_labeled_table_identifies_corpora_by_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["dataset/esd/0011/Sad/0011_001051.wav", "dataset/jtes/wav/m50/ang/m50_ang_01.wav", "dataset/my/a.wav"]
    write_clips(tmp_path, *names)
    monkeypatch.chdir(tmp_path)
    lines = zip(names, ("11", "99", "11"), ("2", "3", "0"), strict=True)
    (tmp_path / "test.txt").write_text("".join(f"{file}|{speaker}|x|{emotion}\n" for file, speaker, emotion in lines))
    manifest = read_labeled_table(tmp_path / "test.txt")
    assert [row.speaker_key for row in manifest.utterances] == ["esd/0011", "jtes/m50", "test/11"]
    assert manifest.assumed_corpus == "test"
    assert [row.corpus for row in without_assumed_corpus(manifest).utterances] == ["esd", "jtes", ""]
    named = read_labeled_table(tmp_path / "test.txt", corpus="esd")
    assert {row.corpus for row in named.utterances} == {"esd"} and named.assumed_corpus == ""


def test_read_labeled_table_name_of_a_list_states_its_corpus(tmp_path: Path) -> None:
    path = tmp_path / "esd_audio_sid_text_test_filelist.txt"
    path.write_text("a.wav|11|x|0|1\n")
    assert read_labeled_table(path).utterances[0].speaker_key == "esd/0011"
    assert read_corpus("own", path).assumed_corpus == path.stem


@pytest.mark.parametrize(
    ("corpus", "number", "name"),
    [
        ("esd", "11", "0011"),
        ("jtes", "0", "f01"),
        ("jtes", "49", "f50"),
        ("jtes", "50", "m01"),
        ("jtes", "100", "100"),
        ("jtes", "f01", "f01"),
        ("ravdess", "7", "07"),
        ("studies", "", "Teacher"),
        ("emodb", "3", "3"),
    ],
)
def test_speaker_name_is_that_of_the_reader(corpus: str, number: str, name: str) -> None:
    assert speaker_name(corpus, number) == name


def test_check_corpus_name_refuses_misspelt_names() -> None:
    check_corpus_name("ravdess")
    check_corpus_name("studio")
    with pytest.raises(CorpusError, match="did you mean ravdess"):
        check_corpus_name("ravdes")
