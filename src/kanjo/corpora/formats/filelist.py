"""Read and write filelists of speech synthesis: ``path|speaker|text|emotion|language``, one utterance a line.

Emotion and language are numbers. The format is that of kanjo's reference implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from kanjo import files
from kanjo.corpora.formats.paths import PathResolver, is_absolute
from kanjo.corpora.formats.rows import TableOptions
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import read_text
from kanjo.corpora.words import is_missing, normalize, parse_speaker, parse_text, parse_word
from kanjo.errors import CorpusError
from kanjo.labels import EMOTIONS, canonical_emotion, map_emotion

#: The reference implementation numbers these five emotions and the first two languages; the others follow.
_REFERENCE_EMOTIONS = ("neutral", "happiness", "sadness", "anger", "surprise")
_FURTHER_EMOTIONS = tuple(name for name in EMOTIONS if name not in _REFERENCE_EMOTIONS)
_LANGUAGES = ("ja", "en", "de", "ko", "pl", "zh", "fr", "it", "es", "fa", "ur", "am", "tr", "da", "ar")
EMOTION_IDS = {name: number for number, name in enumerate((*_REFERENCE_EMOTIONS, *_FURTHER_EMOTIONS))}
LANGUAGE_IDS = {name: number for number, name in enumerate(_LANGUAGES)}
_EMOTION_BY_ID = {str(number): emotion for emotion, number in EMOTION_IDS.items()}
_LANGUAGE_BY_ID = {str(number): language for language, number in LANGUAGE_IDS.items()}
_N_CELLS = 5


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
        lines.append(f"{(root / row.file).as_posix()}|{row.speaker}|{text}|{EMOTION_IDS[row.emotion]}|{language}\n")
    files.write_text(path, "".join(lines))


def is_filelist(first_line: str) -> bool:
    """Return whether this is the first line of a filelist: five cells, the fourth the number or word of an emotion."""
    cells = first_line.rstrip("\r\n").split("|")
    return len(cells) == _N_CELLS and (cells[3].strip().isdigit() or _is_emotion(cells[3]))


def read_filelist(path: Path, options: TableOptions) -> Iterator[Utterance]:
    """Yield the utterances of a filelist.

    A path that exists relative to the working folder becomes absolute; any other is relative to the filelist.

    Raises:
        CorpusError: The file can't be read, a line has another number of cells or an unknown emotion, or a path fits
            two files.
    """
    in_working_folder, in_root = PathResolver(Path()), PathResolver(options.root)
    # not splitlines(): a file name may contain other Unicode line breaks
    for number, line in enumerate(read_text(path, options.corpus).rstrip("\r\n").split("\n"), 1):
        try:
            row = _parse_line(line, options)
            file = in_root.clean(in_working_folder.clean(row.file))
            if not is_absolute(file) and in_working_folder.exists(file):
                file = _absolute_path(file, in_working_folder, options.root)
            yield row._replace(file=in_root.on_disk(file))
        except CorpusError as error:
            raise CorpusError(f"{path}:{number}: {error}") from None


def _parse_line(line: str, options: TableOptions) -> Utterance:
    cells = [cell.strip() for cell in line.split("|")]
    if len(cells) != _N_CELLS or is_missing(cells[0]):
        problem = "no path" if len(cells) == _N_CELLS else f"{len(cells)} cells"
        raise CorpusError(f"{problem}; expected path|speaker|text|emotion|language")
    file, speaker, text, label, language = cells
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
        speaker=parse_speaker(speaker),
        language=_LANGUAGE_BY_ID.get(language, parse_word(language)),
        text=parse_text(text),
    )


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
