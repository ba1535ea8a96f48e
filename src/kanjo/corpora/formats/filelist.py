"""Read and write filelists of speech synthesis: ``path|speaker|text|emotion|language``, one utterance a line.

Emotion and language are numbers. The format is that of kanjo's reference implementation, DCNN-LSTMWA. Some of its
scripts write no language, and some write the words "spk" and "lang" in place of speaker and language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kanjo import files
from kanjo.corpora.formats.label_conflicts import LabelConflicts
from kanjo.corpora.formats.paths import PathResolver, is_absolute
from kanjo.corpora.formats.rows import TableOptions
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import read_text
from kanjo.corpora.words import is_missing, normalize, parse_language, parse_speaker, parse_text
from kanjo.errors import CorpusError
from kanjo.file_names import encode_name
from kanjo.labels import EMOTIONS, canonical_emotion, map_emotion

#: The reference implementation numbers these five emotions and the first two languages; the others follow.
_REFERENCE_EMOTIONS = ("neutral", "happiness", "sadness", "anger", "surprise")
_FURTHER_EMOTIONS = tuple(name for name in EMOTIONS if name not in _REFERENCE_EMOTIONS)
_LANGUAGES = ("ja", "en", "de", "ko", "pl", "zh", "fr", "it", "es", "fa", "ur", "am", "tr", "da", "ar")
EMOTION_IDS = {name: number for number, name in enumerate((*_REFERENCE_EMOTIONS, *_FURTHER_EMOTIONS))}
LANGUAGE_IDS = {name: number for number, name in enumerate(_LANGUAGES)}
_EMOTION_BY_ID = {str(number): emotion for emotion, number in EMOTION_IDS.items()}
_LANGUAGE_BY_ID = {str(number): language for language, number in LANGUAGE_IDS.items()}
_FORMAT = "path|speaker|text|emotion|language, or the same without language"
_N_CELLS = (4, 5)
_OTHER_SEPARATORS = {"tabs": "\t", "semicolons": ";", "commas": ","}
#: What stands for an unknown speaker and an unknown language in the lists of STUDIES.
_NO_SPEAKER, _NO_LANGUAGE = "spk", "lang"
#: File names of lists: ``esd_audio_sid_text_train_filelist.txt``, and those with phonemes for text.
_LIST_NAME = re.compile(r"filelist.*\.txt(\.cleaned)?", re.IGNORECASE)


def write_filelist(path: Path, utterances: Iterable[Utterance], root: Path) -> None:
    """Write a filelist atomically; the same utterances give the same bytes.

    Bars and line ends in texts become spaces. A language without a number is written as a word.

    Args:
        path: The filelist.
        utterances: One line each.
        root: The folder that the files of the utterances are relative to.

    Raises:
        KanjoError: The file can't be written.
    """
    lines = []
    for row in utterances:
        text = " ".join(row.text.replace("|", " ").split())
        language = LANGUAGE_IDS.get(row.language, row.language)
        file = encode_name((root / row.file).as_posix())
        lines.append(f"{file}|{row.speaker}|{text}|{EMOTION_IDS[row.emotion]}|{language}\n")
    files.write_text(path, "".join(lines))


def is_filelist(path: Path, first_line: str) -> bool:
    """Return whether a file is a filelist.

    Its name says so, or its first line has four or five cells, the fourth the number or word of an emotion.
    """
    cells = first_line.rstrip("\r\n").split("|")
    has_cells = len(cells) in _N_CELLS and (cells[3].strip().isdigit() or _is_emotion(cells[3]))
    return has_cells or bool(_LIST_NAME.search(path.name) and "|" in first_line)


def read_filelist(path: Path, options: TableOptions) -> Iterator[Utterance]:
    """Yield the utterances of a filelist.

    A path that exists relative to the working folder becomes absolute; any other is relative to the folder of the
    filelist or, if there is no such file, to one of its parents.

    Raises:
        CorpusError: The file can't be read, a line has another number of cells or an unknown emotion, or a path fits
            two files, or a recording has two emotions.
    """
    for _, row in read_numbered_lines(path, options):
        yield row


def read_numbered_lines(path: Path, options: TableOptions) -> Iterator[tuple[int, Utterance]]:
    """Do the same as :func:`read_filelist`, with the number of each line."""
    in_working_folder, in_root = PathResolver(Path()), PathResolver(options.root, options.search_parents)
    conflicts = LabelConflicts() if options.validate else None
    prefix: str | None = None
    for number, line in _numbered_lines(path, options.corpus):
        try:
            row = _parse_line(line, options)
            file = in_working_folder.decode(in_root.clean(in_working_folder.clean(row.file)))
            if not is_absolute(file):
                if in_working_folder.exists(file):
                    file = _absolute_path(file, in_working_folder, options.root)
                elif prefix or (prefix is None and (prefix := in_root.find_prefix(file))):
                    file = prefix + file
            row = row._replace(file=in_root.on_disk(file))
            if conflicts:
                conflicts.check(row, number)
            yield number, row
        except CorpusError as error:
            raise CorpusError(f"{path}:{number}: {error}") from None


def line_numbers(path: Path) -> list[int]:
    """Return the number of the line of each utterance of a filelist."""
    return [number for number, _ in _numbered_lines(path, path.stem)]


def _numbered_lines(path: Path, corpus: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that are not empty."""
    # not splitlines(): a file name may contain other Unicode line breaks
    for number, line in enumerate(read_text(path, corpus).rstrip("\r\n").split("\n"), 1):
        if line.strip():
            yield number, line


