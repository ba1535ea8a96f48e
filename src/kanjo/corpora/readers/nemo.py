"""nEMO (Christop 2024, arXiv 2404.06292), Polish: ``data.tsv`` is the table of the recordings in ``samples/``."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, list_recordings, no_utterances_error, read_table_rows, without_copies
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.words import normalize, parse_sex, parse_word
from kanjo.labels import canonical_emotion


def read(root: Path) -> Iterator[Utterance]:
    """Yield the utterances in ``data.tsv`` whose recording exists, in any audio format.

    Raises:
        CorpusError: There are no utterances, or the table can't be read.
    """
    paths_by_stem = without_copies((normalize(path.stem), path) for path in list_recordings(root, "nemo"))
    n_utterances = 0
    for row in _read_table(root):
        path = paths_by_stem.get(_recording_stem(row))
        if path is None:
            continue
        n_utterances += 1
        yield Utterance(
            corpus="nemo",
            file=path.relative_to(root).as_posix(),
            emotion=canonical_emotion(row["emotion"]),
            labels_raw=row["emotion"].strip(),
            speaker=parse_word(row["speaker_id"]),
            sex=parse_sex(row.get("gender", "")),
            language="pl",
            text=normalize(row.get("raw_text", "")),
        )
    if not n_utterances:
        raise no_utterances_error("nemo", root, "data.tsv, and its recordings under samples/")


def list_missing(root: Path) -> list[str]:
    """List the recordings in ``data.tsv`` that do not exist."""
    existing = {normalize(path.stem) for path in list_recordings(root, "nemo")}
    return [row["file_id"] for row in _read_table(root) if _recording_stem(row) not in existing]


def _read_table(root: Path) -> Iterator[dict[str, str]]:
    columns = ("file_id", "emotion", "speaker_id")
    return read_table_rows(root / "data.tsv", "nemo", columns, delimiter="\t", quoting=csv.QUOTE_NONE)


def _recording_stem(row: dict[str, str]) -> str:
    return normalize(Path(row["file_id"].strip()).stem)


NEMO = Corpus(
    name="nemo",
    title="nEMO",
    language="pl",
    license="CC BY-NC-SA 4.0",
    homepage="https://huggingface.co/datasets/amu-cai/nEMO",
    citation="I. Christop. nEMO: Dataset of Emotional Speech in Polish. LREC-COLING 2024, arXiv 2404.06292.",
    how_to_get="Clone the repository of the dataset from the homepage.",
    emotions={"anger": 749, "fear": 736, "happiness": 749, "neutral": 809, "sadness": 769, "surprised": 669},
    n_speakers=9,
    sample_rate=24_000,
    read=read,
    folders=("nemo", "nEMO"),
    stem=re.compile(r"[A-Z]{2}\d_(?:anger|fear|happiness|neutral|sadness|surprised)_\d+"),
    list_missing=list_missing,
    archives=(Archive("https://github.com/amu-cai/nEMO/archive/refs/heads/main.zip"),),
    notes="Ninety sentences, the same for every speaker and emotion: speaker-independent splits are not "
    "text-independent.",
)
