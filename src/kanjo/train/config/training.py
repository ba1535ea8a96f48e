"""The recipe sections ``training``, ``stage1`` and ``augment``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from kanjo.train.config.base import Config, Fraction, Seed, UnitInterval

#: Optimizers that take all utterances as one batch; they only fit linear heads on a frozen encoder.
FULL_BATCH_OPTIMIZERS = frozenset({"lbfgs"})


class AugmentConfig(Config):
    """Changes to training clips only (kanjo.train.data.augmentation). 0 turns a change off.

    Attributes:
        max_speed_change: Largest relative change of speed; the pitch changes with it.
        max_shift_s: Largest shift in time, in seconds, in either direction; for an encoder, of both ends of each
            segment of speech.
        short_crop_prob: For an encoder: probability that a segment of speech is cut to 0.6 to 1.4 s.
        max_vtlp_warp: Largest relative change of all frequencies (vocal tract length perturbation).
        gain_db: Largest change of level, in either direction.
        white_noise_range_db: Add white noise whose RMS is from -90 dB to this much above -90 dB of full scale.
        background_noise_prob: Probability of colored background noise.
        reverb_prob: Probability of reverberation.
        bandpass_prob: Probability of a band-pass filter.
        telephone_prob: Probability of a telephone codec.
        frequency_masks: Number of SpecAugment's frequency masks.
        frequency_width: Largest width of a frequency mask, in mel bands.
        time_masks: Number of SpecAugment's time masks.
        time_width: Largest width of a time mask, in frames.
        mixup_alpha: Parameter of mixup's beta distribution.
    """

    max_speed_change: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    max_shift_s: NonNegativeFloat = 0.0
    short_crop_prob: UnitInterval = 0.0
    max_vtlp_warp: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    gain_db: NonNegativeFloat = 0.0
    white_noise_range_db: NonNegativeFloat = 0.0
    background_noise_prob: UnitInterval = 0.0
    reverb_prob: UnitInterval = 0.0
    bandpass_prob: UnitInterval = 0.0
    telephone_prob: UnitInterval = 0.0
    frequency_masks: NonNegativeInt = 0
    frequency_width: PositiveInt = 16
    time_masks: NonNegativeInt = 0
    time_width: PositiveInt = 16
    mixup_alpha: NonNegativeFloat = 0.0


class TrainingConfig(Config):
    """How a model is trained.

    Attributes:
        epochs: Most epochs.
        batch_size: Utterances (in stage 1: segments) per batch.
        optimizer: "lbfgs" fits the linear heads of a frozen encoder to all utterances at once.
        n_augmented_copies: With "lbfgs": augmented copies of each training utterance, beside the original.
        learning_rate: Highest learning rate.
        momentum: Nesterov momentum of "sgd".
        weight_decay: Weight decay of matrices; biases and scales have none.
        lr_schedule: "constant"; "cosine" (down to 0, after a linear warm-up); "exponential" (times ``lr_gamma`` per
            epoch); "inverse_time" (divided by 1 + ``lr_decay`` times the number of steps: the ``decay`` of Keras'
            optimizers).
        warmup_fraction: With "cosine": fraction of all steps that is warm-up.
        lr_gamma: With "exponential": factor per epoch.
        lr_decay: With "inverse_time": decay per step. It is not ``weight_decay``.
        min_lr_fraction: With "exponential": lowest learning rate, relative to ``learning_rate``.
        label_smoothing: Probability that the targets give to all emotions in equal parts.
        balance: "class_weights" weights the loss by inverse frequency; "class_sampling" draws all emotions equally
            often; "corpus_class_sampling" draws each emotion of each corpus by the inverse square root of its
            frequency.
        gradient_clip_norm: Largest norm of the gradient (0: no clipping).
        early_stopping_patience: Epochs without a better ``early_stopping_metric`` after which training stops.
        early_stopping_metric: Metric on the validation utterances: a higher "uar" or "accuracy", or a lower "loss", is
            better.
        best_epoch_metric: The epoch whose model is kept: that with the highest "uar" or "accuracy", or the lowest
            "loss", on the validation utterances; or the "last" one, without early stopping.
        ema_decay: Decay of the exponential moving average of the weights, which is then validated and kept
            (0: no average).
        mask_missing_labels: Of several corpora, compare an utterance only with the emotions that its own corpus has.
        refit_on_train_val: Train again on training and validation utterances, and keep that model (kanjo.train.fit).
        calibration: Utterances that the temperature is fitted on: "validation", or "held_out_groups", all but the test
            utterances by cross-validation over speakers and corpora (kanjo.train.calibration.held_out_groups).
        precision: "auto" uses bfloat16 where the processor supports it.
        seed: Seed of weights, batches and augmentation.
    """

    epochs: PositiveInt = 40
    batch_size: PositiveInt = 32
    optimizer: Literal["adam", "adamw", "sgd", "lbfgs"] = "adamw"
    n_augmented_copies: NonNegativeInt = 0
    learning_rate: PositiveFloat = 1e-3
    momentum: Fraction = 0.9
    weight_decay: NonNegativeFloat = 0.0
    lr_schedule: Literal["constant", "cosine", "exponential", "inverse_time"] = "cosine"
    warmup_fraction: Fraction = 0.1
    lr_gamma: Annotated[float, Field(gt=0, le=1)] = 1.0
    lr_decay: NonNegativeFloat = 0.0
    min_lr_fraction: Fraction = 0.0
    label_smoothing: Fraction = 0.0
    balance: Literal["none", "class_weights", "class_sampling", "corpus_class_sampling"] = "class_weights"
    gradient_clip_norm: NonNegativeFloat = 5.0
    early_stopping_patience: PositiveInt = 12
    early_stopping_metric: Literal["uar", "accuracy", "loss"] = "uar"
    best_epoch_metric: Literal["uar", "accuracy", "loss", "last"] = "uar"
    ema_decay: Fraction = 0.0
    mask_missing_labels: bool = False
    refit_on_train_val: bool = False
    calibration: Literal["validation", "held_out_groups"] = "validation"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: Seed = 0

    @property
    def full_batch(self) -> bool:
        """Whether the optimizer takes all utterances as one batch."""
        return self.optimizer in FULL_BATCH_OPTIMIZERS

    @property
    def keeps_last_epoch(self) -> bool:
        """Whether the last epoch is kept, whatever the validation scores."""
        return self.best_epoch_metric == "last"

    @property
    def anneals_to_zero(self) -> bool:
        """Whether the learning rate is 0 after the last epoch, so that the last weights are those to keep."""
        return self.lr_schedule == "cosine"
