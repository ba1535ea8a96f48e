"""Kaldi's data folders: ``wav.scp``, ``utt2emo``, and where they are there ``utt2spk``, ``spk2gender``, ``text``, ``segments``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from kanjo.corpora.corpus import text_of
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.labels import mapped

RECORDINGS, EMOTIONS = "wav.scp", "utt2emo"
_SEXES = {"f": "female", "m": "male"}


def read_kaldi(root: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Utterances of a data folder, in the order of ``utt2emo``. Paths are relative to the folder, or absolute.

    Raises CorpusError, naming file and line, for an utterance without a recording, an unknown emotion, a segment without
    times, or a recording that is a command (``sox ... |``): kanjo runs none.
    """
    files = _pairs(root, RECORDINGS, name)
    speakers, sexes, texts = (_pairs(root, table, name, False) for table in ("utt2spk", "spk2gender", "text"))
    segments = _pairs(root, "segments", name, False)
    emotions = _pairs(root, EMOTIONS, name)
    if not emotions:
        raise CorpusError(f"{root / EMOTIONS}: empty, expected an utterance and its emotion on each line")
    for number, (utterance, label) in enumerate(emotions.items(), 1):
        where = f"{root / EMOTIONS}:{number}"
        recording, start_s, end_s = (
            _segment(segments[utterance], root) if utterance in segments else (utterance, None, None)
        )
        if recording not in files:
            raise CorpusError(f"{where}: {RECORDINGS} has no recording {recording}")
        if files[recording].endswith("|"):
            raise CorpusError(f"{root / RECORDINGS}: {recording} is a command; write its sound to a file and name that")
        try:
            emotion = mapped(label, label_map)
        except CorpusError as error:
            raise CorpusError(f"{where}: {error}") from None
        speaker = speakers.get(utterance, "")
        sex = sexes.get(speaker, "")
        yield Utterance(
            corpus=name,
            file=files[recording],
            emotion=emotion,
            labels_raw=label,
            speaker=speaker,
            sex=_SEXES.get(sex.casefold(), sex),
            text=texts.get(utterance, ""),
            start_s=start_s,
            end_s=end_s,
        )


def _pairs(root: Path, table: str, name: str, needed: bool = True) -> dict[str, str]:
    """``{first word: the rest of its line}``, in order."""
    path = root / table
    if not needed and not path.is_file():
        return {}
    lines = (line.split(maxsplit=1) for line in text_of(path, name).split("\n"))
    return {words[0]: words[1].strip() if len(words) > 1 else "" for words in lines if words}


def _segment(rest: str, root: Path) -> tuple[str, float, float]:
    words = rest.split()
    try:
        recording, start, end = words
        return recording, float(start), float(end)
    except ValueError:
        raise CorpusError(
            f"{root / 'segments'}: {rest!r}, expected a recording and its start and end in seconds"
        ) from None
