"""What a run is made of: utterances, labels, folds and decoded audio; and what is counted over them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kanjo import files
from kanjo.corpora import OWN, Manifest, Utterance, find_root, read_corpus, read_manifest
from kanjo.corpora.splits import Audit, Fold, audit, make_folds
from kanjo.errors import CorpusError, RecipeError
from kanjo.train.config.schema import CorpusSection, Recipe, SelectSection
from kanjo.train.data.audio_cache import Pack, items_of, pack
from kanjo.train.data.datasets import Windows, loader
from kanjo.train.features.log_mel import LogMel

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Material:
    """What a run is made of: utterances of all corpora with their paths, labels in order, folds, decoded audio."""

    recipe: Recipe
    rows: tuple[Utterance, ...]
    paths: tuple[Path, ...]
    emotions: tuple[str, ...]
    labels: tuple[int, ...]
    folds: tuple[Fold, ...]
    pack: Pack

    def fold(self, index: int) -> Fold:
        """Fold ``index``, from 1. Raises RecipeError for one that is not there."""
        if not 1 <= index <= len(self.folds):
            raise RecipeError(
                f"split.fold is {index}; {self.recipe.split.protocol} has folds 1 to {len(self.folds)} here"
            )
        return self.folds[index - 1]

    def audit(self, fold: Fold) -> Audit:
        return audit(self.rows, fold, self.pack.fingerprints)


def prepare(recipe: Recipe, corpus_root: str | None, progress: Progress | None = None) -> Material:
    """Read the corpora, split them, decode them. Raises CorpusError, RecipeError."""
    manifests = [_corpus(section, corpus_root) for section in recipe.corpora]
    manifests = [
        _selected(manifest.relabelled(recipe.labels.map, recipe.labels.keep), recipe.select) for manifest in manifests
    ]
    items, rows = items_of(manifests)
    found = Counter(row.emotion for row in rows)
    emotions = recipe.labels.keep or tuple(sorted(found))
    absent = [emotion for emotion in emotions if not found[emotion]]
    if absent or len(emotions) < 2:
        raise CorpusError(
            f"{recipe.name}: no utterance of {', '.join(absent) or 'a second emotion'}; found {dict(found) or 'nothing at all'}"
        )
    split = recipe.split
    sections = zip(recipe.corpora, manifests, strict=True)
    fixed = [section.only_trains for section, manifest in sections for _ in manifest.utterances]
    folds = make_folds(
        rows,
        fixed=fixed,
        protocol=split.protocol,
        k=split.k,
        seed=split.seed,
        validation=split.validation,
        folds_file=Path(split.folds_file) if split.folds_file else None,
        allow_shared_speakers=split.allow_shared_speakers,
    )
    labels = tuple(emotions.index(row.emotion) for row in rows)
    packed = pack(items, recipe.audio.sample_rate, progress=progress)
    return Material(recipe, tuple(rows), tuple(item.path for item in items), emotions, labels, tuple(folds), packed)


def write_split(path: Path, material: Material, fold: Fold) -> None:
    """``split.csv``: every utterance, its emotion, and the side it is on in this fold."""
    side = {
        i: name
        for name, part in (("train", fold.train), ("validation", fold.validation), ("test", fold.test))
        for i in part
    }
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["corpus", "file", "speaker", "emotion", "split"])
    for i, row in enumerate(material.rows):
        writer.writerow([row.corpus, row.file, row.speaker, row.emotion, side.get(i, "")])
    files.write_text(path, buffer.getvalue())


def sides(material: Material, fold: Fold) -> tuple[Windows, Windows]:
    """The fold's training windows, varied, and its validation windows, as they are."""
    window, people = material.recipe.audio.window, people_of(material)
    return training_windows(material, fold.train), Windows(
        material.pack, fold.validation, material.labels, window, people=people
    )


def training_windows(material: Material, indices: Sequence[int]) -> Windows:
    """These utterances' windows, varied as the recipe varies what trains."""
    audio, augment = material.recipe.audio, material.recipe.augment
    return Windows(
        material.pack, indices, material.labels, audio.window, random=audio.placement == "random", speed=augment.speed,
        shift=round(augment.shift_s * audio.sample_rate), crop=audio.crop if audio.crop_s else 0, trim_db=audio.trim_db,
        people=people_of(material),
    )  # fmt: skip


