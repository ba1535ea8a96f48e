"""Start the service in a process of its own, talk to it, and compare its predictions."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

import kanjo
from tests.clips import TWO_TURNS

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

#: A recording of 9.6 s with several segments.
CLIP = TWO_TURNS

_SERVICE_SCRIPT = """
import json
import sys
import kanjo
from kanjo.server.run import find_port, run
from kanjo.server.settings import Settings
settings = Settings(port=find_port("127.0.0.1", 0), **json.loads(sys.argv[1]))
print(f"http://127.0.0.1:{settings.port}/", flush=True)
run(kanjo.load(threads=1), settings)
"""


#: Makes the service use windows of 4 s every second, as bundles of other types than the built-in one do.
WINDOWS_SETUP = """
from dataclasses import replace
from kanjo.inference import recognizer as module
read_bundle = module.read_bundle
def read_with_windows(name):
    bundle = read_bundle(name)
    return replace(bundle, metadata=replace(bundle.metadata, segmentation="windows", window_s=4.0, hop_s=1.0))
module.read_bundle = read_with_windows
"""


class ServiceProcess:
    """A running service. ``url`` has no slash at the end."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self._log = ""

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def stop(self) -> str:
        """Terminate the service and return its log."""
        if self.process.poll() is None:
            self.process.terminate()
        self._log += self.process.communicate(timeout=60)[1] or ""
        return self._log


@contextmanager
def start_service(setup: str = "", **settings: object) -> Iterator[ServiceProcess]:
    """Start a service with these settings; ``setup`` is Python code that its process runs first."""
    import httpx

    process = subprocess.Popen(
        [sys.executable, "-c", f"{setup}\n{_SERVICE_SCRIPT}", json.dumps(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    match = re.match(r"http://\S+:\d+", process.stdout.readline())
    assert match, process.communicate()[1]
    service = ServiceProcess(process, match[0])
    try:
        for _ in range(600):
            try:
                httpx.get(service.url + "/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield service
    finally:
        service.stop()


def assert_same_prediction(response: dict[str, Any], expected: kanjo.Prediction) -> None:
    """Compare the JSON of a prediction with the prediction of a ``Recognizer``."""
    reference = json.loads(json.dumps(expected.as_dict()))
    assert response["probabilities"] == pytest.approx(reference["probabilities"], abs=1e-5)
    for key in ("segments", "windows"):
        intervals = [(segment["start_s"], segment["label"]) for segment in response[key]]
        assert intervals == [(segment["start_s"], segment["label"]) for segment in reference[key]]
    for key in ("label", "warnings"):
        assert response[key] == reference[key]


def read_pcm(path: Path = CLIP) -> tuple[npt.NDArray[np.int16], int]:
    """Return the int16 samples and the sample rate of a recording."""
    samples, sample_rate = soundfile.read(path, dtype="int16")
    return samples, sample_rate


def pcm_params(sample_rate: int) -> dict[str, str | int]:
    """Query parameters for a request body with the samples of :func:`read_pcm`."""
    return {"format": "s16le", "sample_rate": sample_rate}


@contextmanager
def open_stream(service: ServiceProcess, first_message: object) -> Iterator[ClientConnection]:
    """Connect to ``/v1/stream`` and send the first message; everything but str and bytes is sent as JSON."""
    from websockets.sync.client import connect

    with connect(service.url.replace("http", "ws") + "/v1/stream", max_size=None) as connection:
        connection.send(first_message if isinstance(first_message, str | bytes) else json.dumps(first_message))
        yield connection


def receive_all(connection: ClientConnection) -> list[dict[str, Any]]:
    """Return all messages until the service closes the connection."""
    from websockets.exceptions import ConnectionClosed

    messages = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            messages.append(json.loads(connection.recv()))
    return messages


def send_bytes(service: ServiceProcess, *parts: bytes) -> bytes:
    """Send bytes over TCP and return everything that the service sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        response = b""
        while data := connection.recv(65536):
            response += data
        return response
