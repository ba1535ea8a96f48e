"""Read and write ``predictions.csv``: the true and the predicted emotion of each utterance, with all probabilities."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from kanjo import files
from kanjo.errors import CorpusError
from kanjo.evaluation.evaluate import ScoredUtterance
from kanjo.file_names import decode_name, encode_name

#: The first columns; a column with the probability of each emotion follows.
COLUMNS = ("corpus", "file", "speaker", "sex", "emotion", "predicted")


def write_predictions(path: Path, labels: Sequence[str], utterances: Sequence[ScoredUtterance]) -> None:
    """Write the predictions. Raises KanjoError if the file can't be written."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*COLUMNS, *labels])
    for utterance in utterances:
        probabilities = [f"{probability:.6f}" for probability in utterance.probabilities]
        cells = {name: getattr(utterance, name) for name in COLUMNS} | {"file": encode_name(utterance.file)}
        writer.writerow([*cells.values(), *probabilities])
    files.write_text(path, buffer.getvalue())


def read_predictions(path: Path) -> tuple[tuple[str, ...], list[ScoredUtterance]]:
    """Read labels and utterances.

    Raises:
        CorpusError: The file can't be read, or it is not a file of predictions.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            header, *rows = list(csv.reader(stream))
            n_columns = len(COLUMNS)
            if tuple(header[:n_columns]) != COLUMNS:
                raise ValueError(f"expected the columns {', '.join(COLUMNS)}; the first line is {','.join(header)!r}")
            utterances = []
            for row in rows:
                corpus, file, speaker, sex, emotion, predicted = row[:n_columns]
                probabilities = tuple(float(cell) for cell in row[n_columns:])
                if len(probabilities) != len(header) - n_columns:
                    raise ValueError(
                        f"{file}: {len(probabilities)} probabilities for {len(header) - n_columns} emotions"
                    )
                file = decode_name(file)
                utterances.append(ScoredUtterance(corpus, file, speaker, sex, emotion, predicted, probabilities))
            return tuple(header[n_columns:]), utterances
    except OSError as error:
        raise CorpusError(f"can't read {path}: {files.os_error_message(error)}") from error
    except (ValueError, csv.Error) as error:
        raise CorpusError(f"{path}: not a file of predictions ({error})") from error
