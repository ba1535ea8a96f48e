"""Fit linear heads on a frozen encoder.

Fine-tuning on few speakers distorts what a pre-trained encoder has learned (Kumar et al. 2022, arXiv 2202.10054). So
the embeddings are computed once (kanjo.train.data.embedding_cache), and logistic regressions are fitted to them by
L-BFGS on all utterances at once: one to the embedding, one to its difference from the speaker's mean embedding. The
problem is convex.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, TypedDict, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kanjo.corpora.splits import Fold
from kanjo.train.config.training import TrainingConfig
from kanjo.train.cost_estimate import N_MEASURED_STEPS, Cost, count_parameters, measure_steps, peak_memory_mb
from kanjo.train.data.datasets import BatchDataset, WindowDataset
from kanjo.train.data.embedding_cache import EncoderEmbeddings, compute_embeddings
from kanjo.train.data.experiment_data import ExperimentData, class_weights, speaker_and_corpus_ids
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.hardware import use_bf16
from kanjo.train.models.embedding_classifier import EmbeddingClassifier
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from kanjo.train.models.encoder import EncoderClassifier
from kanjo.train.models.speaker_means import leave_one_out_speaker_mean
from kanjo.train.tasks.base import MASKED_LOGIT, PredictedLogits, Task, TaskPaths, TrainingModule
from kanjo.train.tasks.end_to_end import predict_enrolled_logits

#: L-BFGS: iterations per epoch, and earlier steps that it approximates the Hessian from.
_ITERATIONS, _HISTORY = 20, 30


class EmbeddingBatch(TypedDict):
    """A batch of embeddings.

    ``embedding`` (B, D); ``speaker_mean`` (B, D), the mean of the speaker's other utterances; ``has_speaker_mean``
    (B, 1), 1 where there are any, else 0; ``label`` and ``corpus`` (B,); ``weight`` (B,) in the loss, 1 on average.
    """

    embedding: Tensor
    speaker_mean: Tensor
    has_speaker_mean: Tensor
    label: Tensor
    corpus: Tensor
    weight: Tensor


class EmbeddingDataset(Dataset[EmbeddingBatch]):
    """Standardized embeddings of utterances, and after them those of their augmented copies.

    Args:
        encoder: The model, whose statistics standardize the embeddings.
        embeddings: The encoder's output for all utterances of ``data``.
        data: Labels, speakers and corpora of the utterances.
        indices: The utterances of this dataset.
        augmented: Include the augmented copies.
        weights: Weight of each utterance in the loss (None: all the same).

    Attributes:
        embedding: Embeddings (N, D) of all N items.
        speaker_mean: Mean embedding (N, D) of the speaker's other items.
        has_speaker_mean: 1 where there are any, and the speaker has clips of two emotions, else 0 (N, 1).
        label: Classes (N,).
        speaker: Speakers (N,), -1 if unknown.
        corpus: Corpora (N,).
        weight: Weights in the loss (N,), 1 on average.
    """

    def __init__(
        self,
        encoder: EncoderClassifier,
        embeddings: EncoderEmbeddings,
        data: ExperimentData,
        indices: Sequence[int],
        *,
        augmented: bool = False,
        weights: Sequence[float] | None = None,
    ) -> None:
        ids = speaker_and_corpus_ids(data)
        n_copies = len(embeddings.pooled_statistics) if augmented else 1
        rows = torch.as_tensor(indices)
        with torch.inference_mode():
            copies = [encoder.standardize(embeddings.pooled_statistics[copy, rows]) for copy in range(n_copies)]
        self.embedding = torch.cat(copies).clone()
        self.label = torch.tensor([data.labels[i] for i in indices]).repeat(n_copies)
        self.speaker = torch.tensor([ids[i][0] for i in indices]).repeat(n_copies)
        self.corpus = torch.tensor([ids[i][1] for i in indices]).repeat(n_copies)
        # The mean of clips of one emotion is the mean of this emotion, not of the speaker.
        speaker = torch.where(_speaker_has_several_classes(self.speaker, self.label), self.speaker, -1)
        mean, has_mean = leave_one_out_speaker_mean(self.embedding, speaker)
        self.speaker_mean, self.has_speaker_mean = mean, has_mean.to(mean.dtype)
        weight = torch.ones(len(indices)) if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.weight = (weight / weight.mean()).repeat(n_copies)

    @property
    def item_labels(self) -> list[int]:
        """Class of each item."""
        return self.label.tolist()

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> EmbeddingBatch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> EmbeddingBatch:
        rows = torch.as_tensor(indices)
        return {
            "embedding": self.embedding[rows],
            "speaker_mean": self.speaker_mean[rows],
            "has_speaker_mean": self.has_speaker_mean[rows],
            "label": self.label[rows],
            "corpus": self.corpus[rows],
            "weight": self.weight[rows],
        }


class LinearProbeTask(Task):
    """Fit the linear heads of a frozen encoder.

    Args:
        data: Utterances, labels and recipe.
        fold: Indices of training and validation utterances.
        paths: Not used.
        embeddings: The encoder's output for all utterances (None: computed, or read from the cache).
    """

    keeps_last_epoch: ClassVar[bool] = True

    def __init__(
        self,
        data: ExperimentData,
        fold: Fold,
        paths: TaskPaths | None = None,
        embeddings: EncoderEmbeddings | None = None,
    ) -> None:
        super().__init__(data, fold, paths)
        self.embeddings = embeddings

    def initialize(self, emotion_model: EmotionModel) -> None:
        """Set the heads to zero, then load a bundle's weights, or the encoder's pre-trained ones."""
        for head in linear_heads(emotion_model.model):
            for parameter in head.parameters():
                nn.init.zeros_(parameter)
        super().initialize(emotion_model)

    def prepare(self, emotion_model: EmotionModel, *, resume: bool = False) -> None:
        """Compute the embeddings, and the mean and deviation that standardize them."""
        super().prepare(emotion_model, resume=resume)
        embeddings = self._compute_embeddings(emotion_model)
        if not self.recipe.init_from:  # a bundle's heads need the bundle's scale
            train = embeddings.pooled_statistics[0, torch.as_tensor(self.fold.train)]
            emotion_model.model.norm.set_statistics(train.mean(0), train.std(0, correction=0))

    def datasets(self, emotion_model: EmotionModel) -> tuple[EmbeddingDataset, EmbeddingDataset]:
        """Build the datasets of training embeddings, with augmented copies, and of validation embeddings."""
        encoder, embeddings = cast(EncoderClassifier, emotion_model.model), self._compute_embeddings(emotion_model)
        weights = self.sampling_weights()
        train = EmbeddingDataset(encoder, embeddings, self.data, self.fold.train, augmented=True, weights=weights)
        return train, EmbeddingDataset(encoder, embeddings, self.data, self.fold.validation)

    def training_module(self, emotion_model: EmotionModel) -> LinearProbeModule:
        """Build the Lightning module that fits the heads."""
        seconds = self._compute_embeddings(emotion_model).seconds
        return LinearProbeModule(
            emotion_model, self.n_emotions, self.training, self.class_weights(), self.label_mask(), seconds
        )

    def data_loaders(
        self, train: BatchDataset[Any], validation: BatchDataset[Any]
    ) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Build data loaders of one batch each."""
        return (
            build_data_loader(train, len(train), shuffle=False),
            build_data_loader(validation, len(validation), shuffle=False),
        )

    def class_weights(self) -> Tensor | None:
        """Weights (E,) of the emotions in the loss; sampling has the same effect here."""
        balanced = self.training.balance in ("class_weights", "class_sampling")
        return class_weights(self.data, self.fold) if balanced else None

    def predict_logits(self, emotion_model: EmotionModel, dataset: BatchDataset[Any]) -> PredictedLogits:
        """Predict the logits of embeddings, with and without the speakers' mean embeddings."""
        embeddings, model = cast(EmbeddingDataset, dataset), emotion_model.model
        enrolled_logits = None
        with torch.inference_mode():
            logits = model.classify(embeddings.embedding)
            if emotion_model.speaker_size:
                enrolled_logits = predict_enrolled_logits(model, embeddings.embedding, embeddings.speaker)
        return PredictedLogits(logits, embeddings.label, embeddings.speaker, enrolled_logits)

    def estimate_cost(self) -> Cost:
        """Estimate the cost of computing the embeddings of all utterances and copies; fitting takes seconds."""
        batch_size = self.training.batch_size
        emotion_model = build_emotion_model(self.recipe, self.n_emotions).eval()
        measured = WindowDataset(
            self.data.audio_cache,
            self.fold.train[: (N_MEASURED_STEPS + 1) * batch_size],
            self.data.labels,
            self.recipe.audio.window,
        )
        bf16 = use_bf16(self.training.precision)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loader = build_data_loader(measured, batch_size, shuffle=False)
            step = measure_steps(lambda batch: emotion_model(batch["signal"]), loader)
        n_steps = math.ceil(len(self.data.utterances) * (1 + self.training.n_augmented_copies) / batch_size)
        return Cost(count_parameters(emotion_model), n_steps, step, n_steps * step / 60, peak_memory_mb())

    def _compute_embeddings(self, emotion_model: EmotionModel) -> EncoderEmbeddings:
        if self.embeddings is None:
            self.embeddings = compute_embeddings(emotion_model, self.data)
        return self.embeddings


