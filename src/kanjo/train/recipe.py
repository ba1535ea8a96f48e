"""The recipe: everything that a training run depends on, in one YAML (or JSON) file with a schema.

A key that the schema doesn't know is an error that names the nearest one it does; a value is checked when the recipe is
read, not after an hour of training. ``${corpus.root}`` stands for ``--corpus-root`` or ``KANJO_CORPORA``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from kanjo.errors import CorpusError, RecipeError
from kanjo.files import reason
from kanjo.labels import EMOTIONS, canonical
from kanjo.splits import PROTOCOLS

RECIPES = Path(__file__).parent.parent / "recipes"
_CORPUS_ROOT = "${corpus.root}"

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Pool = tuple[Count, Count]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class PaperSection(Section):
    """The source that the recipe follows."""

    title: str
    doi: str = ""


class CorpusSection(Section):
    """A corpus, and where it lies (default: below the corpus root, under its own name)."""

    name: str
    path: str | None = None


class LabelsSection(Section):
    """Emotions joined (``map: {calm: neutral}``), then those that are kept, in the network's order (default: all found)."""

    map: dict[str, str] = {}
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
    """Who tests: see kanjo.splits. ``validation``: share of the training speakers that validate."""

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


class AudioSection(Section):
    """What the network hears at once. ``placement`` of training clips in the window: "start" or "random"."""

    sample_rate: Annotated[int, Field(ge=4_000, le=192_000)] = 16_000
    window_s: Positive = 8.0
    hop_s: Positive = 4.0
    placement: Literal["start", "random"] = "start"

    @model_validator(mode="after")
    def _hop_fits(self) -> AudioSection:
        if self.hop_s > self.window_s:
            raise ValueError(f"hop_s {self.hop_s} is longer than window_s {self.window_s}: speech between would go unheard")
        return self

    @property
    def window(self) -> int:
        return round(self.window_s * self.sample_rate)


class FrontendSection(Section):
    """The log-mel front end: see kanjo.train.frontend.LogMel. Lengths are samples, frequencies Hz."""

    n_fft: Count = 2048
    hop_length: Count = 512
    win_length: Count | None = None
    n_mels: Count = 128
    fmin: Annotated[float, Field(ge=0)] = 0.0
    fmax: Positive | None = None
    mel_scale: Literal["slaney", "htk"] = "slaney"
    preemphasis: Share = 0.0
    top_db: Positive | None = 80.0
    with_deltas: bool = False
    normalization: Literal["none", "utterance", "corpus"] = "corpus"


class CnnLstm2dSection(Section):
    """Four local feature learning blocks and an LSTM (Zhao et al. 2019). Pools are [mel, time] pairs."""

    type: Literal["cnn-lstm-2d"]
    filters: tuple[Count, ...] = (64, 64, 128, 128)
    kernel: Count = 3
    pools: tuple[Pool, ...] = ((2, 2), (4, 4), (4, 4), (4, 4))
    lstm_units: Count = 256
    dropout: Share = 0.0


NetworkSection = CnnLstm2dSection


class AugmentSection(Section):
    """Changes to training clips only; every value 0 leaves them as they are."""

    speed: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    gain_db: Annotated[float, Field(ge=0)] = 0.0
    noise_db: Annotated[float, Field(ge=0)] = 0.0
    frequency_masks: Annotated[int, Field(ge=0)] = 0
    frequency_width: Count = 16
    time_masks: Annotated[int, Field(ge=0)] = 0
    time_width: Count = 16
    mixup: Annotated[float, Field(ge=0)] = 0.0


class TrainingSection(Section):
    """How the network is fitted. ``patience``: epochs without a better validation UAR before it stops."""

    epochs: Count = 40
    batch_size: Count = 32
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: Positive = 1e-3
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: Share = 0.1
    label_smoothing: Share = 0.0
    class_weights: bool = True
    gradient_clip: Annotated[float, Field(ge=0)] = 5.0
    patience: Count = 12
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 0


