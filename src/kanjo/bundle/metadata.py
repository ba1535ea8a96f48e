"""Metadata of a bundle, and how it is read from ``bundle.json`` (format 2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo.errors import BundleError

#: Increases when keys of ``bundle.json``, or inputs or outputs of the graph, change their meaning.
FORMAT_VERSION = 2

_NUMBER = (int, float)
#: Keys without a default value in :class:`BundleMetadata`, and the types of their JSON values.
_REQUIRED_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "version": (str,),
    "labels": (list,),
    "sample_rate": (int,),
    "window_s": _NUMBER,
    "hop_s": _NUMBER,
    "sha256": (str,),
    "license": (str,),
}
_OPTIONAL_TYPES: dict[str, tuple[type, ...]] = {
    "temperature": _NUMBER,
    "ood_temperature": (dict,),
    "min_confidence": _NUMBER,
    "recipe": (dict,),
    "paper": (dict, type(None)),
    "corpora": (list,),
    "split": (dict,),
    "scores": (dict, type(None)),
    "n_parameters": (int,),
    "min_source_rate": (int,),
    "export_check": (dict,),
    "quantization": (str,),
    "speaker_size": (int,),
    "scores_enrolled": (dict, type(None)),
    "scores_by_corpus": (dict,),
    "robustness": (dict,),
    "format_version": (int,),
}
_TYPE_NAMES = {
    str: "a string",
    list: "a list",
    dict: "an object",
    int: "an integer",
    float: "a number",
    type(None): "null",
}
_OOD_TEMPERATURE_KEYS = ("median", "max_ratio", "exponent")
_CORPUS_KEYS = ("title", "language", "license", "citation", "utterances", "speakers")


@dataclass(frozen=True)
class BundleMetadata:
    """The content of ``bundle.json``.

    Attributes:
        name: Name of the bundle.
        version: Version of the bundle.
        labels: The E emotions, in the order of the graph's probabilities.
        sample_rate: Sample rate of the graph's input in Hz.
        window_s: Length of a window in seconds.
        hop_s: Seconds between the starts of two windows.
        sha256: SHA-256 of ``model.onnx``.
        license: License of the weights.
        temperature: Temperature of the softmax.
        ood_temperature: How the temperature grows with the OOD score, see :meth:`temperature_at`: ``median``,
            ``max_ratio``, ``exponent``, and ``exponent_enrolled`` for enrolled speakers. Empty if it is constant.
        min_confidence: Confidence below which the label is "unsure".
        recipe: The recipe that the model was trained with.
        paper: ``title`` and ``doi`` of the paper that describes the model, or None.
        corpora: The training corpora, each with its language, license, citation and size.
        split: Protocol, fold, leakage report and speakers of the split.
        scores: Scores on the test speakers, or None without test speakers.
        n_parameters: Number of parameters of the model.
        min_source_rate: Lowest sample rate in Hz of the training recordings; 0 stands for ``sample_rate``.
        export_check: Largest difference of probabilities between PyTorch and ONNX Runtime.
        quantization: Description of the quantization, or "".
        speaker_size: Size D of the embeddings in the graph's speaker input; 0 without this input.
        scores_enrolled: Scores with speaker enrollment, or None.
        scores_by_corpus: Scores on each corpus.
        robustness: UAR under degraded conditions such as noise.
        format_version: Version of the format.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    sample_rate: int
    window_s: float
    hop_s: float
    sha256: str
    license: str
    temperature: float = 1.0
    ood_temperature: Mapping[str, float] = field(default_factory=dict)
    min_confidence: float = 0.0
    recipe: Mapping[str, Any] = field(default_factory=dict)
    paper: Mapping[str, str] | None = None
    corpora: tuple[Mapping[str, str], ...] = ()
    split: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] | None = None
    n_parameters: int = 0
    min_source_rate: int = 0
    export_check: Mapping[str, Any] = field(default_factory=dict)
    quantization: str = ""
    speaker_size: int = 0
    scores_enrolled: Mapping[str, Any] | None = None
    scores_by_corpus: Mapping[str, Any] = field(default_factory=dict)
    robustness: Mapping[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def window_length(self) -> int:
        """Samples in a window."""
        return round(self.window_s * self.sample_rate)

    def temperature_at(self, ood_score: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Compute the temperature for OOD scores, without speaker enrollment.

        Shape:
            - ood_score: (B,)
            - Returns: (B,)
        """
        if not self.ood_temperature:
            return np.full_like(ood_score, self.temperature)
        median, max_ratio, exponent = (self.ood_temperature[key] for key in _OOD_TEMPERATURE_KEYS)
        ratio = np.clip(ood_score / np.float32(median), 1, np.float32(max_ratio))
        return np.asarray(self.temperature * ratio**exponent, np.float32)

    def to_json(self) -> str:
        """Return the content of ``bundle.json``."""
        content = {key.name: getattr(self, key.name) for key in fields(self)}
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def parse_metadata(text: str, source: str) -> BundleMetadata:
    """Read the content of ``bundle.json``. Unknown keys are ignored.

    Args:
        text: The content of the file.
        source: Name of the file in messages.

    Raises:
        BundleError: The content is not that of a bundle, has another format, or is damaged.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BundleError(f"{source}: not valid JSON ({error})") from error
    _check_format(content, source)
    for key in _REQUIRED_TYPES:
        if key not in content:
            raise BundleError(f"{source}: the key {key} is missing")
    types = _REQUIRED_TYPES | _OPTIONAL_TYPES
    for key, value in content.items():
        if key in types and (not isinstance(value, types[key]) or isinstance(value, bool)):
            expected = " or ".join(_TYPE_NAMES[kind] for kind in types[key] if kind is not int or types[key] == (int,))
            raise BundleError(f"{source}: {key} is {_shorten(value)}; expected {expected}")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content.items() if key in types
    }
    metadata = BundleMetadata(**values)
    _check_values(metadata, source)
    return metadata


def _check_format(content: Any, source: str) -> None:
    """Raise BundleError if the content is not a bundle's, or has a format that this version does not read."""
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise BundleError(f"{source}: no format_version; this is not the metadata of a kanjo bundle")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{source}: bundle format {version}, but this version of kanjo reads format {FORMAT_VERSION}; "
            "upgrade with: pip install -U kanjo"
        )
    if version < FORMAT_VERSION:
        raise BundleError(
            f"{source}: bundle format {version}, but this version of kanjo reads format {FORMAT_VERSION}; "
            "train and export the run again with this version"
        )


