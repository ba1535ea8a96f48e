"""The bundle: a trained network as a folder that any program can run.

``model.onnx`` (one graph: ``signal`` float32 (B, N) -> ``probabilities`` (B, E), ``embedding`` (B, D); it may take an optional
``speaker`` float32 (B or 1, D + 1), a mean embedding and a 1), ``bundle.json``
(what it is, what it answers, how it was measured) and ``README.md`` (the model card). Nothing in it is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo import files
from kanjo.errors import BundleError

#: Raised when a bundle's keys or its graph's inputs and outputs change meaning.
FORMAT_VERSION = 1
GRAPH, FACTS, CARD, WEIGHTS = "model.onnx", "bundle.json", "README.md", "weights.safetensors"
BUNDLES = Path(__file__).parent / "builtin"
DEFAULT = "default"


@dataclass(frozen=True)
class Facts:
    """What ``bundle.json`` holds. Times are seconds, rates Hz; ``abstain_below`` is a confidence, 0 to 1.

    ``least_rate``: the lowest rate that its training recordings came in (0: not known, its own); ``speaker_size``: D of the embeddings that its graph takes of a speaker (0: it takes none); ``enrolled``: scores with speakers known;
    ``doubt``: how the temperature grows with the graph's ``distance``, see :meth:`heat`; ``by_corpus``: each corpus's scores; ``conditions``: what is left of the UAR in noise and the like.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    sample_rate: int
    window_s: float
    hop_s: float
    sha256: str
    licence: str
    temperature: float = 1.0
    doubt: Mapping[str, float] = field(default_factory=dict)
    abstain_below: float = 0.0
    recipe: Mapping[str, Any] = field(default_factory=dict)
    paper: Mapping[str, str] | None = None
    corpora: tuple[Mapping[str, str], ...] = ()
    split: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] | None = None
    n_parameters: int = 0
    least_rate: int = 0
    parity: Mapping[str, Any] = field(default_factory=dict)
    quantization: str = ""
    speaker_size: int = 0
    enrolled: Mapping[str, Any] | None = None
    by_corpus: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def window(self) -> int:
        """Samples in a window."""
        return round(self.window_s * self.sample_rate)

    def heat(self, distance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The temperature of answers at these distances (B,) -> (B,), where the speaker isn't known."""
        if not self.doubt:
            return np.full_like(distance, self.temperature)
        further = np.clip(distance / np.float32(self.doubt["usual"]), 1, np.float32(self.doubt["furthest"]))
        return np.asarray(self.temperature * further ** self.doubt["exponent"], np.float32)

    @property
    def hop(self) -> int:
        """Samples from one window's start to the next one's."""
        return round(self.hop_s * self.sample_rate)


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and found whole."""

    folder: Path
    facts: Facts

    @property
    def graph(self) -> Path:
        return self.folder / GRAPH


def resolve(name: str | Path) -> Path:
    """The folder of a bundle: one in the box by name ("default"), a bundle folder, or a run folder with one in it.

    Raises BundleError when there is none.
    """
    inside = BUNDLES / str(name)
    if str(name) and "/" not in str(name) and (inside / FACTS).is_file():
        return inside
    path = Path(name)
    for folder in (path, path / "bundle"):
        if (folder / FACTS).is_file():
            return folder
    boxed = ", ".join(sorted(entry.parent.name for entry in BUNDLES.glob(f"*/{FACTS}"))) or "none"
    what = (
        "no such folder"
        if not path.exists()
        else "no bundle.json in it"
        if path.is_dir()
        else "a file, expected a bundle's folder"
    )
    raise BundleError(f"{name}: not a bundle ({what}); in the box: {boxed}")


def read(name: str | Path) -> Bundle:
    """Read a bundle and check that it is whole. Raises BundleError: missing, newer format, changed graph."""
    folder = resolve(name)
    facts = _facts(folder)
    graph = folder / GRAPH
    try:
        found = files.sha256(graph)
    except OSError as error:
        raise BundleError(f"{folder}: can't read {GRAPH}: {files.reason(error)}") from error
    if found != facts.sha256:
        raise BundleError(
            f"{folder}: {GRAPH} is not the file that was exported (sha256 {found[:12]}..., expected {facts.sha256[:12]}...); "
            "it was damaged or changed: copy the bundle anew"
        )
    return Bundle(folder, facts)


def write(folder: Path, graph: bytes, facts: Facts, weights: bytes | None = None) -> Bundle:
    """Write a bundle, whole or not at all; ``weights`` is a safetensors file's content. Raises KanjoError."""
    with files.folder_whole(folder) as unfinished:
        (unfinished / GRAPH).write_bytes(graph)
        (unfinished / FACTS).write_text(_text(facts), encoding="utf-8")
        (unfinished / CARD).write_text(card(facts), encoding="utf-8")
        if weights is not None:
            (unfinished / WEIGHTS).write_bytes(weights)
    return Bundle(folder, facts)


def rewrite_facts(folder: Path, facts: Facts) -> Bundle:
    """Replace what a bundle says of itself (after it was measured); its graph stays. Raises KanjoError."""
    files.write_text(folder / FACTS, _text(facts))
    files.write_text(folder / CARD, card(facts))
    return Bundle(folder, facts)


def card(facts: Facts) -> str:
    """The model card, made from the facts alone: what it is for, what it was trained on, how it was measured."""
    corpora = "\n".join(
        f"| {c['title']} | {c['language']} | {c['utterances']} | {c['speakers']} | {c['licence']} |"
        for c in facts.corpora
    )
    citations = "\n".join(f"- {c['citation']}" for c in facts.corpora if c["citation"])
    architecture = facts.paper["title"] if facts.paper else "see the recipe in bundle.json"
    return f"""# {facts.name} {facts.version}

Recognises emotion in speech: {", ".join(facts.labels)}.

- Input: mono speech at {facts.sample_rate} Hz, windows of {facts.window_s:g} s (ONNX input `signal`, float32, (B, {facts.window})).
- Output: `probabilities` (B, {len(facts.labels)}), calibrated with temperature {facts.temperature:.3f}{_doubting(facts)}, and `embedding` (B, D).{_takes(facts)}
- Network: {facts.n_parameters:,} parameters. {architecture}
- Licence of the weights: {facts.licence}

## Trained on (validation speakers included, test speakers not)

| corpus | language | utterances | speakers | licence |
|---|---|---|---|---|
{corpora}

## Measured

{_measured(facts)}

{_exactness(facts)}

## Know before you use it

- It was trained on acted speech, recorded close and clean. Emotion in everyday speech is fainter and mixed, and its scores there
  are lower than these.
- It knows the languages, ages and accents of the corpora above and no others. Loudness, room and telephone bands move its answers.
- It is not equally good for everybody: see the spread over speakers and sexes above, and measure it on your own speakers.
- It hears how something is said, not what is meant, and never what a person feels. Do not use it to judge people: not in hiring,
  teaching, policing, health or credit, and not without their knowledge. The EU's AI Act (2024/1689) forbids inferring emotions at work and in
  education, but for medical and safety reasons.

## Sources

{citations}
"""


def _measured(facts: Facts) -> str:
    split, scores = facts.split, facts.scores
    protocol = f"Protocol: {split.get('protocol', 'not recorded')}" + (
        f", {split['note']}" if split.get("note") else ""
    )
    audit = "".join(f"\n- {line}" for line in split.get("audit", ()))
    if not scores:
        return f"{protocol}\n{audit}\n\nNo test scores: it was trained on everything that there was to test on."

    def percent(value: Mapping[str, Any]) -> str:
        span = "" if value.get("low") is None else f" (95 %: {100 * value['low']:.1f} to {100 * value['high']:.1f})"
        return f"{100 * value['value']:.1f} %{span}"

    def row(name: str, of: Mapping[str, Any]) -> str:
        shown = (percent(of[key]) for key in ("uar", "accuracy", "macro_f1"))
        return f"| {name} | {' | '.join(shown)} | {of['ece']:.3f} | {of['n']} |"

    rows = [row("all together", scores), *(row(f"{name} alone", of) for name, of in facts.by_corpus.items())]
    if facts.enrolled:
        rows.append(row("speakers known (half of their clips, unlabelled)", facts.enrolled))
    table = "\n".join(rows)
    recalls = ", ".join(f"{name} {100 * value:.0f} %" for name, value in scores["recalls"].items() if value is not None)
    speakers = sorted(scores["speakers"].values())
    gap = (
        f"UAR of single speakers: {100 * speakers[0]:.1f} % to {100 * speakers[-1]:.1f} %." if len(speakers) > 1 else ""
    )
    sexes = ", ".join(f"{name} {100 * value:.1f} %" for name, value in scores["sexes"].items())
    return f"""{protocol}
{audit}

| | UAR | accuracy | macro-F1 | calibration error | test utterances |
|---|---|---|---|---|---|
{table}

Recall: {recalls}.
{f"UAR by sex: {sexes}." if sexes else ""} {gap}
{_under(facts.conditions)}"""


def _doubting(facts: Facts) -> str:
    if not facts.doubt:
        return ""
    usual, furthest, exponent = (facts.doubt[key] for key in ("usual", "furthest", "exponent"))
    return f" x min(max(1, distance / {usual:.2f}), {furthest:.2f})^{exponent:.1f} (the less a recording sounds like the training, the less sure)"


def _takes(facts: Facts) -> str:
    if not facts.speaker_size:
        return ""
    return f"\n- Optional input: `speaker` (B or 1, {facts.speaker_size + 1}), a speaker's mean embedding and a 1 (`kanjo enroll`)."


def _under(conditions: Mapping[str, Any]) -> str:
    if not conditions:
        return ""
    rows = "\n".join(f"| {name} | {100 * uar['value']:.1f} % |" for name, uar in conditions.items())
    return f"\nThe same test utterances as they might have come:\n\n| condition | UAR |\n|---|---|\n{rows}"


def _exactness(facts: Facts) -> str:
    if facts.quantization:
        return f"Quantised: {facts.quantization}. The scores above were measured with it."
    largest, clips = facts.parity.get("largest_difference", float("nan")), facts.parity.get("clips", 0)
    return f"torch and ONNX Runtime differ by at most {largest:.1e} on {clips} real clips."


def _text(facts: Facts) -> str:
    return json.dumps({f.name: getattr(facts, f.name) for f in fields(facts)}, indent=2, ensure_ascii=False) + "\n"


def _facts(folder: Path) -> Facts:
    path = folder / FACTS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"can't read {path}: {files.reason(error)}") from error
    except ValueError as error:
        raise BundleError(f"{path}: not JSON ({error})") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise BundleError(f"{path}: no format_version; not a kanjo bundle")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{path}: bundle format {version}, this kanjo reads up to {FORMAT_VERSION}; upgrade: pip install -U kanjo"
        )
    known = {f.name for f in fields(Facts)}
    try:
        facts = Facts(**{key: _frozen(value) for key, value in content.items() if key in known})
    except TypeError as error:
        raise BundleError(f"{path}: {str(error).replace('Facts.__init__() ', '')}") from error
    if len(facts.labels) < 2 or not 0 < facts.hop_s <= facts.window_s or facts.sample_rate <= 0:
        raise BundleError(
            f"{path}: {len(facts.labels)} labels, window {facts.window_s} s, hop {facts.hop_s} s, {facts.sample_rate} Hz: not usable"
        )
    return facts


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
