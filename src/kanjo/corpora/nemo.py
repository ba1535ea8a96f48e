"""nEMO (Christop 2024, arXiv 2404.06292): ``data.tsv`` beside ``samples/``, Polish, six emotions."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora._base import Corpus, nothing_found, recordings
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.files import reason
from kanjo.labels import canonical


def read(root: Path) -> Iterator[Utterance]:
    """Utterances listed in ``data.tsv`` whose recording is there, in any audio format. Raises CorpusError."""
    by_stem = {path.stem: path for path in recordings(root, "nemo")}
    table = root / "data.tsv"
    found = False
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = {"file_id", "emotion", "speaker_id"} - set(reader.fieldnames or ())
            if missing:
                raise CorpusError(f"nemo: {table} lacks the column {', '.join(sorted(missing))}")
            for row in reader:
                path = by_stem.get(Path((row["file_id"] or "").strip()).stem)
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
    except OSError as error:
        raise CorpusError(f"nemo: can't read {table}: {reason(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"nemo: {table} is not a tab-separated table in UTF-8 ({error})") from error
    if not found:
        raise nothing_found("nemo", root, "data.tsv, and its recordings under samples/")


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
    notes="Ninety sentences, the same for every speaker and emotion: speaker-independent is not text-independent.",
)
