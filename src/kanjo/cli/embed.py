"""``kanjo embed``: embeddings of recordings, for other programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from kanjo.cli.common import Emotions, Jobs, Model, Silent, print_message, progress_bar
from kanjo.cli.inputs import find_inputs, predict_inputs
from kanjo.errors import KanjoError
from kanjo.files import atomic_write
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.prediction import Prediction
from kanjo.inference.recognizer import Recognizer, load

#: Rows of a Parquet file that are written together; they are held in memory.
_ROWS_PER_GROUP = 1000


def embed(
    paths: Annotated[list[str], typer.Argument(help="Recordings, folders (with subfolders), or patterns.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A .parquet or .npy file.")],
    model: Model = "default",
    emotions: Emotions = None,
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """Write the emotion probabilities and the embedding of each recording.

    Parquet: one row per recording with file, label, confidence, probabilities, embedding, error. NPY: a float32
    array (recordings, emotions + D), probabilities first, with the file names in a CSV file of the same name.
    A recording that can't be decoded gets NaN, and its error.

    Example: kanjo embed recordings/ -o vectors.parquet
    """
    write_vectors = {".parquet": _write_parquet, ".npy": _write_npy}.get(output.suffix.lower())
    if write_vectors is None:
        raise typer.BadParameter(f"{output}: expected a name that ends in .parquet or .npy")
    recognizer = load(model)
    options = InferenceOptions(emotions=emotions)
    labels = resolve_options(options, recognizer.metadata).emotions
    inputs = find_inputs(paths)
    n_failed = 0
    with progress_bar("embedding", silent) as progress:

        def watch() -> Iterator[Prediction]:
            nonlocal n_failed
            for done, prediction in enumerate(predict_inputs(recognizer, inputs, options, jobs), 1):
                n_failed += bool(prediction.error)
                progress(done, len(inputs))
                yield prediction

        write_vectors(output, watch(), recognizer, labels, len(inputs))
    if n_failed:
        print_message(f"kanjo: {n_failed} of {len(inputs)} recordings failed")
        raise typer.Exit(1)


def _write_parquet(
    output: Path, predictions: Iterable[Prediction], recognizer: Recognizer, labels: Sequence[str], n: int
) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise KanjoError("Parquet files need pyarrow: pip install 'kanjo[parquet]', or write a .npy file") from error
    vector = pyarrow.list_(pyarrow.float32())
    schema = pyarrow.schema(
        {
            "file": pyarrow.string(),
            "label": pyarrow.string(),
            "confidence": pyarrow.float32(),
            "probabilities": vector,
            "embedding": vector,
            "error": pyarrow.string(),
        },
        metadata={
            "labels": " ".join(labels),
            "bundle": f"{recognizer.metadata.name} {recognizer.metadata.sha256}",
        },
    )
    remaining = iter(predictions)
    with atomic_write(output) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
        while rows := [_parquet_row(item, labels) for item in islice(remaining, _ROWS_PER_GROUP)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _parquet_row(prediction: Prediction, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "file": prediction.file.encode("utf-8", "replace").decode(),
        "label": prediction.label,
        "confidence": None if prediction.error else prediction.confidence,
        "probabilities": None if prediction.error else [prediction.probabilities[name] for name in labels],
        "embedding": None if prediction.embedding is None else prediction.embedding.tolist(),
        "error": prediction.error,
    }


def _write_npy(
    output: Path, predictions: Iterable[Prediction], recognizer: Recognizer, labels: Sequence[str], n: int
) -> None:
    width = len(labels) + len(recognizer.embed_signal(np.zeros(1, np.float32)))
    with atomic_write(output.with_suffix(".csv")) as names, atomic_write(output) as temporary:
        vectors = np.lib.format.open_memmap(temporary, "w+", np.float32, (n, width))
        with names.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(["file", "emotion", "confidence", "error"])
            for i, item in enumerate(predictions):
                vectors[i] = np.nan
                if not item.error and item.embedding is not None:
                    vectors[i] = np.concatenate([[item.probabilities[name] for name in labels], item.embedding])
                confidence = "" if item.error else f"{item.confidence:.6f}"
                table.writerow([item.file, item.label, confidence, item.error])
        vectors.flush()
