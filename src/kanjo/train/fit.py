"""One training run: build the system, fit its stages, choose the epoch and the temperature on validation speakers."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kanjo.corpora.splits import Fold
from kanjo.train.calibration.ood import Doubt
from kanjo.train.calibration.temperature import Calibration, by_strangers, fit_temperature
from kanjo.train.config.models import DcnnBlstmSection, MobileNetSection, WhisperSection
from kanjo.train.config.schema import Recipe
from kanjo.train.data.datasets import Items, Windows, loader
from kanjo.train.data.experiment_data import Material, class_weights, emotions_of, shares_of, sides, statistics
from kanjo.train.data.segment_feature_cache import cached_features
from kanjo.train.features.log_mel import LogMel
from kanjo.train.models.encoder import Encoder
from kanjo.train.models.pretrained_weights import published_of, read_weights
from kanjo.train.models.speaker_means import others_mean
from kanjo.train.tasks.base import EmotionModule, FeatureModule, System, WindowModule, deep_network, system_of, uar
from kanjo.train.tasks.linear_probe import Embeddings, HeadsModule, heads_of, heads_task
from kanjo.train.trainer import Best, checkpoint, in_bf16, optimise
from kanjo.train.warm_start import initialise

log = logging.getLogger("kanjo")

#: The folder, in a run's, of what is trained on validation utterances too.
REFIT = "refit"
#: Utterances that are judged at once.
_AT_ONCE = 32


@dataclass(frozen=True)
class Fitted:
    """A fitted system with the weights of its best epoch. ``doubt``: by how much its temperature grows with strangeness (kanjo.train.calibration.temperature).

    ``first``: of a system that was refitted on training and validation speakers together, the one before, which has not heard the latter; epoch,
    temperature and UAR are that one's.
    """

    system: System
    temperature: float
    best_epoch: int
    validation_uar: float
    minutes: float
    enrolled: Enrolled | None = None
    first: System | None = None
    doubt: Doubt | None = None


@dataclass(frozen=True)
class Enrolled:
    """Of a network that takes speakers: its answers where the speaker is known (by all their other validation clips)."""

    temperature: float
    validation_uar: float


@dataclass(frozen=True)
class Judged(Enrolled):
    """What utterances say of a system: its temperature and UAR there; ``enrolled``: the same with their speakers known."""

    enrolled: Enrolled | None


def fit(
    material: Material,
    fold: Fold,
    run: Path,
    *,
    extractor: Path | None = None,
    resume: bool = False,
    threads: int = 0,
    progress: bool = False,
    refit: bool = True,
) -> Fitted:
    """Train on one fold in the run folder; go on from its last epoch when ``resume``. Raises KanjoError, RecipeError.

    The epoch is chosen by validation UAR and the temperature by validation cross-entropy; test utterances are not read. A recipe that says
    ``training.refit`` has the system trained anew afterwards, on validation utterances too, unless ``refit`` is false.
    ``extractor``: the deep CNN that a first stage has finetuned (see kanjo.train.tasks.two_stage), for networks that have one;
    without it the CNN has the weights that the recipe names. ``threads``: cores that torch may use (0: all).
    """
    if threads:
        torch.set_num_threads(threads)
    system, module, batches, checks = begun(material, fold, run, extractor, resume)
    log.info("%s", _describe(system, material))
    refit = refit and material.recipe.training.refit
    training = material.recipe.training
    to_the_end = training.to_the_end and (refit or training.optimizer == "lbfgs")
    best = optimise(
        module, batches, checks, run, items=len(fold.train), to_the_end=to_the_end, resume=resume, progress=progress
    )
    system.cpu().float().eval()
    whole: Any = checks.dataset  # all of it, whatever share of it this process has checked
    if isinstance(whole, Windows | Embeddings):
        said = judged(system, whole)
        temperature, enrolled = said.temperature, said.enrolled
    else:
        temperature = fit_temperature(
            *predicted_logits(module, loader(whole, material.recipe.training.batch_size, shuffle=False))
        )
        enrolled = None
    fitted = Fitted(system, temperature, best.epoch, best.validation_uar, best.minutes + _before(module), enrolled)
    if enrolled:
        log.info("with the speaker known: validation UAR %.1f %%", 100 * enrolled.validation_uar)
    log.info(
        "%s epoch %d, validation UAR %.1f %%, temperature %.2f, %.1f minutes",
        "last" if to_the_end else "best", best.epoch, 100 * best.validation_uar, fitted.temperature, fitted.minutes,
    )  # fmt: skip
    if refit:
        return _refitted(fitted, material, fold, run, resume, progress)
    return fitted


def _refitted(first: Fitted, material: Material, fold: Fold, run: Path, resume: bool, progress: bool) -> Fitted:
    """The system trained anew on all but the test utterances, in the run's folder ``refit``.

    Nothing is left to choose an epoch by: where the learning rate falls as a cosine both systems end as the schedule does, elsewhere the second ends where the
    first was best. So they have learnt alike, and the first one's temperature is the second's, but where ``training.calibration`` asks all speakers.
    """
    training = material.recipe.training
    everybody = replace(fold, train=tuple(sorted((*fold.train, *fold.validation))))
    log.info("refit on %d utterances, the %d that validated among them", len(everybody.train), len(fold.validation))
    system, module, batches, _ = begun(material, everybody, run / REFIT, None, resume)
    if training.calibration == "strangers":
        first = _calibrated(first, by_strangers(system, material, everybody))
    epochs = training.epochs if training.to_the_end else first.best_epoch
    done = optimise(
        module, batches, None, run / REFIT, items=len(everybody.train), epochs=epochs, resume=resume, progress=progress
    )
    minutes = first.minutes + done.minutes + _before(module)
    return replace(first, system=system.cpu().float().eval(), minutes=minutes, first=first.system)


def _calibrated(first: Fitted, found: Calibration) -> Fitted:
    enrolled = first.enrolled
    if enrolled:
        enrolled = replace(enrolled, temperature=found.enrolled)
    return replace(first, temperature=found.temperature, doubt=found.doubt, enrolled=enrolled)


def _before(module: EmotionModule) -> float:
    """Minutes that it took, before the first epoch, to compute what a frozen encoder makes of the utterances."""
    return module.heard_seconds / 60 if isinstance(module, HeadsModule) else 0.0


def best_of(material: Material, fold: Fold, run: Path, watchers: Sequence[L.Callback]) -> Best:
    """Train on one fold as :func:`fit` does, and say no more than which epoch was best. For networks of one stage."""
    _, module, batches, checks = begun(material, fold, run, None, False)
    return optimise(module, batches, checks, run, items=len(fold.train), watchers=watchers)


def begun(
    material: Material, fold: Fold, run: Path, extractor: Path | None, resume: bool
) -> tuple[System, EmotionModule, DataLoader[Any], DataLoader[Any]]:
    """The system before its first step, what is trained of it, training and validation batches."""
    recipe = material.recipe
    L.seed_everything(recipe.training.seed, verbose=False)
    system = system_of(recipe, len(material.emotions))
    frontend = system.frontend
    if isinstance(system.network, Encoder):
        for value in (p for head in heads_of(system.network) for p in head.parameters()):
            torch.nn.init.zeros_(value)
    if recipe.init:
        initialise(system, material, fold)
    elif (
        isinstance(frontend, LogMel)
        and frontend.normalization == "corpus"
        and not (resume and checkpoint(run).is_file())
    ):
        frontend.fit_statistics(*statistics(frontend, material, fold))
    if isinstance(recipe.network, DcnnBlstmSection):
        source = str(extractor) if extractor else recipe.network.weights
        read_weights(deep_network(system).extractor, source, published_of(recipe.network))
    if isinstance(recipe.network, MobileNetSection | WhisperSection) and not recipe.init:
        read_weights(system.network, recipe.network.weights, published_of(recipe.network))
    return (system, *_task(system, material, fold, (extractor or run / "extractor").parent))


def predicted_logits(module: EmotionModule, batches: DataLoader[Any]) -> tuple[Tensor, Tensor]:
    """Logits (U, E) and labels (U,) over batches, in evaluation mode and float32."""
    module.eval()
    with torch.inference_mode():
        found = [(module.logits(batch).float(), batch["label"]) for batch in batches]
    logits, labels = zip(*found, strict=True)
    return torch.cat(logits), torch.cat(labels)


def takes_speakers(recipe: Recipe) -> bool:
    """Whether the network that a recipe describes takes a speaker's mean embedding."""
    return bool(getattr(recipe.network, "speaker", False))


