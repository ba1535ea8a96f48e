"""Compare rules of kanjo.inference.adaptation on corpora and speakers that the heads were not fitted to.

    python benchmarks/accuracy/adaptation.py ['corpora=[ravdess,nemo,emotiontts,emovo]' ...]

The heads of the recipe ``default`` are fitted without each corpus, and without each of five groups of speakers
(enrollment_weight.py); so each corpus is once a new source and once a known source. From each source, batches are
drawn: balanced, with the corpus' own proportions, with half and with 70 % of one emotion, and of one emotion only. A
rule computes a bias from the batch without its labels, and the UAR over the source's clips with this bias is compared
with the UAR without it. The strength is chosen for each corpus on the other corpora. ``--predictions FOLDER`` reads the
held-out predictions from files ``new-CORPUS.npz`` and ``known-CORPUS.npz`` (``logits``, ``offset_logits``, ``label``)
in place of fitting heads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kanjo.inference.adaptation import apply_bias, centering_bias, class_balanced_mean

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
#: The composition with one emotion only. It does not count for the choice of a strength.
ONE = "100 %"
SIZES, COMPOSITIONS, STRENGTHS = (20, 50, 200), ("balanced", "own", "half", "70 %", ONE), (0.25, 0.5, 0.75, 1.0)
N_BATCHES = 6
#: Clips of one emotion that are scored.
N_SCORED = 150
#: The second selection of emotions: those that most corpora have. The indices are those of the recipe's labels.
SELECTIONS = {"all emotions": None, "four emotions": [0, 3, 4, 5]}


@dataclass(frozen=True)
class Source:
    """Held-out predictions of one corpus: "new" if no clip of it was used for the heads, else "known"."""

    kind: str
    corpus: str
    logits: Array
    offset_logits: Array
    label: Labels


@dataclass(frozen=True)
class Change:
    """Change of the UAR in points for one batch."""

    kind: str
    corpus: str
    selection: str
    rule: str
    strength: float
    size: int
    composition: str
    points: float


def main() -> None:
    """Print the tables."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--predictions"]:
        sources = [_read_source(path) for path in sorted(Path(arguments[1]).glob("*.npz"))]
    else:
        sources = list(held_out_sources(arguments))
    changes = [change for source in sources for change in compare_rules(source)]
    for kind in ("new", "known"):
        for selection in SELECTIONS:
            print_table([c for c in changes if (c.kind, c.selection) == (kind, selection)], f"{kind}, {selection}")
    print_choice(changes)


def _read_source(path: Path) -> Source:
    """Read ``new-CORPUS.npz`` or ``known-CORPUS.npz``; the logits are divided by the temperature."""
    arrays = np.load(path)
    kind, _, corpus = path.stem.partition("-")
    return Source(kind, corpus, arrays["logits"], arrays["offset_logits"], arrays["label"])


def held_out_sources(overrides: list[str]) -> Iterator[Source]:
    """Fit the heads as in enrollment_weight.py, and yield the held-out predictions of each corpus."""
    from enrollment_weight import fit_temperatures, held_out_groups

    from kanjo.train.config.loading import load_recipe
    from kanjo.train.data.experiment_data import load_experiment_data

    root = os.environ.get("KANJO_CORPORA", "../shared/corpora")
    groups = list(held_out_groups(load_experiment_data(load_recipe("default", overrides, root), root)))
    scales = fit_temperatures(groups)[0]
    for name, kind in (("leave_one_corpus_out", "new"), ("speaker_kfold", "known")):
        chosen = [i for i, group in enumerate(groups) if group.name == name]
        corpus = np.concatenate([groups[i].corpus for i in chosen])
        logits = np.concatenate([groups[i].logits / np.median(scales[i]) for i in chosen])
        offset_logits = np.concatenate([groups[i].offset_logits / np.median(scales[i]) for i in chosen])
        label = np.concatenate([groups[i].label for i in chosen])
        for key in np.unique(corpus):
            rows = corpus == key
            yield Source(kind, str(key), logits[rows], offset_logits[rows], label[rows])


