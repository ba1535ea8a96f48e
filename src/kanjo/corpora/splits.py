"""Who trains, who validates, who tests: protocols, and the audit of what the sides share.

Test speakers choose nothing. Validation utterances always come out of a fold's training side, by whole speakers wherever
speakers are known (only the speaker-dependent protocols, ``random`` and ``emobox`` of EmoDB, draw them by utterance).
"""

from __future__ import annotations

import csv
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.files import reason

Rows = Sequence[Utterance]


@dataclass(frozen=True)
class Fold:
    """Indices into the utterances; the three never overlap. ``index`` counts from 1."""

    index: int
    name: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class Audit:
    """What train (with validation) and test share. None: can't be told, the corpus doesn't say."""

    shared_speakers: int | None
    test_speakers: int
    shared_texts: int | None
    test_texts: int
    shared_recordings: int
    utterances: tuple[int, int, int]

    @property
    def speaker_independent(self) -> bool | None:
        return None if self.shared_speakers is None else self.shared_speakers == 0

    def sentences(self) -> list[str]:
        """The audit in plain words."""
        train, validation, test = self.utterances
        said = [f"{train} utterances train, {validation} validate, {test} test"]
        if self.shared_speakers is None:
            said.append("speakers unknown: this split may test on voices it trained on")
        elif self.shared_speakers:
            said.append(
                f"SPEAKER-DEPENDENT: {self.shared_speakers} of {self.test_speakers} test speakers are also in training"
            )
        else:
            said.append(
                f"speaker-independent: none of the {self.test_speakers} test speakers is in training or validation"
            )
        if self.shared_texts is None:
            said.append("texts unknown")
        elif self.shared_texts:
            said.append(
                f"not text-independent: {self.shared_texts} of {self.test_texts} test texts are also in training"
            )
        else:
            said.append(f"text-independent: none of the {self.test_texts} test texts is in training")
        if self.shared_recordings:
            said.append(f"LEAK: {self.shared_recordings} test recordings are identical to training recordings")
        else:
            said.append("no recording is on both sides")
        return said


#: EmoBox's folds (Ma et al. 2024, arXiv 2406.07162) for RAVDESS, by the actors who test.
RAVDESS_FOLDS: tuple[tuple[str, ...], ...] = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)


def loso(rows: Rows, k: int, seed: int, folds_file: Path | None) -> list[tuple[str, set[int]]]:
    """Leave one speaker out: a fold for each speaker."""
    return [(key, {i for i, row in enumerate(rows) if row.speaker_key == key}) for key in _speakers(rows, "loso")]


def speakers_k(rows: Rows, k: int, seed: int, folds_file: Path | None) -> list[tuple[str, set[int]]]:
    """``k`` folds of whole speakers, each corpus and sex spread evenly over them."""
    speakers = _speakers(rows, "speakers-k")
    if not 2 <= k <= len(speakers):
        raise CorpusError(f"speakers-k: k is {k}, expected 2 to {len(speakers)} (the number of speakers)")
    dealt = [key for group in _kinds(rows, speakers, seed) for key in group]
    parts = [set(dealt[part::k]) for part in range(k)]
    return [
        (f"{n} of {k}", {i for i, row in enumerate(rows) if row.speaker_key in part}) for n, part in enumerate(parts, 1)
    ]


def emobox(rows: Rows, k: int, seed: int, folds_file: Path | None) -> list[tuple[str, set[int]]]:
    """EmoBox's published test folds: RAVDESS's by actor; any other corpus's from ``folds_file`` (corpus,fold,utterance)."""
    corpora = {row.corpus for row in rows}
    if folds_file is not None:
        return _from_file(rows, folds_file)
    if corpora == {"ravdess"}:
        return [
            (f"EmoBox fold {n}", {i for i, row in enumerate(rows) if row.speaker in actors})
            for n, actors in enumerate(RAVDESS_FOLDS, 1)
        ]
    raise CorpusError(
        f"emobox: only RAVDESS's folds are built in, found {', '.join(sorted(corpora))}; set split.folds_file to a CSV with "
        "the columns corpus,fold,utterance (EmoBox publishes them with its code, arXiv 2406.07162)"
    )


def shuffled(rows: Rows, k: int, seed: int, folds_file: Path | None) -> list[tuple[str, set[int]]]:
    """Speaker-dependent: ``k`` parts drawn by utterance, emotions spread evenly. The original papers' protocol."""
    if not 2 <= k <= len(rows):
        raise CorpusError(f"random: k is {k}, expected 2 to {len(rows)} (the number of utterances)")
    parts: list[set[int]] = [set() for _ in range(k)]
    for place, index in enumerate(_stratified(rows, range(len(rows)), seed)):
        parts[place % k].add(index)
    return [(f"{n} of {k}, speaker-dependent", part) for n, part in enumerate(parts, 1)]


