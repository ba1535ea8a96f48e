# extras: [serve]
# needs: httpx
"""The service under load: 50 clients that send clips of 4 s without pause, compared with one client alone.

Result: requests by status, throughput, latency of the successful requests (median, 95th percentile), and the memory of
the service over time. Run: make bench-serve_load; for ten minutes:
.venv-bench-serve_load/bin/python benchmarks/speed/serve_load.py 600
"""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import soundfile

N_CLIENTS = 50
DEFAULT_DURATION_S = 60.0
CLIP_S = 4
CLIP = Path(__file__).parents[2] / "examples" / "recordings" / "conversation.flac"


@dataclass(frozen=True)
class Request:
    """One request: its HTTP status, or the name of the error, and its latency."""

    status: int | str
    latency_s: float


def read_clip() -> bytes:
    """A clip of 4 s as WAV."""
    signal, rate = soundfile.read(CLIP, dtype="float32", frames=CLIP_S * 16_000)
    buffer = io.BytesIO()
    soundfile.write(buffer, signal, rate, format="WAV")
    return buffer.getvalue()


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB."""
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1024 if match else float("nan")


async def send_requests(http: httpx.AsyncClient, clip: bytes, until: float) -> list[Request]:
    """Send requests one after the other; wait as long as the service demands when it is busy."""
    requests = []
    while time.monotonic() < until:
        started = time.monotonic()
        retry_after_s = 0.0
        try:
            response = await http.post("/v1/predict", content=clip, headers={"content-type": "audio/wav"})
            status: int | str = response.status_code
            if status == 429:
                retry_after_s = float(response.headers["retry-after"]) * np.random.default_rng().uniform(0.5, 1.5)
        except httpx.HTTPError as error:
            status = type(error).__name__
        requests.append(Request(status, time.monotonic() - started))
        await asyncio.sleep(retry_after_s)
    return requests


async def run_load(url: str, pid: int, duration_s: float) -> tuple[list[Request], list[Request], list[float]]:
    """Requests of one client alone, requests of all clients, and the memory in MB each second."""
    clip = read_clip()
    limits = httpx.Limits(max_connections=N_CLIENTS)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        await send_requests(http, clip, time.monotonic() + 1)
        alone = await send_requests(http, clip, time.monotonic() + 5)
        until = time.monotonic() + duration_s
        memory_mb: list[float] = []

        async def watch_memory() -> None:
            while time.monotonic() < until:
                memory_mb.append(resident_mb(pid))
                await asyncio.sleep(1)

        watching = asyncio.create_task(watch_memory())
        results = await asyncio.gather(*(send_requests(http, clip, until) for _ in range(N_CLIENTS)))
        await watching
    return alone, [request for requests in results for request in requests], memory_mb


def start_service() -> tuple[subprocess.Popen[str], str]:
    """Start the service on a free port; return the process and the URL when it answers requests."""
    command = [sys.executable, "-m", "kanjo", "serve", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    stderr = process.stderr
    match = re.search(r"http://[^/]+", stderr.readline()) if stderr else None
    if stderr is None or match is None:
        process.kill()
        raise RuntimeError("the service did not start")
    threading.Thread(target=lambda: [None for _ in stderr], daemon=True).start()
    for _ in range(100):
        try:
            httpx.get(match[0] + "/healthz")
            break
        except httpx.HTTPError:
            time.sleep(0.1)
    return process, match[0]


def latencies_ms(requests: list[Request]) -> tuple[float, float]:
    """Median and 95th percentile of the successful requests."""
    median, p95 = np.percentile([request.latency_s for request in requests if request.status == 200], [50, 95]) * 1e3
    return float(median), float(p95)


def main() -> None:
    duration_s = float(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_DURATION_S
    process, url = start_service()
    try:
        alone, requests, memory_mb = asyncio.run(run_load(url, process.pid, duration_s))
    finally:
        process.terminate()
        process.wait()
    statuses = Counter(request.status for request in requests)
    throughput = statuses[200] / duration_s
    median_alone, p95_alone = latencies_ms(alone)
    median_load, p95_load = latencies_ms(requests)
    steady_mb = memory_mb[60:] or memory_mb[len(memory_mb) // 2 :]
    variation = 50 * (max(steady_mb) - min(steady_mb)) / np.median(steady_mb)
    print(f"{N_CLIENTS} clients, {duration_s:.0f} s, clips of {CLIP_S} s: requests by status {dict(statuses)}")
    print(f"throughput {throughput:.0f} clips/s ({CLIP_S * throughput:.0f} times real time)")
    print(f"latency of one client: median {median_alone:.0f} ms, p95 {p95_alone:.0f} ms")
    print(f"latency under load: median {median_load:.0f} ms, p95 {p95_load:.0f} ms")
    print(f"ratio of p95 {p95_load / p95_alone:.2f} (goal: at most 3)")
    print(f"memory {memory_mb[0]:.0f} MB at the start, {memory_mb[-1]:.0f} MB at the end")
    print(f"memory after the first minute: +-{variation:.1f} % (goal: 5)")


if __name__ == "__main__":
    main()