def compare_rules(source: Source) -> Iterator[Change]:
    """Apply each rule at each strength to batches of a source."""
    rng = np.random.default_rng(0)
    for selection, indices in SELECTIONS.items():
        columns = np.arange(source.logits.shape[1]) if indices is None else np.asarray(indices)
        rows = np.isin(source.label, columns)
        label = np.searchsorted(columns, source.label[rows])
        logits, offset_logits = source.logits[rows][:, columns], source.offset_logits[rows][:, columns]
        by_emotion = [np.flatnonzero(label == emotion) for emotion in np.unique(label)]
        scored = np.concatenate([rng.permutation(members)[:N_SCORED] for members in by_emotion])
        before = uar(logits[scored], label[scored])
        for size in SIZES:
            for composition in COMPOSITIONS:
                for _ in range(N_BATCHES):
                    batch = draw(by_emotion, size, composition, rng)
                    for rule, function in RULES.items():
                        adapt = function(logits[batch], offset_logits[batch])
                        for strength in STRENGTHS:
                            after = uar(adapt(logits[scored], offset_logits[scored], strength), label[scored])
                            yield Change(
                                source.kind, source.corpus, selection, rule, strength, size, composition, after - before
                            )  # fmt: skip


def draw(by_emotion: list[Labels], size: int, composition: str, rng: np.random.Generator) -> Labels:
    """Draw a batch; an emotion with too few clips is drawn with repetition."""
    n_emotions = len(by_emotion)
    if composition == "own":
        every = np.concatenate(by_emotion)
        return rng.choice(every, min(size, len(every)), replace=False)
    share = {"balanced": 1 / n_emotions, "half": 0.5, "70 %": 0.7, ONE: 1.0}[composition]
    shares = np.full(n_emotions, (1 - share) / (n_emotions - 1))
    shares[rng.integers(n_emotions)] = share
    counts = np.floor(shares * size).astype(int)
    counts[rng.permutation(n_emotions)[: size - counts.sum()]] += 1
    return np.concatenate(
        [rng.choice(members, n, replace=n > len(members)) for members, n in zip(by_emotion, counts, strict=True)]
    )


Adapted = Callable[[Array, Array, float], Array]


def softmax(logits: Array) -> Array:
    """Probabilities of logits (N, E)."""
    return apply_bias(np.exp(logits - logits.max(1, keepdims=True)), np.zeros(logits.shape[1]))


def equal_means(logits: Array, offset_logits: Array) -> Adapted:
    """The bias with which the mean probabilities of all emotions are equal (damped EM)."""
    probabilities, bias = softmax(logits), np.zeros(logits.shape[1])
    for _ in range(40):
        bias -= 0.7 * np.log(apply_bias(probabilities, bias).mean(0))
    return lambda x, _, strength: x + strength * bias


def estimated_priors(logits: Array, offset_logits: Array) -> Adapted:
    """The bias towards the proportions that EM estimates (Saerens, Latinne & Decaestecker 2002)."""
    probabilities, n_emotions = softmax(logits), logits.shape[1]
    prior = np.full(n_emotions, 1 / n_emotions)
    for _ in range(60):
        members = apply_bias(probabilities, np.log(prior)).sum(0)
        prior = (members + 1) / (members + 1).sum()
    return lambda x, _, strength: x + strength * np.log(prior)


def centered(logits: Array, offset_logits: Array) -> Adapted:
    """The bias of kanjo.inference.adaptation, for bundles without speaker profiles."""
    bias = centering_bias(softmax(logits), np.ones(len(logits)))
    return lambda x, _, strength: x + strength * bias


def shifted(logits: Array, offset_logits: Array) -> Adapted:
    """Logits of the difference from the mean embedding, as for a speaker."""
    mean = offset_logits.mean(0)
    return lambda x, y, strength: (1 - strength) * x + strength * (y - mean)


def shifted_by_class_means(logits: Array, offset_logits: Array) -> Adapted:
    """The rule of kanjo.inference.adaptation: the same with the class-balanced mean embedding."""
    mean = class_balanced_mean(softmax(logits), offset_logits)
    return lambda x, y, strength: (1 - strength) * x + strength * (y - mean)


