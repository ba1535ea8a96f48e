"""nEMO (Christop 2024, arXiv 2404.06292): ``data.tsv`` beside ``samples/``, Polish, six emotions."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, nothing_found, recordings, table_of
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.labels import canonical


def read(root: Path) -> Iterator[Utterance]:
    """Utterances listed in ``data.tsv`` whose recording is there, in any audio format. Raises CorpusError."""
    by_stem = {path.stem: path for path in recordings(root, "nemo")}
    found = False
    for row in _rows(root):
        path = by_stem.get(_stem(row))
        if path is None:
            continue
        found = True
        yield Utterance(
            corpus="nemo",
            file=path.relative_to(root).as_posix(),
            emotion=canonical(row["emotion"]),
            labels_raw=row["emotion"].strip(),
            speaker=row["speaker_id"].strip(),
            sex=(row.get("gender") or "").strip(),
            language="pl",
            text=(row.get("raw_text") or "").strip(),
        )
    if not found:
        raise nothing_found("nemo", root, "data.tsv, and its recordings under samples/")


def missing(root: Path) -> list[str]:
    """Recordings that ``data.tsv`` lists and that are not there."""
    there = {path.stem for path in recordings(root, "nemo")}
    return [row["file_id"] for row in _rows(root) if _stem(row) not in there]


def _rows(root: Path) -> Iterator[dict[str, str]]:
    table = root / "data.tsv"
    reader = csv.DictReader(table_of(table, "nemo"), delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
    lacks = {"file_id", "emotion", "speaker_id"} - set(reader.fieldnames or ())
    if lacks:
        raise CorpusError(f"nemo: {table} lacks the column {', '.join(sorted(lacks))}")
    yield from reader


def _stem(row: dict[str, str]) -> str:
    return Path(row["file_id"].strip()).stem


NEMO = Corpus(
    name="nemo",
    title="nEMO",
    language="pl",
    licence="CC BY-NC-SA 4.0",
    homepage="https://huggingface.co/datasets/amu-cai/nEMO",
    citation="I. Christop. nEMO: Dataset of Emotional Speech in Polish. LREC-COLING 2024, arXiv 2404.06292.",
    how_to_get="Clone the dataset's repository from the homepage.",
    emotions={"anger": 749, "fear": 736, "happiness": 749, "neutral": 809, "sadness": 769, "surprised": 669},
    n_speakers=9,
    sample_rate=24_000,
    read=read,
    folders=("nemo", "nEMO"),
    missing=missing,
    archives=(Archive("https://github.com/amu-cai/nEMO/archive/refs/heads/main.zip"),),
    notes="Ninety sentences, the same for every speaker and emotion: speaker-independent is not text-independent.",
)
