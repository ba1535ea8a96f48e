"""Load the data of an experiment: utterances, labels, folds and decoded audio; and compute statistics of it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from kanjo import files
from kanjo.corpora import Utterance
from kanjo.corpora.fold_classes import FoldClasses, check_classes
from kanjo.corpora.leakage import LeakageReport, check_leakage
from kanjo.corpora.speakers import speakers_support_enrollment
from kanjo.corpora.splits import Fold
from kanjo.errors import CorpusError
from kanjo.file_names import encode_name
from kanjo.labels import canonical_emotion, is_known_word
from kanjo.train.config.schema import Recipe
from kanjo.train.data.audio_cache import AudioCache, build_audio_cache, collect_audio_slices
from kanjo.train.data.datasets import WindowDataset
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.data.utterances import find_fold, read_manifests, split_utterances
from kanjo.train.features.log_mel import LogMel

Progress = Callable[[int, int], None]

#: Number of training utterances, roughly, that the statistics of the features are computed from.
_STATISTICS_UTTERANCES = 2000
#: Label of an utterance whose emotion the model does not have.
_NO_LABEL = -1


@dataclass(frozen=True)
class ExperimentData:
    """Data of an experiment.

    Attributes:
        recipe: Recipe of the experiment.
        utterances: Utterances of all corpora, U of them.
        paths: Path of the recording of each utterance.
        emotions: Names of the emotions in the order of the model's outputs.
        labels: Index of the emotion of each utterance; -1 if the model does not have it (see :meth:`for_fold`).
        folds: Folds, with indices of utterances.
        audio_cache: Decoded audio of each utterance.
        notes: What differs from the recipe, and why, as sentences.
    """

    recipe: Recipe
    utterances: tuple[Utterance, ...]
    paths: tuple[Path, ...]
    emotions: tuple[str, ...]
    labels: tuple[int, ...]
    folds: tuple[Fold, ...]
    audio_cache: AudioCache
    notes: tuple[str, ...] = ()

    def fold(self, number: int) -> Fold:
        """Return a fold by its number, which counts from 1.

        Raises:
            RecipeError: There is no fold of this number.
        """
        return find_fold(self.recipe, self.folds, number)

    def for_fold(self, fold: Fold) -> ExperimentData:
        """Return the data without the emotions that have no training utterance in a fold.

        The model of this fold does not have these emotions, and utterances with them are not scored.
        """
        trained = {self.labels[i] for i in fold.train}
        if len(trained) == len(self.emotions):
            return self
        emotions = tuple(name for index, name in enumerate(self.emotions) if index in trained)
        labels = tuple(emotions.index(row.emotion) if row.emotion in emotions else _NO_LABEL for row in self.utterances)
        return replace(self, emotions=emotions, labels=labels)

    def classes_report(self, fold: Fold) -> FoldClasses:
        """Find the emotions that the parts of a fold lack."""
        return check_classes(self.utterances, [fold], self.emotions)[0]

    def leakage_report(self, fold: Fold) -> LeakageReport:
        """Count the speakers, texts and recordings that the parts of a fold share."""
        return check_leakage(self.utterances, fold, self.audio_cache.fingerprints)


def load_experiment_data(
    recipe: Recipe, corpus_root: str | None, progress: Progress | None = None, *, all_folds: bool = False
) -> ExperimentData:
    """Read the corpora of a recipe, split them into folds and decode their audio.

    A recipe with speaker conditioning is changed if the speakers don't support it.

    Args:
        recipe: Recipe of the experiment.
        corpus_root: Folder of corpora; needed unless the recipe gives the path of each corpus.
        progress: Called with the numbers of decoded and of all recordings while the audio cache is built.
        all_folds: Check before decoding that all folds can be scored (else: the recipe's fold).

    Raises:
        CorpusError: A corpus cannot be read, an emotion has no utterance, or the split is not possible.
        RecipeError: The path of a corpus or the number of the fold is not valid.
    """
    split = split_utterances(recipe, read_manifests(recipe, corpus_root), all_folds=all_folds)
    audio_slices, utterances = collect_audio_slices(split.manifests)
    recipe, notes = _without_unsupported_heads(recipe, utterances)
    return ExperimentData(
        notes=(*describe_renamed_labels(recipe, utterances), *notes),
        recipe=recipe,
        utterances=tuple(utterances),
        paths=tuple(audio_slice.path for audio_slice in audio_slices),
        emotions=split.emotions,
        labels=tuple(split.emotions.index(utterance.emotion) for utterance in utterances),
        folds=split.folds,
        audio_cache=build_audio_cache(audio_slices, recipe.audio.sample_rate, progress=progress),
    )


def describe_renamed_labels(recipe: Recipe, utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """Say which labels of the utterances the recipe's ``labels.map`` counts as another emotion.

    Args:
        recipe: The recipe.
        utterances: Utterances whose emotions were renamed.
    """
    counts = Counter((row.labels_raw, row.emotion) for row in utterances)
    n_renamed: Counter[tuple[str, str]] = Counter()
    for (label, emotion), n in counts.items():
        own = canonical_emotion(label) if is_known_word(label) else label
        if own != emotion and recipe.labels.map.get(own) == emotion:
            n_renamed[own, emotion] += n
    return tuple(
        f"{n} utterances with the label {own} count as {emotion} (labels.map in the recipe)"
        for (own, emotion), n in n_renamed.items()
    )


def write_split(path: Path, data: ExperimentData, fold: Fold) -> None:
    """Write ``split.csv``: each utterance, its emotion, and the part of the fold that it belongs to."""
    files.write_text(path, split_to_csv(data.utterances, name_parts(fold)))


def name_parts(fold: Fold) -> dict[int, str]:
    """Return the name of the part, such as "train", of the index of each utterance of a fold."""
    parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    return {index: name for name, indices in parts.items() for index in indices}


def split_to_csv(utterances: Iterable[Utterance], part_names: Mapping[int, str]) -> str:
    """Return the content of ``split.csv``.

    Args:
        utterances: The utterances.
        part_names: The part of utterances, by their index; the others have none.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["corpus", "file", "speaker", "emotion", "split"])
    for i, row in enumerate(utterances):
        writer.writerow([row.corpus, encode_name(row.file), row.speaker, row.emotion, part_names.get(i, "")])
    return buffer.getvalue()


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


def _without_unsupported_heads(recipe: Recipe, utterances: Sequence[Utterance]) -> tuple[Recipe, tuple[str, ...]]:
    """Leave out speaker conditioning if too few speakers are known; return the recipe, and a sentence that says so."""
    if not recipe.model.speaker_conditioning or speakers_support_enrollment(utterances):
        return recipe, ()
    model = recipe.model.model_copy(update={"speaker_conditioning": False})
    note = "without speaker enrollment: fewer than two speakers are known with recordings of two emotions"
    return recipe.model_copy(update={"model": model}), (note,)
