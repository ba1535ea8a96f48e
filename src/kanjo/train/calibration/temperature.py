"""How sure a system may be: temperatures, and by how much more it has to doubt what sounds unlike its training.

One temperature (Guo et al. 2017, arXiv 1706.04599) is right for one kind of stranger. Heads that were fitted to three corpora are over-confident by little for a
new speaker of these, and by a factor of three for a new corpus; but how far an embedding stands off the training's plane (kanjo.train.calibration.ood) tells the
two apart. So the temperature grows with that distance, from the training's own median, which is ``usual``, to the ``furthest`` that strangers were (their 98th
percentile; what is further still is doubted no more than that): temperature x min(max(1, distance / usual), furthest)^doubt.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kanjo.corpora.splits import Fold, make_folds
from kanjo.train.calibration.ood import Doubt, plane_of, spread, strangeness
from kanjo.train.data.embedding_cache import Heard, heard
from kanjo.train.data.experiment_data import Material
from kanjo.train.tasks.base import System
from kanjo.train.tasks.linear_probe import heads_task, settled

log = logging.getLogger("kanjo")

#: Parts that the speakers are calibrated on in.
_PARTS = 5
_DOUBTS = np.linspace(0, 8, 17)
_SILENT = -1e4
_FURTHEST = 0.98


@dataclass(frozen=True)
class Calibration:
    """``temperature`` of what sounds like the training, without and with the speaker known, and how that grows."""

    temperature: float
    enrolled: float
    doubt: Doubt


@dataclass(frozen=True)
class _Asked:
    """What heads said of utterances (U,) of speakers that they were fitted without: logits (U, E), without and with the speaker known; the distance in ``usual``."""

    plain: Tensor
    told: Tensor
    label: Tensor
    speaker: Tensor
    distance: Tensor


def fit_temperature(logits: Tensor, labels: Tensor, speakers: Tensor | None = None) -> float:
    """The temperature that minimises cross-entropy, by search from 0.05 to 20.

    Of ``speakers`` (U,) each counts the same, however many utterances are theirs: it is for new speakers that answers are calibrated.
    """
    return _least(logits, labels, speakers)[1]


def fit_doubt(logits: Tensor, labels: Tensor, speakers: Tensor, distance: Tensor) -> tuple[float, float]:
    """The temperature and the exponent, from 0 to 8, that minimise cross-entropy together; ``distance`` (U,) in ``usual``, 1 or more."""
    found = [(*_least(logits / distance[:, None] ** doubt, labels, speakers), float(doubt)) for doubt in _DOUBTS]
    _, temperature, doubt = min(found)
    return temperature, doubt


def by_strangers(system: System, material: Material, everybody: Fold) -> Calibration:
    """Chosen by all speakers but the test's, each a stranger to the heads that answer them.

    Those are fitted without these speakers, in five parts; and where there are several corpora, once more without their corpus: who uses a bundle is
    nobody that it was fitted to, and mostly of no corpus that it was. ``system`` as it is before its heads are fitted; it stays so.
    """
    started, everything = time.monotonic(), heard(system, material)
    found = [_asked(system, material, part, everything) for part in _strangers(material, everybody)]
    label, speaker, distance = (
        torch.cat([getattr(one, key) for one in found]) for key in ("label", "speaker", "distance")
    )
    furthest = max(1.0, float(distance.quantile(_FURTHEST)))
    plain, told = (
        fit_doubt(torch.cat(logits), label, speaker, distance.clamp(1, furthest))
        for logits in ([one.plain for one in found], [one.told for one in found])
    )
    log.info(
        "temperature %.2f, doubt %.1f up to %.2f of the usual distance, by %d speakers, strangers to who answers them (%.1f s)",
        *plain, furthest, len(torch.unique(speaker)), time.monotonic() - started,
    )  # fmt: skip
    return Calibration(plain[0], told[0], Doubt(plain[1], told[1], furthest))


def _strangers(material: Material, everybody: Fold) -> Iterator[Fold]:
    """Folds whose ``validation`` is of speakers, or of a corpus, that ``train`` holds nothing of; utterances of an emotion that ``train`` lacks stay out."""
    rows = [material.rows[i] for i in everybody.train]
    parts = [*make_folds(rows, "speakers-k", k=_PARTS, seed=material.recipe.training.seed)]
    if len({row.corpus for row in rows}) > 1:
        parts += make_folds(rows, "cross-corpus")
    for part in parts:
        asked = {everybody.train[i] for i in part.test}
        rest = tuple(i for i in everybody.train if i not in asked)
        known = {material.labels[i] for i in rest}
        held = tuple(i for i in everybody.train if i in asked and material.labels[i] in known)
        yield replace(everybody, train=rest, validation=held)


def _asked(system: System, material: Material, part: Fold, everything: Heard) -> _Asked:
    module, theirs, there = heads_task(copy.deepcopy(system), material, part, everything)
    network = settled(module, theirs, material.recipe.training.epochs)
    no_say = torch.full((len(material.emotions),), _SILENT)
    no_say[sorted({material.labels[i] for i in part.train})] = 0
    own = theirs.embedding[: len(part.train)]  # as they are, ahead of their varied versions
    plane = plane_of(own[spread(range(len(own)))].numpy(), scaled=False)
    with torch.inference_mode():
        plain, told = network.classify(there.embedding), network.classify(there.embedding, there.mean, there.known)
    distance = torch.from_numpy(strangeness(plane, there.embedding.numpy()))
    return _Asked(plain + no_say, told + no_say, there.label, there.speaker, distance)


def _least(logits: Tensor, labels: Tensor, speakers: Tensor | None) -> tuple[float, float]:
    """The least cross-entropy, and its temperature."""
    grid = torch.logspace(np.log10(0.05), np.log10(20), 400)
    share = torch.ones(len(labels))
    if speakers is not None:
        _, place, counts = torch.unique(speakers, return_inverse=True, return_counts=True)
        share = 1 / counts[place].float()
    losses = torch.stack(
        [(share * torch.nn.functional.cross_entropy(logits / t, labels, reduction="none")).sum() for t in grid]
    )
    return float(losses.min()), float(grid[losses.argmin()])
