"""The model card (``README.md``) of a bundle, written from its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kanjo.bundle.metadata import BundleMetadata

#: License of a corpus of the user's own recordings.
OWN_LICENSE = "your own"

_LIMITATIONS_ACTED = """\
- The training data is acted speech, recorded close to the microphone and without noise. Emotion in everyday speech is
  weaker and mixed; expect lower scores there."""
_LIMITATIONS_OWN = """\
- The scores are those of recordings like the training data. Expect lower scores for other microphones, rooms, topics
  and ways to speak."""
_LIMITATIONS = """\
- The model was trained on the languages, ages and accents of the corpora above only. Loudness, reverberation and
  telephone lines change its predictions.
- It is not equally accurate for all people. {groups}valuate it on your own speakers.
- The model classifies how speech sounds. It does not show what is meant, or what a person feels. Do not use it to judge
  people: not in hiring, teaching, policing, health care or credit, and not without their knowledge. The EU's AI Act
  (2024/1689) prohibits emotion recognition at work and in education, except for medical and safety reasons."""


def model_card(metadata: BundleMetadata) -> str:
    """Return the model card: inputs and outputs, training data, evaluation, limitations and sources."""
    corpora = "\n".join(
        f"| {corpus['title']} | {corpus['language']} | {corpus['utterances']} | {corpus['speakers']} "
        f"| {corpus['license']} |"
        for corpus in metadata.corpora
    )
    return f"""# {metadata.name} {metadata.version}

Recognizes emotion in speech: {", ".join(metadata.labels)}.

{_interface_section(metadata)}

## Training data

{_training_data_text(metadata)}

| corpus | language | utterances | speakers | license |
|---|---|---|---|---|
{corpora}

## Evaluation

{_evaluation_section(metadata)}

{_export_check_text(metadata)}

## Limitations

