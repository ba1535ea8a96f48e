"""Metadata of a bundle, and how it is read from ``bundle.json`` (format 2)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo.bundle.metadata_checks import OOD_TEMPERATURE_KEYS, check_values, shorten
from kanjo.errors import BundleError
from kanjo.parsing import parse_json

#: Values of ``BundleMetadata.segmentation``: windows of equal length, or one input for each segment of speech.
WINDOWS, SPEECH_SEGMENTS = "windows", "speech"

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
    "segmentation": (str,),
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


@dataclass(frozen=True)
class BundleMetadata:
    """The content of ``bundle.json``.

    Attributes:
        name: Name of the bundle.
        version: Version of the bundle.
        labels: The E emotions, in the order of the graph's probabilities.
        sample_rate: Sample rate of the graph's input in Hz.
        window_s: Length of a window in seconds; with segmentation "speech", of the longest segment.
        hop_s: Seconds between the starts of two windows; with segmentation "speech", of two time steps.
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
        segmentation: What the graph's inputs are: "windows" of equal length, or "speech", segments of speech of any
            length up to ``window_s``.
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
    segmentation: str = WINDOWS
    scores_enrolled: Mapping[str, Any] | None = None
    scores_by_corpus: Mapping[str, Any] = field(default_factory=dict)
    robustness: Mapping[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def uses_speech_segments(self) -> bool:
        """Whether the graph's inputs are segments of speech, not windows of equal length."""
        return self.segmentation == SPEECH_SEGMENTS

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
        median, max_ratio, exponent = (self.ood_temperature[key] for key in OOD_TEMPERATURE_KEYS)
        ratio = np.clip(ood_score / np.float32(median), 1, np.float32(max_ratio))
        return np.asarray(self.temperature * ratio**exponent, np.float32)

    def to_json(self) -> str:
        """Return the content of ``bundle.json``."""
        content = {key.name: getattr(self, key.name) for key in fields(self)}
        return json.dumps(_without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_metadata(text: str, source: str) -> BundleMetadata:
    """Read the content of ``bundle.json``. Unknown keys are ignored.

    Args:
        text: The content of the file.
        source: Name of the file in messages.

    Raises:
        BundleError: The content is not that of a bundle, has another format, or is damaged.
    """
    try:
        content = parse_json(text)
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
            raise BundleError(f"{source}: {key} is {shorten(value)}; expected {expected}")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content.items() if key in types
    }
    metadata = BundleMetadata(**values)
    check_values(metadata, source)
    return metadata


def _without_nan(value: Any) -> Any:
    """Return a value with None for each number that is not finite, which JSON can't represent."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
