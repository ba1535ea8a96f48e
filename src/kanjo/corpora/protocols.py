"""Evaluation protocols: how the test sets of the folds are chosen."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kanjo.corpora.manifest import Utterance
from kanjo.corpora.splitters import leave_one_group_out, stratified_kfold, stratified_speaker_folds
from kanjo.corpora.text_files import describe_header, open_table, read_records
from kanjo.corpora.words import SPLIT_WORDS
from kanjo.errors import CorpusError

Utterances = Sequence[Utterance]
#: The name of each fold and the indices of its test utterances.
TestSets = list[tuple[str, set[int]]]


@dataclass(frozen=True)
class SplitOptions:
    """Options of a split.

    Attributes:
        n_folds: Number of folds of ``speaker_kfold`` and ``speaker_dependent``.
        seed: Seed of all random draws.
        validation_fraction: Fraction of the training speakers (or utterances) that validate.
        folds_file: EmoBox's folds: a CSV with the columns corpus, fold and utterance.
        allow_shared_speakers: Accept a manifest whose split has a speaker in both train and test.
    """

    n_folds: int = 5
    seed: int = 0
    validation_fraction: float = 0.2
    folds_file: Path | None = None
    allow_shared_speakers: bool = False


Protocol = Callable[[Utterances, SplitOptions], TestSets]

TRAIN_WORDS, VALIDATION_WORDS, TEST_WORDS = (SPLIT_WORDS[part] for part in ("train", "validation", "test"))
_SPLIT_WORDS = TRAIN_WORDS | VALIDATION_WORDS | TEST_WORDS | {""}

#: What a user writes to split without speakers.
SPLIT_BY_CLIP = "--set split.protocol=speaker_dependent"
_MAX_NAMES = 10

#: EmoBox's folds (Ma et al. 2024, arXiv 2406.07162) for RAVDESS: the test actors of each fold.
RAVDESS_FOLDS: tuple[tuple[str, ...], ...] = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)


def leave_one_speaker_out(utterances: Utterances, options: SplitOptions) -> TestSets:
    """Test on each speaker in turn."""
    speakers = require_speakers(utterances, "loso")
    number = {key: k for k, key in enumerate(speakers)}
    test_sets = leave_one_group_out([number[row.speaker_key] for row in utterances])
    return list(zip(speakers, test_sets, strict=True))


def speaker_kfold(utterances: Utterances, options: SplitOptions) -> TestSets:
    """Test on ``n_folds`` groups of whole speakers, stratified by corpus and emotion.

    Speakers are moved between the groups if a class is then in more test sets, or in more training sets.
    """
    speakers = require_speakers(utterances, "speaker_kfold")
    n_folds = options.n_folds
    if not 2 <= n_folds <= len(speakers):
        raise CorpusError(
            f"speaker_kfold: n_folds is {n_folds}; expected 2 to {len(speakers)}, the number of speakers: "
            f"--set split.n_folds={len(speakers)}, or split by clip with {SPLIT_BY_CLIP}"
        )
    ordered = [key for group in _shuffle_speaker_groups(utterances, speakers, options.seed) for key in group]
    fold_of_speaker = stratified_speaker_folds(utterances, ordered, n_folds, options.seed)
    return [
        (f"{k + 1} of {n_folds}", {i for i, row in enumerate(utterances) if fold_of_speaker[row.speaker_key] == k})
        for k in range(n_folds)
    ]


def emobox(utterances: Utterances, options: SplitOptions) -> TestSets:
    """Test on EmoBox's published folds: built in for RAVDESS, from ``folds_file`` for other corpora."""
    if options.folds_file is not None:
        return _read_folds_file(utterances, options.folds_file)
    corpora = {row.corpus for row in utterances}
    if corpora == {"ravdess"}:
        return [
            (f"EmoBox fold {k}", {i for i, row in enumerate(utterances) if row.speaker in actors})
            for k, actors in enumerate(RAVDESS_FOLDS, 1)
        ]
    raise CorpusError(
        f"emobox: only the folds of RAVDESS are built in, but the corpus is {', '.join(sorted(corpora))}; set "
        "split.folds_file to a CSV with the columns corpus,fold,utterance (EmoBox publishes them, arXiv 2406.07162)"
    )


def speaker_dependent(utterances: Utterances, options: SplitOptions) -> TestSets:
    """Test on ``n_folds`` random groups of utterances, stratified by emotion. The protocol of many original papers."""
    n_folds = options.n_folds
    if not 2 <= n_folds <= len(utterances):
        raise CorpusError(
            f"speaker_dependent: n_folds is {n_folds}; expected 2 to {len(utterances)}, the number of utterances"
        )
    test_sets = stratified_kfold([row.emotion for row in utterances], n_folds, options.seed)
    return [(f"{k} of {n_folds}, speaker-dependent", test) for k, test in enumerate(test_sets, 1)]


def manifest(utterances: Utterances, options: SplitOptions) -> TestSets:
    """Test on the utterances that the ``split`` column of the manifest names."""
    words = Counter(row.split.casefold() for row in utterances)
    if not words.keys() & TRAIN_WORDS or not words.keys() & TEST_WORDS:
        existing = ", ".join(word or "(empty)" for word in list(words)[:_MAX_NAMES])
        raise CorpusError(
            f"manifest: the split column contains {existing}; expected train, test and, optionally, validation"
        )
    unknown = next((row for row in utterances if row.split.casefold() not in _SPLIT_WORDS), None)
    if unknown:
        raise CorpusError(
            f"manifest: the split of {unknown.file} is {unknown.split!r}; expected train, validation, test, or "
            "nothing for an utterance that is left out"
        )
    return [("manifest", {i for i, row in enumerate(utterances) if row.split.casefold() in TEST_WORDS})]


