"""Measure ``kanjo finetune`` on small sets of recordings, and on one corpus that the built-in model has never seen.

    python benchmarks/accuracy/finetune.py            every data set, the corpora in KANJO_CORPORA
    python benchmarks/accuracy/finetune.py emovo      only one

The data sets are written as a user would have them: a folder of class folders, or a table. Each is one command. The
built-in model was trained on most of the recordings of RAVDESS and nEMO, so its own scores there are too high; EMOVO
is the fair comparison.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kanjo.corpora import find_root, read_corpus
from kanjo.corpora.manifest import Utterance

CORPORA = Path(os.environ.get("KANJO_CORPORA", "../shared/corpora")).resolve()
CLIPS_PER_CLASS = 40


@dataclass(frozen=True)
class DataSet:
    """What is given to ``kanjo finetune``.

    Attributes:
        title: Description for the table.
        make: Makes the data in a folder; returns the arguments of the command.
    """

    title: str
    make: Callable[[Path], list[str]]


def read_clips(corpus: str) -> list[tuple[Utterance, Path]]:
    """The utterances of a corpus with their paths."""
    root = find_root(corpus, CORPORA)
    return [(row, root / row.file) for row in read_corpus(corpus, root).utterances]


def choose(corpus: str) -> list[tuple[Utterance, Path]]:
    """The first recordings of each class, taken from the speakers in turn."""
    by_class: dict[str, dict[str, list[tuple[Utterance, Path]]]] = defaultdict(lambda: defaultdict(list))
    for row, path in read_clips(corpus):
        by_class[row.emotion][row.speaker].append((row, path))
    chosen = []
    for speakers in by_class.values():
        n_clips = max(map(len, speakers.values()))
        in_turn = [clips[n] for n in range(n_clips) for clips in speakers.values() if n < len(clips)]
        chosen += in_turn[:CLIPS_PER_CLASS]
    return chosen


def write_folders(folder: Path, clips: Iterable[tuple[Utterance, Path]]) -> list[str]:
    """Write links to recordings into one folder for each class."""
    for row, path in clips:
        target = folder / "clips" / row.emotion / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    return [str(folder / "clips")]


def write_table(folder: Path, clips: Iterable[tuple[Utterance, Path]]) -> list[str]:
    """Write a table with files, emotions and speakers."""
    path = folder / "clips.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = [(audio, row.emotion, row.speaker) for row, audio in clips]
        csv.writer(stream).writerows([("file", "emotion", "speaker"), *rows])
    return [str(path)]


def one_emotion_each() -> list[tuple[Utterance, Path]]:
    """All clips of one emotion of each of 19 speakers of RAVDESS."""
    clips = read_clips("ravdess")
    speakers, emotions = (sorted({getattr(row, name) for row, _ in clips}) for name in ("speaker", "emotion"))
    emotion_of = {speaker: emotions[n % len(emotions)] for n, speaker in enumerate(speakers[:19])}
    return [(row, path) for row, path in clips if emotion_of.get(row.speaker) == row.emotion]


DATA_SETS = {
    "emovo": DataSet(
        "EMOVO, leave one speaker out, never seen",
        lambda _: ["emovo", "--corpus-root", str(CORPORA), "--folds", "6"],
    ),
    "ravdess-folders": DataSet(
        "RAVDESS, 40 clips a class, class folders without speakers",
        lambda folder: write_folders(folder, choose("ravdess")),
    ),
    "ravdess-table": DataSet(
        "RAVDESS, the same clips, table with speakers", lambda folder: write_table(folder, choose("ravdess"))
    ),
    "nemo-table": DataSet(
        "nEMO, 40 clips a class, table with speakers", lambda folder: write_table(folder, choose("nemo"))
    ),
    "one-emotion": DataSet(
        "19 RAVDESS speakers, one emotion each, table", lambda folder: write_table(folder, one_emotion_each())
    ),
    "esd": DataSet("ESD, 16 clips of one speaker", lambda _: ["esd", "--corpus-root", str(CORPORA)]),
}


def main() -> None:
    """Print a table with a row for each data set."""
    print("| data | clips | original UAR % | finetuned UAR % | difference | minutes |\n|---|---|---|---|---|---|")
    for name in sys.argv[1:] or DATA_SETS:
        with tempfile.TemporaryDirectory() as folder:
            arguments = DATA_SETS[name].make(Path(folder))
            run = Path(folder) / "run"
            started = time.monotonic()
            command = [sys.executable, "-m", "kanjo", "finetune", *arguments, "-o", str(run), "--silent"]
            finished = subprocess.run(command, capture_output=True, text=True)
            minutes = (time.monotonic() - started) / 60
            if finished.returncode:
                print(f"| {DATA_SETS[name].title} | {finished.stderr.strip()} |", flush=True)
                continue
            print(f"| {DATA_SETS[name].title} | {describe(run)} | {minutes:.1f} |", flush=True)


def describe(run: Path) -> str:
    """The cells of a finished run."""
    comparison = json.loads((run / "finetune.json").read_text(encoding="utf-8"))["comparison"]
    rows = {row["model"]: row for row in comparison["scores"]}
    cells = [str(rows["finetuned"]["n_clips"]), *(cell(rows.get(name)) for name in ("original", "finetuned"))]
    return " | ".join([*cells, cell(comparison["difference"], sign="+")])


def cell(scores: dict[str, dict[str, float]] | None, sign: str = "") -> str:
    """A UAR in percent, with its interval."""
    if not scores:
        return "-"
    uar = scores["uar"]
    text = f"{100 * uar['value']:{sign}.1f}"
    if uar.get("low") is None:
        return text
    return f"{text} [{100 * uar['low']:{sign}.1f}, {100 * uar['high']:{sign}.1f}]"


if __name__ == "__main__":
    main()
