# extras: [serve]
# needs: httpx
"""The service under load: 50 clients that send 4 s clips as fast as they are answered, beside one client alone.

Said: requests by status, throughput, latency of what was answered (median, p95) beside the unloaded one, and the service's memory over time.
Run: make bench-serve_load [SECONDS=60]; a soak: .venv-bench-serve_load/bin/python benchmarks/speed/serve_load.py 600
"""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import soundfile

CLIENTS = 50
CLIP = Path(__file__).parents[2] / "examples" / "recordings" / "two-moods.flac"


def clip() -> bytes:
    samples, rate = soundfile.read(CLIP, dtype="float32", frames=64_000)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    return buffer.getvalue()


def resident(pid: int) -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


async def client(http: httpx.AsyncClient, content: bytes, until: float, found: list[tuple[float, int, float]]) -> None:
    while time.monotonic() < until:
        started = time.monotonic()
        try:
            answer = await http.post("/v1/predict", content=content, headers={"content-type": "audio/wav"})
            status = answer.status_code
        except httpx.HTTPError as error:
            status, answer = f"{type(error).__name__}", None
        found.append((started, status, time.monotonic() - started))
        if status == 429:
            await asyncio.sleep(float(answer.headers["retry-after"]) * np.random.default_rng().uniform(0.5, 1.5))


async def load(url: str, pid: int, seconds: float) -> tuple[list[tuple[float, int, float]], list[float], list[float]]:
    content = clip()
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=CLIENTS)) as http:
        alone: list[tuple[float, int, float]] = []
        await client(http, content, time.monotonic() + 1, [])
        await client(http, content, time.monotonic() + 5, alone)
        found: list[tuple[float, int, float]] = []
        until = time.monotonic() + seconds
        memory: list[float] = []

        async def watch() -> None:
            while time.monotonic() < until:
                memory.append(resident(pid))
                await asyncio.sleep(1)

        await asyncio.gather(watch(), *(client(http, content, until, found) for _ in range(CLIENTS)))
    return found, [took for _, _, took in alone], memory


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    process = subprocess.Popen(
        [sys.executable, "-m", "kanjo", "serve", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    url = re.search(r"http://[^/]+", process.stderr.readline())[0]
    import threading

    threading.Thread(target=lambda: [None for _ in process.stderr], daemon=True).start()
    for _ in range(100):
        try:
            httpx.get(url + "/healthz")
            break
        except httpx.HTTPError:
            time.sleep(0.1)
    try:
        found, alone, memory = asyncio.run(load(url, process.pid, seconds))
    finally:
        process.terminate()
        process.wait()
    good = [took for _, status, took in found if status == 200]
    one, many = np.percentile(alone, [50, 95]) * 1e3, np.percentile(good, [50, 95]) * 1e3
    print(f"{CLIENTS} clients, {seconds:.0f} s, clips of 4 s: {dict(Counter(status for _, status, _ in found))}")
    print(f"answered {len(good) / seconds:.0f} clips/s ({4 * len(good) / seconds:.0f} times real time)")
    print(
        f"latency alone: median {one[0]:.0f} ms, p95 {one[1]:.0f} ms; under load: median {many[0]:.0f} ms, p95 {many[1]:.0f} ms"
    )
    print(f"ratio of p95 {many[1] / one[1]:.2f} (goal: at most 3)")
    from_minute = memory[60:] or memory[len(memory) // 2 :]
    spread = (max(from_minute) - min(from_minute)) / np.median(from_minute)
    print(
        f"memory {memory[0]:.0f} MB at the start, {memory[-1]:.0f} MB at the end; from minute one on +-{50 * spread:.1f} % (goal: 5)"
    )


if __name__ == "__main__":
    main()
