"""The work of one request is bounded, ends when its client leaves, and ends at SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

import kanjo
from kanjo.bundle import read_bundle
from kanjo.inference.limits import RecordingLimits, TooManyWindowsError
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.recording import RecordingSession
from kanjo.server.metrics import ServiceMetrics
from kanjo.server.queue import InferenceQueue, QueueClosedError
from tests.server_fixtures import (
    CLIP,
    WINDOWS_SETUP,
    ServiceProcess,
    open_stream,
    pcm_params,
    receive_all,
    start_service,
)


def silent_flac(duration_s: float) -> bytes:
    """A recording of silence, which is small."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(round(16_000 * duration_s), np.int16), 16_000, format="FLAC")
    return buffer.getvalue()


def cpu_seconds(service: ServiceProcess) -> float:
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def memory_peak_mb(service: ServiceProcess) -> float:
    match = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{service.process.pid}/status").read_text())
    assert match
    return int(match[1]) / 1024


requires_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc, which Linux has")


def test_predict_with_too_many_windows_returns_error_at_once(client: httpx.Client) -> None:
    content = silent_flac(899)
    assert len(content) < 50_000
    with start_service(WINDOWS_SETUP) as service:
        start_time = time.monotonic()
        response = httpx.post(service.url + "/v1/predict?hop_s=0.01", content=content, timeout=30)
        assert time.monotonic() - start_time < 2
        assert (response.status_code, response.json()["error"]["code"]) == (422, "too_many_windows")
        assert "more than 5000 windows in 899.0 s with a hop of 0.01 s" in response.json()["error"]["message"]
        response = httpx.post(service.url + "/v1/predict", content=silent_flac(901), timeout=30)
        assert response.status_code == 422 and "longer than the limit of 900 s" in response.text


def test_predict_limits_windows_of_all_files_together() -> None:
    files = [("files", (f"{n}.flac", silent_flac(20))) for n in range(3)]
    with start_service(WINDOWS_SETUP, max_windows=40) as service:
        responses = [httpx.post(service.url + "/v1/predict", files=files[:n], timeout=30) for n in (2, 3)]
    assert [response.status_code for response in responses] == [200, 422]
    message = responses[1].json()["error"]["message"]
    assert message.startswith("2.flac: ") and "the limit of a request is 40 windows" in message


@requires_proc
def test_stream_large_frame_needs_little_memory_and_is_limited() -> None:
    """One message with 131 s of sound, which complete 6,200 windows of 256 kB."""
    with start_service(WINDOWS_SETUP, max_windows=600) as service:
        httpx.post(service.url + "/v1/predict", content=CLIP.read_bytes())
        before_mb = memory_peak_mb(service)
        with open_stream(service, {"sample_rate": 4000, "hop_s": 0.02}) as connection:
            connection.recv()
            connection.send(bytes(1 << 20))
            messages = receive_all(connection)
        assert memory_peak_mb(service) - before_mb < 150
    assert (messages[-1]["code"], connection.close_reason) == ("too_many_windows", "too_many_windows")
    assert len(messages) <= 600


@requires_proc
@pytest.mark.slow
def test_service_stops_work_of_client_that_leaves() -> None:
    """Within one second after the client has left, the service uses no more processor time."""
    content = silent_flac(899)
    header = "POST /v1/predict?hop_s=0.2 HTTP/1.1\r\nhost: localhost\r\ncontent-type: audio/flac\r\ncontent-length: "
    with start_service(WINDOWS_SETUP) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(f"{header}{len(content)}\r\n\r\n".encode() + content)
            time.sleep(1)
        with open_stream(service, {"sample_rate": 4000, "hop_s": 0.05}) as stream:
            stream.recv()
            stream.send(bytes(1 << 20))
            time.sleep(1)
            stream.socket.shutdown(socket.SHUT_RDWR)
        time.sleep(1)
        before_s = cpu_seconds(service)
        time.sleep(2)
        assert cpu_seconds(service) - before_s < 0.2
        log = service.stop()
    assert re.search(r'POST "/v1/predict" 499', log)
    assert "Traceback" not in log and "Exception" not in log