def shifted_and_centered(logits: Array, offset_logits: Array) -> Adapted:
    """The mean embedding, and then the bias."""
    shift = shifted(logits, offset_logits)

    def adapt(x: Array, y: Array, strength: float) -> Array:
        bias = centering_bias(softmax(shift(logits, offset_logits, strength)), np.ones(len(logits)))
        return shift(x, y, strength) + strength * bias

    return adapt


RULES: dict[str, Callable[[Array, Array], Adapted]] = {
    "equal means": equal_means,
    "estimated priors": estimated_priors,
    "class-balanced center": centered,
    "mean embedding": shifted,
    "class-balanced embedding": shifted_by_class_means,
    "mean embedding, center": shifted_and_centered,
}


def uar(logits: Array, label: Labels) -> float:
    """Unweighted average recall in percent."""
    correct = logits.argmax(1) == label
    return 100 * float(np.mean([correct[label == emotion].mean() for emotion in np.unique(label)]))


def cell(changes: list[Change]) -> str:
    """The mean over corpora, the smallest mean of a corpus, and the interval of 90 % of the batches."""
    corpora = sorted({c.corpus for c in changes})
    means = [np.mean([c.points for c in changes if c.corpus == corpus]) for corpus in corpora]
    low, high = np.quantile([c.points for c in changes], (0.05, 0.95))
    return f"{np.mean(means):+5.1f} (least {min(means):+5.1f}; {low:+.0f} to {high:+.0f})"


def print_table(changes: list[Change], title: str) -> None:
    """Print one line for each rule, strength and size."""
    print(f"\n{title}\n{'rule':<28}{'strength':>8}{'clips':>6}  " + "".join(f"{c:<34}" for c in COMPOSITIONS))
    for rule in RULES:
        for strength in STRENGTHS:
            for size in SIZES:
                chosen = [c for c in changes if (c.rule, c.strength, c.size) == (rule, strength, size)]
                cells = [cell([c for c in chosen if c.composition == composition]) for composition in COMPOSITIONS]
                print(f"{rule:<28}{strength:>8}{size:>6}  " + "".join(f"{text:<34}" for text in cells))


def case_means(changes: list[Change]) -> Array:
    """Mean change of each case: kind, corpus, emotions, size and composition."""
    cases: dict[tuple[object, ...], list[float]] = {}
    for c in changes:
        if c.composition == ONE:
            continue
        cases.setdefault((c.kind, c.corpus, c.selection, c.size, c.composition), []).append(c.points)
    return np.array([np.mean(points) for points in cases.values()])


def best_strength(changes: list[Change]) -> float:
    """The strength with the largest mean change, among those with no case that loses a point; 0 if there is none."""
    best, largest = 0.0, 0.0
    for strength in STRENGTHS:
        means = case_means([c for c in changes if c.strength == strength])
        if means.min() > -1 and means.mean() > largest:
            best, largest = strength, float(means.mean())
    return best


def mean_points(changes: list[Change], corpus: str, strength: float) -> float:
    """Mean change of a corpus at a strength."""
    if not strength:
        return 0.0
    return float(np.mean([c.points for c in changes if (c.corpus, c.strength) == (corpus, strength)]))


def print_choice(changes: list[Change]) -> None:
    """Choose the strength for each corpus on the other corpora, and print the changes with it."""
    print("\nstrength chosen for each corpus on the others, and the mean changes with it")
    corpora = sorted({c.corpus for c in changes})
    for rule in RULES:
        of_rule = [c for c in changes if c.rule == rule]
        chosen = {corpus: best_strength([c for c in of_rule if c.corpus != corpus]) for corpus in corpora}
        print(
            f"{rule}: all {best_strength(of_rule)}; "
            + ", ".join(f"{corpus} {strength}" for corpus, strength in chosen.items())
        )
        for kind in ("new", "known"):
            for composition in COMPOSITIONS:
                of_case = [c for c in of_rule if (c.kind, c.composition) == (kind, composition)]
                means = [mean_points(of_case, corpus, chosen[corpus]) for corpus in corpora]
                print(f"  {kind:<6}{composition:<9}{np.mean(means):+.1f}: " + " ".join(f"{m:+.1f}" for m in means))


if __name__ == "__main__":
    main()