class LinearProbeModule(TrainingModule):
    """Fits the heads of a frozen encoder by L-BFGS.

    The loss has a penalty: ``training.weight_decay`` / 2 times the squared distance of the heads' weights from their
    initial values, which are zero, or those of a bundle.

    Args:
        emotion_model: The model.
        n_emotions: Number E of emotions.
        training: The recipe's training section.
        class_weights: Weights (E,) of the emotions in the loss.
        label_mask: Emotions that each corpus has, bool (corpora, E); an utterance is only compared with these
            (None: all).
        preparation_seconds: Time that computing the embeddings took.
    """

    label_mask: Tensor | None

    def __init__(
        self,
        emotion_model: EmotionModel,
        n_emotions: int,
        training: TrainingConfig,
        class_weights: Tensor | None,
        label_mask: Tensor | None,
        preparation_seconds: float,
    ) -> None:
        super().__init__(n_emotions, training, class_weights)
        self.emotion_model, self.model = emotion_model, cast(EncoderClassifier, emotion_model.model)
        self.preparation_seconds = preparation_seconds
        emotion_model.requires_grad_(False)
        for head in linear_heads(self.model):
            head.requires_grad_(True)
        self.register_buffer("label_mask", label_mask, persistent=False)
        self._initial_weights = [head.weight.detach().clone() for head in linear_heads(self.model)]

    def logits(self, batch: EmbeddingBatch) -> Tensor:
        """Compute logits (B, E) of embeddings, without speaker means."""
        return self.model.classify(batch["embedding"])

    def training_step(self, batch: EmbeddingBatch, _: int) -> Tensor:
        """Compute the loss of both heads, with the penalty."""
        labels, weight = batch["label"], batch["weight"]
        if self.class_weights is not None:
            weight = weight * self.class_weights[labels]
        label_mask = None if self.label_mask is None else self.label_mask[batch["corpus"]]
        with torch.autocast(labels.device.type, enabled=False):
            targets = self.targets(labels, label_mask)
            logits = _mask_logits(self.logits(batch), label_mask)
            plain_loss = loss = _weighted_cross_entropy(logits, targets, weight)
            if self.model.offset is not None and bool(batch["has_speaker_mean"].any()):
                every = torch.ones_like(batch["has_speaker_mean"])
                enrolled_logits = self.model.classify(batch["embedding"], batch["speaker_mean"], every)
                enrolled_logits = _mask_logits(enrolled_logits, label_mask)
                enrolled_weight = weight * batch["has_speaker_mean"][:, 0]
                loss = plain_loss + _weighted_cross_entropy(enrolled_logits, targets, enrolled_weight)
            loss = loss + self.training_settings.weight_decay / 2 * self._squared_distance()
        # L-BFGS evaluates the loss several times per step; the last one counts for the epoch.
        self.clear_results("train")
        self.add_results("train", plain_loss, labels, logits)
        return loss

    def configure_optimizers(self) -> Any:
        """Build the L-BFGS optimizer of the heads."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.LBFGS(
            trained,
            1.0,
            max_iter=_ITERATIONS,
            history_size=_HISTORY,
            tolerance_change=1e-9,
            line_search_fn="strong_wolfe",
        )

    def _squared_distance(self) -> Tensor:
        """Squared distance of the heads' weights from their initial values."""
        pairs = zip(linear_heads(self.model), self._initial_weights, strict=True)
        distances = [(head.weight - initial.to(head.weight)).square().sum() for head, initial in pairs]
        return cast(Tensor, sum(distances))


