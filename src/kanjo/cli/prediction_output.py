"""Where the predictions of a command go: the terminal, or a file in one of the formats."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import typer

from kanjo.cli.prediction_table import PredictionTable
from kanjo.cli.resumable import ResumableWriter
from kanjo.cli.terminal import Terminal, detect_terminal, is_terminal
from kanjo.errors import KanjoError
from kanjo.file_names import encode_name
from kanjo.files import atomic_text
from kanjo.inference import parquet_file, writers
from kanjo.inference.prediction import Prediction

#: The format for people.
TABLE = "table"
#: Suffixes of files that get the table, besides none at all.
_TABLE_SUFFIXES = ("", ".txt", ".log")


class PredictionOutput:
    """Writes predictions.

    Args:
        form: "table", a format of :data:`kanjo.inference.writers.FORMATS`, or "parquet".
        labels: The emotions.
        names: Names of the recordings, for the widths of the table.
        file: The file; None: standard output.
        verbose: Whether the table contains all probabilities and the warnings of each recording.
    """

    def __init__(
        self,
        form: str,
        labels: tuple[str, ...],
        names: Sequence[str],
        file: Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.form, self.labels, self.names, self.file, self.verbose = form, labels, names, file, verbose

    @property
    def prints_rows(self) -> bool:
        """Whether rows appear on a terminal while the command runs, so that it needs no progress bar."""
        return self.file is None and is_terminal(sys.stdout)

    def write(self, predictions: Iterable[Prediction], writer: ResumableWriter | None = None) -> None:
        """Write all predictions, each immediately.

        Args:
            predictions: The predictions.
            writer: Writes the file if it can be resumed.

        Raises:
            KanjoError: The format needs the predictions of all recordings and one failed, or the file can't be written.
        """
        if self.form in writers.SUBTITLE_FORMATS:
            predictions = _refuse_failed(predictions)
        if writer:
            writer.write_all(predictions)
        elif self.file is None:
            for piece in self._render(predictions, detect_terminal(sys.stdout)):
                sys.stdout.write(piece)
                sys.stdout.flush()
        elif self.form == parquet_file.PARQUET:
            parquet_file.write_parquet(self.file, predictions, self.labels)
        else:
            with atomic_text(self.file) as stream:
                for piece in self._render(predictions, Terminal()):
                    stream.write(piece)

    def _render(self, predictions: Iterable[Prediction], terminal: Terminal) -> Iterator[str]:
        if self.form == TABLE:
            table = PredictionTable(self.names, self.labels, terminal, self.verbose)
            return (f"{line}\n" for line in table.lines(predictions))
        return writers.render(self.form, predictions, self.labels)


def resolve_format(form: str, output: Path | None) -> str:
    """Return the output format: as requested, else by the suffix of the output file, else a table."""
    formats = [TABLE, *writers.FORMATS, parquet_file.PARQUET]
    if not form:
        suffix = output.suffix.lower() if output else ""
        form = TABLE if suffix in _TABLE_SUFFIXES else suffix.lstrip(".")
        if form not in formats:
            endings = ", ".join(f".{name}" for name in formats if name != TABLE)
            raise typer.BadParameter(
                f"{output}: kanjo does not write {suffix} files; expected a name that ends in {endings} or .txt, "
                "or give --format"
            )
    if form not in formats:
        raise typer.BadParameter(f"format {form!r}: expected one of {', '.join(formats)}")
    if form == parquet_file.PARQUET and output is None:
        raise typer.BadParameter("parquet is not text; give a file with -o")
    return form


def _refuse_failed(predictions: Iterable[Prediction]) -> list[Prediction]:
    """Predict before a file is opened: subtitles can't contain the error of a recording."""
    complete = list(predictions)
    for prediction in complete:
        if prediction.error:
            raise KanjoError(f"{encode_name(prediction.file)}: {prediction.error}")
    return complete
