"""Check the values of ``bundle.json``: what inference, the service, the reports and the model card rely on.

Anybody may have written a bundle, so every value that is used later is checked once, when the bundle is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kanjo.errors import BundleError
from kanjo.labels import SILENCE, UNSURE

if TYPE_CHECKING:
    from kanjo.bundle.metadata import BundleMetadata

#: Lowest and highest value of each number. A window of ten minutes at 192 kHz still needs less than 500 MB.
_RANGES: Mapping[str, tuple[float, float, str]] = {
    "sample_rate": (1_000, 192_000, "a positive number of Hz from 1000 to 192000"),
    "window_s": (0.01, 600, "0.01 to 600 seconds"),
    "temperature": (1e-3, 1e3, "0.001 to 1000"),
    "min_confidence": (0, 1, "0 to 1"),
    "min_source_rate": (0, 768_000, "0 to 768000 Hz"),
    "speaker_size": (0, 1 << 20, "0 to 1048576"),
    "n_parameters": (0, 1e13, "0 to 1e13"),
}
OOD_TEMPERATURE_KEYS = ("median", "max_ratio", "exponent")
_OOD_TEMPERATURE_RANGES = {
    "median": (1e-12, 1e12),
    "max_ratio": (1, 1e3),
    "exponent": (0, 10),
    "exponent_enrolled": (0, 10),
}
_CORPUS_KEYS = ("title", "language", "license", "citation", "utterances", "speakers")
_MAX_LABELS, _MAX_LABEL_LENGTH, _MAX_TEXT_LENGTH = 1_000, 100, 1_000


def check_values(metadata: BundleMetadata, source: str) -> None:
    """Raise BundleError for values that inference, reports or the model card can't use.

    Args:
        metadata: The metadata; the types of its values are right.
        source: Name of the file in messages.
    """
    try:
        _check_labels(metadata.labels)
        for key, (low, high, expected) in _RANGES.items():
            value = getattr(metadata, key)
            _require(low <= value <= high, key, value, expected)
        if not 0 < metadata.hop_s <= metadata.window_s or round(metadata.hop_s * metadata.sample_rate) < 1:
            raise BundleError(
                f"hop_s is {metadata.hop_s} and window_s is {metadata.window_s}; expected 0 < hop_s <= window_s, "
                "and a hop of at least one sample"
            )
        _require(
            metadata.segmentation in ("windows", "speech"), "segmentation", metadata.segmentation, "windows or speech"
        )
        for key in ("name", "version", "license", "sha256", "quantization"):
            text = getattr(metadata, key)
            is_line = len(text) <= _MAX_TEXT_LENGTH and text.isprintable()
            _require(is_line, key, text, f"one line of at most {_MAX_TEXT_LENGTH} printable characters")
        _check_ood_temperature(metadata.ood_temperature)
        _check_corpora(metadata.corpora)
        _check_recipe_and_paper(metadata)
        _check_split(metadata.split)
        _check_scores(metadata)
    except BundleError as error:
        raise BundleError(f"{source}: {error}") from None


def shorten(value: Any) -> str:
    """Return a value for a message, in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _require(valid: bool, key: str, value: Any, expected: str) -> None:
    if not valid:
        raise BundleError(f"{key} is {shorten(value)}; expected {expected}")


def _check_labels(labels: tuple[Any, ...]) -> None:
    are_texts = all(isinstance(label, str) for label in labels)
    if not are_texts or len(labels) < 2 or len({label.strip().casefold() for label in labels}) < len(labels):
        raise BundleError(f"labels is {shorten(list(labels))}; expected at least two different strings")
    _require(len(labels) <= _MAX_LABELS, "labels", list(labels), f"at most {_MAX_LABELS}")
    for label in labels:
        is_word = label.strip() == label != "" and len(label) <= _MAX_LABEL_LENGTH and label.isprintable()
        if not is_word or label in (UNSURE, SILENCE):
            raise BundleError(
                f"labels contains {shorten(label)}; expected words of at most {_MAX_LABEL_LENGTH} characters other "
                f"than {UNSURE} and {SILENCE}"
            )


