"""Loading of an experiment's data, and the statistics of its training set."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo.corpora import Utterance
from kanjo.corpora.splits import Fold
from kanjo.errors import CorpusError, RecipeError
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.experiment_data import (
    ExperimentData,
    class_weights,
    describe_renamed_labels,
    feature_mean_std,
    label_mask_per_corpus,
    load_experiment_data,
    sampling_weights,
    speaker_and_corpus_ids,
    train_val_datasets,
    write_split,
)
from kanjo.train.features.log_mel import LogMel


@pytest.fixture(scope="module")
def data(tiny_recipe: Path, tiny_corpora: Path) -> ExperimentData:
    """Eight speakers with eight emotions each, in four folds."""
    overrides = ["augment.max_speed_change=0.1"]
    return load_experiment_data(load_recipe(str(tiny_recipe), overrides), str(tiny_corpora))


def _with_corpora(data: ExperimentData, fold: Fold) -> ExperimentData:
    """The same data, with the first four training utterances in corpus b and the others in corpus a."""
    utterances = (
        utterance._replace(corpus="b" if i in fold.train[:4] else "a") for i, utterance in enumerate(data.utterances)
    )
    return replace(data, utterances=tuple(utterances))


def test_load_experiment_data_utterances_have_labels_paths_and_audio(data: ExperimentData) -> None:
    assert len(data.utterances) == len(data.labels) == len(data.paths) == len(data.audio_cache) == 64
    assert data.emotions == tuple(sorted(data.emotions))
    assert all(data.emotions[label] == row.emotion for label, row in zip(data.labels, data.utterances, strict=True))


def test_load_experiment_data_emotion_without_utterances_is_an_error(tiny_recipe: Path, tiny_corpora: Path) -> None:
    recipe = load_recipe(str(tiny_recipe), ["labels.include=[neutral, contempt]"])
    with pytest.raises(CorpusError, match="no utterance of contempt"):
        load_experiment_data(recipe, str(tiny_corpora))


def test_load_experiment_data_without_corpus_root_is_an_error(tiny_recipe: Path) -> None:
    with pytest.raises(RecipeError, match="the folder of corpus ravdess is not given; use --corpus-root"):
        load_experiment_data(load_recipe(str(tiny_recipe)), None)


def test_load_experiment_data_selection_that_matches_nothing_is_an_error(tiny_recipe: Path, tiny_corpora: Path) -> None:
    recipe = load_recipe(str(tiny_recipe), ["select.speakers=['99']"])
    with pytest.raises(CorpusError, match="select matches none of the 64 utterances of ravdess"):
        load_experiment_data(recipe, str(tiny_corpora))


def test_fold_number_out_of_range_is_an_error(data: ExperimentData) -> None:
    assert data.fold(4).index == 4
    with pytest.raises(RecipeError, match="split.fold is 5; expected 1 to 4"):
        data.fold(5)


def test_write_split_lists_the_part_of_each_utterance(data: ExperimentData, tmp_path: Path) -> None:
    fold = data.fold(1)
    write_split(tmp_path / "split.csv", data, fold)
    with (tmp_path / "split.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    parts = Counter(row["split"] for row in rows)
    assert parts == {"train": len(fold.train), "validation": len(fold.validation), "test": len(fold.test)}
    assert rows[fold.test[0]]["split"] == "test" and rows[0]["file"] == data.utterances[0].file


def test_train_val_datasets_only_training_windows_are_augmented(data: ExperimentData) -> None:
    train, validation = train_val_datasets(data, data.fold(1))
    assert not torch.equal(train.__getitems__([0])["signal"], train.__getitems__([0])["signal"])
    assert torch.equal(validation.__getitems__([0])["signal"], validation.__getitems__([0])["signal"])
    assert not set(train.__getitems__(range(len(train)))["speaker"].tolist()) & set(
        validation.__getitems__(range(len(validation)))["speaker"].tolist()
    )


def test_speaker_and_corpus_ids_number_in_order_of_appearance(data: ExperimentData) -> None:
    utterances = (data.utterances[0]._replace(speaker=""), *data.utterances[1:])
    ids = speaker_and_corpus_ids(replace(data, utterances=utterances))
    assert ids[0] == (-1, 0) and ids[1] == (0, 0) and ids[-1] == (7, 0)


def test_label_mask_per_corpus_has_the_emotions_of_the_training_utterances(data: ExperimentData) -> None:
    fold = data.fold(1)
    assert label_mask_per_corpus(data, fold).tolist() == [[True] * 8]
    two_corpora = _with_corpora(data, fold)
    corpora = list(dict.fromkeys(utterance.corpus for utterance in two_corpora.utterances))
    mask = label_mask_per_corpus(two_corpora, fold)[corpora.index("b")]
    assert set(mask.nonzero().flatten().tolist()) == {data.labels[i] for i in fold.train[:4]}
    no_training = replace(fold, train=fold.train[4:])
    assert label_mask_per_corpus(two_corpora, no_training)[corpora.index("b")].all()


def test_class_weights_are_inverse_frequencies_of_mean_one(data: ExperimentData) -> None:
    first = [i for i in data.fold(1).train if data.labels[i] == 0]
    fold = replace(data.fold(1), train=tuple(i for i in data.fold(1).train if i not in first[1:]))
    weights = class_weights(data, fold)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[0] / weights[1]) == pytest.approx(len(first))
    with pytest.raises(CorpusError, match=f"no training utterance of {data.emotions[0]}"):
        class_weights(data, replace(fold, train=tuple(i for i in fold.train if i not in first)))


def test_sampling_weights_are_inverse_roots_of_group_sizes(data: ExperimentData) -> None:
    fold = data.fold(1)
    two_corpora = _with_corpora(data, fold)
    weights = sampling_weights(two_corpora, fold)
    groups = [(two_corpora.utterances[i].corpus, data.labels[i]) for i in fold.train]
    expected = [1 / np.sqrt(groups.count(group)) for group in groups]
    np.testing.assert_allclose(weights, expected)


def test_feature_mean_std_equals_statistics_of_the_valid_frames(data: ExperimentData) -> None:
    fold = replace(data.fold(1), train=data.fold(1).train[:5])
    feature_extractor = LogMel(16_000, 512, 160, 40)
    mean, std = feature_mean_std(feature_extractor, data, fold)
    frames = []
    for i in fold.train:
        padded = torch.zeros(1, 16_000)
        signal = data.audio_cache.signal(i)
        padded[0, : len(signal)] = torch.from_numpy(signal)
        features = feature_extractor.unnormalized(padded, torch.tensor([100]))
        frames.append(features[0, 0, :, : len(signal) // 160 + 1].double())
    expected = torch.cat(frames, 1)
    torch.testing.assert_close(mean[0], expected.mean(1).float(), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(std[0], expected.std(1, correction=0).float(), atol=1e-4, rtol=1e-4)


def test_describe_renamed_labels_names_the_labels_that_the_recipe_merges() -> None:
    recipe = load_recipe("finetune-default")
    rows = [
        Utterance("own", "a.wav", "neutral", "ruhe"),
        Utterance("own", "b.wav", "neutral", "calm"),
        Utterance("own", "c.wav", "neutral", "neutral"),
        Utterance("own", "d.wav", "anger", "angry"),
    ]
    assert describe_renamed_labels(recipe, rows) == (
        "2 utterances with the label calm count as neutral (labels.map in the recipe)",
    )
    assert describe_renamed_labels(recipe, rows[2:]) == ()