def _check_values(metadata: BundleMetadata, source: str) -> None:
    """Raise BundleError for values that inference or the model card can't use."""
    labels = metadata.labels
    if (
        len(labels) < 2
        or len(set(map(str, labels))) < len(labels)
        or not all(isinstance(label, str) for label in labels)
    ):
        raise BundleError(f"{source}: labels is {_shorten(list(labels))}; expected at least two different strings")
    if metadata.sample_rate <= 0:
        raise BundleError(f"{source}: sample_rate is {metadata.sample_rate}; expected a positive number of Hz")
    if not 0 < metadata.hop_s <= metadata.window_s:
        raise BundleError(
            f"{source}: hop_s is {metadata.hop_s} and window_s is {metadata.window_s}; expected 0 < hop_s <= window_s"
        )
    ood_temperature = metadata.ood_temperature
    if ood_temperature and not all(isinstance(ood_temperature.get(key), _NUMBER) for key in _OOD_TEMPERATURE_KEYS):
        expected = ", ".join(_OOD_TEMPERATURE_KEYS)
        raise BundleError(f"{source}: ood_temperature is {_shorten(ood_temperature)}; expected numbers for {expected}")
    for corpus in metadata.corpora:
        if not isinstance(corpus, dict) or not all(isinstance(corpus.get(key), str) for key in _CORPUS_KEYS):
            expected = ", ".join(_CORPUS_KEYS)
            raise BundleError(f"{source}: corpora contains {_shorten(corpus)}; expected strings for {expected}")


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