def _parse_line(line: str, options: TableOptions) -> Utterance:
    cells = [cell.strip() for cell in line.split("|")]
    if len(cells) not in _N_CELLS or is_missing(cells[0]) or _has_other_separator(cells):
        problem = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
        if len(cells) in _N_CELLS and is_missing(cells[0]):
            problem = "no path"
        elif other := next((name for name, mark in _OTHER_SEPARATORS.items() if mark in line), ""):
            problem += f" (this line has {other}; the separator is a bar)"
        raise CorpusError(f"{problem}; expected {_FORMAT}")
    file, speaker, text, label, language = (*cells, "")[:5]
    if "\0" in file:
        raise CorpusError(f"the path is {file!r}, which contains a null character")
    try:
        emotion = _EMOTION_BY_ID[label] if label.isdecimal() else map_emotion(label, options.label_map)
    except (KeyError, CorpusError):
        raise CorpusError(
            f"unknown emotion {label!r}; expected 0 to {len(_EMOTION_BY_ID) - 1} or an emotion word"
        ) from None
    return Utterance(
        corpus=options.corpus,
        file=file,
        emotion=emotion,
        labels_raw=normalize(label),
        speaker="" if speaker == _NO_SPEAKER else parse_speaker(speaker),
        language=_parse_language(language),
        text=parse_text(text),
    )


def _has_other_separator(cells: Sequence[str]) -> bool:
    """Return whether a line of four cells seems to have one of five, because two are separated by another mark."""
    return len(cells) == min(_N_CELLS) and any(mark in cells[1] for mark in _OTHER_SEPARATORS.values())


def _parse_language(cell: str) -> str:
    if cell.isdecimal() and cell not in _LANGUAGE_BY_ID:
        raise CorpusError(f"unknown language {cell}; expected 0 to {len(_LANGUAGE_BY_ID) - 1} or a language such as en")
    return "" if cell == _NO_LANGUAGE else _LANGUAGE_BY_ID.get(cell) or parse_language(cell)


def _absolute_path(file: str, in_working_folder: PathResolver, root: Path) -> str:
    """Return the absolute path of a file in the working folder; refuse it if the root has another file of this path."""
    path = Path(in_working_folder.on_disk(file)).resolve()
    other = root / file
    if other.exists() and not other.samefile(path):
        raise CorpusError(f"{file} exists in the working folder and beside the filelist; write an absolute path")
    return str(path)


def _is_emotion(word: str) -> bool:
    try:
        canonical_emotion(word)
    except CorpusError:
        return False
    return True