def _check_ood_temperature(values: Mapping[str, Any]) -> None:
    if values and not all(_is_number(values.get(key)) for key in OOD_TEMPERATURE_KEYS):
        expected = f"numbers for {', '.join(OOD_TEMPERATURE_KEYS)}"
        raise BundleError(f"ood_temperature is {shorten(dict(values))}; expected {expected}")
    for key, (low, high) in _OOD_TEMPERATURE_RANGES.items():
        if key in values:
            valid = _is_number(values[key]) and low <= values[key] <= high
            _require(valid, f"ood_temperature.{key}", values[key], f"{low:g} to {high:g}")


def _check_corpora(corpora: Iterable[Any]) -> None:
    for corpus in corpora:
        if not isinstance(corpus, dict) or not all(isinstance(value, str) for value in map(corpus.get, _CORPUS_KEYS)):
            raise BundleError(f"corpora contains {shorten(corpus)}; expected strings for {', '.join(_CORPUS_KEYS)}")
        _require(isinstance(corpus.get("name", ""), str), "corpora.name", corpus.get("name"), "a string")


def _check_recipe_and_paper(metadata: BundleMetadata) -> None:
    labels = metadata.recipe.get("labels")
    _require(labels is None or isinstance(labels, dict), "recipe.labels", labels, "an object")
    label_map = (labels or {}).get("map")
    _require(label_map is None or _is_mapping_of(label_map, _is_text), "recipe.labels.map", label_map, "strings")
    if metadata.paper is not None:
        title = metadata.paper.get("title")
        _require(_is_text(title), "paper.title", title, "a string")


def _check_split(split: Mapping[str, Any]) -> None:
    for key in ("protocol", "note"):
        _require(isinstance(split.get(key, ""), str), f"split.{key}", split.get(key), "a string")
    fold = split.get("fold", 1)
    _require(isinstance(fold, int) and not isinstance(fold, bool) and fold >= 0, "split.fold", fold, "a number from 0")
    for key in ("leakage", "train_speakers", "test_speakers"):
        value = split.get(key, [])
        valid = isinstance(value, list) and all(isinstance(item, str) for item in value)
        _require(valid, f"split.{key}", value, "a list of strings")


def _check_scores(metadata: BundleMetadata) -> None:
    named = {"scores": metadata.scores, "scores_enrolled": metadata.scores_enrolled}
    named |= {f"scores_by_corpus.{shorten(name)}": value for name, value in metadata.scores_by_corpus.items()}
    for name, scores in named.items():
        if scores is None or (not scores and name == "scores"):
            continue
        _require(isinstance(scores, dict), name, scores, "an object")
        for key in ("uar", "accuracy", "macro_f1"):
            if key in scores:
                _require(_is_score(scores[key]), f"{name}.{key}", scores[key], "numbers for value, low and high")
        for key in ("recalls", "uar_by_sex", "uar_by_speaker"):
            valid = _is_mapping_of(scores.get(key, {}), lambda value: value is None or _is_number(value))
            _require(valid, f"{name}.{key}", scores.get(key), "an object with numbers")
    for condition, uar in metadata.robustness.items():
        _require(_is_score(uar), f"robustness.{shorten(condition)}", uar, "an object with the number value")
    for key, value in metadata.export_check.items():
        _require(_is_number(value), f"export_check.{shorten(key)}", value, "a number")


def _is_score(score: Any) -> bool:
    """Return whether this is a score: a value, and its 95 % interval if there is one."""
    if not isinstance(score, dict) or not _is_number(score.get("value")):
        return False
    return all(score.get(key) is None or _is_number(score[key]) for key in ("low", "high"))


def _is_mapping_of(value: Any, is_valid: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(is_valid, value.values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
