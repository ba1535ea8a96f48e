"""``kanjo embed``: embeddings of recordings, for other programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from kanjo.cli.common import Device, Emotions, Jobs, Model, Silent, load_on, print_message, progress_bar
from kanjo.cli.inputs import find_inputs, predict_inputs
from kanjo.file_names import encode_name, escape_text
from kanjo.files import atomic_text, atomic_write
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.parquet_file import require_pyarrow
from kanjo.inference.prediction import Prediction
from kanjo.inference.recognizer import Recognizer

#: Rows of a Parquet file that are written together; they are held in memory.
_ROWS_PER_GROUP = 1000


def embed(
    paths: Annotated[list[str], typer.Argument(help="Recordings, folders (with subfolders), or patterns.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A .parquet, .npy or .csv file.")],
    model: Model = "default",
    emotions: Emotions = None,
    jobs: Jobs = 0,
    silent: Silent = False,
    device: Device = "auto",
) -> None:
    """Write the emotion probabilities and the embedding of each recording.

    Parquet: one row per recording with file, label, confidence, probabilities, embedding, error. NPY: a float32
    array (recordings, emotions + D), probabilities first, with the file names in a CSV file of the same name. CSV:
    the columns of Parquet, with one column for each emotion and each number of the embedding (embedding_0, ...).
    A recording that can't be decoded gets NaN (CSV: empty cells), and its error.

    Example: kanjo embed recordings/ -o vectors.parquet
    """
    write_vectors = {".parquet": _write_parquet, ".npy": _write_npy, ".csv": _write_csv}.get(output.suffix.lower())
    if write_vectors is None:
        raise typer.BadParameter(f"{output}: expected a name that ends in .parquet, .npy or .csv")
    recognizer = load_on(model, device)
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
    pyarrow = require_pyarrow()
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
        "file": encode_name(prediction.file),
        "label": prediction.label,
        "confidence": None if prediction.error else prediction.confidence,
        "probabilities": None if prediction.error else [prediction.probabilities[name] for name in labels],
        "embedding": None if prediction.embedding is None else prediction.embedding.tolist(),
        "error": escape_text(prediction.error),
    }


def _write_npy(
    output: Path, predictions: Iterable[Prediction], recognizer: Recognizer, labels: Sequence[str], n: int
) -> None:
    width = len(labels) + len(recognizer.embed_signal(np.zeros(1, np.float32)))
    header = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": (n, width)}
    with (
        atomic_text(output.with_suffix(".csv")) as stream,
        atomic_write(output) as temporary,
        temporary.open("wb") as vectors,  # not memory-mapped: a full disk would end the process
    ):
        np.lib.format.write_array_header_1_0(vectors, header)
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["file", "emotion", "confidence", "error"])
        for item in predictions:
            vector = np.full(width, np.nan, np.float32)
            if not item.error and item.embedding is not None:
                vector[:] = np.concatenate([[item.probabilities[name] for name in labels], item.embedding])
            vectors.write(vector.tobytes())
            confidence = "" if item.error else f"{item.confidence:.6f}"
            table.writerow([encode_name(item.file), item.label, confidence, escape_text(item.error)])


def _write_csv(
    output: Path, predictions: Iterable[Prediction], recognizer: Recognizer, labels: Sequence[str], n: int
) -> None:
    width = len(recognizer.embed_signal(np.zeros(1, np.float32)))
    with atomic_text(output) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["file", "label", "confidence", *labels, *(f"embedding_{i}" for i in range(width)), "error"])
        for item in predictions:
            numbers: list[str] = [""] * (1 + len(labels) + width)
            if not item.error and item.embedding is not None:
                fractions = [item.confidence, *(item.probabilities[name] for name in labels)]
                numbers = [*(f"{value:.6f}" for value in fractions), *(f"{value:.9g}" for value in item.embedding)]
            table.writerow([encode_name(item.file), item.label, *numbers, escape_text(item.error)])
