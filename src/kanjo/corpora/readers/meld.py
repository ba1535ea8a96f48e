"""MELD (Poria et al. 2019, arXiv 1810.02508), the series Friends.

``train_sent_emo.csv`` is the table of the clips ``train_splits/dia0_utt0.mp4``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import (
    Corpus,
    first_existing_file,
    list_recordings,
    no_utterances_error,
    read_table_rows,
    without_copies,
)
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.words import normalize
from kanjo.labels import canonical_emotion

#: Each split: its table, and possible names of its folder of clips.
_SPLITS = (
    ("train", "train_sent_emo.csv", ("train_splits", "train")),
    ("validation", "dev_sent_emo.csv", ("dev_splits_complete", "dev")),
    ("test", "test_sent_emo.csv", ("output_repeated_splits_test", "test")),
)
_COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")


def read(root: Path) -> Iterator[Utterance]:
    """Yield the utterances whose clip exists, in any container, with the published split.

    Raises:
        CorpusError: There are no utterances, or a table lacks a column.
    """
    n_utterances = 0
    for split, row, path in _read_tables(root):
        if path is None:
            continue
        n_utterances += 1
        yield Utterance(
            corpus="meld",
            file=path.relative_to(root).as_posix(),
            emotion=canonical_emotion(row["Emotion"]),
            labels_raw=row["Emotion"],
            speaker=normalize(row["Speaker"]),
            language="en",
            text=normalize(row["Utterance"].replace("\x92", "'")),
            split=split,
        )
    if not n_utterances:
        raise no_utterances_error("meld", root, "train_sent_emo.csv and clips such as train_splits/dia0_utt0.mp4")


def list_missing(root: Path) -> list[str]:
    """List the utterances whose clip does not exist, of the splits that have at least one clip."""
    rows = list(_read_tables(root))
    splits = {split for split, _, path in rows if path is not None}
    return [f"{split}: {_clip_stem(row)}" for split, row, path in rows if path is None and split in splits]


def _read_tables(root: Path) -> Iterator[tuple[str, dict[str, str], Path | None]]:
    """Yield the split, the row of its table, and the clip (None if it does not exist)."""
    clips = without_copies(((clip.parent.name, clip.stem), clip) for clip in list_recordings(root, "meld"))
    for split, name, folders in _SPLITS:
        table = first_existing_file(root / name, root / "data" / "MELD" / name)
        if table is None:
            continue
        for row in read_table_rows(table, "meld", _COLUMNS, ("utf-8-sig", "cp1252")):
            keys = [(folder, _clip_stem(row)) for folder in folders]
            yield split, row, next((clips[key] for key in keys if key in clips), None)


def _clip_stem(row: dict[str, str]) -> str:
    return f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"


MELD = Corpus(
    name="meld",
    title="Multimodal EmotionLines Dataset (MELD)",
    language="en",
    license="GPL-3.0",
    homepage="https://github.com/declare-lab/MELD",
    citation="S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria, R. Mihalcea. MELD: a multimodal multi-party "
    "dataset for emotion recognition in conversations. ACL 2019, arXiv 1810.02508.",
    how_to_get="Download MELD.Raw.tar.gz from the homepage; unpack it and the three archives in it. Reading mp4 needs "
    "kanjo[media].",
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
    list_missing=list_missing,
    folders=("meld", "MELD", "MELD.Raw"),
    notes="The main actors are in both train and test of the published split: protocol manifest needs "
    "split.allow_shared_speakers=true, and the report states it. Many clips contain laughter of the audience.",
)
