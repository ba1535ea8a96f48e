"""The recordings that a command line names, and their predictions."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kanjo import audio
from kanjo.cli.path_lists import is_list_of_recordings, read_list_of_recordings
from kanjo.errors import AudioError, KanjoError
from kanjo.files import os_error_message
from kanjo.inference.options import InferenceOptions
from kanjo.inference.prediction import Prediction, failed_prediction
from kanjo.inference.recognizer import Recognizer

#: Argument that stands for a recording on standard input, and its name in results.
STDIN, STDIN_NAME = "-", "<stdin>"

#: A path to predict, or the failed prediction of an argument that names no recording.
Input = str | Prediction


def find_inputs(arguments: Iterable[str], root: Path | None = None) -> list[Input]:
    """All recordings that arguments name: files, folders (with subfolders), glob patterns, filelists, and "-".

    An argument that names no recording becomes a failed prediction, so that the results contain it.

    Args:
        arguments: The arguments.
        root: Folder of the recordings that filelists name (None: where their paths start from).
    """
    return [item for argument in arguments for item in _expand(argument, root)]


def find_cluster_inputs(arguments: Iterable[str]) -> list[Input]:
    """The same for prediction on a Ray cluster, where arguments may be URLs such as s3://bucket/folder."""
    from kanjo.inference import ray_inference

    inputs: list[Input] = []
    for argument in arguments:
        try:
            recordings = ray_inference.list_recordings(argument)
            inputs += recordings or [
                failed_prediction(argument, f"no recordings in this folder; {audio.describe_suffixes()}")
            ]
        except KanjoError as error:
            inputs.append(failed_prediction(argument, str(error).removeprefix(f"{argument}: ")))
    return inputs


def input_name(item: Input) -> str:
    """The name of an input in the results."""
    return item.file if isinstance(item, Prediction) else item


def predict_inputs(
    recognizer: Recognizer, inputs: Sequence[Input], options: InferenceOptions, jobs: int
) -> Iterator[Prediction]:
    """Predictions in the order of the inputs.

    Args:
        recognizer: The recognizer.
        inputs: Paths, "-", and failed predictions, which are passed on.
        options: Options of the predictions.
        jobs: Recordings that are decoded at the same time; 0: one per core.
    """
    paths = (item for item in inputs if isinstance(item, str) and item != STDIN)
    predictions = recognizer.predict_many(paths, jobs=jobs or None, **options.as_keywords())
    for item in inputs:
        if isinstance(item, Prediction):
            yield item
        elif item == STDIN:
            yield _predict_stdin(recognizer, options)
        else:
            yield next(predictions)


def predict_on_cluster(
    inputs: Sequence[Input], model: str, options: InferenceOptions, address: str, jobs: int
) -> Iterator[Prediction]:
    """Predictions of a Ray cluster, in the order in which they are finished."""
    from kanjo.inference import ray_inference

    yield from (item for item in inputs if isinstance(item, Prediction))
    if paths := [item for item in inputs if isinstance(item, str)]:
        yield from ray_inference.predict_on_cluster(paths, model, options, address, jobs)


def _expand(argument: str, root: Path | None = None) -> Iterator[Input]:
    path = Path(argument)
    if argument == STDIN:
        yield argument
    elif is_list_of_recordings(path):
        yield from read_list_of_recordings(path, root)
    elif path.is_dir():
        yield from _expand_folder(path, argument)
    elif not path.exists() and glob.has_magic(argument):
        matches = glob.glob(argument, recursive=True)  # noqa: PTH207
        recordings: list[Input] = [match for match in sorted(matches) if not Path(match).is_dir()]
        yield from recordings or [failed_prediction(argument, "no file matches this pattern")]
    else:
        yield argument


def _expand_folder(path: Path, argument: str) -> Iterator[Input]:
    """The recordings of a folder, and a failed prediction for each subfolder that can't be read."""
    unreadable: list[OSError] = []
    n_found = 0
    for recording in audio.find_recordings(path, unreadable.append):
        n_found += 1
        yield str(recording)
    for error in unreadable:
        yield failed_prediction(str(error.filename or argument), f"can't read the folder: {os_error_message(error)}")
    if not n_found and not unreadable:
        yield failed_prediction(argument, f"no recordings in this folder; {audio.describe_suffixes()}")


def _predict_stdin(recognizer: Recognizer, options: InferenceOptions) -> Prediction:
    try:
        return recognizer.predict(sys.stdin.buffer.read(), name=STDIN_NAME, **options.as_keywords())
    except AudioError as error:
        return failed_prediction(STDIN_NAME, str(error).removeprefix(f"{STDIN_NAME}: "))