def leave_one_corpus_out(utterances: Utterances, options: SplitOptions) -> TestSets:
    """Test on each corpus in turn; train on the others."""
    corpora = list(dict.fromkeys(row.corpus for row in utterances))
    if len(corpora) < 2:
        raise CorpusError(f"leave_one_corpus_out: only one corpus ({', '.join(corpora)}); expected at least 2")
    number = {name: k for k, name in enumerate(corpora)}
    test_sets = leave_one_group_out([number[row.corpus] for row in utterances])
    return [(f"tests on {name}", test) for name, test in zip(corpora, test_sets, strict=True)]


PROTOCOLS: dict[str, Protocol] = {
    "leave_one_corpus_out": leave_one_corpus_out,
    "emobox": emobox,
    "loso": leave_one_speaker_out,
    "manifest": manifest,
    "speaker_dependent": speaker_dependent,
    "speaker_kfold": speaker_kfold,
}

#: Names of earlier versions.
RENAMED_PROTOCOLS = {
    "random": "speaker_dependent",
    "speakers-k": "speaker_kfold",
    "cross-corpus": "leave_one_corpus_out",
}


def get_protocol(name: str) -> Protocol:
    """Return the protocol with this name.

    Raises:
        CorpusError: The name is unknown or was renamed.
    """
    if name in RENAMED_PROTOCOLS:
        raise CorpusError(f"protocol {name!r} was renamed; use {RENAMED_PROTOCOLS[name]!r}")
    if name not in PROTOCOLS:
        raise CorpusError(f"unknown protocol {name!r}; expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def require_speakers(utterances: Utterances, protocol: str) -> list[str]:
    """Return the sorted keys of all speakers.

    Raises:
        CorpusError: An utterance has no speaker, or there is only one speaker.
    """
    n_without = sum(not row.speaker for row in utterances)
    if n_without:
        raise CorpusError(
            f"{protocol}: {n_without} of {len(utterances)} utterances have no speaker; name the speakers in the "
            f"table, or split by clip with {SPLIT_BY_CLIP} (its scores are speaker-dependent)"
        )
    speakers = sorted({row.speaker_key for row in utterances})
    if len(speakers) < 2:
        raise CorpusError(
            f"{protocol}: only one speaker ({', '.join(speakers)}); expected at least 2, or split by clip with "
            f"{SPLIT_BY_CLIP} (its scores are speaker-dependent)"
        )
    return speakers


def stratified_order(utterances: Utterances, indices: Sequence[int], seed: int) -> list[int]:
    """Shuffle indices and group them by emotion: every n-th of them is a stratified sample."""
    rng = random.Random(seed)
    groups: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        groups[utterances[index].emotion].append(index)
    order: list[int] = []
    for emotion in sorted(groups):
        rng.shuffle(groups[emotion])
        order += groups[emotion]
    return order


def balanced_speaker_order(utterances: Utterances, speakers: Sequence[str], seed: int) -> list[str]:
    """Shuffle speakers so that corpora and sexes alternate: every prefix is balanced."""
    rng = random.Random(seed)
    keyed = [
        ((position + 0.5) / len(group), rng.random(), key)
        for group in _shuffle_speaker_groups(utterances, speakers, seed)
        for position, key in enumerate(group)
    ]
    return [key for _, _, key in sorted(keyed)]


def _shuffle_speaker_groups(utterances: Utterances, speakers: Sequence[str], seed: int) -> list[list[str]]:
    """Group speakers by corpus and sex; shuffle each group."""
    group_of_speaker = {row.speaker_key: (row.corpus, row.sex) for row in utterances}
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in speakers:
        groups[group_of_speaker[key]].append(key)
    rng = random.Random(seed)
    for name in sorted(groups):
        rng.shuffle(groups[name])
    return [groups[name] for name in sorted(groups)]


def _read_folds_file(utterances: Utterances, path: Path) -> TestSets:
    columns = ("corpus", "fold", "utterance")
    records = read_records(open_table(path, "folds_file"), path)
    _, header = next(records, (1, []))
    if not set(columns) <= set(header):
        raise CorpusError(
            f"{path}:1: the header is {describe_header(header)}; expected the columns {','.join(columns)}"
        )
    corpus, fold, utterance = map(header.index, columns)
    fold_names = {}
    for number, cells in records:
        if not cells:
            continue
        if len(cells) != len(header):
            raise CorpusError(f"{path}:{number}: {len(cells)} cells, but the header has {len(header)}")
        fold_names[cells[corpus], cells[utterance]] = cells[fold]
    folds: dict[str, set[int]] = defaultdict(set)
    for i, row in enumerate(utterances):
        key = (row.corpus, Path(row.file).stem)
        if key in fold_names:  # utterances that the file does not list train in all folds (CREMA-D has a single fold)
            folds[fold_names[key]].add(i)
    if not folds:
        corpora = ", ".join(sorted({row.corpus for row in utterances}))
        raise CorpusError(f"{path}: lists no utterance of {corpora}; set split.folds_file to the folds of this corpus")
    return [(f"EmoBox fold {name}", folds[name]) for name in sorted(folds, key=lambda name: (len(name), name))]
