"""The mission's filelists: ``path|speaker|text|emotion|language``, one utterance a line, emotion and language as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from kanjo import files
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.files import reason
from kanjo.labels import EMOTIONS, canonical

#: The reference's numbers for its five emotions and two languages, and ours for the rest, after them.
_FIRST = ("neutral", "happiness", "sadness", "anger", "surprise")
EMOTION_IDS = {name: n for n, name in enumerate((*_FIRST, *(name for name in EMOTIONS if name not in _FIRST)))}
LANGUAGE_IDS = {
    name: n
    for n, name in enumerate(("ja", "en", "de", "ko", "pl", "zh", "fr", "it", "es", "fa", "ur", "am", "tr", "da", "ar"))
}
_CELLS = 5


def write_filelist(path: Path, utterances: Iterable[Utterance], root: Path) -> None:
    """Write a filelist, whole or not at all; the same utterances give the same bytes.

    Bars and line ends in a text become spaces; a language without a number keeps its word. Raises KanjoError.
    """
    lines = []
    for row in utterances:
        text = " ".join(row.text.replace("|", " ").split())
        language = LANGUAGE_IDS.get(row.language, row.language)
        lines.append(f"{(root / row.file).as_posix()}|{row.speaker}|{text}|{EMOTION_IDS[row.emotion]}|{language}\n")
    files.write_text(path, "".join(lines))


def is_filelist(first_line: str) -> bool:
    """Whether a file that begins so is a filelist: five cells, the fourth an emotion's number or word."""
    cells = first_line.rstrip("\r\n").split("|")
    return len(cells) == _CELLS and (cells[3].strip().isdigit() or _is_emotion(cells[3]))


def read_filelist(path: Path, name: str) -> Iterator[Utterance]:
    """Utterances of a filelist. Paths are taken as they are where they lead somewhere, else from the list's folder.

    Raises CorpusError, naming the line, for another number of cells or an emotion that is not known.
    """
    emotions = {str(n): emotion for emotion, n in EMOTION_IDS.items()}
    languages = {str(n): language for language, n in LANGUAGE_IDS.items()}
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CorpusError(f"can't read {path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not a filelist in UTF-8") from error
    for n, line in enumerate(
        content.rstrip("\r\n").split("\n"), 1
    ):  # not splitlines: a name may hold Unicode's other breaks
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != _CELLS or not cells[0]:
            raise CorpusError(f"{path}:{n}: {len(cells)} cells, expected path|speaker|text|emotion|language")
        file, speaker, text, emotion, language = cells
        try:
            word = emotions[emotion] if emotion.isdigit() else canonical(emotion)
        except (KeyError, CorpusError):
            raise CorpusError(
                f"{path}:{n}: emotion {emotion!r}, expected 0 to {len(emotions) - 1} or a known word"
            ) from None
        place = Path(file)
        yield Utterance(
            corpus=name,
            file=str(place.resolve()) if not place.is_absolute() and place.exists() else file,
            emotion=word,
            labels_raw=emotion,
            speaker=speaker,
            language=languages.get(language, language),
            text=text,
        )


def _is_emotion(word: str) -> bool:
    try:
        canonical(word)
    except CorpusError:
        return False
    return True