class Recipe(Section):
    """One experiment, whole."""

    name: str
    description: str = ""
    paper: PaperSection | None = None
    corpora: tuple[CorpusSection, ...]
    labels: LabelsSection = LabelsSection()
    split: SplitSection = SplitSection()
    audio: AudioSection = AudioSection()
    frontend: FrontendSection = FrontendSection()
    network: NetworkSection
    augment: AugmentSection = AugmentSection()
    training: TrainingSection = TrainingSection()

    @field_validator("corpora", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and value:
            return [{"name": item} if isinstance(item, str) else item for item in value]
        raise ValueError("expected at least one corpus, such as [ravdess]")

    def text(self) -> str:
        """The recipe, fully resolved, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def shipped() -> list[str]:
    """Names of the recipes in the box."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name: str, overrides: Iterable[str] = (), corpus_root: str | None = None) -> Recipe:
    """Read a recipe: one in the box by name, or a YAML or JSON file by path; then apply ``KEY=VALUE`` overrides.

    Raises RecipeError in one line: no such recipe, not YAML, an unknown key (the nearest is named), a value out of range.
    """
    path = _find(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"can't read {path}: {reason(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: expected keys such as name, corpora and network, found {type(content).__name__}")
    for override in overrides:
        _override(content, override)
    root = corpus_root or os.environ.get("KANJO_CORPORA")
    return recipe_from(_resolved(content, root, str(path)), str(path))


def recipe_from(content: Mapping[str, Any], name: str) -> Recipe:
    """The recipe that these keys describe. Raises RecipeError, naming every key at fault."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        said = "; ".join(_explain(fault, content) for fault in error.errors())
        raise RecipeError(f"{name}: {said}") from None


def _find(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        if not path.is_file():
            raise RecipeError(f"{name}: no such recipe file")
        return path
    if name in shipped():
        return RECIPES / f"{name}.yaml"
    if path.is_dir() and (path / "recipe.yaml").is_file():  # a run folder holds its own recipe
        return path / "recipe.yaml"
    near = difflib.get_close_matches(name, shipped(), n=1)
    hint = f" did you mean {near[0]}?" if near else ""
    raise RecipeError(
        f"unknown recipe {name!r};{hint} In the box: {', '.join(shipped())}; or give a file that ends in .yaml or .json"
    )


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, word = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {override!r}: expected KEY=VALUE, such as training.learning_rate=1e-4")
    try:
        value = yaml.safe_load(word)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override!r}: the value is not YAML") from error
    if isinstance(value, str):  # YAML 1.1 wants a dot in 1e-4; people don't write one
        with suppress(ValueError):
            value = float(value)
    *parents, last = key.strip().split(".")
    place: Any = content
    for part in parents:
        place = place.setdefault(part, {}) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise RecipeError(f"--set {override!r}: {'.'.join(parents)} has no keys below it")
    place[last] = value


def _resolved(value: Any, root: str | None, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(item, root, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, root, where) for item in value]
    if isinstance(value, str) and _CORPUS_ROOT in value:
        if root is None:
            raise RecipeError(f"{where}: {_CORPUS_ROOT} is not known; give --corpus-root, or set KANJO_CORPORA")
        return value.replace(_CORPUS_ROOT, root)
    return value


def _explain(fault: Any, content: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _keys_at(fault["loc"][:-1])
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.5)
        return f"unknown key {place!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known)}")
    if fault["type"] == "missing":
        return f"the key {place!r} is missing"
    message = str(fault["msg"]).removeprefix("Value error, ")
    found = fault.get("input")
    shown = "" if isinstance(found, dict | list) or fault["type"] == "value_error" else f" (found {found!r})"
    return f"{place}: {message}{shown}" if place else message


def _keys_at(place: tuple[Any, ...]) -> list[str]:
    model: Any = Recipe
    for part in place:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return []
        model = inner[0]
    return sorted(model.model_fields)


def _emotion(word: str) -> str:
    try:
        emotion = canonical(word)
    except CorpusError as error:
        raise ValueError(str(error)) from None
    assert emotion in EMOTIONS
    return emotion
