"""The sections of a recipe and their bounds. Reading recipes is kanjo.train.config.loading's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from kanjo.corpora.splits import PROTOCOLS
from kanjo.errors import CorpusError
from kanjo.labels import EMOTIONS, canonical
from kanjo.train.config.base import Count, Part, Positive, Section, Share, TuneSection
from kanjo.train.config.models import (
    CnnLstm1dSection,
    DcnnBlstmSection,
    FrontendSection,
    LogMelSection,
    NetworkSection,
    ToldSection,
    WaveformSection,
    WhisperSection,
)


class PaperSection(Section):
    """The source that the recipe follows."""

    title: str
    doi: str = ""


class CorpusSection(Section):
    """A corpus, and where it lies (default: below the corpus root, under its own name).

    ``only_trains``: it stands on the training side of every fold, and neither validates nor tests.
    """

    name: str
    path: str | None = None
    only_trains: bool = False


class LabelsSection(Section):
    """Emotions joined (``map: {calm: neutral}``), then those that are kept, in the network's order (default: all found)."""

    map: dict[str, str] = Field(default_factory=dict)
    keep: tuple[str, ...] | None = None

    @field_validator("map")
    @classmethod
    def _known_map(cls, value: dict[str, str]) -> dict[str, str]:
        return {_emotion(old): _emotion(new) for old, new in value.items()}

    @field_validator("keep")
    @classmethod
    def _known_keep(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(_emotion(word) for word in value)


class SplitSection(Section):
    """Who tests: see kanjo.corpora.splits. ``validation``: share of the training speakers that validate."""

    protocol: str = "speakers-k"
    fold: Count = 1
    k: Annotated[int, Field(ge=2)] = 5
    seed: int = 0
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    folds_file: str | None = None
    allow_shared_speakers: bool = False

    @field_validator("protocol")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in PROTOCOLS:
            raise ValueError(f"unknown protocol {value!r}, expected one of {', '.join(PROTOCOLS)}")
        return value


class SelectSection(Section):
    """Utterances that take part at all: of one sex, of these speakers, of these languages (None: everybody)."""

    sex: Literal["female", "male"] | None = None
    speakers: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None


class AudioSection(Section):
    """What the network hears at once. ``placement`` of training clips in the window: "start" or "random".

    ``crop_s``: training hears so many seconds of a clip, anywhere over its speech (None: the whole window). Speech is what lies between the
    first and the last 25 ms within ``trim_db`` of the loudest (None: the whole clip).
    """

    sample_rate: Annotated[int, Field(ge=4_000, le=192_000)] = 16_000
    window_s: Positive = 8.0
    hop_s: Positive = 4.0
    placement: Literal["start", "random"] = "start"
    crop_s: Positive | None = None
    trim_db: Positive | None = None

    @model_validator(mode="after")
    def _hop_fits(self) -> AudioSection:
        if self.crop_s and self.crop_s > self.window_s:
            raise ValueError(f"crop_s {self.crop_s} is longer than window_s {self.window_s}")
        if self.hop_s > self.window_s:
            raise ValueError(
                f"hop_s {self.hop_s} is longer than window_s {self.window_s}: speech between would go unheard"
            )
        return self

    @property
    def window(self) -> int:
        return round(self.window_s * self.sample_rate)

    @property
    def crop(self) -> int:
        """Samples that training hears of a clip."""
        return round((self.crop_s or self.window_s) * self.sample_rate)


class AugmentSection(Section):
    """Changes to training clips only; every value 0 leaves them as they are.

    ``speed``: played up to this share faster or slower, the pitch moving along; ``shift_s``: moved in time, up to so many
    seconds either way; ``warp``: frequencies times up to so much more or less, as vocal tracts differ; ``gain_db``, ``noise_db``: see
    kanjo.train.data.augmentation. ``background``, ``reverberation``, ``band``, ``codec``: the share of clips that get background noise, a room, a narrower
    band, a telephone.
    """

    speed: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    shift_s: Annotated[float, Field(ge=0)] = 0.0
    warp: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    gain_db: Annotated[float, Field(ge=0)] = 0.0
    noise_db: Annotated[float, Field(ge=0)] = 0.0
    background: Part = 0.0
    reverberation: Part = 0.0
    band: Part = 0.0
    codec: Part = 0.0
    frequency_masks: Annotated[int, Field(ge=0)] = 0
    frequency_width: Count = 16
    time_masks: Annotated[int, Field(ge=0)] = 0
    time_width: Count = 16
    mixup: Annotated[float, Field(ge=0)] = 0.0


class TrainingSection(Section):
    """How the network is fitted.

    ``schedule``: "constant"; "cosine" (after a ``warmup`` share of the steps); "exponential" (times ``decay`` after each epoch,
    never below ``floor`` of where it began). ``balance`` of the emotions: "weights" in the loss, "sampling" of the batches, "none";
    or of corpora and emotions: "corpora" samples each emotion of each corpus by the inverse root of its number. ``patience``: epochs without a better validation UAR before it stops. ``ema``: weights are averaged over the steps, each step's
    share so many times the next one's (0: not), and the average is what is checked and kept. ``masked``: of several corpora, an utterance
    is only told from the emotions that its own corpus has. ``refit``: afterwards the same is trained anew on training and validation utterances
    together, to the schedule's end, and kept: see kanjo.train.fit.
    ``optimizer``: "lbfgs" fits the heads of a frozen encoder, all utterances at once, to
    what it makes of each as it is and of ``versions`` varied ones: see kanjo.train.tasks.linear_probe. ``calibration``: by whom the temperature is chosen, the validation
    speakers, or all but the test's, each answered by heads that were fitted without them, and without their corpus: see kanjo.train.calibration.temperature.
    """

    epochs: Count = 40
    batch_size: Count = 32
    optimizer: Literal["adam", "adamw", "sgd", "lbfgs"] = "adamw"
    versions: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive = 1e-3
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "exponential"] = "cosine"
    warmup: Share = 0.1
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    floor: Share = 0.0
    label_smoothing: Share = 0.0
    balance: Literal["none", "weights", "sampling", "corpora"] = "weights"
    gradient_clip: Annotated[float, Field(ge=0)] = 5.0
    patience: Count = 12
    ema: Share = 0.0
    masked: bool = False
    refit: bool = False
    calibration: Literal["validation", "strangers"] = "validation"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 0

    @property
    def to_the_end(self) -> bool:
        """Whether what is fitted is left as its last epoch has it, not its best.

        So is what ends in a minimum; and where the rate falls as a cosine what is refitted afterwards, as the refit ends so too.
        """
        return self.optimizer == "lbfgs" or (self.refit and self.schedule == "cosine")


