"""MELD (Poria et al. 2019, arXiv 1810.02508): ``train_sent_emo.csv`` beside ``train_splits/dia0_utt0.mp4``; Friends, the series."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, nothing_found, recordings, table_of
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.labels import canonical

#: Each part's table, and what its folder of clips is called.
_PARTS = (
    ("train", "train_sent_emo.csv", ("train_splits", "train")),
    ("validation", "dev_sent_emo.csv", ("dev_splits_complete", "dev")),
    ("test", "test_sent_emo.csv", ("output_repeated_splits_test", "test")),
)
_NEEDED = {"Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID"}


def read(root: Path) -> Iterator[Utterance]:
    """Utterances whose clip is there, in any container; ``split`` is the publication's. Raises CorpusError."""
    found = False
    for split, row, path in _rows(root):
        if path is None:
            continue
        found = True
        yield Utterance(
            corpus="meld",
            file=path.relative_to(root).as_posix(),
            emotion=canonical(row["Emotion"]),
            labels_raw=row["Emotion"],
            speaker=row["Speaker"].strip(),
            language="en",
            text=(row["Utterance"] or "").replace("\x92", "'").strip(),
            split=split,
        )
    if not found:
        raise nothing_found("meld", root, "train_sent_emo.csv and clips such as train_splits/dia0_utt0.mp4")


def missing(root: Path) -> list[str]:
    """Utterances that the tables list and whose clip is not there, of the parts that are."""
    rows = list(_rows(root))
    parts = {split for split, _, path in rows if path is not None}
    return [f"{split}: {_stem(row)}" for split, row, path in rows if path is None and split in parts]


def _rows(root: Path) -> Iterator[tuple[str, dict[str, str], Path | None]]:
    """Part, row of its table, and clip (None where it is not there)."""
    clips: dict[tuple[str, str], Path] = {}
    for clip in recordings(root, "meld"):
        clips.setdefault((clip.parent.name, clip.stem), clip)
    for split, name, folders in _PARTS:
        table = next((path for path in (root / name, root / "data" / "MELD" / name) if path.is_file()), None)
        if table is None:
            continue
        rows = csv.DictReader(table_of(table, "meld", ("utf-8-sig", "cp1252")), restval="")
        lacks = _NEEDED - set(rows.fieldnames or ())
        if lacks:
            raise CorpusError(f"meld: {table} lacks the column {', '.join(sorted(lacks))}")
        for row in rows:
            yield (
                split,
                row,
                next((clips[folder, _stem(row)] for folder in folders if (folder, _stem(row)) in clips), None),
            )


def _stem(row: dict[str, str]) -> str:
    return f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"


MELD = Corpus(
    name="meld",
    title="Multimodal EmotionLines Dataset (MELD)",
    language="en",
    licence="GPL-3.0",
    homepage="https://github.com/declare-lab/MELD",
    citation="S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria, R. Mihalcea. MELD: a multimodal multi-party dataset for "
    "emotion recognition in conversations. ACL 2019, arXiv 1810.02508.",
    how_to_get="Download MELD.Raw.tar.gz from the homepage and unpack it and the three archives in it. Reading mp4 needs kanjo[media].",
    emotions={
        "neutral": 6436,
        "joy": 2308,
        "surprise": 1636,
        "anger": 1607,
        "sadness": 1002,
        "disgust": 361,
        "fear": 358,
    },
    n_speakers=0,
    sample_rate=48_000,
    read=read,
    missing=missing,
    folders=("meld", "MELD", "MELD.Raw"),
    notes="The published split shares its main actors between train and test: --protocol manifest needs "
    "split.allow_shared_speakers=true, and the report says so. Laughter of the audience is on many clips.",
)
