"""Beyond one machine: the recordings are shared out over a Ray cluster, and the answers come back as they are ready.

Each worker holds a recogniser of its own. What a worker had when it died, Ray Data gives to another; the one who asked writes the rows, so
that each is there once. Paths may be anything that fsspec opens (``s3://``, ``gs://``, ``file://``), seen by every worker. Needs the extra ``cluster``.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kanjo import audio
from kanjo.errors import KanjoError
from kanjo.inference.prediction import Prediction, Segment, failed
from kanjo.inference.recognizer import load

#: Recordings that a worker gets at once: what is done again when it dies.
_BATCH = 16


class Worker:
    """A recogniser on one core of one machine of the cluster."""

    def __init__(self, model: str, how: Mapping[str, Any]) -> None:
        self._recognizer = load(model, threads=1)
        self._manner = self._recognizer.manner(**how)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answers = [self._answer(str(path)) for path in batch["path"]]
        return {"answer": [json.dumps(answer.as_dict()) for answer in answers]}

    def _answer(self, path: str) -> Prediction:
        try:
            with _opened(path) as file:
                heard = self._recognizer.hear(file, self._manner, path)
        except Exception as error:  # fsspec's file systems raise whatever theirs raise
            return failed(path, str(error).splitlines()[0] if str(error) else type(error).__name__)
        return next(iter(self._recognizer.answers([heard])))


def listed(path: str) -> list[str]:
    """The recordings that a path means: itself, or those under it where it is a folder. Raises KanjoError."""
    fsspec = _library("fsspec")
    try:
        system, inner = fsspec.core.url_to_fs(path)
        if not system.isdir(inner):
            return [path]
        found = sorted(name for name in system.find(inner) if name.lower().endswith(tuple(audio.SUFFIXES)))
        return [system.unstrip_protocol(name) if "://" in path else name for name in found]
    except Exception as error:  # fsspec's file systems raise whatever theirs raise
        raise KanjoError(
            f"{path}: can't be listed ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error


def predict(
    paths: Iterable[str], model: str, how: Mapping[str, Any], address: str = "", jobs: int = 0
) -> Iterator[Prediction]:
    """Answers in whatever order they come, each path's once. ``address``: a cluster's ("" starts one on this machine).

    ``jobs``: workers (0: as many as the cluster has cores). Raises KanjoError where the cluster can't be reached.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what fails is said in one line, here
    ray = _library("ray")
    import ray.data as data

    own = not ray.is_initialized()
    if own:
        _reach(address)
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise KanjoError(f"no Ray cluster at {address or 'this machine'}: {str(error).splitlines()[0]}") from error
    try:
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        context = data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        workers = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        given = list(paths)
        shared = data.from_items(
            [{"path": path} for path in given], override_num_blocks=max(1, -(-len(given) // _BATCH))
        )
        answers = shared.map_batches(
            Worker,
            fn_constructor_args=(model, dict(how)),
            batch_size=_BATCH,
            compute=data.ActorPoolStrategy(min_size=1, max_size=workers),
            num_cpus=1,
        )
        for row in answers.iter_rows():
            yield _prediction(row["answer"])
    finally:
        if own:
            ray.shutdown()


def _reach(address: str) -> None:
    """Ray would knock for ten minutes at a door that isn't there. Raises KanjoError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "auto", or none: Ray says itself
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise KanjoError(f"no Ray cluster at {address}: {error.strerror or error}") from error


def _prediction(text: str) -> Prediction:
    """A Prediction of what ``as_dict`` made of it."""
    row = json.loads(text)
    parts = {key: tuple(Segment(**part) for part in row[key]) for key in ("segments", "windows")}
    return Prediction(**{**row, **parts, "warnings": tuple(row["warnings"])})


def _opened(path: str) -> Any:
    return _library("fsspec").open(path, "rb")


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise KanjoError(f"a cluster needs {name}: pip install 'kanjo[cluster]'") from error
