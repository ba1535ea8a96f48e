"""Heads over a speech encoder that stays as it was published: a convex problem, solved over all utterances at once.

Finetuned on a few actors, an encoder forgets what strangers have in common (Kumar et al. 2022, arXiv 2202.10054); so its embeddings are computed once, as
the utterances are and as they might have come, and logistic regressions fitted to them: of the embedding itself, and of how far it is from its speaker's mean.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from kanjo.train import augment
from kanjo.train.data import Windows, loader
from kanjo.train.module import EmotionModule, System, varied
from kanjo.train.networks.pooling import Told
from kanjo.train.schema import AugmentSection, TrainingSection
from kanjo.train.voices import others_mean

log = logging.getLogger("kanjo")
#: Of L-BFGS, in an epoch; and how many of its last steps tell it how the loss bends.
_STEPS, _HISTORY = 20, 30
_AT_ONCE = 16


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
    """What a system makes of windows: as they are, and ``times`` more, varied as training's are."""

    def __init__(
        self,
        system: System,
        plain: Windows,
        changing: Windows | None = None,
        times: int = 0,
        settings: AugmentSection | None = None,
        shares: Sequence[float] | None = None,
        bf16: bool = False,
    ) -> None:
        started = time.monotonic()
        parts = [_embedded(system, plain, None, bf16)]
        if changing is not None and settings is not None:
            parts += [_embedded(system, changing, settings, bf16) for _ in range(times)]
        self.embedding, self.label, speaker, self.corpus = (torch.cat(found) for found in zip(*parts, strict=True))
        mean, known = others_mean(self.embedding, speaker)
        self.mean, self.known = mean, known.to(mean.dtype)
        share = torch.ones(len(plain)) if shares is None else torch.tensor(shares, dtype=torch.float32)
        self.share = (share / share.mean()).repeat(len(parts))
        self.seconds = time.monotonic() - started
        log.info("embeddings of %d windows computed (%.1f s, %.0f a second)", len(self), self.seconds, len(self) / self.seconds)

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
    """The heads of a system whose trunk is left alone, fitted by L-BFGS with ``training.weight_decay`` / 2 times their squared weights beside the mean loss.

    ``emotions``: as :class:`kanjo.train.module.WindowModule`'s.
    """

    emotions: Tensor | None

    def __init__(
        self, system: System, n_emotions: int, training: TrainingSection, class_weights: Tensor | None, emotions: Tensor | None
    ) -> None:
        super().__init__(n_emotions, training, class_weights)
        assert isinstance(system.network, Told), "the recipe's section lets no other be frozen"
        self.system, self.network = system, system.network
        system.requires_grad_(False)
        for head in self._heads():
            head.requires_grad_(True)
        self.register_buffer("emotions", emotions, persistent=False)

    def logits(self, batch: EmbeddingBatch) -> Tensor:
        return self.network.classify(batch["embedding"])

    def training_step(self, batch: EmbeddingBatch, _: int) -> Tensor:
        label, share = batch["label"], batch["share"]
        if self.class_weights is not None:
            share = share * self.class_weights[label]
        allowed = None if self.emotions is None else self.emotions[batch["corpus"]]
        with torch.autocast(label.device.type, enabled=False):
            logits = self.logits(batch)
            if allowed is not None:
                logits = logits.masked_fill(~allowed, -1e4)
            targets = self.targets(label, allowed)
            plain = loss = (share * F.cross_entropy(logits, targets, reduction="none")).sum() / share.sum()
            if self.network.offset is not None and bool(batch["known"].any()):
                knowing = self.network.classify(batch["embedding"], batch["mean"], torch.ones_like(batch["known"]))
                if allowed is not None:
                    knowing = knowing.masked_fill(~allowed, -1e4)
                share = share * batch["known"][:, 0]
                loss = plain + (share * F.cross_entropy(knowing, targets, reduction="none")).sum() / share.sum()
            decay = self.training_settings.weight_decay / 2
            loss = loss + decay * sum(head.weight.square().sum() for head in self._heads())
        self._seen["train"].clear()  # a step of L-BFGS asks for the loss many times: the last is its last epoch's
        self._note("train", plain, label, logits)
        return loss

    def configure_optimizers(self) -> Any:
        trained = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.LBFGS(
            trained, 1.0, max_iter=_STEPS, history_size=_HISTORY, tolerance_change=1e-9, line_search_fn="strong_wolfe"
        )

    def _heads(self) -> list[torch.nn.Linear]:
        return [head for head in (self.network.output, self.network.offset) if head is not None]


@torch.inference_mode()
def _embedded(system: System, windows: Windows, settings: AugmentSection | None, bf16: bool) -> list[Tensor]:
    """Embeddings (U, D), labels, speakers and corpora (U,) of windows; varied if there are ``settings``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    system.to(device).eval()
    found = []
    for batch in loader(windows, _AT_ONCE, shuffle=False):
        moved: Any = {key: value.to(device) for key, value in batch.items()}
        features, frames = system.features(moved["signal"]) if settings is None else varied(system, moved, settings)
        if settings is not None:
            features = augment.mask_features(features, settings)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            embedding = system.network.embed(features, frames)  # type: ignore[operator]
        found.append((embedding.float().cpu(), batch["label"], batch["speaker"], batch["corpus"]))
    system.cpu()
    return [torch.cat(part).clone() for part in zip(*found, strict=True)]
