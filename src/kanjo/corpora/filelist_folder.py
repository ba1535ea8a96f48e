"""Read the training, validation and test lists of a folder, as the scripts of DCNN-LSTMWA write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kanjo.corpora.formats.filelist import read_numbered_lines
from kanjo.corpora.formats.paths import rebase_paths
from kanjo.corpora.formats.rows import TableOptions
from kanjo.corpora.identify import identify_listed_corpora
from kanjo.corpora.manifest import Manifest, Utterance
from kanjo.errors import CorpusError
from kanjo.files import os_error_message

#: Names of the lists: ``esd_audio_sid_text_train_filelist.txt``, ``train_filelist.txt`` or ``train.txt``.
_NAME = re.compile(r"(?:(?P<prefix>.+?)[_-])?(?P<part>train|val|validation|test)(?:_filelist)?\.txt", re.IGNORECASE)
_PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_EXPECTED = (
    "expected lists such as esd_audio_sid_text_train_filelist.txt, ..._val_filelist.txt and ..._test_filelist.txt"
)
_MAX_FOLDERS = 5


@dataclass(frozen=True)
class _Line:
    """An utterance of a list, and where it is listed."""

    list_path: Path
    number: int
    row: Utterance

    def __str__(self) -> str:
        return f"{self.list_path}:{self.number}"


def read_filelist_folder(
    folder: Path, label_map: Mapping[str, str] | None = None, root: Path | None = None
) -> Manifest:
    """Read the lists of a folder as one manifest whose column ``split`` names the part.

    The test list of DCNN-LSTMWA is empty: it validates on the speakers whose scores it reports. Then the validation
    list is the test part, and the rows of the training list keep the word "train"; a part of them validates.

    Args:
        folder: A folder with lists of training, validation and test.
        label_map: Emotion for each label that is not a word of the vocabulary.
        root: The folder of the recordings (None: the working folder, that of the lists, or one of its parents).

    Raises:
        CorpusError: A list is missing, ambiguous or empty, a line is not valid or names no recording, or two lists
            contain the same recording.
    """
    paths = _find_lists(folder)
    lines = {part: list(_read_list(path, label_map or {}, root)) for part, path in paths.items()}
    _check_lines(lines, root)
    if not lines.get("train"):
        raise CorpusError(f"{folder}: the training list is empty; {_EXPECTED}")
    if not lines.get("test"):
        lines["test"] = lines.pop("validation", [])
        if not lines["test"]:
            own = f"corpora=[{{name: own, path: {paths['train'].as_posix()}}}]"
            raise CorpusError(
                f"{folder}: the lists of validation and test are empty, so nothing can be tested; to split the "
                f"training list by the recipe's protocol: --set '{own}'"
            )
    rows = [line.row._replace(split=part) for part, part_lines in lines.items() for line in part_lines]
    corpus = rows[0].corpus
    manifest = identify_listed_corpora(Manifest(root or folder, tuple(rows), corpus), paths["train"])
    return replace(manifest, assumed_corpus="")


def describe_test_part(folder: Path) -> str:
    """Say which list is the test part, if this is not the test list; "" if it is.

    Raises:
        CorpusError: A list is missing or ambiguous.
    """
    paths = _find_lists(folder)
    if "test" in paths and paths["test"].stat().st_size > 0:
        return ""
    return (
        f"{folder} has no test utterances: the validation list tests, and a part of the training list validates, "
        "so that no epoch is chosen on the test"
    )


def _find_lists(folder: Path) -> dict[str, Path]:
    """Return the list of each part that exists."""
    if not folder.is_dir():
        raise CorpusError(
            f"{folder}: {'this is a file' if folder.exists() else 'no such folder'}; expected a folder of lists"
        )
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CorpusError(f"can't read {folder}: {os_error_message(error)}") from error
    found: dict[str, Path] = {}
    for path in entries:
        match = _NAME.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        part = _PARTS[match["part"].lower()]
        if part in found:
            raise CorpusError(
                f"{folder}: {found[part].name} and {path.name} are both lists of {part}; expected one list for each "
                "part: move one of them to another folder"
            )
        found[part] = path
    if "train" not in found or len(found) < 2:
        existing = ", ".join(path.name for path in found.values()) or "no list"
        folders = [path.name for path in entries if path.is_dir()][:_MAX_FOLDERS]
        hint = f"; give one of its folders, such as {folder / folders[0]}" if folders and not found else ""
        raise CorpusError(f"{folder}: {existing} there{hint}; {_EXPECTED}")
    return {part: found[part] for part in ("train", "validation", "test") if part in found}


def _read_list(path: Path, label_map: Mapping[str, str], root: Path | None) -> Iterator[_Line]:
    match = _NAME.fullmatch(path.name)
    corpus = (match["prefix"] or "" if match else "").removesuffix("_audio_sid_text") or path.resolve().parent.name
    numbers: list[int] = []

    def rows() -> Iterator[Utterance]:
        if path.stat().st_size == 0:
            return
        for number, row in read_numbered_lines(
            path, TableOptions(corpus, label_map, root or path.parent, root is None)
        ):
            numbers.append(number)
            yield row

    try:
        for row in rebase_paths(rows(), root) if root is not None else rows():
            yield _Line(path, numbers[-1], row)
    except OSError as error:
        raise CorpusError(f"can't read {path}: {os_error_message(error)}") from error


def _check_lines(lines: Mapping[str, list[_Line]], root: Path | None) -> None:
    """Refuse lines without recording, and recordings in two lists."""
    every = [line for part in lines.values() for line in part]
    missing = [line for line in every if not ((root or line.list_path.parent) / line.row.file).is_file()]
    if missing:
        more = f" ({len(missing)} of {len(every)} recordings of the lists are missing)" if len(missing) > 1 else ""
        remedy = (
            f"it is not below {root}" if root else "start kanjo where the paths begin, or give this folder with --root"
        )
        raise CorpusError(f"{missing[0]}: no such file: {missing[0].row.file}{more}; {remedy}")
    first: dict[tuple[str, float | None], _Line] = {}
    for line in every:
        other = first.setdefault((line.row.file, line.row.start_s), line)
        if other.list_path != line.list_path:
            raise CorpusError(
                f"{line}: {line.row.file} is also in {other.list_path.name}, line {other.number}; a recording that "
                "trains must not validate or test: remove it from one of the lists"
            )
