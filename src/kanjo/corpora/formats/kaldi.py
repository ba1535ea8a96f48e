"""Read Kaldi data folders: ``wav.scp``, ``utt2emo``; optional ``utt2spk``, ``spk2gender``, ``text``, ``segments``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from kanjo.corpora.corpus import SEX_BY_LETTER, read_text
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.labels import map_emotion

RECORDINGS, EMOTIONS = "wav.scp", "utt2emo"


def read_kaldi(root: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Yield the utterances of a data folder, in the order of ``utt2emo``.

    Args:
        root: The data folder; relative paths in ``wav.scp`` start here.
        name: Corpus of the utterances.
        label_map: Emotion for each label that is not a word of the vocabulary.

    Raises:
        CorpusError: An utterance has no recording or an unknown emotion, a segment has no times, or a recording is a
            command (``sox ... |``), which kanjo does not run.
    """
    files = _read_pairs(root / RECORDINGS, name)
    speakers, sexes, texts, segments = (
        _read_pairs(root / table, name) if (root / table).is_file() else {}
        for table in ("utt2spk", "spk2gender", "text", "segments")
    )
    emotions = _read_pairs(root / EMOTIONS, name)
    if not emotions:
        raise CorpusError(f"{root / EMOTIONS}: the file is empty; expected an utterance and its emotion on each line")
    for number, (utterance, label) in enumerate(emotions.items(), 1):
        location = f"{root / EMOTIONS}:{number}"
        recording = utterance
        start_s = end_s = None
        if utterance in segments:
            recording, start_s, end_s = _parse_segment(segments[utterance], utterance, root)
        file = _recording_file(files, recording, location, root)
        try:
            emotion = map_emotion(label, label_map)
        except CorpusError as error:
            raise CorpusError(f"{location}: {error}") from None
        speaker = speakers.get(utterance, "")
        sex = sexes.get(speaker, "")
        yield Utterance(
            corpus=name,
            file=file,
            emotion=emotion,
            labels_raw=label,
            speaker=speaker,
            sex=SEX_BY_LETTER.get(sex.casefold(), sex),
            text=texts.get(utterance, ""),
            start_s=start_s,
            end_s=end_s,
        )


def _read_pairs(path: Path, name: str) -> dict[str, str]:
    """Return ``{first word: rest of the line}``, in the order of the lines."""
    lines = (line.split(maxsplit=1) for line in read_text(path, name).split("\n"))
    return {words[0]: words[1].strip() if len(words) > 1 else "" for words in lines if words}


def _recording_file(files: Mapping[str, str], recording: str, location: str, root: Path) -> str:
    if recording not in files:
        raise CorpusError(f"{location}: {RECORDINGS} has no recording {recording}; add a line with its path")
    if files[recording].endswith("|"):
        raise CorpusError(
            f"{root / RECORDINGS}: recording {recording} is a command, which kanjo does not run; "
            "write its output to a file and put the path of that file here"
        )
    return files[recording]


def _parse_segment(segment: str, utterance: str, root: Path) -> tuple[str, float, float]:
    """Return recording, start and end of a line of ``segments``."""
    words = segment.split()
    try:
        recording, start, end = words
        return recording, float(start), float(end)
    except ValueError:
        raise CorpusError(
            f"{root / 'segments'}: utterance {utterance} has {segment!r}; "
            "expected a recording, and its start and end in seconds"
        ) from None
