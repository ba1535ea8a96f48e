"""Load the data of an experiment: utterances, labels, folds and decoded audio; and compute statistics of it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from kanjo import files
from kanjo.corpora import OWN_CORPUS, Manifest, Utterance, find_root, read_corpus, read_manifest
from kanjo.corpora.leakage import LeakageReport, check_leakage
from kanjo.corpora.splits import Fold, make_folds
from kanjo.errors import CorpusError, RecipeError
from kanjo.train.config.data import CorpusConfig, SelectConfig
from kanjo.train.config.schema import Recipe
from kanjo.train.data.audio_cache import AudioCache, build_audio_cache, collect_audio_slices
from kanjo.train.data.datasets import WindowDataset
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.features.log_mel import LogMel

Progress = Callable[[int, int], None]

#: Number of training utterances, roughly, that the statistics of the features are computed from.
_STATISTICS_UTTERANCES = 2000


@dataclass(frozen=True)
class ExperimentData:
    """Data of an experiment.

    Attributes:
        recipe: Recipe of the experiment.
        utterances: Utterances of all corpora, U of them.
        paths: Path of the recording of each utterance.
        emotions: Names of the emotions in the order of the model's outputs.
        labels: Index of the emotion of each utterance.
        folds: Folds, with indices of utterances.
        audio_cache: Decoded audio of each utterance.
    """

    recipe: Recipe
    utterances: tuple[Utterance, ...]
    paths: tuple[Path, ...]
    emotions: tuple[str, ...]
    labels: tuple[int, ...]
    folds: tuple[Fold, ...]
    audio_cache: AudioCache

    def fold(self, number: int) -> Fold:
        """Return a fold by its number, which counts from 1.

        Raises:
            RecipeError: There is no fold of this number.
        """
        if not 1 <= number <= len(self.folds):
            raise RecipeError(
                f"split.fold is {number}; expected 1 to {len(self.folds)}, the folds of protocol "
                f"{self.recipe.split.protocol} on these corpora"
            )
        return self.folds[number - 1]

    def leakage_report(self, fold: Fold) -> LeakageReport:
        """Count the speakers, texts and recordings that the parts of a fold share."""
        return check_leakage(self.utterances, fold, self.audio_cache.fingerprints)


def load_experiment_data(recipe: Recipe, corpus_root: str | None, progress: Progress | None = None) -> ExperimentData:
    """Read the corpora of a recipe, split them into folds and decode their audio.

    Args:
        recipe: Recipe of the experiment.
        corpus_root: Folder of corpora; needed unless the recipe gives the path of each corpus.
        progress: Called with the numbers of decoded and of all recordings while the audio cache is built.

    Raises:
        CorpusError: A corpus cannot be read, or an emotion has no utterance.
        RecipeError: The path of a corpus is not given, or the split is not possible.
    """
    manifests = [_read_corpus(corpus, corpus_root) for corpus in recipe.corpora]
    manifests = [
        _select_utterances(manifest.relabel(recipe.labels.map, recipe.labels.include), recipe.select)
        for manifest in manifests
    ]
    audio_slices, utterances = collect_audio_slices(manifests)
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
    return ExperimentData(
        recipe=recipe,
        utterances=tuple(utterances),
        paths=tuple(audio_slice.path for audio_slice in audio_slices),
        emotions=emotions,
        labels=tuple(emotions.index(utterance.emotion) for utterance in utterances),
        folds=tuple(folds),
        audio_cache=build_audio_cache(audio_slices, recipe.audio.sample_rate, progress=progress),
    )


def write_split(path: Path, data: ExperimentData, fold: Fold) -> None:
    """Write ``split.csv``: each utterance, its emotion, and the part of the fold that it belongs to."""
    part_names: dict[int, str] = {}
    for name, part in (("train", fold.train), ("validation", fold.validation), ("test", fold.test)):
        part_names |= dict.fromkeys(part, name)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["corpus", "file", "speaker", "emotion", "split"])
    for i, utterance in enumerate(data.utterances):
        writer.writerow([utterance.corpus, utterance.file, utterance.speaker, utterance.emotion, part_names.get(i, "")])
    files.write_text(path, buffer.getvalue())


def train_val_datasets(data: ExperimentData, fold: Fold) -> tuple[WindowDataset, WindowDataset]:
    """Build the datasets of a fold's training windows, augmented, and of its validation windows, not augmented."""
    return training_dataset(data, fold.train), WindowDataset(
        data.audio_cache,
        fold.validation,
        data.labels,
        data.recipe.audio.window,
        speaker_and_corpus=speaker_and_corpus_ids(data),
    )


def training_dataset(data: ExperimentData, indices: Sequence[int]) -> WindowDataset:
    """Build the dataset of these utterances' windows, with the recipe's augmentation."""
    audio, augment = data.recipe.audio, data.recipe.augment
    return WindowDataset(
        data.audio_cache,
        indices,
        data.labels,
        audio.window,
        random_placement=audio.placement == "random",
        max_speed_change=augment.max_speed_change,
        max_shift=round(augment.max_shift_s * audio.sample_rate),
        crop=audio.crop if audio.crop_s else 0,
        trim_db=audio.trim_db,
        speaker_and_corpus=speaker_and_corpus_ids(data),
    )