def own(rows: Rows, k: int, seed: int, folds_file: Path | None) -> list[tuple[str, set[int]]]:
    """The manifest's own ``split`` column: train, validation (or dev), test."""
    named = Counter(row.split.casefold() for row in rows)
    if not named.keys() & {"train", "training"} or not named.keys() & {"test", "eval", "evaluation"}:
        found = ", ".join(name or "(empty)" for name in named)
        raise CorpusError(
            f"manifest: the split column holds {found}; expected train, test and, if you like, validation"
        )
    return [("manifest", {i for i, row in enumerate(rows) if row.split.casefold() in ("test", "eval", "evaluation")})]


def cross_corpus(rows: Rows, k: int, seed: int, folds_file: Path | None) -> list[tuple[str, set[int]]]:
    """Each corpus in turn tests what was trained on the others."""
    corpora = list(dict.fromkeys(row.corpus for row in rows))
    if len(corpora) < 2:
        raise CorpusError(f"cross-corpus: only one corpus ({', '.join(corpora)}); expected at least 2")
    return [(f"tests on {name}", {i for i, row in enumerate(rows) if row.corpus == name}) for name in corpora]


Protocol = Callable[[Rows, int, int, Path | None], list[tuple[str, set[int]]]]
PROTOCOLS: dict[str, Protocol] = {
    "cross-corpus": cross_corpus,
    "emobox": emobox,
    "loso": loso,
    "manifest": own,
    "random": shuffled,
    "speakers-k": speakers_k,
}
_BY_UTTERANCE = frozenset({"random"})


