"""The first stage of a network of two: its deep CNN, finetuned on single segments; and finding what it has made."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from kanjo import files
from kanjo.audio import Signal
from kanjo.corpora.splits import Fold
from kanjo.errors import RecipeError
from kanjo.train.config.models import DcnnBlstmSection
from kanjo.train.data.datasets import SegmentWindows, Windows, loader
from kanjo.train.data.experiment_data import Material, class_weights, sides
from kanjo.train.fit import predicted_logits
from kanjo.train.models.pretrained_weights import digest, published_of, read_weights
from kanjo.train.tasks.base import SegmentModule, System, deep_network, system_of
from kanjo.train.trainer import Best, optimise

log = logging.getLogger("kanjo")
FOLDER, EXTRACTOR = "finetune", "extractor.safetensors"


@dataclass(frozen=True)
class Finetuned:
    """The extractor's file, and how it did on the validation segments: truths (U,), probabilities (U, E), speakers (U,)."""

    path: Path
    best: Best
    truths: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]
    speakers: tuple[str, ...]


def finetune(
    material: Material, fold: Fold, run: Path, *, resume: bool = False, threads: int = 0, progress: bool = False
) -> Finetuned:
    """Train the CNN in ``run/finetune`` so that each segment tells its utterance's emotion, and keep its best epoch.

    Checkpoints (of three times the network's size, for the optimiser's sake) are removed when it is done. Raises RecipeError
    for a recipe without a first stage, KanjoError for a folder that can't be written.
    """
    recipe, training = material.recipe, material.recipe.finetune
    if training is None or not isinstance(recipe.network, DcnnBlstmSection):
        raise RecipeError(f"{recipe.name} has no finetuning stage: its recipe has no finetune section")
    if threads:
        torch.set_num_threads(threads)
    L.seed_everything(training.seed, verbose=False)
    folder = run / FOLDER
    system = system_of(recipe, len(material.emotions))
    extractor = deep_network(system).extractor
    read_weights(extractor, recipe.network.weights, published_of(recipe.network))
    log.info(
        "finetune: %s weights, %d parameters", recipe.network.weights, sum(p.numel() for p in extractor.parameters())
    )
    train, validation = (SegmentWindows(part, segment_counts(system, part)) for part in sides(material, fold))
    weights = class_weights(material, fold) if training.balance == "weights" else None
    module = SegmentModule(system, len(material.emotions), training, recipe.augment, weights)
    balanced = training.balance == "sampling"
    batches = loader(train, train.items(training.batch_size), shuffle=True, seed=training.seed, balanced=balanced)
    checks = loader(validation, validation.items(training.batch_size), shuffle=False)
    best = optimise(
        module, batches, checks, folder, items=train.n_segments, unit="segments", resume=resume, progress=progress
    )
    system.cpu()
    logits, truths = predicted_logits(module, checks)
    facts = {
        "key": extractor_key(material, fold),
        "recipe": recipe.name,
        "validation_uar": f"{best.validation_uar:.6f}",
    }
    facts["minutes"] = f"{best.minutes:.6f}"
    with files.written_whole(folder / EXTRACTOR) as temporary:
        temporary.write_bytes(save({key: value.contiguous() for key, value in extractor.state_dict().items()}, facts))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    speakers = [
        material.rows[validation.windows.indices[place]].speaker_key
        for place, segments in validation.groups
        for _ in segments
    ]
    log.info(
        "finetune: best epoch %d, validation UAR of segments %.1f %%, %.1f minutes",
        best.epoch,
        100 * best.validation_uar,
        best.minutes,
    )
    shares = tuple(tuple(row) for row in logits.softmax(1).tolist())
    return Finetuned(folder / EXTRACTOR, best, tuple(truths.tolist()), shares, tuple(speakers))


def extractor_key(material: Material, fold: Fold) -> str:
    """A digest of all that an extractor depends on: recordings, labels, speakers who train, and the recipe's parts for it."""
    recipe = material.recipe
    assert isinstance(recipe.network, DcnnBlstmSection)
    parts = [getattr(recipe, name) for name in ("audio", "frontend", "augment", "finetune")]
    content = [
        [part.model_dump(mode="json") if part else None for part in parts],
        recipe.network.segment.model_dump(),
        recipe.network.extractor_dropout,
        digest(recipe.network.weights),
        [material.pack.folder.name, material.emotions, material.labels, fold.train, fold.validation],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def find_extractor(material: Material, fold: Fold, run: Path) -> Path | None:
    """The extractor that this recipe's first stage has made on this fold: in the run's folder, else in the newest beside it."""
    key = extractor_key(material, fold)
    return next((path for path in _candidates(run) if _facts_of(path).get("key") == key), None)


def minutes_of(extractor: Path) -> float:
    """How long all epochs of the stage took that made an extractor; 0 where its file doesn't say."""
    return float(_facts_of(extractor).get("minutes", 0))


def segment_counts(system: System, windows: Windows) -> list[int]:
    """How many segments each window has, unvaried."""
    heard = [_heard(windows.pack.signal(index)[: windows.window]) for index in windows.indices]
    frames = torch.tensor([system.frontend.n_frames(n) for n in heard])
    return [int(n) for n in deep_network(system).segments.count(frames)]


def _heard(signal: Signal) -> int:
    place = signal.nonzero()[0]
    return int(place[-1]) + 1 if len(place) else 0


def _candidates(run: Path) -> Iterator[Path]:
    own = run / FOLDER / EXTRACTOR
    beside = [path for path in run.parent.glob(f"*/{FOLDER}/{EXTRACTOR}") if path != own]
    yield from (path for path in (own, *sorted(beside, key=lambda path: -path.stat().st_mtime)) if path.is_file())


def _facts_of(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "pt") as content:
            return dict(content.metadata() or {})
    except (OSError, SafetensorError):
        return {}
