"""Prediction on a Ray cluster: the recordings are distributed over workers, each with its own recognizer.

Ray Data repeats the batches of a worker that died. The caller writes the rows, so each recording gets exactly one.
Paths may be URLs that fsspec can open (``s3://``, ``gs://``, ``file://``) and that every worker can reach. Needs the
extra ``cluster``.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kanjo import audio
from kanjo.errors import KanjoError
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.prediction import Prediction, Segment, failed_prediction
from kanjo.inference.recognizer import load

#: Recordings in one batch of a worker. These are repeated if the worker dies.
_BATCH_SIZE = 16
#: Seconds to wait for a connection to the cluster. Ray itself waits ten minutes.
_CONNECT_TIMEOUT_S = 5


class RayWorker:
    """A recognizer on one core of the cluster."""

    def __init__(self, model: str, options: InferenceOptions) -> None:
        self._recognizer = load(model, threads=1)
        self._options = resolve_options(options, self._recognizer.metadata)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Predict the recordings in column ``path``; column ``prediction`` of the result is JSON."""
        predictions = [self._predict(str(path)) for path in batch["path"]]
        return {"prediction": [json.dumps(prediction.as_dict()) for prediction in predictions]}

    def _predict(self, path: str) -> Prediction:
        try:
            with _import("fsspec").open(path, "rb") as file:
                prepared = self._recognizer._prepare(file, self._options, path)
        except Exception as error:  # the file systems of fsspec raise exceptions of their own
            return failed_prediction(path, _first_line(error))
        return next(iter(self._recognizer._predict_batch([prepared])))


def list_recordings(path: str) -> list[str]:
    """List the recordings at a path or URL: those below a folder, or the file itself.

    Raises:
        KanjoError: The path can't be listed, or fsspec is not installed.
    """
    fsspec = _import("fsspec")
    try:
        file_system, root = fsspec.core.url_to_fs(path)
        if not file_system.isdir(root):
            return [path]
        names = sorted(name for name in file_system.find(root) if name.lower().endswith(tuple(audio.SUFFIXES)))
        return [file_system.unstrip_protocol(name) if "://" in path else name for name in names]
    except Exception as error:  # the file systems of fsspec raise exceptions of their own
        raise KanjoError(f"{path}: can't list this path ({_first_line(error)})") from error


def predict_on_cluster(
    paths: Iterable[str], model: str, options: InferenceOptions, address: str = "", jobs: int = 0
) -> Iterator[Prediction]:
    """Predict recordings on a Ray cluster.

    Args:
        paths: Paths or URLs of audio files.
        model: Name or folder of a bundle, which every worker can read.
        options: Options of the prediction.
        address: Address of the cluster ("" starts one on this machine).
        jobs: Number of workers (0: one for each core of the cluster).

    Yields:
        One prediction for each path, in the order in which they are ready.

    Raises:
        KanjoError: The cluster can't be reached, or Ray is not installed.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors are reported in one line by this module
    inputs = list(paths)
    with _ray_cluster(address) as ray:
        ray_data = _import("ray.data")

        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        context = ray_data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        n_workers = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        n_blocks = max(1, -(-len(inputs) // _BATCH_SIZE))
        rows = ray_data.from_items([{"path": path} for path in inputs], override_num_blocks=n_blocks)
        predictions = rows.map_batches(
            RayWorker,
            fn_constructor_args=(model, options),
            batch_size=_BATCH_SIZE,
            compute=ray_data.ActorPoolStrategy(min_size=1, max_size=n_workers),
            num_cpus=1,
        )
        for row in predictions.iter_rows():
            yield _parse_prediction(row["prediction"])


@contextmanager
def _ray_cluster(address: str) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine; disconnect at the end. An existing connection is reused."""
    ray = _import("ray")
    if ray.is_initialized():
        yield ray
        return
    _check_reachable(address)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise KanjoError(f"no Ray cluster at {address or 'this machine'}: {_first_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise KanjoError if nothing listens at the address."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "" or "auto": Ray reports the error itself
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise KanjoError(f"no Ray cluster at {address}: {error.strerror or error}") from error


def _parse_prediction(text: str) -> Prediction:
    """Parse the JSON of ``Prediction.as_dict``."""
    row = json.loads(text)
    parts = {key: tuple(Segment(**part) for part in row[key]) for key in ("segments", "windows")}
    return Prediction(**{**row, **parts, "warnings": tuple(row["warnings"])})


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise KanjoError(f"a cluster needs {name}: pip install 'kanjo[cluster]'") from error
