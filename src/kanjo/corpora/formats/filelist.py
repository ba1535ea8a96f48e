"""Read and write filelists of speech synthesis: ``path|speaker|text|emotion|language``, one utterance a line.

Emotion and language are numbers. The format is that of kanjo's reference implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from kanjo import files
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.files import os_error_message
from kanjo.labels import EMOTIONS, canonical_emotion

#: The reference implementation numbers these five emotions and the first two languages; the others follow.
_REFERENCE_EMOTIONS = ("neutral", "happiness", "sadness", "anger", "surprise")
_FURTHER_EMOTIONS = tuple(name for name in EMOTIONS if name not in _REFERENCE_EMOTIONS)
_LANGUAGES = ("ja", "en", "de", "ko", "pl", "zh", "fr", "it", "es", "fa", "ur", "am", "tr", "da", "ar")
EMOTION_IDS = {name: number for number, name in enumerate((*_REFERENCE_EMOTIONS, *_FURTHER_EMOTIONS))}
LANGUAGE_IDS = {name: number for number, name in enumerate(_LANGUAGES)}
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


def read_filelist(path: Path, name: str) -> Iterator[Utterance]:
    """Yield the utterances of a filelist; ``name`` is their corpus.

    A path that exists relative to the working folder becomes absolute; any other is relative to the filelist.

    Raises:
        CorpusError: The file can't be read, or a line has another number of cells or an unknown emotion.
    """
    emotions = {str(number): emotion for emotion, number in EMOTION_IDS.items()}
    languages = {str(number): language for language, number in LANGUAGE_IDS.items()}
    # not splitlines(): a file name may contain other Unicode line breaks
    for number, line in enumerate(_read(path).rstrip("\r\n").split("\n"), 1):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != _N_CELLS or not cells[0]:
            problem = "no path" if len(cells) == _N_CELLS else f"{len(cells)} cells"
            raise CorpusError(f"{path}:{number}: {problem}; expected path|speaker|text|emotion|language")
        file, speaker, text, label, language = cells
        try:
            emotion = emotions[label] if label.isdigit() else canonical_emotion(label)
        except (KeyError, CorpusError):
            raise CorpusError(
                f"{path}:{number}: unknown emotion {label!r}; expected 0 to {len(emotions) - 1} or an emotion word"
            ) from None
        is_from_working_folder = not Path(file).is_absolute() and Path(file).exists()
        yield Utterance(
            corpus=name,
            file=str(Path(file).resolve()) if is_from_working_folder else file,
            emotion=emotion,
            labels_raw=label,
            speaker=speaker,
            language=languages.get(language, language),
            text=text,
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CorpusError(f"can't read {path}: {os_error_message(error)}") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not text in UTF-8; convert the filelist to UTF-8") from error


def _is_emotion(word: str) -> bool:
    try:
        canonical_emotion(word)
    except CorpusError:
        return False
    return True
