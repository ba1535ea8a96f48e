"""The service under load, at shutdown, without disk space, and its use of memory and files."""

from __future__ import annotations

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from kanjo.errors import KanjoError
from kanjo.server.run import find_port
from tests.server_fixtures import CLIP, ServiceProcess, open_stream, pcm_params, read_pcm, receive_all, start_service


def test_service_with_full_queue_returns_429_and_logs_all_requests() -> None:
    content = CLIP.read_bytes()
    with start_service(queue_capacity=2, max_streams=1) as service:

        def predict(n: int) -> httpx.Response:
            headers = {"x-request-id": f"n-{n}"}
            return httpx.post(service.url + "/v1/predict", content=content, headers=headers, timeout=60)

        with ThreadPoolExecutor(20) as pool:
            responses = list(pool.map(predict, range(20)))
        statuses = [response.status_code for response in responses]
        assert set(statuses) == {200, 429}
        assert statuses.count(200) >= 2
        rejected = next(response for response in responses if response.status_code == 429)
        assert int(rejected.headers["retry-after"]) >= 1
        assert rejected.json()["error"]["code"] == "busy"
        assert httpx.post(service.url + "/v1/predict", content=content).status_code == 200

        with open_stream(service, {"sample_rate": 16000}) as first:
            assert json.loads(first.recv())["type"] == "ready"
            with connect(service.url.replace("http", "ws") + "/v1/stream") as second:
                assert receive_all(second)[0]["code"] == "busy"
    assert {f"n-{n}" for n in range(20)} <= set(re.findall(r"n-\d+", service.stop()))


def test_prediction_longer_than_timeout_returns_503() -> None:
    samples, sample_rate = read_pcm()
    content = np.tile(samples, 10).tobytes()
    with start_service(response_timeout_s=0.01) as service:
        response = httpx.post(service.url + "/v1/predict", content=content, params=pcm_params(sample_rate), timeout=30)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "timeout"
        assert int(response.headers["retry-after"]) >= 1


@pytest.mark.slow
def test_service_memory_does_not_grow() -> None:
    """In one of four intervals of 40 requests, the memory must stay the same; with a leak, it grows in each."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this test reads the memory use from /proc, which this system does not have")
    content, sizes_kb = CLIP.read_bytes(), []
    with start_service() as service, ThreadPoolExecutor(3) as pool:
        url, status_file = service.url + "/v1/predict", Path(f"/proc/{service.process.pid}/status")
        for _ in range(5):
            responses = list(pool.map(lambda _: httpx.post(url, content=content, timeout=60), range(40)))
            assert all(response.status_code == 200 for response in responses)
            match = re.search(r"VmRSS:\s+(\d+)", status_file.read_text())
            assert match
            sizes_kb.append(int(match[1]))
    assert min(later / earlier for earlier, later in pairwise(sizes_kb)) < 1.02, sizes_kb


def test_service_completes_accepted_request_before_shutdown() -> None:
    samples, sample_rate = read_pcm()
    content = np.tile(samples, 30).tobytes()  # five minutes of audio, which take some seconds
    with start_service() as service:
        url = service.url + "/v1/predict"
        with ThreadPoolExecutor(1) as pool:
            response = pool.submit(httpx.post, url, content=content, params=pcm_params(sample_rate), timeout=120)
            time.sleep(0.5)
            service.process.terminate()
            assert response.result().status_code == 200
        service.process.wait(60)
        with pytest.raises(httpx.TransportError):
            httpx.get(service.url + "/healthz")
    assert service.process.returncode in (0, -15)


def test_large_upload_without_disk_space_returns_507() -> None:
    """Uploads over 1 MB are stored in a temporary folder; /proc accepts no files."""
    if not Path("/proc").is_dir():
        pytest.skip("this test uses /proc as a folder that accepts no files, which this system does not have")
    samples, sample_rate = read_pcm()
    content = np.tile(samples, 5).tobytes()
    setup = "import tempfile; tempfile.tempdir = '/proc'"
    with start_service(setup) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        for response in (
            client.post("/v1/predict", content=content, params=pcm_params(sample_rate)),
            client.post("/v1/predict", files={"files": ("x", content)}),
        ):
            assert response.status_code == 507, response.text
            assert response.json()["error"]["code"] == "insufficient_storage"
        assert client.post("/v1/predict", content=CLIP.read_bytes()).status_code == 200


def test_service_closes_temporary_files(service: ServiceProcess, client: httpx.Client) -> None:
    samples, sample_rate = read_pcm()
    content = np.tile(samples, 5).tobytes()
    assert 1 << 20 < len(content) < 2_000_000
    assert client.post("/v1/predict", files={"files": ("x.raw", content)}).status_code == 422
    content = content[: 2 * sample_rate * 29]
    assert client.post("/v1/predict", content=content, params=pcm_params(sample_rate)).status_code == 200
    descriptors = Path(f"/proc/{service.process.pid}/fd")
    if not descriptors.exists():
        pytest.skip("this test reads the open files from /proc, which this system does not have")
    names = [link.resolve().name for link in descriptors.iterdir() if link.exists()]
    assert not [name for name in names if "tmp" in name or "deleted" in name]


def test_find_port_with_used_port_or_bad_host_raises_error() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(KanjoError, match=r"can't listen on 127.0.0.1:.*choose another --port"):
            find_port("127.0.0.1", listener.getsockname()[1])
    with pytest.raises(KanjoError, match="can't listen on nowhere.invalid:0"):
        find_port("nowhere.invalid", 0)
