"""What the training and the test utterances of a fold share, as sentences for logs, reports and bundles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kanjo.train.warm_start import source_metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kanjo.corpora.splits import Fold
    from kanjo.train.data.experiment_data import ExperimentData


def describe_leakage(data: ExperimentData, fold: Fold) -> list[str]:
    """Describe what training, validation and test share, and the emotions that they lack.

    Includes the bundle that the training starts from.
    """
    return [*_describe_fold(data, fold), *_describe_source_bundles(data, fold), *data.notes]


def describe_all_folds(data: ExperimentData) -> list[str]:
    """The leakage reports of all folds; sentences that several folds have are listed once."""
    folds_of_sentence: dict[str, list[int]] = {}
    for fold in data.folds:
        for sentence in _describe_fold(data, fold):
            folds_of_sentence.setdefault(sentence, []).append(fold.index)
    sentences = [
        f"every fold: {sentence}"
        if len(indices) == len(data.folds)
        else f"fold {', '.join(map(str, indices))}: {sentence}"
        for sentence, indices in folds_of_sentence.items()
    ]
    return [*sentences, *data.notes]


def _describe_fold(data: ExperimentData, fold: Fold) -> list[str]:
    return [*data.leakage_report(fold).describe(), *data.classes_report(fold).describe()]


def split_metadata(data: ExperimentData, fold: Fold, leakage: Sequence[str]) -> dict[str, Any]:
    """The split of a fold as the bundle stores it: protocol, fold and speakers.

    The training speakers include those of the bundle that the training starts from, and the validation speakers.
    """
    source_speakers = [
        name for source in source_metadata(data.recipe) for name in source.split.get("train_speakers", ())
    ]
    validation_speakers = _speakers(data, fold.validation)
    return {
        "protocol": data.recipe.split.protocol,
        "fold": fold.index,
        "note": fold.name,
        "leakage": list(leakage),
        "train_speakers": sorted({*source_speakers, *_speakers(data, fold.train), *validation_speakers}),
        "validation_speakers": validation_speakers,
        "test_speakers": _speakers(data, fold.test),
    }


def _describe_source_bundles(data: ExperimentData, fold: Fold) -> list[str]:
    """How many test speakers the bundle was trained on that the training starts from."""
    sentences = []
    test_speakers = set(_speakers(data, fold.test))
    for source in source_metadata(data.recipe):
        start = f"the bundle {source.name}, from which the training starts,"
        n_shared = len(test_speakers & set(source.split.get("train_speakers", ())))
        sentences.append(
            f"LEAK: {start} was trained on {n_shared} of {len(test_speakers)} test speakers"
            if n_shared
            else f"{start} was trained on no speaker with the corpus and name of a test speaker"
        )
    return sentences


def _speakers(data: ExperimentData, indices: Sequence[int]) -> list[str]:
    return sorted({data.utterances[i].speaker_key for i in indices} - {""})
