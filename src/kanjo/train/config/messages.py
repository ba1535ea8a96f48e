"""Validation errors of a recipe in one line, in the words of the recipe."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from kanjo.train.config.schema import Recipe

#: Errors in one message, and characters of each.
_MAX_ERRORS, _MAX_LENGTH = 10, 400

_TRAINING_KEYS = {
    "versions": "n_augmented_copies",
    "masked": "mask_missing_labels",
    "refit": "refit_on_train_val",
    "ema": "ema_decay",
    "warmup": "warmup_fraction",
    "decay": "lr_gamma",
    "floor": "min_lr_fraction",
    "schedule": "lr_schedule",
    "patience": "early_stopping_patience",
    "gradient_clip": "gradient_clip_norm",
}

#: Keys that have another name now. They are errors; this is only for the message.
RENAMED_KEYS: Mapping[str, str] = {
    "network": "model",
    "frontend": "features",
    "finetune": "stage1",
    "init": "init_from",
    "corpora.only_trains": "corpora.train_only",
    "labels.keep": "labels.include",
    "split.k": "split.n_folds",
    "split.validation": "split.validation_fraction",
    "model.read": "model.aggregation",
    "model.speaker": "model.speaker_conditioning",
    "model.filters": "model.channels",
    "model.hidden": "model.dense_units (dcnn-blstm-attention) or model.ffn_dim (whisper)",
    "augment.speed": "augment.max_speed_change",
    "augment.warp": "augment.max_vtlp_warp",
    "augment.shift_s": "augment.max_shift_s",
    "augment.band": "augment.bandpass_prob",
    "augment.codec": "augment.telephone_prob",
    "augment.background": "augment.background_noise_prob",
    "augment.noise_db": "augment.white_noise_range_db",
    "augment.reverberation": "augment.reverb_prob",
    "augment.mixup": "augment.mixup_alpha",
    **{f"training.{old}": f"training.{new}" for old, new in _TRAINING_KEYS.items()},
    **{f"stage1.{old}": f"stage1.{new}" for old, new in _TRAINING_KEYS.items()},
}

#: Values of keys that have another name now.
RENAMED_VALUES: Mapping[str, Mapping[str, str]] = {
    "split.protocol": {
        "random": "speaker_dependent",
        "cross-corpus": "leave_one_corpus_out",
        "speakers-k": "speaker_kfold",
    },
    "training.balance": {
        "weights": "class_weights",
        "sampling": "class_sampling",
        "corpora": "corpus_class_sampling",
    },
    "stage1.balance": {"weights": "class_weights", "sampling": "class_sampling", "corpora": "corpus_class_sampling"},
    "training.calibration": {"strangers": "held_out_groups"},
}

#: Keys that no longer exist.
REMOVED_KEYS = frozenset(
    {"augment.mixstyle", "training.teachers", "training.taught", "model.functionals", "model.extractor"}
)

#: Built-in recipes that have another name now.
RENAMED_RECIPES: Mapping[str, str] = {"cnn-lstm-1d-port": "cnn-lstm-1d-keras"}

#: Models that no longer exist, and what to use instead.
REMOVED_MODELS: Mapping[str, str] = {
    "cnn-lstm-merged": "cnn-lstm-2d",
    "crnn": "mobilenet",
    "ge2e": "whisper",
    "committee": "whisper",
}


def explain(error: ValidationError, content: Mapping[str, Any]) -> str:
    """Describe all errors that validation has found in a recipe, in one line.

    Args:
        error: The error.
        content: The recipe's keys and values.
    """
    all_errors = error.errors()
    texts = [" ".join(_explain_one(details, content).split()) for details in all_errors[:_MAX_ERRORS]]
    if len(all_errors) > _MAX_ERRORS:
        texts.append(f"and {len(all_errors) - _MAX_ERRORS} more errors")
    return "; ".join(text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 3] + "..." for text in texts)


def _explain_one(details: Any, content: Mapping[str, Any]) -> str:
    path, valid_keys = _resolve_location(details["loc"])
    key = ".".join(path)
    if details["type"] == "extra_forbidden":
        return _explain_unknown_key(key, path, valid_keys)
    if details["type"] == "missing":
        return f"the key {key!r} is missing"
    value = details.get("input")
    hint = _explain_old_value(path, value)
    if hint:
        return hint
    message = str(details["msg"]).removeprefix("Value error, ")
    if details["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "expected a section, such as {key: value}"
    show_value = not isinstance(value, dict | list) and details["type"] != "value_error"
    suffix = f" (found {value!r})" if show_value else ""
    return f"{key}: {message}{suffix}" if key else message


def _explain_unknown_key(key: str, path: list[str], valid_keys: list[str]) -> str:
    plain = _without_indices(path)
    if plain in RENAMED_KEYS:
        return f"unknown key {key!r}; write {RENAMED_KEYS[plain]!r}"
    if plain in REMOVED_KEYS:
        return f"unknown key {key!r}; it was removed, delete it from the recipe"
    near = difflib.get_close_matches(path[-1], valid_keys, n=1, cutoff=0.5)
    if near:
        return f"unknown key {key!r}; did you mean {near[0]!r}?"
    return f"unknown key {key!r}; expected one of {', '.join(valid_keys)}"


def _explain_old_value(path: list[str], value: Any) -> str:
    """What to write instead of an old value; empty for other values."""
    key = _without_indices(path)
    if isinstance(value, str) and value in RENAMED_VALUES.get(key, {}):
        return f"{key}: unknown value {value!r}; write {RENAMED_VALUES[key][value]!r}"
    if key == "model" and isinstance(value, dict) and value.get("type") in REMOVED_MODELS:
        kind = value["type"]
        return f"model.type: model {kind!r} was removed; use {REMOVED_MODELS[kind]!r}"
    return ""


def _without_indices(path: list[str]) -> str:
    return ".".join(part for part in path if not part.isdigit())


def _resolve_location(location: tuple[Any, ...]) -> tuple[list[str], list[str]]:
    """Translate pydantic's location of an error.

    Pydantic inserts the type of a union's member, such as that of the model; a recipe has no such key.

    Returns:
        The path of keys as in the recipe, and the valid keys beside the last one.
    """
    path: list[str] = []
    sections: list[type[BaseModel]] = [Recipe]
    valid_keys: list[str] = []
    for part in location:
        members = [section for section in sections if part and part in (_type_of(section), f"<{section.__name__}>")]
        if members:
            sections = members
            valid_keys = sorted(members[0].model_fields)
            continue
        path.append(str(part))
        if isinstance(part, int):
            continue
        valid_keys = sorted({name for section in sections for name in section.model_fields})
        if path[-2:-1] == ["space"]:
            continue  # a key of the dictionary tune.space
        annotations = [section.model_fields[part].annotation for section in sections if part in section.model_fields]
        sections = [section for annotation in annotations for section in _sections_in(annotation)]
    return path, valid_keys


def _type_of(section: type[BaseModel]) -> str:
    """The value of a section's key ``type``; empty if it has none."""
    field = section.model_fields.get("type")
    return str(get_args(field.annotation)[0]) if field else ""


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    """The section classes in an annotation, in unions and tuples too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections_in(inner)]