def people_of(material: Material) -> list[tuple[int, int]]:
    """Each utterance's speaker (-1: not known) and corpus, counted in the order in which they come."""
    speakers = {
        key: n for n, key in enumerate(dict.fromkeys(row.speaker_key for row in material.rows if row.speaker_key))
    }
    corpora = {name: n for n, name in enumerate(dict.fromkeys(row.corpus for row in material.rows))}
    return [(speakers.get(row.speaker_key, -1), corpora[row.corpus]) for row in material.rows]


def emotions_of(material: Material, fold: Fold) -> Tensor:
    """Which emotions each corpus has in training: bool (corpora, E). One that has none there is taken to have all."""
    people = people_of(material)
    known = torch.zeros(1 + max(corpus for _, corpus in people), len(material.emotions), dtype=torch.bool)
    for i in fold.train:
        known[people[i][1], material.labels[i]] = True
    return known | ~known.any(1, keepdim=True)


def class_weights(material: Material, fold: Fold) -> Tensor:
    """Inverse frequency over the training utterances, of mean 1: (E,). Raises CorpusError for an emotion without any."""
    counts = Counter(material.labels[i] for i in fold.train)
    absent = [emotion for i, emotion in enumerate(material.emotions) if not counts[i]]
    if absent:
        raise CorpusError(
            f"fold {fold.index}: no training utterance of {', '.join(absent)}; the network could not learn it"
        )
    weights = torch.tensor([1 / counts[i] for i in range(len(material.emotions))], dtype=torch.float32)
    return weights / weights.mean()


def shares_of(material: Material, fold: Fold) -> list[float]:
    """How often each training utterance is drawn: by the inverse root of how many share its corpus and emotion."""
    cells = [(material.rows[i].corpus, material.labels[i]) for i in fold.train]
    counts = Counter(cells)
    return [counts[cell] ** -0.5 for cell in cells]


def statistics(frontend: LogMel, material: Material, fold: Fold) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel and mel over the training frames, padding left out; at most 2000 utterances."""
    total, squares, n = torch.zeros(()), torch.zeros(()), 0
    with torch.inference_mode():
        for batch in _sample(material, fold):
            features = frontend.features(batch["signal"], frontend.frames(batch["signal"])).double()
            frames = batch["valid"] // frontend.power.hop_length + 1
            mask = (torch.arange(features.shape[3])[None] < frames[:, None])[:, None, None]
            total = total + (features * mask).sum((0, 3))
            squares = squares + (features.square() * mask).sum((0, 3))
            n += int(frames.clamp(max=features.shape[3]).sum())
    mean = total / n
    return mean.float(), (squares / n - mean.square()).clamp(min=0).sqrt().float()


def _sample(material: Material, fold: Fold) -> DataLoader[Any]:
    """Training utterances as they are, in batches; of many, some 2000 spread evenly."""
    step = max(1, len(fold.train) // 2000)
    windows = Windows(material.pack, fold.train[::step], material.labels, material.recipe.audio.window)
    return loader(windows, 32, shuffle=False)


def _corpus(section: CorpusSection, corpus_root: str | None) -> Manifest:
    if section.path is None and corpus_root is None:
        raise RecipeError(
            f"where is {section.name}? Give --corpus-root, set KANJO_CORPORA, or name its path in the recipe"
        )
    path = Path(section.path) if section.path else find_root(section.name, Path(str(corpus_root)))
    if section.name == "manifest":
        return read_manifest(path)
    if section.name == OWN and section.path is None:
        raise RecipeError("corpus 'own' needs a path: {name: own, path: my.csv}")
    return read_corpus(section.name, path)


def _selected(manifest: Manifest, select: SelectSection) -> Manifest:
    rows = [
        row
        for row in manifest.utterances
        if (select.sex in (None, row.sex))
        and (select.speakers is None or row.speaker in select.speakers)
        and (select.languages is None or row.language in select.languages)
    ]
    if manifest.utterances and not rows:
        first = manifest.utterances[0]
        raise CorpusError(
            f"select keeps none of {first.corpus}'s {len(manifest.utterances)} utterances; the first has sex {first.sex!r}, "
            f"speaker {first.speaker!r}, language {first.language!r}"
        )
    return replace(manifest, utterances=tuple(rows))
