"""What of a corpus is there, against what should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kanjo import audio
from kanjo.corpora import OWN, corpus_named, read_corpus
from kanjo.corpora.manifest import Utterance
from kanjo.errors import AudioError


@dataclass(frozen=True)
class Line:
    """One thing looked at: ``status`` is "ok", "note" (odd, no fault) or "differs"."""

    what: str
    found: str
    expected: str
    status: str


@dataclass(frozen=True)
class CheckReport:
    """All lines of a check, and the recordings that can't be used with what is wrong with each."""

    corpus: str
    root: str
    seconds: float
    lines: tuple[Line, ...]
    bad: tuple[tuple[str, str], ...] = field(default=())

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
        }


@dataclass(frozen=True)
class _Heard:
    file: str
    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    problem: str = ""
    odd: str = ""


def check(name: str, root: Path, decode: bool = True, progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Compare a corpus on disk with what its publication promises.

    ``decode`` reads every sample (else headers only). ``progress(done, total)`` is called as recordings pass. Raises
    CorpusError when nothing of the corpus is there.
    """
    manifest = read_corpus(name, root)
    files = list(dict.fromkeys(row.file for row in manifest.utterances))
    with ThreadPoolExecutor() as pool:
        heard = []
        for item in pool.map(lambda file: _hear(manifest.root / file, file, decode), files):
            heard.append(item)
            if progress:
                progress(len(heard), len(files))
    lines = _against(name, manifest.utterances) if name != OWN else _counts(manifest.utterances)
    published = 0 if name == OWN else corpus_named(name).sample_rate
    lines += [
        Line(what, str(count(root)), "", "note") for what, count in (corpus_named(name).also if name != OWN else {}).items()
    ]
    lines += _formats([item for item in heard if not item.problem], published)
    odd = Counter(item.odd for item in heard if item.odd)
    lines += [Line(f"recordings {what}", str(n), "0", "note") for what, n in sorted(odd.items())]
    bad = tuple((item.file, item.problem) for item in heard if item.problem)
    lines.append(Line("unusable recordings", str(len(bad)), "0", "differs" if bad else "ok"))
    return CheckReport(name, str(root), sum(item.seconds for item in heard), tuple(lines), bad)


def _hear(path: Path, file: str, decode: bool) -> _Heard:
    try:
        source = audio.open_source(path, file)
        if not decode and source.frames:
            with source:
                return _Heard(file, source.frames / source.native_rate, source.native_rate, source.channels)
        levels = audio.Levels()
        for block in source.blocks():
            levels.feed(block)
    except AudioError as error:
        return _Heard(file, problem=str(error).removeprefix(f"{file}: "))
    cut_short = next(iter(source.warnings), "")
    odd = "silent" if levels.silent else "clipped" if levels.clipped else ""
    return _Heard(file, levels.n / source.native_rate, source.native_rate, source.channels, cut_short, odd)


def _against(name: str, utterances: tuple[Utterance, ...]) -> list[Line]:
    corpus = corpus_named(name)
    labels = Counter(row.labels_raw for row in utterances)
    speakers = {row.speaker for row in utterances}
    lines = [_line("utterances", len(utterances), corpus.n_files), _line("speakers", len(speakers - {""}), corpus.n_speakers)]
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


def _formats(heard: list[_Heard], published_rate: int) -> list[Line]:
    lines = []
    for rate, n in sorted(Counter(item.rate for item in heard).items()):
        fits = rate == published_rate or not published_rate
        lines.append(Line(f"at {rate} Hz", str(n), f"{published_rate} Hz" if published_rate else "", "ok" if fits else "note"))
    several = sum(1 for item in heard if item.channels > 1)
    if several:
        lines.append(Line("recordings with several channels", str(several), "", "note"))
    return lines


def _line(what: str, found: int, expected: int) -> Line:
    if not expected:  # the publication doesn't say
        return Line(what, str(found), "", "note")
    return Line(what, str(found), str(expected), "ok" if found == expected else "differs")