def judged(system: System, utterances: Windows | Embeddings) -> Judged:
    """How a system in evaluation mode answers utterances that it was not trained on."""
    network: Any = system.network
    with torch.inference_mode():
        if isinstance(utterances, Embeddings):
            embedding, speaker, label = utterances.embedding, utterances.speaker, utterances.label
            logits = network.classify(embedding)
        else:
            batches = loader(utterances, _AT_ONCE, shuffle=False)
            found = [(*system(batch["signal"]), batch["speaker"], batch["label"]) for batch in batches]
            logits, embedding, speaker, label = (torch.cat(part) for part in zip(*found, strict=True))
        enrolled = None
        if getattr(network, "speaker_size", 0):
            mean, known = others_mean(embedding, speaker)
            told = network.classify(embedding, mean, known.to(embedding.dtype))
            enrolled = Enrolled(fit_temperature(told, label, speaker), uar(label, told.argmax(1), told.shape[1]))
    return Judged(fit_temperature(logits, label, speaker), uar(label, logits.argmax(1), logits.shape[1]), enrolled)


def _task(
    system: System, material: Material, fold: Fold, cache: Path
) -> tuple[EmotionModule, DataLoader[Any], DataLoader[Any]]:
    """What is trained, on which training and validation batches."""
    recipe, training, n_emotions = material.recipe, material.recipe.training, len(material.emotions)
    if training.optimizer == "lbfgs":
        heads, theirs, held = heads_task(system, material, fold)
        return heads, loader(theirs, len(theirs), shuffle=False), loader(held, len(held), shuffle=False)
    windows = sides(material, fold)
    weights = class_weights(material, fold) if training.balance == "weights" else None
    module: EmotionModule
    train: Items[Any]
    validation: Items[Any]
    if isinstance(recipe.network, DcnnBlstmSection) and recipe.network.freeze:
        train, validation = cached_features(system, windows, cache, in_bf16(training.precision))
        module = FeatureModule(deep_network(system).head, n_emotions, training, weights)
    else:
        train, validation = windows
        emotions = emotions_of(material, fold) if training.masked else None
        n_speakers = len({row.speaker_key for row in material.rows}) if takes_speakers(recipe) else 0
        module = WindowModule(system, n_emotions, training, recipe.augment, weights, emotions, n_speakers)
    shares = shares_of(material, fold) if training.balance == "corpora" else None
    shuffled: dict[str, Any] = {
        "shuffle": True,
        "seed": training.seed,
        "balanced": training.balance == "sampling",
        "shares": shares,
    }
    batches = loader(train, training.batch_size, shared=True, **shuffled)
    return module, batches, loader(validation, training.batch_size, shuffle=False, shared=True)


def _describe(system: System, material: Material) -> str:
    n = sum(p.numel() for p in system.parameters())
    shape = (system.frontend.channels, system.frontend.n_mels, system.frontend.n_frames(material.recipe.audio.window))
    what = json.dumps(list(material.emotions))
    return f"{material.recipe.name}: {n:,} parameters, input {shape}, emotions {what}"