def make_folds(
    rows: Rows,
    protocol: str,
    *,
    k: int = 5,
    seed: int = 0,
    validation: float = 0.2,
    folds_file: Path | None = None,
    allow_shared_speakers: bool = False,
    fixed: Sequence[bool] = (),
) -> list[Fold]:
    """Every fold of a protocol over these utterances.

    ``k`` counts the parts of ``speakers-k`` and ``random``; ``validation`` is the share of the training side that
    validates (of its speakers, or of its utterances where the protocol is speaker-dependent). The same arguments give
    the same folds on every machine. ``fixed``: utterances that train in every fold, and take part in nothing else. Raises CorpusError where the corpus can't be split so, and where a manifest's own
    split has a speaker on both sides (unless ``allow_shared_speakers``).
    """
    if protocol not in PROTOCOLS:
        raise CorpusError(f"unknown protocol {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    if any(fixed):
        return _beside(rows, protocol, fixed, k, seed, validation, folds_file, allow_shared_speakers)
    folds = []
    for index, (name, test) in enumerate(PROTOCOLS[protocol](rows, k, seed, folds_file), 1):
        rest = [i for i in range(len(rows)) if i not in test]
        if not test or not rest:
            raise CorpusError(
                f"{protocol}, fold {index} ({name}): {len(test)} test and {len(rest)} training utterances"
            )
        chosen = {
            i
            for i in rest
            if protocol == "manifest" and rows[i].split.casefold() in ("validation", "valid", "val", "dev")
        }
        if not chosen:
            chosen = _validation(rows, rest, test, protocol, seed + index, validation)
        train = tuple(i for i in rest if i not in chosen)
        if not train or not chosen:
            raise CorpusError(
                f"{protocol}, fold {index}: {len(train)} utterances left to train and {len(chosen)} to validate"
            )
        both = sorted({rows[i].speaker_key for i in rest} & {rows[i].speaker_key for i in test} - {""})
        if both and protocol == "manifest" and not allow_shared_speakers:
            raise CorpusError(
                f"manifest: {len(both)} speakers stand in both train and test ({', '.join(both[:3])}): the score would not tell "
                "how unknown voices fare; mend the split column, or set split.allow_shared_speakers=true to go on regardless"
            )
        folds.append(Fold(index, name, train, tuple(sorted(chosen)), tuple(sorted(test))))
    return folds


def _beside(rows: Rows, protocol: str, fixed: Sequence[bool], *options: Any) -> list[Fold]:
    """Folds of what isn't fixed, each with what is added to those who train."""
    moving = [i for i, stays in enumerate(fixed) if not stays]
    added = tuple(i for i, stays in enumerate(fixed) if stays)
    if not moving:
        raise CorpusError("every corpus only trains; expected one that tests")
    k, seed, validation, folds_file, allow = options
    folds = make_folds(
        [rows[i] for i in moving],
        protocol,
        k=k,
        seed=seed,
        validation=validation,
        folds_file=folds_file,
        allow_shared_speakers=allow,
    )
    speakers = {rows[i].speaker_key for i in added} - {""}
    both = sorted(speakers & {rows[i].speaker_key for i in moving})
    if both:
        raise CorpusError(
            f"{', '.join(both[:3])} would train in every fold and test in one; a corpus can't stand on both sides"
        )

    def placed(part: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(moving[i] for i in part)

    return [
        Fold(
            fold.index,
            fold.name,
            tuple(sorted((*placed(fold.train), *added))),
            placed(fold.validation),
            placed(fold.test),
        )
        for fold in folds
    ]


def audit(rows: Rows, fold: Fold, fingerprints: Sequence[str] | None = None) -> Audit:
    """What the fold's training side (train and validation) shares with its test side.

    ``fingerprints`` (one for each utterance, equal for equal samples) tell identical recordings apart from equal file
    names; without them only a file that stands on both sides counts.
    """
    seen, test = [*fold.train, *fold.validation], fold.test
    marks = fingerprints or [f"{row.corpus}/{row.file}@{row.start_s}" for row in rows]
    known = {marks[i] for i in seen}

    def shared(values: Callable[[int], str]) -> tuple[int | None, int]:
        ours, theirs = {values(i) for i in seen}, {values(i) for i in test}
        return (None if "" in theirs or ours == {""} else len(ours & theirs)), len(theirs - {""})

    speakers, n_speakers = shared(lambda i: rows[i].speaker_key)
    texts, n_texts = shared(lambda i: " ".join(rows[i].text.casefold().split()))
    return Audit(
        shared_speakers=speakers,
        test_speakers=n_speakers,
        shared_texts=texts,
        test_texts=n_texts,
        shared_recordings=sum(marks[i] in known for i in test),
        utterances=(len(fold.train), len(fold.validation), len(fold.test)),
    )


def _validation(rows: Rows, rest: list[int], test: set[int], protocol: str, seed: int, share: float) -> set[int]:
    speakers = sorted({rows[i].speaker_key for i in rest})
    test_speakers = {rows[i].speaker_key for i in test}
    by_utterance = (
        protocol in _BY_UTTERANCE or bool(test_speakers & set(speakers)) or "" in speakers or len(speakers) < 2
    )
    if by_utterance:
        order = _stratified(rows, rest, seed)
        step = max(2, round(1 / share))
        return set(order[::step])
    n = min(max(1, round(share * len(speakers))), len(speakers) - 1)
    chosen = set(_spread(rows, speakers, seed)[:n])
    return {i for i in rest if rows[i].speaker_key in chosen}


def _speakers(rows: Rows, protocol: str) -> list[str]:
    nameless = sum(not row.speaker for row in rows)
    if nameless:
        raise CorpusError(
            f"{protocol}: {nameless} of {len(rows)} utterances name no speaker; use --protocol random, or name them"
        )
    speakers = sorted({row.speaker_key for row in rows})
    if len(speakers) < 2:
        raise CorpusError(f"{protocol}: only one speaker ({speakers[0]}); expected at least 2")
    return speakers


def _kinds(rows: Rows, speakers: Sequence[str], seed: int) -> list[list[str]]:
    """Speakers by corpus and sex, each group shuffled."""
    kind = {row.speaker_key: (row.corpus, row.sex) for row in rows}
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in speakers:
        groups[kind[key]].append(key)
    chance = random.Random(seed)
    for name in sorted(groups):
        chance.shuffle(groups[name])
    return [groups[name] for name in sorted(groups)]


def _spread(rows: Rows, speakers: Sequence[str], seed: int) -> list[str]:
    """Speakers in a shuffled order in which corpora and sexes alternate, so that its beginning holds some of each."""
    chance = random.Random(seed)
    placed = [
        ((place + 0.5) / len(group), chance.random(), key)
        for group in _kinds(rows, speakers, seed)
        for place, key in enumerate(group)
    ]
    return [key for _, _, key in sorted(placed)]


def _stratified(rows: Rows, indices: Sequence[int], seed: int) -> list[int]:
    """Indices in a shuffled order, emotion by emotion, so that every k-th of them holds each emotion's share."""
    chance = random.Random(seed)
    groups: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        groups[rows[index].emotion].append(index)
    order: list[int] = []
    for emotion in sorted(groups):
        chance.shuffle(groups[emotion])
        order += groups[emotion]
    return order


def _from_file(rows: Rows, path: Path) -> list[tuple[str, set[int]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if not {"corpus", "fold", "utterance"} <= set(reader.fieldnames or ()):
                raise CorpusError(f"{path}: expected the columns corpus,fold,utterance")
            of = {(record["corpus"], record["utterance"]): record["fold"] for record in reader}
    except OSError as error:
        raise CorpusError(f"can't read {path}: {reason(error)}") from error
    folds: dict[str, set[int]] = defaultdict(set)
    for i, row in enumerate(rows):
        stem = Path(row.file).stem
        if (row.corpus, stem) in of:  # what no fold tests (EmoBox's single CREMA-D fold) trains in all of them
            folds[of[row.corpus, stem]].add(i)
    if not folds:
        raise CorpusError(f"{path}: lists no utterance of {', '.join(sorted({row.corpus for row in rows}))}")
    return [(f"EmoBox fold {name}", folds[name]) for name in sorted(folds, key=lambda name: (len(name), name))]