def linear_heads(model: EmbeddingClassifier) -> list[nn.Linear]:
    """The heads that classify an embedding, and its difference from the speaker's mean if the model has that head."""
    return [head for head in (model.output, model.offset) if head is not None]


def fit_lbfgs(module: LinearProbeModule, dataset: EmbeddingDataset, epochs: int) -> EncoderClassifier:
    """Fit the heads without Lightning, checkpoints or logs, and return the model in evaluation mode."""
    batch, optimizer = dataset.__getitems__(range(len(dataset))), module.configure_optimizers()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(epochs):
        optimizer.step(closure)
    return module.model.eval()


def _speaker_has_several_classes(speaker: Tensor, label: Tensor) -> Tensor:
    """For each item, whether its speaker has items of two or more classes, bool (N,)."""
    pairs = torch.unique(torch.stack([speaker, label]), dim=1)
    n_classes = torch.bincount(pairs[0] + 1)  # -1 is unknown
    return n_classes[speaker + 1] > 1


def _mask_logits(logits: Tensor, label_mask: Tensor | None) -> Tensor:
    return logits if label_mask is None else logits.masked_fill(~label_mask, MASKED_LOGIT)


def _weighted_cross_entropy(logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    return (weight * F.cross_entropy(logits, targets, reduction="none")).sum() / weight.sum()