def speaker_and_corpus_ids(data: ExperimentData) -> list[tuple[int, int]]:
    """Number the speakers and the corpora in order of appearance.

    Returns:
        For each utterance the number of its speaker, -1 if the speaker is unknown, and the number of its corpus.
    """
    speaker_keys = dict.fromkeys(utterance.speaker_key for utterance in data.utterances if utterance.speaker_key)
    speakers = {key: number for number, key in enumerate(speaker_keys)}
    corpus_names = dict.fromkeys(utterance.corpus for utterance in data.utterances)
    corpora = {name: number for number, name in enumerate(corpus_names)}
    return [(speakers.get(utterance.speaker_key, -1), corpora[utterance.corpus]) for utterance in data.utterances]


def label_mask_per_corpus(data: ExperimentData, fold: Fold) -> Tensor:
    """Find the emotions that each corpus has in its training utterances.

    Returns:
        bool (number of corpora, E). A corpus without training utterances has all emotions.
    """
    ids = speaker_and_corpus_ids(data)
    has_emotion = torch.zeros(1 + max(corpus for _, corpus in ids), len(data.emotions), dtype=torch.bool)
    for i in fold.train:
        has_emotion[ids[i][1], data.labels[i]] = True
    return has_emotion | ~has_emotion.any(1, keepdim=True)


def class_weights(data: ExperimentData, fold: Fold) -> Tensor:
    """Compute the inverse frequency of each emotion in the training utterances, scaled to a mean of 1: (E,).

    Raises:
        CorpusError: An emotion has no training utterance.
    """
    counts = Counter(data.labels[i] for i in fold.train)
    missing = [emotion for i, emotion in enumerate(data.emotions) if not counts[i]]
    if missing:
        raise CorpusError(
            f"fold {fold.index} has no training utterance of {', '.join(missing)}; expected at least one of each "
            "emotion. Choose another split, or leave these emotions out with labels.include"
        )
    weights = torch.tensor([1 / counts[i] for i in range(len(data.emotions))], dtype=torch.float32)
    return weights / weights.mean()


def sampling_weights(data: ExperimentData, fold: Fold) -> list[float]:
    """Compute the sampling weight of each training utterance.

    It is the inverse square root of the number of training utterances of the same corpus and emotion.
    """
    groups = [(data.utterances[i].corpus, data.labels[i]) for i in fold.train]
    counts = Counter(groups)
    return [counts[group] ** -0.5 for group in groups]


def feature_mean_std(feature_extractor: LogMel, data: ExperimentData, fold: Fold) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation of each channel and mel band over the frames of the training set.

    Padding is left out. Of a large training set, about 2000 utterances are used, evenly spaced.

    Returns:
        Mean and standard deviation before normalization, each (C, M).
    """
    step = max(1, len(fold.train) // _STATISTICS_UTTERANCES)
    windows = WindowDataset(data.audio_cache, fold.train[::step], data.labels, data.recipe.audio.window)
    total, total_squares, n_frames = torch.zeros(()), torch.zeros(()), 0
    with torch.inference_mode():
        for batch in build_data_loader(windows, 32, shuffle=False):
            signal = batch["signal"]
            features = feature_extractor.unnormalized(signal, feature_extractor.n_valid_frames(signal)).double()
            valid = batch["valid"] // feature_extractor.power.hop_length + 1
            mask = (torch.arange(features.shape[3])[None] < valid[:, None])[:, None, None]
            total = total + (features * mask).sum((0, 3))
            total_squares = total_squares + (features.square() * mask).sum((0, 3))
            n_frames += int(valid.clamp(max=features.shape[3]).sum())
    mean = total / n_frames
    variance = (total_squares / n_frames - mean.square()).clamp(min=0)
    return mean.float(), variance.sqrt().float()


def _list_emotions(recipe: Recipe, utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """Return the emotions that the recipe includes, or else all that occur, in alphabetical order."""
    counts = Counter(utterance.emotion for utterance in utterances)
    emotions = recipe.labels.include or tuple(sorted(counts))
    missing = [emotion for emotion in emotions if not counts[emotion]]
    if missing or len(emotions) < 2:
        raise CorpusError(
            f"{recipe.name}: no utterance of {', '.join(missing) or 'a second emotion'}; the corpora have "
            f"{dict(counts) or 'no utterances'}"
        )
    return emotions


def _read_corpus(corpus: CorpusConfig, corpus_root: str | None) -> Manifest:
    if corpus.path is None and corpus_root is None:
        raise RecipeError(
            f"the folder of corpus {corpus.name} is not given; use --corpus-root, set KANJO_CORPORA, or give its path "
            "in the recipe"
        )
    path = Path(corpus.path) if corpus.path else find_root(corpus.name, Path(str(corpus_root)))
    if corpus.name == "manifest":
        return read_manifest(path)
    if corpus.name == OWN_CORPUS and corpus.path is None:
        raise RecipeError("corpus 'own' needs a path: {name: own, path: my.csv}")
    return read_corpus(corpus.name, path)


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
