"""``kanjo embed``: emotion vectors of recordings, to go on with."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from kanjo.cli.common import Jobs, Model, Silent, progress, say
from kanjo.cli.predict import How, expanded, predictions
from kanjo.errors import KanjoError
from kanjo.files import written_whole
from kanjo.inference.prediction import Prediction
from kanjo.inference.recognizer import Recognizer, load

#: Rows of a Parquet file written together: what is held in memory.
_ROWS = 1000


def register(app: typer.Typer) -> None:
    app.command()(embed)


def embed(
    paths: Annotated[list[str], typer.Argument(help="Recordings, folders (searched through), or patterns.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .parquet or .npy file.")],
    model: Model = "default",
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """Write each recording's emotion vector: the emotions' probabilities and the network's embedding.

    Parquet: a row each with file, label, confidence, probabilities, embedding, error. NPY: float32 (recordings, emotions + D), the
    probabilities first; the names stand in a CSV beside it. A recording that can't be heard gets NaN, and its error.

    Example: kanjo embed recordings/ -o vectors.parquet
    """
    writers = {".parquet": _parquet, ".npy": _npy}
    if output.suffix.lower() not in writers:
        raise typer.BadParameter(f"{output}: expected a name that ends in .parquet or .npy")
    recognizer = load(model)
    inputs = list(expanded(paths))
    bad = 0
    with progress("embedding", silent) as show:

        def watched() -> Iterator[Prediction]:
            nonlocal bad
            for done, answer in enumerate(predictions(recognizer, inputs, How(), jobs), 1):
                bad += bool(answer.error)
                show(done, len(inputs))
                yield answer

        writers[output.suffix.lower()](output, watched(), recognizer, len(inputs))
    if bad:
        say(f"kanjo: {bad} of {len(inputs)} recordings failed")
        raise typer.Exit(1)


def _parquet(output: Path, answers: Iterable[Prediction], recognizer: Recognizer, n: int) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise KanjoError("Parquet is written by pyarrow: pip install 'kanjo[parquet]', or write a .npy file") from error
    vector = pyarrow.list_(pyarrow.float32())
    columns = {"file": pyarrow.string(), "label": pyarrow.string(), "confidence": pyarrow.float32()}
    schema = pyarrow.schema(
        {**columns, "probabilities": vector, "embedding": vector, "error": pyarrow.string()},
        metadata={
            "labels": " ".join(recognizer.labels),
            "bundle": f"{recognizer.facts.name} {recognizer.facts.sha256}",
        },
    )
    coming = iter(answers)
    with written_whole(output) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
        while rows := [_row(answer, recognizer.labels) for answer in islice(coming, _ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _row(answer: Prediction, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "file": answer.file.encode("utf-8", "replace").decode(),
        "label": answer.label,
        "confidence": None if answer.error else answer.confidence,
        "probabilities": None if answer.error else [answer.probabilities[name] for name in labels],
        "embedding": None if answer.embedding is None else answer.embedding.tolist(),
        "error": answer.error,
    }


def _npy(output: Path, answers: Iterable[Prediction], recognizer: Recognizer, n: int) -> None:
    labels = recognizer.labels
    width = len(labels) + len(recognizer.embed_signal(np.zeros(1, np.float32)))
    beside = output.with_suffix(".csv")
    with written_whole(beside) as names, written_whole(output) as temporary:
        rows = np.lib.format.open_memmap(temporary, "w+", np.float32, (n, width))
        with names.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(["file", "emotion", "confidence", "error"])
            for i, answer in enumerate(answers):
                rows[i] = np.nan
                if not answer.error and answer.embedding is not None:
                    rows[i] = np.concatenate([[answer.probabilities[name] for name in labels], answer.embedding])
                table.writerow(
                    [answer.file, answer.label, "" if answer.error else f"{answer.confidence:.6f}", answer.error]
                )
        rows.flush()
