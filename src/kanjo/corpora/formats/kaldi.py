"""Read Kaldi data folders: ``wav.scp``, ``utt2emo``; optional ``utt2spk``, ``spk2gender``, ``text``, ``segments``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from kanjo.corpora.formats.label_conflicts import LabelConflicts
from kanjo.corpora.formats.paths import PathResolver
from kanjo.corpora.formats.rows import TableOptions
from kanjo.corpora.formats.times import check_times, parse_seconds
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import read_text
from kanjo.corpora.words import normalize, parse_sex, parse_speaker, parse_text
from kanjo.errors import CorpusError
from kanjo.labels import map_emotion

RECORDINGS, EMOTIONS, _SEGMENTS = "wav.scp", "utt2emo", "segments"


class _Line(NamedTuple):
    """A line of a table: its number and the text after the first word."""

    number: int
    value: str


_Value = TypeVar("_Value")


def read_kaldi(root: Path, options: TableOptions) -> Iterator[Utterance]:
    """Yield the utterances of a data folder, in the order of ``utt2emo``.

    Args:
        root: The data folder; relative paths in ``wav.scp`` start here.
        options: How the lines become utterances.

    Raises:
        CorpusError: An utterance has no recording or an unknown emotion, a word is twice in a table, a segment has no
            valid times, a recording has two emotions, or it is a command (``sox ... |``), which kanjo does not run.
    """
    files = _read_lines(root / RECORDINGS)
    optional = [root / name for name in ("utt2spk", "spk2gender", "text", _SEGMENTS)]
    tables = [_read_lines(path) if path.is_file() else {} for path in optional]
    speakers = _convert(optional[0], tables[0], parse_speaker)
    sexes = {normalize(speaker): sex for speaker, sex in _convert(optional[1], tables[1], parse_sex).items()}
    texts = _convert(optional[2], tables[2], parse_text)
    segments = _convert(optional[3], tables[3], lambda line: _parse_segment(line, options.validate))
    emotions = _read_lines(root / EMOTIONS)
    if not emotions:
        raise CorpusError(f"{root / EMOTIONS}: the file is empty; expected an utterance and its emotion on each line")
    resolver = PathResolver(root)
    conflicts = LabelConflicts() if options.validate else None
    for utterance, (number, label) in emotions.items():
        location = f"{root / EMOTIONS}:{number}"
        recording, start_s, end_s = segments.get(utterance, (utterance, None, None))
        file = _recording_file(files, recording, location, root)
        speaker = speakers.get(utterance, "")
        try:
            row = Utterance(
                corpus=options.corpus,
                file=resolver.on_disk(resolver.clean(file)),
                emotion=map_emotion(label, options.label_map),
                labels_raw=normalize(label),
                speaker=speaker,
                sex=sexes.get(speaker, ""),
                text=texts.get(utterance, ""),
                start_s=start_s,
                end_s=end_s,
            )
            if conflicts:
                conflicts.check(row, number)
        except CorpusError as error:
            raise CorpusError(f"{location}: {error}") from None
        yield row


def _read_lines(path: Path) -> dict[str, _Line]:
    """Return ``{first word: line}``, in the order of the lines."""
    lines: dict[str, _Line] = {}
    for number, line in enumerate(read_text(path, "kaldi").split("\n"), 1):
        words = line.split(maxsplit=1)
        if not words:
            continue
        if words[0] in lines:
            raise CorpusError(f"{path}:{number}: {words[0]} is in line {lines[words[0]].number} already; remove one")
        lines[words[0]] = _Line(number, words[1].strip() if len(words) > 1 else "")
    return lines


def _convert(path: Path, lines: Mapping[str, _Line], convert: Callable[[str], _Value]) -> dict[str, _Value]:
    """Convert the values of a table; name the line of a value that is not valid."""
    values = {}
    for word, (number, value) in lines.items():
        try:
            values[word] = convert(value)
        except CorpusError as error:
            raise CorpusError(f"{path}:{number}: {error}") from None
    return values


def _recording_file(files: Mapping[str, _Line], recording: str, location: str, root: Path) -> str:
    if recording not in files:
        raise CorpusError(f"{location}: {RECORDINGS} has no recording {recording}; add a line with its path")
    number, file = files[recording]
    if file.endswith("|"):
        raise CorpusError(
            f"{root / RECORDINGS}:{number}: recording {recording} is a command, which kanjo does not run; "
            "write its output to a file and put the path of that file here"
        )
    if not file:
        raise CorpusError(f"{root / RECORDINGS}:{number}: recording {recording} has no path; add it")
    return file


def _parse_segment(line: str, validate: bool) -> tuple[str, float | None, float | None]:
    """Return recording, start and end of a line of ``segments``; an end of -1 is the end of the recording (Kaldi)."""
    words = line.split()
    if len(words) != 3:
        raise CorpusError(f"{line!r}; expected a recording, and its start and end in seconds")
    start_s, end_s = parse_seconds(words[1], "start"), parse_seconds(words[2], "end")
    if end_s == -1:
        end_s = None
    if validate and (problem := check_times(start_s, end_s)):
        raise CorpusError(problem)
    return words[0], start_s, end_s