class Recipe(Section):
    """One experiment, whole. ``finetune``: how a network of two stages trains its first (None: it is left out).

    ``ablations``: what ``kanjo ablate`` changes, as name -> overrides; ``tune``: what ``kanjo tune`` looks for;
    ``init``: the bundle that training starts from.
    """

    name: str
    description: str = ""
    paper: PaperSection | None = None
    corpora: tuple[CorpusSection, ...]
    labels: LabelsSection = LabelsSection()
    select: SelectSection = SelectSection()
    split: SplitSection = SplitSection()
    audio: AudioSection = AudioSection()
    frontend: FrontendSection = LogMelSection()
    network: NetworkSection
    augment: AugmentSection = AugmentSection()
    finetune: TrainingSection | None = None
    training: TrainingSection = TrainingSection()
    ablations: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    tune: TuneSection | None = None
    init: str | None = None

    @field_validator("corpora", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and value:
            return [{"name": item} if isinstance(item, str) else item for item in value]
        raise ValueError("expected at least one corpus, such as [ravdess]")

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.init and self.network.type not in ("cnn-lstm-2d", "cnn-lstm-1d", "mobilenet", "whisper"):
            raise ValueError(f"init: a network {self.network.type} can't start from a bundle")
        staged = isinstance(self.network, DcnnBlstmSection)
        if self.finetune and not staged:
            raise ValueError(f"finetune is for networks of two stages; {self.network.type} has one")
        if self.training.refit and staged:
            raise ValueError(
                "training.refit is for networks of one stage: a first stage would have to be trained anew too"
            )
        if self.finetune and self.finetune.refit:
            raise ValueError("finetune.refit: a first stage is kept as its best epoch left it; set it to false")
        if staged and self.augment.mixup:
            raise ValueError("augment.mixup blends whole utterances, which the first stage never sees; set it to 0")
        self._heads_alone()
        if self.audio.crop_s and not isinstance(self.network, ToldSection):
            raise ValueError(f"audio.crop_s: a network {self.network.type} hears whole windows")
        raw = isinstance(self.frontend, WaveformSection)
        if raw != isinstance(self.network, CnnLstm1dSection):
            raise ValueError(f"frontend.type {self.frontend.type} is not what {self.network.type} hears")
        if raw and (self.augment.frequency_masks or self.augment.warp):
            raise ValueError(
                "augment.frequency_masks and warp are for log-mels; raw samples have no frequencies to mask or warp"
            )
        if staged and self.audio.window < self.network.segment.frames * self.frontend.hop_length:  # type: ignore[union-attr]
            raise ValueError(f"audio.window_s {self.audio.window_s} is shorter than one segment")
        return self

    def _heads_alone(self) -> None:
        """That a frozen encoder's heads, and nothing else, are fitted all at once, and by settings that mean something then."""
        alone = self.training.optimizer == "lbfgs"
        if alone != isinstance(self.network, WhisperSection):
            raise ValueError(
                "network.type: whisper and training.optimizer: lbfgs go together: heads are fitted on an encoder that doesn't move"
            )
        if self.training.versions and not alone:
            raise ValueError(
                "training.versions is for training.optimizer lbfgs; others vary what they hear in every epoch"
            )
        if self.training.calibration == "strangers" and not (
            alone and self.training.refit and self.training.balance in ("none", "corpora")
        ):
            raise ValueError(
                "training.calibration: strangers is for training.optimizer lbfgs with refit, and balance none or corpora: "
                "heads are fitted anew for each part of the speakers, which may lack an emotion"
            )

        stepped = {
            "network.dropout": getattr(self.network, "dropout", 0),
            "augment.mixup": self.augment.mixup,
            "training.gradient_clip": self.training.gradient_clip,
            "training.ema": self.training.ema,
        }
        odd = [key for key, value in stepped.items() if value]
        if alone and odd:
            raise ValueError(f"{', '.join(odd)}: of no use where heads are fitted to all utterances at once; set to 0")

    def text(self) -> str:
        """The recipe, fully resolved, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def _emotion(word: str) -> str:
    try:
        emotion = canonical(word)
    except CorpusError as error:
        raise ValueError(str(error)) from None
    assert emotion in EMOTIONS
    return emotion