def test_service_does_not_log_client_that_leaves_as_error() -> None:
    header = b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n"
    form = b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\ncontent-disposition: form-data; name="
    with start_service() as service:
        for content in (b"content-type: audio/wav\r\n\r\nRIFF", form):
            with socket.create_connection(("127.0.0.1", service.port)) as connection:
                connection.sendall(header + content)
                time.sleep(0.1)
        time.sleep(0.3)
        metrics = httpx.get(service.url + "/metrics").text
        assert 'kanjo_requests_total{path="/v1/predict",status="499"} 2' in metrics
        assert 'status="500"' not in metrics
        log = service.stop()
    assert "Traceback" not in log


def test_service_at_sigterm_answers_requests_it_cannot_complete_with_503() -> None:
    content = silent_flac(899)
    partial = b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: audio/wav\r\ncontent-length: 99\r\n\r\nR"
    with start_service(WINDOWS_SETUP, shutdown_timeout_s=1) as service, ThreadPoolExecutor(2) as pool:
        url = service.url + "/v1/predict?hop_s=0.2"
        responses = [pool.submit(httpx.post, url, content=content, timeout=60) for _ in range(2)]
        time.sleep(0.7)
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(partial)
            time.sleep(0.3)
            start_time = time.monotonic()
            service.process.terminate()
            assert connection.recv(65536).startswith(b"HTTP/1.1 503")
        for response in responses:
            assert response.result().status_code == 503
            assert response.result().json()["error"]["code"] == "stopping"
        service.process.wait(30)
        assert time.monotonic() - start_time < 6
        assert "Traceback" not in service.stop()


@pytest.mark.slow
def test_service_at_sigterm_exits_although_a_decoder_hangs() -> None:
    setup = (
        "import time\nfrom kanjo.inference.recognizer import Recognizer\n"
        "Recognizer._prepare = lambda *arguments: time.sleep(1000)"
    )
    with start_service(setup, shutdown_timeout_s=1) as service, ThreadPoolExecutor(1) as pool:
        response = pool.submit(httpx.post, service.url + "/v1/predict", content=b"x", timeout=60)
        time.sleep(0.5)
        service.process.terminate()
        assert response.result().status_code == 503
        service.process.wait(15)


def test_service_queued_requests_of_clients_that_left_do_not_stop_the_queue(client: httpx.Client) -> None:
    """Requests are cancelled while they wait for the inference thread; the thread must go on."""
    samples = np.random.default_rng(0).normal(0, 3000, 29 * 16_000).astype("<i2").tobytes()
    with start_service(response_timeout_s=0.05, queue_capacity=8) as service, ThreadPoolExecutor(8) as pool:

        def predict(_: int) -> int:
            url = service.url + "/v1/predict"
            return httpx.post(url, content=samples, params=pcm_params(16_000), timeout=30).status_code

        assert set(pool.map(predict, range(8))) <= {200, 503}
        for _ in range(20):  # a short recording is in time, at the latest when the old work has ended
            response = httpx.post(service.url + "/v1/predict", content=silent_flac(0.5), timeout=30)
            if response.status_code == 200:
                break
            time.sleep(0.2)
        assert response.status_code == 200


def test_queue_after_refused_recording_keeps_nothing_of_it_in_memory() -> None:
    source = read_bundle("default")
    metadata = replace(source.metadata, segmentation="windows", window_s=4.0, hop_s=1.0)
    recognizer = kanjo.Recognizer(replace(source, metadata=metadata), threads=1)
    queue = InferenceQueue(recognizer, ServiceMetrics(), capacity=1, decode_threads=1)
    options = resolve_options(InferenceOptions(), recognizer.metadata)
    limits = RecordingLimits(max_windows=1)
    gc.collect()
    gc.disable()  # reference counts alone must free the recording
    try:
        with pytest.raises(TooManyWindowsError):
            asyncio.run(queue.predict(io.BytesIO(silent_flac(20)), "x", options, limits))
        assert not [
            item for item in gc.get_objects() if type(item) is RecordingSession
        ]  # isinstance would load lazy modules
    finally:
        gc.enable()
        queue.close()


def test_queue_after_close_refuses_work() -> None:
    recognizer = kanjo.load(threads=1)
    queue = InferenceQueue(recognizer, ServiceMetrics(), capacity=1, decode_threads=1)
    queue.close()
    options = resolve_options(InferenceOptions(), recognizer.metadata)
    with pytest.raises(QueueClosedError):
        asyncio.run(queue.predict(io.BytesIO(b"x"), "x", options, RecordingLimits(cancelled=threading.Event())))
    with pytest.raises(QueueClosedError):
        asyncio.run(queue.run_for_stream(lambda: json.dumps({})))
