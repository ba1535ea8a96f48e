"""Heads over a speech encoder that stays as it was published: a convex problem, solved over all utterances at once.

Finetuned on a few actors, an encoder forgets what strangers have in common (Kumar et al. 2022, arXiv 2202.10054); so its embeddings are computed once
(kanjo.train.data.embedding_cache), and logistic regressions fitted to them: of the embedding itself, and of how far it is from its speaker's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from kanjo.corpora.splits import Fold
from kanjo.train.config.schema import TrainingSection
from kanjo.train.data.embedding_cache import Heard, heard
from kanjo.train.data.experiment_data import Material, class_weights, emotions_of, people_of, shares_of
from kanjo.train.models.encoder import Encoder
from kanjo.train.models.layers.pooling import Told
from kanjo.train.models.speaker_means import others_mean
from kanjo.train.tasks.base import EmotionModule, System

#: Of L-BFGS, in an epoch; and how many of its last steps tell it how the loss bends.
_STEPS, _HISTORY = 20, 30


class EmbeddingBatch(TypedDict):
    """``embedding`` (U, D), ``mean`` of the speaker's other utterances (U, D) and whether there are any, ``known`` (U, 1); ``label``, ``corpus`` (U,).

    ``share`` (U,): what each counts, 1 on average.
    """

    embedding: Tensor
    mean: Tensor
    known: Tensor
    label: Tensor
    corpus: Tensor
    share: Tensor


class Embeddings(Dataset[EmbeddingBatch]):
    """What a network makes of utterances ``indices`` out of all that were heard: as they are, and behind that in their other versions if ``varied``.

    ``shares``: what each of the indices counts.
    """

    def __init__(
        self,
        network: Encoder,
        found: Heard,
        material: Material,
        indices: Sequence[int],
        *,
        varied: bool = False,
        shares: Sequence[float] | None = None,
    ) -> None:
        people = people_of(material)
        versions = len(found.summary) if varied else 1
        rows = torch.as_tensor(indices)
        with torch.inference_mode():
            parts = [network.embedded(found.summary[n, rows]) for n in range(versions)]
        self.embedding = torch.cat(parts).clone()
        self.label = torch.tensor([material.labels[i] for i in indices]).repeat(versions)
        self.speaker = torch.tensor([people[i][0] for i in indices]).repeat(versions)
        self.corpus = torch.tensor([people[i][1] for i in indices]).repeat(versions)
        mean, known = others_mean(self.embedding, self.speaker)
        self.mean, self.known = mean, known.to(mean.dtype)
        share = torch.ones(len(indices)) if shares is None else torch.tensor(shares, dtype=torch.float32)
        self.share = (share / share.mean()).repeat(versions)

    @property
    def label_of(self) -> list[int]:
        """Each item's label."""
        return self.label.tolist()

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, place: int) -> EmbeddingBatch:
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[int]) -> EmbeddingBatch:
        at = torch.as_tensor(places)
        return {
            "embedding": self.embedding[at], "mean": self.mean[at], "known": self.known[at],
            "label": self.label[at], "corpus": self.corpus[at], "share": self.share[at],
        }  # fmt: skip


class HeadsModule(EmotionModule):
    """The heads of a system whose trunk is left alone, fitted by L-BFGS.

    Beside the mean loss stands ``training.weight_decay`` / 2 times the square of how far their weights are from where they began: nought, or a bundle's.
    ``emotions``: as :class:`kanjo.train.tasks.base.WindowModule`'s. ``heard_seconds``: what computing the embeddings took.
    """

    emotions: Tensor | None

    def __init__(
        self,
        system: System,
        n_emotions: int,
        training: TrainingSection,
        class_weights: Tensor | None,
        emotions: Tensor | None,
        heard_seconds: float,
    ) -> None:
        super().__init__(n_emotions, training, class_weights)
        assert isinstance(system.network, Encoder), "the recipe's section lets no other be frozen"
        self.system, self.network, self.heard_seconds = system, system.network, heard_seconds
        system.requires_grad_(False)
        for head in heads_of(self.network):
            head.requires_grad_(True)
        self.register_buffer("emotions", emotions, persistent=False)
        self._began = [head.weight.detach().clone() for head in heads_of(self.network)]

    def logits(self, batch: EmbeddingBatch) -> Tensor:
        return self.network.classify(batch["embedding"])

    def training_step(self, batch: EmbeddingBatch, _: int) -> Tensor:
        label, share = batch["label"], batch["share"]
        if self.class_weights is not None:
            share = share * self.class_weights[label]
        allowed = None if self.emotions is None else self.emotions[batch["corpus"]]
        with torch.autocast(label.device.type, enabled=False):
            targets = self.targets(label, allowed)

            def told(logits: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
                if allowed is not None:
                    logits = logits.masked_fill(~allowed, -1e4)
                return logits, (share * F.cross_entropy(logits, targets, reduction="none")).sum() / share.sum()

            logits, plain = told(self.logits(batch), share)
            loss = plain
            if self.network.offset is not None and bool(batch["known"].any()):
                knowing = self.network.classify(batch["embedding"], batch["mean"], torch.ones_like(batch["known"]))
                loss = plain + told(knowing, share * batch["known"][:, 0])[1]
            pairs = zip(heads_of(self.network), self._began, strict=True)
            gone = sum((head.weight - began.to(head.weight)).square().sum() for head, began in pairs)
            loss = loss + self.training_settings.weight_decay / 2 * gone
        self._seen["train"].clear()  # a step of L-BFGS asks for the loss many times: the last is its last epoch's
        self._note("train", plain, label, logits)
        return loss

    def configure_optimizers(self) -> Any:
        trained = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.LBFGS(
            trained, 1.0, max_iter=_STEPS, history_size=_HISTORY, tolerance_change=1e-9, line_search_fn="strong_wolfe"
        )


def heads_of(network: Told) -> list[nn.Linear]:
    """What tells emotions from an embedding, and from how far that is from its speaker's mean."""
    return [head for head in (network.output, network.offset) if head is not None]


def heads_task(
    system: System, material: Material, fold: Fold, found: Heard | None = None
) -> tuple[HeadsModule, Embeddings, Embeddings]:
    """What is fitted of a frozen encoder's system, and what the encoder makes of training and validation utterances; ``found``: what it made of all, if known."""
    network, training = system.network, material.recipe.training
    assert isinstance(network, Encoder), "the recipe's section lets no other be frozen"
    found = found or heard(system, material)
    if not material.recipe.init:  # a bundle's heads tell emotions on the bundle's own scale
        own = found.summary[0, torch.as_tensor(fold.train)]
        network.norm.fit_statistics(own.mean(0), own.std(0, correction=0))
    shares = shares_of(material, fold) if training.balance == "corpora" else None
    weights = class_weights(material, fold) if training.balance in ("weights", "sampling") else None
    emotions = emotions_of(material, fold) if training.masked else None
    train = Embeddings(network, found, material, fold.train, varied=True, shares=shares)
    module = HeadsModule(system, len(material.emotions), training, weights, emotions, found.seconds)
    return module, train, Embeddings(network, found, material, fold.validation)


def settled(module: HeadsModule, heard: Embeddings, epochs: int) -> Encoder:
    """The network with its heads fitted, where nothing of how they came there is kept."""
    batch, optimiser = heard.__getitems__(range(len(heard))), module.configure_optimizers()

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = module.training_step(batch, 0)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    for _ in range(epochs):
        optimiser.step(loss)
    return module.network.eval()
