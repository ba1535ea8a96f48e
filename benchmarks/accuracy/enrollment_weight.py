"""Choose the constants of kanjo.inference.profile_weight on held-out training speakers of the recipe ``default``.

    python benchmarks/accuracy/enrollment_weight.py [section.key=value ...]

No test speaker of the built-in bundle is used, and no recording of EMOVO. The heads are fitted eight times, each time
without one of five groups of training speakers or without one of the three corpora, and predict the speakers or the
corpus that was left out. Each of these speakers is enrolled with draws of 1 to 20 recordings and with half of them: at
random, 75 % of one emotion, one emotion only, and one emotion only with tests on this emotion. The score of a set of
constants is the mean change of the UAR over all of these cases, minus three times the mean loss beyond one point.
"""

from __future__ import annotations

import copy
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from kanjo.corpora.splits import make_folds
from kanjo.inference import profile_weight
from kanjo.train.calibration.ood import evenly_spaced, fit_pca_residual, ood_score
from kanjo.train.calibration.temperature import fit_ood_temperature
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.embedding_cache import compute_embeddings
from kanjo.train.data.experiment_data import ExperimentData, load_experiment_data
from kanjo.train.tasks.linear_probe import LinearProbeTask, fit_lbfgs

Array = npt.NDArray[np.float64]
N_DRAWS, N_TEST = 6, 48
COUNTS = (1, 2, 3, 5, 10, 20)
HALF = 0
#: Weights at which the predictions are computed; others are rounded to the nearest.
WEIGHTS = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class Group:
    """Predictions for utterances (U,) that the heads were not fitted to."""

    name: str
    logits: Array
    offset_logits: Array
    label: npt.NDArray[np.int64]
    speaker: npt.NDArray[np.str_]
    corpus: npt.NDArray[np.str_]
    ood_ratio: Array


@dataclass(frozen=True)
class Draw:
    """One enrollment: its case, the variety of its predictions, and the correct predictions by weight and test clip."""

    case: tuple[str, str, str, int]
    n_clips: int
    variety: float
    label: npt.NDArray[np.int64]
    correct: npt.NDArray[np.bool_]


def main() -> None:
    """Print the best constants."""
    recipe = load_recipe(
        "default", ["model.weights=whisper-base", *sys.argv[1:]], os.environ.get("KANJO_CORPORA", "../shared/corpora")
    )
    data = load_experiment_data(recipe, os.environ.get("KANJO_CORPORA", "../shared/corpora"))
    groups = list(held_out_groups(data))
    draws = list(draw_all(groups))
    print(f"{len(draws)} draws; today's constants:")
    print(describe(draws, profile_weight.MIN_VARIETY, profile_weight.FULL_VARIETY, profile_weight.HALF_WEIGHT_CLIPS))
    grid = itertools.product(np.arange(0.1, 0.3, 0.02), (0.25, 0.3, 0.35, 0.4, 0.45, 0.5), (1.0, 1.5, 2.0, 3.0))
    results = sorted(((evaluate(draws, *constants)[0], constants) for constants in grid), reverse=True)
    for _, constants in results[:10]:
        print(describe(draws, *constants))


def held_out_groups(data: ExperimentData) -> Iterator[Group]:
    """Fit the heads without each group of training speakers and without each corpus, and predict these."""
    fold = data.fold(1)
    training = sorted((*fold.train, *fold.validation))
    rows = [data.utterances[i] for i in training]
    task = LinearProbeTask(data, fold)
    model = task.build_model()
    task.initialize(model)
    embeddings = compute_embeddings(model, data)
    for protocol in ("speaker_kfold", "leave_one_corpus_out"):
        for part in make_folds(rows, protocol, n_folds=5, seed=0):
            held_out = {training[i] for i in part.test}
            kept = tuple(i for i in training if i not in held_out)
            part = replace(fold, train=kept, validation=tuple(sorted(held_out)))
            fitted, part_task = copy.deepcopy(model), LinearProbeTask(data, part, embeddings=embeddings)
            part_task.prepare(fitted)
            train, test = part_task.datasets(fitted)
            classifier = fit_lbfgs(part_task.training_module(fitted), train, data.recipe.training.epochs)
            scorer = fit_pca_residual(train.embedding[evenly_spaced(range(len(kept)))].numpy(), unit_norm=False)
            with torch.inference_mode():
                logits, offset_logits = classifier.classify(test.embedding), classifier.offset(test.embedding)
            yield Group(
                protocol,
                logits.double().numpy(),
                offset_logits.double().numpy(),
                test.label.numpy(),
                np.asarray([data.utterances[i].speaker_key for i in part.validation]),
                np.asarray([data.utterances[i].corpus for i in part.validation]),
                ood_score(scorer, test.embedding.numpy(), unit=scorer.median).astype(np.float64),
            )


def draw_all(groups: list[Group]) -> Iterator[Draw]:
    """Enroll each speaker with draws of each kind, after fitting the temperatures."""
    scales, enrolled_scales = fit_temperatures(groups)
    rng = np.random.default_rng(0)
    for group, scale, enrolled_scale in zip(groups, scales, enrolled_scales, strict=True):
        for speaker in np.unique(group.speaker):
            clips = np.flatnonzero(group.speaker == speaker)
            for kind, n, chosen, rest in choices(group, clips, rng):
                yield enroll(group, scale, enrolled_scale, (kind, n), chosen, balanced(group, rest, rng))


