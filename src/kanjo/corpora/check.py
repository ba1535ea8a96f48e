"""What of a corpus is there, against what should be."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kanjo import audio
from kanjo.audio.levels import Levels
from kanjo.corpora import OWN, corpus_named, read_corpus
from kanjo.corpora.manifest import Manifest, Utterance
from kanjo.errors import AudioError


@dataclass(frozen=True)
class Line:
    """One thing looked at: ``status`` is "ok", "note" (odd, no fault) or "differs"."""

    what: str
    found: str
    expected: str
    status: str


@dataclass(frozen=True)
class Heard:
    """One recording: its length, rate, level (RMS, dBFS; None: silent or not decoded), and what is wrong or odd with it.

    ``mark`` is equal for equal samples at an equal rate ("" where they were not decoded).
    """

    file: str
    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    problem: str = ""
    odd: str = ""
    level_db: float | None = None
    mark: str = ""


@dataclass(frozen=True)
class CheckReport:
    """All lines of a check, and what stands behind them.

    ``missing``: recordings that the corpus's own tables list and that are not there; ``bad``: recordings that can't be used, with why; ``duplicates``: groups of recordings of the same samples; ``extra``:
    recordings that are no utterance of the corpus; ``incomplete``: speakers with the emotions that others have and they lack.
    """

    corpus: str
    root: str
    seconds: float
    lines: tuple[Line, ...]
    bad: tuple[tuple[str, str], ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()
    extra: tuple[str, ...] = ()
    incomplete: tuple[tuple[str, str], ...] = ()
    heard: tuple[Heard, ...] = ()
    utterances: tuple[Utterance, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.bad and all(line.status != "differs" for line in self.lines)

    def as_dict(self) -> dict[str, Any]:
        return {
            "corpus": self.corpus,
            "root": self.root,
            "ok": self.ok,
            "hours": round(self.seconds / 3600, 3),
            "lines": [vars(line) for line in self.lines],
            "bad_recordings": [{"file": file, "problem": problem} for file, problem in self.bad],
            "missing": list(self.missing),
            "duplicates": [list(group) for group in self.duplicates],
            "extra": list(self.extra),
            "speakers_without": dict(self.incomplete),
        }


def check(
    name: str, root: Path, decode: bool = True, progress: Callable[[int, int], None] | None = None
) -> CheckReport:
    """Compare a corpus on disk with what its publication promises.

    ``decode`` reads every sample (else headers only: no levels, no duplicates). ``progress(done, total)`` is called as
    recordings pass. Raises CorpusError when nothing of the corpus is there.
    """
    manifest = read_corpus(name, root)
    files = list(dict.fromkeys(row.file for row in manifest.utterances))
    heard = hear(manifest.root, files, decode, progress)
    lines = _against(name, manifest.utterances) if name != OWN else _counts(manifest.utterances)
    if name != OWN:
        lines += [Line(what, str(count(root)), "", "note") for what, count in corpus_named(name).also.items()]
    published = 0 if name == OWN else corpus_named(name).sample_rate
    lines += _formats([item for item in heard if not item.problem], published)
    odd = Counter(item.odd for item in heard if item.odd)
    lines += [Line(f"recordings {what}", str(n), "0", "note") for what, n in sorted(odd.items())]
    listed = corpus_named(name).missing if name != OWN else None
    missing = tuple(listed(root)) if listed else ()
    if missing:
        lines.append(Line("recordings listed, but not there", str(len(missing)), "0", "differs"))
    bad = tuple((item.file, item.problem) for item in heard if item.problem)
    duplicates, extra, incomplete = _duplicates(heard), _extra(manifest), _incomplete(manifest.utterances)
    for what, found in (
        ("recordings under several names", duplicates),
        ("recordings beside the corpus", extra),
        ("speakers who lack an emotion", incomplete),
    ):
        if found:
            lines.append(Line(what, str(len(found)), "0", "note"))
    lines.append(Line("unusable recordings", str(len(bad)), "0", "differs" if bad else "ok"))
    seconds = sum(item.seconds for item in heard)
    seen = tuple(heard)
    return CheckReport(
        name, str(root), seconds, tuple(lines), bad, duplicates, extra, incomplete, seen, manifest.utterances, missing
    )


def hear(
    root: Path, files: Sequence[str], decode: bool, progress: Callable[[int, int], None] | None = None
) -> list[Heard]:
    """Every recording's header, or all its samples, on as many cores as there are."""
    found = []
    with ThreadPoolExecutor() as pool:
        for item in pool.map(lambda file: _hear(root / file, file, decode), files):
            found.append(item)
            if progress:
                progress(len(found), len(files))
    return found


