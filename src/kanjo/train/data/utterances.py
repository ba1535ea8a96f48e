"""Read the utterances of a recipe's corpora, and split them into folds. Without torch, so that it takes little time."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kanjo.corpora import OWN_CORPUS, Manifest, Utterance, find_root, read_corpus, read_manifest
from kanjo.corpora.filelist_folder import read_filelist_folder
from kanjo.corpora.fold_classes import check_classes, join_names, require_scorable
from kanjo.corpora.splits import Fold, make_folds
from kanjo.errors import CorpusError, RecipeError
from kanjo.labels import is_known_word
from kanjo.train.config.data import CorpusConfig, SelectConfig
from kanjo.train.config.schema import Recipe


@dataclass(frozen=True)
class SplitUtterances:
    """The utterances of a recipe, split into folds.

    Attributes:
        manifests: One for each corpus of the recipe.
        emotions: Names of the emotions in the order of the model's outputs.
        folds: Folds, with indices into the utterances of all manifests.
    """

    manifests: tuple[Manifest, ...]
    emotions: tuple[str, ...]
    folds: tuple[Fold, ...]


def read_manifests(recipe: Recipe, corpus_root: str | None) -> tuple[Manifest, ...]:
    """Read the corpora of a recipe, rename their emotions, and select utterances.

    Args:
        recipe: Recipe of the experiment.
        corpus_root: Folder of corpora; needed unless the recipe gives the path of each corpus.

    Raises:
        CorpusError: A corpus cannot be read, or none of its utterances is selected.
        RecipeError: The path of a corpus is not given.
    """
    label_map = {word: emotion for word, emotion in recipe.labels.map.items() if not is_known_word(word)}
    manifests = [_read_corpus(corpus, corpus_root, label_map) for corpus in recipe.corpora]
    return tuple(
        _limit_per_emotion(
            _select_utterances(manifest.relabel(recipe.labels.map, recipe.labels.include), recipe.select),
            corpus.limit_per_emotion,
            recipe.split.seed,
        )
        for corpus, manifest in zip(recipe.corpora, manifests, strict=True)
    )


def split_utterances(recipe: Recipe, manifests: Sequence[Manifest], *, all_folds: bool = False) -> SplitUtterances:
    """Split utterances into the folds of a recipe, and check that they can be trained and scored.

    Args:
        recipe: Recipe of the experiment.
        manifests: One for each of its corpora.
        all_folds: Check all folds (else: the recipe's fold).

    Raises:
        CorpusError: An emotion has no utterance, or the split is not possible.
        RecipeError: There is no fold of the recipe's number.
    """
    utterances = [row for manifest in manifests for row in manifest.utterances]
    emotions = _list_emotions(recipe, utterances)
    split = recipe.split
    corpora = zip(recipe.corpora, manifests, strict=True)
    folds = make_folds(
        utterances,
        train_only=[corpus.train_only for corpus, manifest in corpora for _ in manifest.utterances],
        protocol=split.protocol,
        n_folds=split.n_folds,
        seed=split.seed,
        validation_fraction=split.validation_fraction,
        folds_file=Path(split.folds_file) if split.folds_file else None,
        allow_shared_speakers=split.allow_shared_speakers,
    )
    checked = folds if all_folds else [find_fold(recipe, folds, split.fold)]
    for report in check_classes(utterances, checked, emotions):
        require_scorable(report, split.protocol)
    return SplitUtterances(tuple(manifests), emotions, tuple(folds))


def find_fold(recipe: Recipe, folds: Sequence[Fold], number: int) -> Fold:
    """Return a fold by its number, which counts from 1.

    Raises:
        RecipeError: There is no fold of this number.
    """
    if not 1 <= number <= len(folds):
        raise RecipeError(
            f"split.fold is {number}; expected 1 to {len(folds)}, the folds of protocol {recipe.split.protocol} on "
            "these corpora"
        )
    return folds[number - 1]


def _list_emotions(recipe: Recipe, utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """Return the emotions that the recipe includes, or else all that occur, in alphabetical order."""
    counts = Counter(utterance.emotion for utterance in utterances)
    emotions = recipe.labels.include or tuple(sorted(counts))
    missing = [emotion for emotion in emotions if not counts[emotion]]
    if missing or len(emotions) < 2:
        raise CorpusError(
            f"{recipe.name}: no utterance of {join_names(missing) or 'a second emotion'}; the corpora have "
            f"{join_names([f'{name} ({n})' for name, n in counts.most_common()]) or 'no utterances'}"
        )
    return emotions


def _read_corpus(corpus: CorpusConfig, corpus_root: str | None, label_map: Mapping[str, str]) -> Manifest:
    if corpus.name in (OWN_CORPUS, "manifest", "filelists") and corpus.path is None:
        raise RecipeError(
            f"corpus '{corpus.name}' needs a path: --set 'corpora=[{{name: {corpus.name}, path: my.csv}}]'"
        )
    if corpus.path is None and corpus_root is None:
        raise RecipeError(
            f"the folder of corpus {corpus.name} is not given; use --corpus-root, set KANJO_CORPORA, or give its path "
            "in the recipe"
        )
    path = Path(corpus.path) if corpus.path else find_root(corpus.name, Path(str(corpus_root)))
    root = Path(corpus.root) if corpus.root else None
    if corpus.name == "filelists":
        return read_filelist_folder(path, label_map, root)
    if corpus.name == "manifest" or (corpus.name == OWN_CORPUS and root and path.is_file()):
        return read_manifest(path, root, label_map)
    if root:
        raise RecipeError(f"corpus {corpus.name} has a root, which is for tables and filelists; remove the key")
    return read_corpus(corpus.name, path, label_map)


def _select_utterances(manifest: Manifest, select: SelectConfig) -> Manifest:
    """Keep the utterances whose sex, speaker and language the recipe selects."""
    selected = [
        utterance
        for utterance in manifest.utterances
        if (select.sex in (None, utterance.sex))
        and (select.speakers is None or utterance.speaker in select.speakers)
        and (select.languages is None or utterance.language in select.languages)
    ]
    if manifest.utterances and not selected:
        first = manifest.utterances[0]
        raise CorpusError(
            f"select matches none of the {len(manifest.utterances)} utterances of {first.corpus}; the first one has "
            f"sex {first.sex!r}, speaker {first.speaker!r}, language {first.language!r}"
        )
    return replace(manifest, utterances=tuple(selected))


def _limit_per_emotion(manifest: Manifest, limit: int | None, seed: int) -> Manifest:
    """Keep at most ``limit`` utterances of each emotion (None: all), in their order.

    They are those whose file names and times have the smallest digests with the seed. So the choice is random, but
    depends neither on the order of the utterances nor on the random generator of a Python version.
    """
    if limit is None:
        return manifest

    def digest(index: int) -> bytes:
        utterance = manifest.utterances[index]
        name = f"{seed} {utterance.file} {utterance.start_s}"
        return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()

    indices: dict[str, list[int]] = defaultdict(list)
    for index, utterance in enumerate(manifest.utterances):
        indices[utterance.emotion].append(index)
    kept = sorted(index for group in indices.values() for index in sorted(group, key=digest)[:limit])
    return replace(manifest, utterances=tuple(manifest.utterances[index] for index in kept))