{_limitations_text(metadata)}
{_sources_section(metadata)}"""


def _training_data_text(metadata: BundleMetadata) -> str:
    if metadata.split.get("test_speakers"):
        return "Training and validation speakers; the test speakers are not counted."
    return "All clips that the model was trained on, including validation clips."


def _limitations_text(metadata: BundleMetadata) -> str:
    is_own = any(corpus["license"] == OWN_LICENSE for corpus in metadata.corpora)
    scores = metadata.scores or {}
    groups = [name for name in ("speaker", "sex") if len(scores.get(f"uar_by_{name}") or ()) > 1]
    see = f"See the UAR by {' and by '.join(groups)} above, and e" if groups else "E"
    return f"{_LIMITATIONS_OWN if is_own else _LIMITATIONS_ACTED}\n{_LIMITATIONS.format(groups=see)}"


def _sources_section(metadata: BundleMetadata) -> str:
    citations = [f"- {corpus['citation']}" for corpus in metadata.corpora if corpus["citation"]]
    return "\n## Sources\n\n" + "\n".join(citations) + "\n" if citations else ""


def _interface_section(metadata: BundleMetadata) -> str:
    """Describe inputs, outputs and calibration of the graph, and the model."""
    architecture = metadata.paper["title"] if metadata.paper else "See the recipe in bundle.json."
    outputs = f"`probabilities` (B, {len(metadata.labels)}) and `embedding` (B, D)"
    if metadata.ood_temperature:
        outputs = f"`probabilities` (B, {len(metadata.labels)}), `embedding` (B, D) and `ood_score` (B,)"
    signal = f"mono speech at {metadata.sample_rate} Hz in windows of {metadata.window_s:g} s"
    length = f"{metadata.window_length})"
    if metadata.uses_speech_segments:
        signal = f"mono speech at {metadata.sample_rate} Hz, one segment of speech of at most {metadata.window_s:g} s"
        length = f"N) with N up to {metadata.window_length}; zeros at the end are ignored"
        outputs += "; `time_step_probabilities` (B, K, E) has the probabilities of each 0.25 s"
    lines = [
        f"Input: {signal} (ONNX input `signal`, float32, (B, {length}).",
        f"Outputs: {outputs}.",
        f"Calibration: {_temperature_text(metadata)}.",
        f"Model: {metadata.n_parameters:,} parameters. {architecture}",
        f"License of the weights: {metadata.license}",
    ]
    if metadata.speaker_size:
        optional = (
            f"Optional input: `speaker` (B or 1, {metadata.speaker_size + 1}), the mean embedding of a speaker and a 1 "
            "(see `kanjo enroll`)."
        )
        lines.insert(1, optional)
    return "\n".join(f"- {line}" for line in lines)


def _temperature_text(metadata: BundleMetadata) -> str:
    text = f"softmax with temperature {metadata.temperature:.3f}"
    if not metadata.ood_temperature:
        return text
    median, max_ratio, exponent = (metadata.ood_temperature[key] for key in ("median", "max_ratio", "exponent"))
    return (
        f"{text} x min(max(1, ood_score / {median:.2f}), {max_ratio:.2f})^{exponent:.1f}; the confidence is therefore "
        "lower for recordings that differ from the training data"
    )


def _evaluation_section(metadata: BundleMetadata) -> str:
    """Describe the protocol and the scores."""
    split, scores = metadata.split, metadata.scores
    protocol = f"Protocol: {split.get('protocol', 'not recorded')}"
    if split.get("note"):
        protocol += f", {split['note']}"
    leakage = "\n".join(f"- {line}" for line in split.get("leakage", ()))
    parts = [f"{protocol}\n\n{leakage}" if leakage else protocol]
    if not scores:
        return "\n\n".join([*parts, "There are no test scores: the model was trained on all speakers."])
    rows = [_score_row("all corpora", scores)]
    rows += [_score_row(name, corpus_scores) for name, corpus_scores in metadata.scores_by_corpus.items()]
    if metadata.scores_enrolled:
        title = "all corpora, with enrollment (by half of each speaker's clips, without labels)"
        rows.append(_score_row(title, metadata.scores_enrolled))
    header = (
        "| test speakers of | UAR | accuracy | macro-F1 | calibration error | utterances |\n|---|---|---|---|---|---|\n"
    )
    parts.append(header + "\n".join(rows))
    parts.append("\n".join(_group_lines(scores)))
    if metadata.robustness:
        parts.append(_robustness_table(metadata.robustness))
    return "\n\n".join(parts)


def _score_row(name: str, scores: Mapping[str, Any]) -> str:
    cells = (_percent(scores[key]) for key in ("uar", "accuracy", "macro_f1"))
    return f"| {name} | {' | '.join(cells)} | {scores['ece']:.3f} | {scores['n']} |"


def _percent(score: Mapping[str, Any]) -> str:
    """Format a score, with its 95 % interval if there is one."""
    text = f"{100 * score['value']:.1f} %"
    if score.get("low") is None:
        return text
    return f"{text} (95 %: {100 * score['low']:.1f} to {100 * score['high']:.1f})"


def _group_lines(scores: Mapping[str, Any]) -> list[str]:
    """Describe the recall of each emotion and the UAR by sex and by speaker."""
    recalls = ", ".join(f"{name} {100 * value:.0f} %" for name, value in scores["recalls"].items() if value is not None)
    lines = [f"- Recall: {recalls}"]
    missing = [name for name, value in scores["recalls"].items() if value is None]
    if missing:
        n_labels = len(scores["recalls"])
        n_present = n_labels - len(missing)
        lines.append(
            f"- UAR over {n_present} of {n_labels} classes (no test utterance of {', '.join(missing)}), "
            f"chance {100 / n_present:.1f} %"
        )
    if scores["uar_by_sex"]:
        by_sex = ", ".join(f"{name} {100 * value:.1f} %" for name, value in scores["uar_by_sex"].items())
        lines.append(f"- UAR by sex: {by_sex}")
    by_speaker = sorted(scores["uar_by_speaker"].values())
    if len(by_speaker) > 1:
        lines.append(f"- UAR by speaker: {100 * by_speaker[0]:.1f} % to {100 * by_speaker[-1]:.1f} %")
    return lines


def _robustness_table(robustness: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {100 * uar['value']:.1f} % |" for name, uar in robustness.items())
    return f"The same test utterances under other conditions:\n\n| condition | UAR |\n|---|---|\n{rows}"


def _export_check_text(metadata: BundleMetadata) -> str:
    if metadata.quantization:
        return f"Quantized: {metadata.quantization}. All scores above are those of the quantized model."
    difference = metadata.export_check.get("largest_difference", float("nan"))
    clips = metadata.export_check.get("clips", 0)
    return f"The probabilities of PyTorch and ONNX Runtime differ by at most {difference:.1e} on {clips} recordings."
