"""Helpers of the tests that train: tiny data, and fitting in a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kanjo.corpora import Utterance
from kanjo.corpora.splits import Fold
from kanjo.experiments.run_folder import RunFolder
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.audio_cache import AudioSlice, build_audio_cache
from kanjo.train.data.experiment_data import ExperimentData, load_experiment_data
from kanjo.train.fit import TrainedModel, fit

EMOTIONS = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
#: Settings of recipes with speaker conditioning that make training on the tiny corpora fast.
SHORT_WINDOWS = [
    "split.protocol=speaker_kfold",
    "split.n_folds=4",
    "model.weights=none",
    "audio.window_s=1",
    "audio.hop_s=0.5",
    "audio.crop_s=0.5",
    "training.precision=fp32",
]


def load_data(recipe: Path | str, corpora: Path, *overrides: str) -> ExperimentData:
    """Load a recipe's data from a folder of corpora."""
    return load_experiment_data(load_recipe(str(recipe), list(overrides)), str(corpora))


def fit_in(
    folder: Path, data: ExperimentData, fold: Fold, stage1_weights: Path | None = None, **options: Any
) -> TrainedModel:
    """Fit a model, with the files of a run folder."""
    return fit(data, fold, RunFolder(folder).fit_paths(stage1_weights), **options)


def eight_clips(recipe: str, clips: list[Path], cache: Path, *overrides: str) -> tuple[ExperimentData, Fold]:
    """One clip per emotion of one actor, used for training and validation alike, to test that a model overfits them."""
    paths = [next(path for path in clips if path.stem == f"03-01-{emotion:02d}-01-01-01-03") for emotion in range(1, 9)]
    loaded = load_recipe(recipe, overrides)
    audio_cache = build_audio_cache([AudioSlice(path) for path in paths], loaded.audio.sample_rate, cache)
    utterances = tuple(Utterance("ravdess", path.name, EMOTIONS[n], speaker="03") for n, path in enumerate(paths))
    data = ExperimentData(loaded, utterances, tuple(paths), EMOTIONS, tuple(range(8)), (), audio_cache)
    return data, Fold(1, "all", tuple(range(8)), tuple(range(8)), ())
