"""``kanjo demo``: the example recordings, with the intended and the recognized emotions side by side."""

from __future__ import annotations

import csv
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from kanjo.cli.common import Model, load_on, progress_bar
from kanjo.errors import KanjoError
from kanjo.inference.prediction import Prediction, Segment
from kanjo.inference.recording import OOD_WARNING_THRESHOLD
from kanjo.labels import SILENCE, UNSURE

#: What truth.csv has as the emotion of noise and silence.
NO_SPEECH = "no speech"

_INTRODUCTION = """\
These recordings are synthetic. A speech synthesizer spoke
the sentences, and published rules changed pitch, tempo and
voice for each emotion. No person felt or acted them, and
the model was trained on people. So this table shows what
the output looks like, not how accurate kanjo is.
"""


@dataclass(frozen=True)
class Intended:
    """A row of truth.csv: a recording, or one turn of the conversation, and the emotion that it was made for."""

    file: str
    emotion: str
    language: str
    start_s: float | None
    end_s: float | None


def demo(model: Model = "default") -> None:
    """Recognize the example recordings and compare with what was intended.

    The recordings are synthetic, and they are installed with kanjo.

    Example: kanjo demo
    """
    folder = find_recordings()
    rows = read_truth(folder)
    files = list(dict.fromkeys(row.file for row in rows))
    start = time.perf_counter()
    recognizer = load_on(model, "auto")
    loaded = time.perf_counter()
    predictions: dict[str, Prediction] = {}
    with progress_bar("predicting") as progress:
        for file, prediction in zip(files, recognizer.predict_many(folder / file for file in files), strict=True):
            predictions[file] = prediction
            progress(len(predictions), len(files))
    seconds = time.perf_counter() - loaded
    print(_INTRODUCTION)
    _print_table(rows, predictions)
    _print_summary(rows, predictions)
    audio_s = sum(prediction.duration_s for prediction in predictions.values())
    print(f"\nSpeed: {audio_s:.0f} s of audio in {seconds:.1f} s, {audio_s / seconds:.0f} times faster than")
    print(f"real time on this machine (loading the model: {loaded - start:.1f} s).")
    print(f"Listen to them: {folder}\n\nNext:")
    program = _program()
    print(f"    {program} predict your-recording.wav")
    print(f"    {program} predict your-folder -o emotions.csv")
    print(f"    {program} finetune --help   (your own emotions)")


def find_recordings() -> Path:
    """Return the folder of the example recordings: in the package, or in a clone ``examples/recordings``.

    Raises:
        KanjoError: The recordings are not installed.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "demo_recordings", package.parents[1] / "examples" / "recordings"):
        if (folder / "truth.csv").is_file():
            return folder
    raise KanjoError(f"{package}: expected the example recordings in demo_recordings; install kanjo again")


def read_truth(folder: Path) -> list[Intended]:
    """Read the intended emotions of the example recordings from ``truth.csv``.

    Raises:
        KanjoError: The file is damaged.
    """
    path = folder / "truth.csv"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return [_parse_row(row) for row in csv.DictReader(stream)]
    except (ValueError, KeyError, TypeError) as error:
        raise KanjoError(f"{path}: damaged ({error}); install kanjo again") from error


def _parse_row(row: dict[str, str]) -> Intended:
    start_s, end_s = (float(row[name]) if row[name] else None for name in ("start_s", "end_s"))
    return Intended(row["file"], row["emotion"], row["language"], start_s, end_s)


def recognized(row: Intended, prediction: Prediction) -> tuple[str, float]:
    """Return the label and the confidence of a recording, or those of the longest segment within a turn."""
    if prediction.error:
        raise KanjoError(f"{prediction.file}: {prediction.error}; install kanjo again")
    if row.start_s is None or row.end_s is None or not prediction.segments:
        return prediction.label, prediction.confidence
    start_s, end_s = row.start_s, row.end_s

    def overlap_s(segment: Segment) -> float:
        return min(segment.end_s, end_s) - max(segment.start_s, start_s)

    segment = max(prediction.segments, key=overlap_s)
    return segment.label, segment.confidence


def _is_miss(row: Intended, label: str) -> bool:
    return label not in (UNSURE, SILENCE) if row.emotion == NO_SPEECH else label != row.emotion


def _print_table(rows: list[Intended], predictions: dict[str, Prediction]) -> None:
    print(f"{'recording':<20}  {'intended':<10}  {'recognized':<10}  {'conf.':>5}")
    conversation = ""
    for row in rows:
        name = row.file
        if row.start_s is not None:
            if conversation != name:
                print(name)
                conversation = name
            name = f"{f'{row.start_s:.1f} s - {row.end_s:.1f} s':>20}"
        label, confidence = recognized(row, predictions[row.file])
        conf = f"{confidence:.0%}" if row.emotion != NO_SPEECH else ""
        miss = "miss" if _is_miss(row, label) else ""
        print(f"{name:<20}  {row.emotion:<10}  {label:<10}  {conf:>5}  {miss}".rstrip())


def _print_summary(rows: list[Intended], predictions: dict[str, Prediction]) -> None:
    """Print how many sentences and turns were recognized as intended, and how many guessing would get."""
    speech = [row for row in rows if row.emotion != NO_SPEECH and row.language == "en"]
    print()
    for name, group in (
        ("sentences", [row for row in speech if row.start_s is None]),
        ("turns of the conversation", [row for row in speech if row.start_s is not None]),
    ):
        hits = sum(not _is_miss(row, recognized(row, predictions[row.file])[0]) for row in group)
        emotions = len({row.emotion for row in group})
        print(f"As intended: {hits} of {len(group)} {name}")
        print(f"    (guessing among {emotions} emotions: {len(group) / emotions:.1f})")
    scores = [predictions[file].ood_score for file in {row.file for row in rows if row.emotion != NO_SPEECH}]
    n_different = sum(score is not None and score > OOD_WARNING_THRESHOLD for score in scores)
    print(f"{n_different} of {len(scores)} recordings of speech differ from the training data")
    print(f"(ood_score over {OOD_WARNING_THRESHOLD:g}).")


def _program() -> str:
    """Return how to call kanjo again: by its name if the shell finds it, else as it was called."""
    if shutil.which("kanjo"):
        return "kanjo"
    return sys.argv[0] if Path(sys.argv[0]).stem == "kanjo" else "python -m kanjo"