def fit_temperatures(groups: list[Group]) -> tuple[list[Array], list[Array]]:
    """Temperature of each utterance without and with enrollment, as kanjo fits them for a bundle."""
    differences = []
    for group in groups:
        means = {s: group.offset_logits[group.speaker == s].mean(0) for s in np.unique(group.speaker)}
        differences.append(group.offset_logits - np.stack([means[s] for s in group.speaker]))
    label = torch.from_numpy(np.concatenate([group.label for group in groups]))
    speaker = torch.from_numpy(np.unique(np.concatenate([g.speaker for g in groups]), return_inverse=True)[1])
    ratio = torch.from_numpy(np.concatenate([group.ood_ratio for group in groups])).float()
    max_ratio = max(1.0, float(ratio.quantile(0.98)))
    scales = []
    for logits in ([group.logits for group in groups], differences):
        all_logits = torch.from_numpy(np.concatenate(logits)).float()
        temperature, exponent = fit_ood_temperature(all_logits, label, speaker, ratio.clamp(1, max_ratio))
        print(f"temperature {temperature:.2f}, OOD exponent {exponent}")
        scales.append([temperature * np.clip(group.ood_ratio, 1, max_ratio)[:, None] ** exponent for group in groups])
    return scales[0], scales[1]


def choices(
    group: Group, clips: npt.NDArray[np.int64], rng: np.random.Generator
) -> Iterator[tuple[str, int, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Kind, number, enrollment clips and test clips of each draw."""
    for n, _ in itertools.product((*COUNTS, HALF), range(N_DRAWS)):
        size = n or len(clips) // 2
        if size <= len(clips) // 2:
            chosen = rng.choice(clips, size, replace=False)
            yield "random", n, chosen, np.setdiff1d(clips, chosen)
    for n, label in itertools.product(COUNTS, np.unique(group.label[clips])):
        same, other = clips[group.label[clips] == label], clips[group.label[clips] != label]
        n_same = round(0.75 * n)
        if n >= 4 and n_same <= len(same) and n - n_same <= len(other) // 2:
            chosen = np.concatenate(
                [rng.choice(same, n_same, replace=False), rng.choice(other, n - n_same, replace=False)]
            )
            yield "mostly one emotion", n, chosen, np.setdiff1d(clips, chosen)
        if n <= len(same):
            chosen = rng.choice(same, n, replace=False)
            yield "one emotion", n, chosen, np.setdiff1d(clips, chosen)
            if n <= len(same) - 3:
                yield "one emotion, same test", n, chosen, np.setdiff1d(same, chosen)


def balanced(group: Group, rest: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw test clips with equally many of each emotion."""
    labels = np.unique(group.label[rest])
    per_label = -(-N_TEST // len(labels))
    parts = [rng.choice(rest[group.label[rest] == label], per_label) for label in labels]
    return rng.permutation(np.concatenate(parts))[:N_TEST]


def enroll(
    group: Group,
    scale: Array,
    enrolled_scale: Array,
    kind: tuple[str, int],
    chosen: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
) -> Draw:
    """Predict the test clips with every weight."""
    probabilities = np.exp(group.logits[chosen] / scale[chosen])
    probabilities /= probabilities.sum(1, keepdims=True)
    variety = profile_weight.prediction_variety(probabilities, np.ones(len(chosen)), len(chosen))
    difference = group.offset_logits[test] - group.offset_logits[chosen].mean(0)
    correct = [((1 - w) * group.logits[test] + w * difference).argmax(1) == group.label[test] for w in WEIGHTS]
    corpus = str(group.corpus[chosen[0]])
    return Draw((group.name, corpus, *kind), len(chosen), variety, group.label[test], np.stack(correct))


def evaluate(
    draws: list[Draw], min_variety: float, full_variety: float, half_weight_clips: float
) -> tuple[float, dict[str, float], dict[str, float]]:
    """The score of the constants, and the mean and smallest change of the UAR for each kind of draw."""
    n_more = np.asarray([draw.n_clips for draw in draws]) - 1.0
    variety = np.asarray([draw.variety for draw in draws])
    factor = np.clip((variety - min_variety) / (full_variety - min_variety), 0, 1)
    index = np.rint(factor * n_more / (n_more + half_weight_clips) * (len(WEIGHTS) - 1)).astype(int)
    cases: dict[tuple[str, str, str, int], list[int]] = {}
    for i, draw in enumerate(draws):
        cases.setdefault(draw.case, []).append(i)
    changes: dict[str, list[float]] = {}
    for (_, _, kind, _), members in cases.items():
        label = np.concatenate([draws[i].label for i in members])
        before = np.concatenate([draws[i].correct[0] for i in members])
        after = np.concatenate([draws[i].correct[index[i]] for i in members])
        recalls = [after[label == c].mean() - before[label == c].mean() for c in np.unique(label)]
        changes.setdefault(kind, []).append(100 * float(np.mean(recalls)))
    means = {kind: float(np.mean(values)) for kind, values in changes.items()}
    smallest = {kind: min(values) for kind, values in changes.items()}
    losses = [np.mean(np.maximum(0, -1 - np.asarray(values))) for values in changes.values()]
    return float(np.mean(list(means.values())) - 3 * np.mean(losses)), means, smallest


def describe(draws: list[Draw], *constants: float) -> str:
    """The constants with their score and changes, in one line."""
    total, means, smallest = evaluate(draws, *constants)
    changes = ", ".join(f"{kind} {means[kind]:+.1f} (least {smallest[kind]:+.1f})" for kind in means)
    return f"{', '.join(f'{value:.2f}' for value in constants)}: score {total:.2f}; {changes}"


if __name__ == "__main__":
    main()