def _hear(path: Path, file: str, decode: bool) -> Heard:
    digest = hashlib.sha1(usedforsecurity=False)
    try:
        source = audio.open_source(path, file)
        if not decode and source.frames:
            with source:
                return Heard(file, source.frames / source.native_rate, source.native_rate, source.channels)
        levels = Levels()
        for block in source.blocks():
            levels.feed(block)
            digest.update(block.data)
    except AudioError as error:
        return Heard(file, problem=str(error).removeprefix(f"{file}: "))
    cut_short = next(iter(source.warnings), "")
    odd = "silent" if levels.silent else "clipped" if levels.clipped else ""
    level = None if levels.silent else levels.rms_db
    mark = f"{source.native_rate}-{digest.hexdigest()}"
    return Heard(file, levels.n / source.native_rate, source.native_rate, source.channels, cut_short, odd, level, mark)


def _duplicates(heard: list[Heard]) -> tuple[tuple[str, ...], ...]:
    groups: dict[str, list[str]] = defaultdict(list)
    for item in heard:
        if item.mark:
            groups[item.mark].append(item.file)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _extra(manifest: Manifest) -> tuple[str, ...]:
    if not manifest.root.is_dir():
        return ()
    known = {manifest.root / row.file for row in manifest.utterances}
    return tuple(path.relative_to(manifest.root).as_posix() for path in audio.find(manifest.root) if path not in known)


def _incomplete(utterances: tuple[Utterance, ...]) -> tuple[tuple[str, str], ...]:
    """Speakers who lack an emotion that most speakers have, and which."""
    emotions: dict[str, set[str]] = defaultdict(set)
    for row in utterances:
        if row.speaker:
            emotions[row.speaker].add(row.emotion)
    spread = Counter(emotion for found in emotions.values() for emotion in found)
    usual = {emotion for emotion, n in spread.items() if 2 * n > len(emotions)}
    return tuple(
        (speaker, ", ".join(sorted(usual - found))) for speaker, found in sorted(emotions.items()) if usual - found
    )


def _against(name: str, utterances: tuple[Utterance, ...]) -> list[Line]:
    corpus = corpus_named(name)
    labels = Counter(row.labels_raw for row in utterances)
    speakers = {row.speaker for row in utterances}
    lines = [
        _line("utterances", len(utterances), corpus.n_files),
        _line("speakers", len(speakers - {""}), corpus.n_speakers),
    ]
    lines += [_line(f"emotion {word}", labels.pop(word, 0), n) for word, n in corpus.emotions.items()]
    lines += [Line(f"emotion {word}", str(n), "0", "differs") for word, n in labels.items()]
    return lines


def _counts(utterances: tuple[Utterance, ...]) -> list[Line]:
    lines = [Line("utterances", str(len(utterances)), "", "ok")]
    speakers = {row.speaker for row in utterances if row.speaker}
    lines.append(Line("speakers", str(len(speakers)), "", "ok" if speakers else "note"))
    counts = Counter(row.emotion for row in utterances)
    lines += [Line(f"emotion {word}", str(n), "", "ok") for word, n in sorted(counts.items())]
    if len(counts) < 2:
        lines.append(Line("emotions", str(len(counts)), "at least 2", "differs"))
    return lines


def _formats(heard: list[Heard], published_rate: int) -> list[Line]:
    lines = []
    for rate, n in sorted(Counter(item.rate for item in heard).items()):
        fits = rate == published_rate or not published_rate
        lines.append(
            Line(f"at {rate} Hz", str(n), f"{published_rate} Hz" if published_rate else "", "ok" if fits else "note")
        )
    several = sum(1 for item in heard if item.channels > 1)
    if several:
        lines.append(Line("recordings with several channels", str(several), "", "note"))
    return lines


def _line(what: str, found: int, expected: int) -> Line:
    if not expected:  # the publication doesn't say
        return Line(what, str(found), "", "note")
    return Line(what, str(found), str(expected), "ok" if found == expected else "differs")
