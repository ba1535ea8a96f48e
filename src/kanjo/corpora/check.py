"""Compare a corpus on disk with its publication, and find recordings that can't be used."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kanjo import audio
from kanjo.audio.levels import LevelMeter
from kanjo.corpora.corpus import collect_unreadable_folders
from kanjo.corpora.formats.label_conflicts import find_label_conflicts
from kanjo.corpora.formats.times import check_times
from kanjo.corpora.manifest import Manifest, Utterance
from kanjo.corpora.registry import OWN_CORPUS, get_corpus, read_corpus
from kanjo.errors import AudioError
from kanjo.file_names import encode_name, escape_text
from kanjo.files import os_error_message

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckLine:
    """One line of a check: a number and the expected one ("" if not published).

    ``status`` is "ok", "note" (worth knowing, not an error) or "differs" (an error).
    """

    name: str
    value: str
    expected: str
    status: str


@dataclass(frozen=True)
class FileCheck:
    """Properties of one recording.

    Attributes:
        file: Path relative to the root of the corpus.
        duration_s: Duration, seconds.
        sample_rate: Original sample rate, Hz.
        channels: Number of channels.
        problem: Why the recording can't be used; "" if it can.
        quality: "silent", "clipped" or "".
        rms_db: RMS level, dBFS; None for silence, and if the samples were not decoded.
        fingerprint: Equal for equal samples at an equal sample rate; "" if the samples were not decoded.
    """

    file: str
    duration_s: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    problem: str = ""
    quality: str = ""
    rms_db: float | None = None
    fingerprint: str = ""


@dataclass(frozen=True)
class CheckReport:
    """All results of a check.

    Attributes:
        duration_s: Total duration, seconds.
        unusable: Recordings, or parts of recordings, that can't be used, and why.
        duplicates: Groups of recordings with the same samples.
        extra: Recordings in the folder that are not part of the corpus.
        missing_emotions: Speakers, and the emotions that most other speakers have and they lack.
        missing: Recordings that the tables of the corpus name and that do not exist.
        label_conflicts: Recordings, or parts of recordings, with several emotions, and these emotions.
    """

    corpus: str
    root: str
    duration_s: float
    lines: tuple[CheckLine, ...]
    unusable: tuple[tuple[str, str], ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()
    extra: tuple[str, ...] = ()
    missing_emotions: tuple[tuple[str, str], ...] = ()
    files: tuple[FileCheck, ...] = ()
    utterances: tuple[Utterance, ...] = ()
    missing: tuple[str, ...] = ()
    label_conflicts: tuple[tuple[str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the corpus equals its publication and all recordings can be used."""
        return not self.unusable and all(line.status != "differs" for line in self.lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON, without the properties of each file."""
        return {
            "corpus": self.corpus,
            "root": encode_name(self.root),
            "ok": self.ok,
            "hours": round(self.duration_s / 3600, 3),
            "lines": [asdict(line) for line in self.lines],
            "unusable": [
                {"file": encode_name(file), "problem": escape_text(problem)} for file, problem in self.unusable
            ],
            "missing": list(map(encode_name, self.missing)),
            "duplicates": [list(map(encode_name, group)) for group in self.duplicates],
            "extra": list(map(encode_name, self.extra)),
            "missing_emotions": dict(self.missing_emotions),
            "label_conflicts": dict(self.label_conflicts),
        }


def check_corpus(
    name: str,
    root: Path,
    decode: bool = True,
    progress: Progress | None = None,
    label_map: Mapping[str, str] | None = None,
) -> CheckReport:
    """Compare a corpus on disk with its publication.

    Args:
        name: A published corpus, or "own".
        root: The folder of the corpus, or for "own" also a table.
        decode: Decode all samples; False reads only headers, so levels and duplicates stay unknown.
        progress: Called with the numbers of checked and of all recordings.
        label_map: Emotion for each label of own data that the vocabulary does not contain.

    Raises:
        CorpusError: There are no utterances at ``root``.
    """
    with collect_unreadable_folders() as unreadable:
        manifest = read_corpus(name, root, label_map, validate=False)
        missing = _list_missing(name, root)
    utterances = manifest.utterances
    files = check_files(manifest.root, list(dict.fromkeys(row.file for row in utterances)), decode, progress)
    unusable = (
        *((item.file, item.problem) for item in files if item.problem),
        *_find_invalid_parts(utterances, files),
        *_describe_unreadable_folders(unreadable),
    )
    duplicates, extra = _find_duplicates(files), _find_extra_recordings(manifest)
    missing_emotions = _find_missing_emotions(utterances)
    lines = [*_count_lines(name, root, utterances), *_audio_lines(name, files)]
    label_conflicts = tuple(find_label_conflicts(utterances))
    for line_name, items, status in (
        ("missing recordings", missing, "differs"),
        ("recordings with several emotions", label_conflicts, "differs"),
        ("groups of identical recordings", duplicates, "note"),
        ("recordings not in the table" if root.is_file() else "recordings not in the corpus", extra, "note"),
        ("speakers who lack an emotion", missing_emotions, "note"),
    ):
        if items:
            lines.append(CheckLine(line_name, str(len(items)), "0", status))
    lines.append(CheckLine("unusable recordings", str(len(unusable)), "0", "differs" if unusable else "ok"))
    return CheckReport(
        corpus=name,
        root=str(root),
        duration_s=sum(item.duration_s for item in files),
        lines=tuple(lines),
        unusable=unusable,
        duplicates=duplicates,
        extra=extra,
        missing_emotions=missing_emotions,
        files=tuple(files),
        utterances=utterances,
        missing=missing,
        label_conflicts=label_conflicts,
    )


def check_files(root: Path, files: Sequence[str], decode: bool, progress: Progress | None = None) -> list[FileCheck]:
    """Check recordings in parallel threads, in order: all samples, or only headers if not ``decode``."""
    results: list[FileCheck] = []
    with ThreadPoolExecutor() as pool:
        try:
            for result in pool.map(partial(_check_file, root, decode=decode), files):
                results.append(result)
                if progress:
                    progress(len(results), len(files))
        except BaseException:  # Ctrl-C: do not decode the rest first
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def _check_file(root: Path, file: str, decode: bool) -> FileCheck:
    digest = hashlib.sha1(usedforsecurity=False)
    levels = LevelMeter()
    try:
        reader = audio.open_audio(root / file, file)
        if not decode and reader.frames:
            with reader:
                duration_s = reader.frames / reader.native_rate
                return FileCheck(file, duration_s, reader.native_rate, reader.channels)
        for block in reader.blocks():
            levels.feed(block)
            digest.update(block.data)
    except AudioError as error:
        return FileCheck(file, problem=str(error).removeprefix(f"{file}: "))
    return FileCheck(
        file=file,
        duration_s=levels.n_samples / reader.native_rate,
        sample_rate=reader.native_rate,
        channels=reader.channels,
        problem=next(iter(reader.warnings), ""),
        quality="silent" if levels.is_silent else "clipped" if levels.is_clipped else "",
        rms_db=None if levels.is_silent else levels.rms_db,
        fingerprint=f"{reader.native_rate}-{digest.hexdigest()}",
    )


def _find_invalid_parts(utterances: Sequence[Utterance], files: Sequence[FileCheck]) -> Iterator[tuple[str, str]]:
    """Yield the recordings with a part that is empty or not within the recording, and why."""
    durations = {item.file: None if item.problem else item.duration_s for item in files}
    for row in utterances:
        if row.start_s is None and row.end_s is None:
            continue
        if problem := check_times(row.start_s, row.end_s, durations[row.file]):
            yield row.file, problem


def _describe_unreadable_folders(errors: Sequence[OSError]) -> Iterator[tuple[str, str]]:
    """Yield each folder that can't be read, once, and why."""
    for folder, error in {str(error.filename): error for error in errors}.items():
        yield folder, f"can't read the folder: {os_error_message(error)}"


def _list_missing(name: str, root: Path) -> tuple[str, ...]:
    list_missing = None if name == OWN_CORPUS else get_corpus(name).list_missing
    return tuple(list_missing(root)) if list_missing else ()


def _find_duplicates(files: Sequence[FileCheck]) -> tuple[tuple[str, ...], ...]:
    groups: dict[str, list[str]] = defaultdict(list)
    for item in files:
        if item.fingerprint:
            groups[item.fingerprint].append(item.file)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _find_extra_recordings(manifest: Manifest) -> tuple[str, ...]:
    if not manifest.root.is_dir():
        return ()
    listed = {os.path.normpath(manifest.audio_path(row).absolute()) for row in manifest.utterances}
    paths = audio.find_recordings(manifest.root)
    return tuple(
        path.relative_to(manifest.root).as_posix() for path in paths if os.path.normpath(path.absolute()) not in listed
    )


def _find_missing_emotions(utterances: Sequence[Utterance]) -> tuple[tuple[str, str], ...]:
    """Return the speakers who lack an emotion that more than half of the speakers have, and these emotions."""
    emotions_by_speaker: dict[str, set[str]] = defaultdict(set)
    for row in utterances:
        if row.speaker:
            emotions_by_speaker[row.speaker].add(row.emotion)
    n_speakers = Counter(emotion for emotions in emotions_by_speaker.values() for emotion in emotions)
    usual = {emotion for emotion, n in n_speakers.items() if 2 * n > len(emotions_by_speaker)}
    return tuple(
        (speaker, ", ".join(sorted(usual - emotions)))
        for speaker, emotions in sorted(emotions_by_speaker.items())
        if usual - emotions
    )


def _count_lines(name: str, root: Path, utterances: Sequence[Utterance]) -> list[CheckLine]:
    """Count utterances, speakers and emotions; compare with the publication unless the corpus is the user's own."""
    if name == OWN_CORPUS:
        return _own_count_lines(utterances)
    corpus = get_corpus(name)
    labels = Counter(row.labels_raw for row in utterances)
    n_speakers = len({row.speaker for row in utterances if row.speaker})
    lines = [
        _compare("utterances", len(utterances), corpus.expected_utterances),
        _compare("speakers", n_speakers, corpus.n_speakers),
    ]
    lines += [_compare(f"emotion {label}", labels.pop(label, 0), n) for label, n in corpus.emotions.items()]
    lines += [CheckLine(f"emotion {label}", str(n), "0", "differs") for label, n in labels.items()]
    return lines + [CheckLine(what, str(count(root)), "", "note") for what, count in corpus.extra_counts.items()]


def _own_count_lines(utterances: Sequence[Utterance]) -> list[CheckLine]:
    speakers = {row.speaker for row in utterances if row.speaker}
    counts = Counter(row.emotion for row in utterances)
    lines = [
        CheckLine("utterances", str(len(utterances)), "", "ok"),
        CheckLine("speakers", str(len(speakers)), "", "ok" if speakers else "note"),
    ]
    lines += [CheckLine(f"emotion {emotion}", str(n), "", "ok") for emotion, n in sorted(counts.items())]
    if len(counts) < 2:
        lines.append(CheckLine("emotions", str(len(counts)), "at least 2", "differs"))
    return lines


def _compare(name: str, value: int, expected: int) -> CheckLine:
    if not expected:  # not published
        return CheckLine(name, str(value), "", "note")
    return CheckLine(name, str(value), str(expected), "ok" if value == expected else "differs")


def _audio_lines(name: str, files: Sequence[FileCheck]) -> list[CheckLine]:
    """Count sample rates, channels, silent and clipped recordings."""
    published_rate = 0 if name == OWN_CORPUS else get_corpus(name).sample_rate
    expected = f"{published_rate} Hz" if published_rate else ""
    usable = [item for item in files if not item.problem]
    lines = []
    for rate, n in sorted(Counter(item.sample_rate for item in usable).items()):
        status = "ok" if published_rate in (0, rate) else "note"
        lines.append(CheckLine(f"recordings at {rate} Hz", str(n), expected, status))
    n_multichannel = sum(item.channels > 1 for item in usable)
    if n_multichannel:
        lines.append(CheckLine("multichannel recordings", str(n_multichannel), "", "note"))
    qualities = Counter(item.quality for item in files if item.quality)
    return lines + [CheckLine(f"{quality} recordings", str(n), "0", "note") for quality, n in sorted(qualities.items())]
