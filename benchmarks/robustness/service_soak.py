"""The service under good and bad traffic for a long time: unexpected answers, tracebacks in the log, and memory drift.

Good clients send recordings, enroll speakers and open streams. Bad clients send damaged recordings, invalid requests
and messages, and leave in the middle. Result: answers by kind of request, and the memory of the service over time; the
exit status is 1 if an answer was unexpected, the log has a traceback, or the memory grew. The extras serve and media
and the package httpx must be installed. Run: make soak MINUTES=20
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
import websockets
from websockets.asyncio.client import connect

CLIPS = sorted((Path(__file__).parents[2] / "examples" / "recordings").glob("*.flac"))
CLIP = next(path for path in CLIPS if path.stem == "conversation")
#: Pause between the requests of one client, in seconds; the service is busy, but accepts most requests.
PAUSE_S = 0.2
#: Growth of the memory from the second fifth of the time to the last one that counts as drift.
MAX_DRIFT = 0.10
#: Answers that a good request may get as well.
BUSY = frozenset([429, 503])


@dataclass
class Report:
    """Answers of the service by kind of request, and those that were unexpected."""

    answers: Counter[tuple[str, object]] = field(default_factory=Counter)
    unexpected: Counter[tuple[str, object]] = field(default_factory=Counter)
    memory_mb: list[float] = field(default_factory=list)

    def add(self, kind: str, answer: object, expected: set[object]) -> None:
        """Count one answer."""
        self.answers[kind, answer] += 1
        if answer not in expected | BUSY:
            self.unexpected[kind, answer] += 1


@dataclass(frozen=True)
class Traffic:
    """What all clients share."""

    url: str
    http: httpx.AsyncClient
    rng: random.Random
    report: Report

    async def post(self, kind: str, expected: set[object], path: str = "/v1/predict", **request: Any) -> None:
        """Send one request and count its answer; an answer without the documented form is unexpected."""
        response = await self.http.post(path, **request)
        answer: object = response.status_code
        if response.status_code >= 400 and "error" not in response.json():
            answer = f"{answer} without error"
        self.report.add(kind, answer, expected)


def wav(seconds: float, rate: int = 16_000) -> bytes:
    """Silence as WAV."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(round(seconds * rate), np.int16), rate, format="WAV")
    return buffer.getvalue()


def flac(seconds: float) -> bytes:
    """Silence as FLAC, which is small."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(round(seconds * 16_000), np.int16), 16_000, format="FLAC")
    return buffer.getvalue()


LONG = flac(890)
TOO_LONG = flac(1000)
SHORT_WAV = wav(1.0)


async def predict_clip(traffic: Traffic) -> None:
    """A good request with one recording."""
    path = traffic.rng.choice(CLIPS)
    params = traffic.rng.choice([{}, {"hop_s": "0.5"}, {"language": "en"}, {"emotions": "anger,neutral"}])
    await traffic.post("good predict", {200}, content=path.read_bytes(), params=params)


async def predict_form(traffic: Traffic) -> None:
    """A good request with several recordings and a speaker profile."""
    files = [("files", (path.name, path.read_bytes())) for path in traffic.rng.sample(CLIPS, 3)]
    response = await traffic.http.post("/v1/enroll", files=files)
    traffic.report.add("good enroll", response.status_code, {200})
    if response.status_code == 200:
        data = {"speaker": json.dumps(response.json()["speaker"])}
        await traffic.post("good form", {200}, files=files, data=data)


async def stream_clip(traffic: Traffic) -> None:
    """A good stream; every third one leaves without an end."""
    samples, rate = soundfile.read(CLIP, dtype="int16")
    leaves = traffic.rng.random() < 0.3
    async with connect(traffic.url.replace("http", "ws") + "/v1/stream", max_size=None) as stream:
        await stream.send(json.dumps({"sample_rate": rate, "hop_s": 0.5}))
        for block in np.array_split(samples, 20):
            await stream.send(block.tobytes())
        if leaves:
            return
        await stream.send('{"end": true}')
        answer = "no answer"
        async for message in stream:
            answer = json.loads(message)["type"]
    traffic.report.add("good stream", answer, {"prediction"})


async def damaged_recording(traffic: Traffic) -> None:
    """A recording with changed, missing or repeated bytes."""
    content = bytearray(traffic.rng.choice([CLIP.read_bytes(), SHORT_WAV]))
    for _ in range(traffic.rng.choice([1, 10, 1000])):
        content[traffic.rng.randrange(len(content))] = traffic.rng.randrange(256)
    start, end = sorted(traffic.rng.sample(range(len(content)), 2))
    content = traffic.rng.choice([content, content[:end], content[start:], content[:end] + content[start:]])
    await traffic.post("damaged recording", {200, 422}, content=bytes(content))


async def invalid_request(traffic: Traffic) -> None:
    """A request that the service refuses; see docs/how-to/service.md for the statuses."""
    kind, status, request = traffic.rng.choice(
        [
            ("too many windows", 422, {"content": LONG, "params": {"hop_s": "0.01"}}),
            ("too long", 422, {"content": TOO_LONG}),
            ("unknown parameter", 422, {"content": SHORT_WAV, "params": {"hop": "1"}}),
            ("infinite number", 422, {"content": SHORT_WAV, "params": {"hop_s": "inf"}}),
            ("wrong type", 415, {"content": b"{}", "headers": {"content-type": "application/json"}}),
            ("no file", 422, {"files": {"other": b"x"}}),
            ("bad profile", 422, {"files": {"files": SHORT_WAV}, "data": {"speaker": '{"format_version": 1e999}'}}),
            ("foreign origin", 403, {"content": SHORT_WAV, "headers": {"origin": "https://evil.example"}}),
            ("foreign host", 421, {"content": SHORT_WAV, "headers": {"host": "evil.example"}}),
            ("too large", 413, {"content": bytes(51_000_000)}),
        ]
    )
    try:
        await traffic.post(kind, {status}, **request)
    except httpx.TransportError as error:
        traffic.report.add(kind, type(error).__name__, set())


async def leaving_client(traffic: Traffic) -> None:
    """A client that leaves during its request, or while the service works for it."""
    host, port = traffic.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    length = traffic.rng.choice([len(LONG), len(LONG) + 1000])  # with the second one, the body is never complete
    header = f"POST /v1/predict?hop_s=0.2 HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n"
    writer.write(f"{header}content-type: audio/flac\r\n\r\n".encode() + LONG)
    await writer.drain()
    await asyncio.sleep(traffic.rng.uniform(0, 0.5))
    writer.close()
    traffic.report.add("leaving client", "left", {"left"})


async def invalid_stream(traffic: Traffic) -> None:
    """A stream with an invalid message."""
    first: Any = {"sample_rate": 16_000}
    messages: list[str | bytes] = traffic.rng.choice(
        [
            ["{"],
            [b"\0\0"],
            [json.dumps({**first, "hop": 1})],
            [json.dumps({**first, "language": "\ud800"})],
            ['{"sample_rate": 1e999}'],
            [json.dumps({**first, "format": "f32le"}), np.full(8, np.nan, "<f4").tobytes()],
            [json.dumps(first), '{"end": 1}'],
            [json.dumps({"sample_rate": 4000, "hop_s": 0.01}), bytes(1 << 20)],
            [json.dumps(first), bytes((1 << 20) + 1)],
        ]
    )
    answer: object = "no answer"
    try:
        async with connect(traffic.url.replace("http", "ws") + "/v1/stream", max_size=None) as stream:
            for message in messages:
                await stream.send(message)
            async for text in stream:
                content = json.loads(text)
                answer = content["type"]
                if answer == "window" and traffic.rng.random() < 0.01:
                    break
    except websockets.ConnectionClosed as error:
        answer = error.rcvd.code if error.rcvd else "no close code"
    traffic.report.add("invalid stream", answer, {"error", "window", 1007, 1008, 1009})


CLIENTS: tuple[Callable[[Traffic], Awaitable[None]], ...] = (
    predict_clip,
    predict_clip,
    predict_form,
    stream_clip,
    damaged_recording,
    damaged_recording,
    invalid_request,
    leaving_client,
    invalid_stream,
)


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB (Linux)."""
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1024 if match else float("nan")


async def repeat(client: Callable[[Traffic], Awaitable[None]], traffic: Traffic, until: float) -> None:
    """Run one client again and again; a connection that fails is unexpected."""
    while time.monotonic() < until:
        try:
            await client(traffic)
        except (httpx.HTTPError, OSError, websockets.WebSocketException) as error:
            traffic.report.add(client.__name__, type(error).__name__, set())
        await asyncio.sleep(traffic.rng.uniform(0, 2 * PAUSE_S))


async def watch_memory(pid: int, report: Report, until: float) -> None:
    """Read the memory each second."""
    while time.monotonic() < until:
        report.memory_mb.append(resident_mb(pid))
        await asyncio.sleep(1)


async def run_traffic(url: str, pid: int, duration_s: float, seed: int) -> Report:
    """Run all clients for some time."""
    until = time.monotonic() + duration_s
    async with httpx.AsyncClient(base_url=url, timeout=150) as http:
        traffic = Traffic(url, http, random.Random(seed), Report())
        clients = [repeat(client, traffic, until) for client in CLIENTS]
        await asyncio.gather(watch_memory(pid, traffic.report, until), *clients)
    return traffic.report


def start_service(log: Any) -> tuple[subprocess.Popen[str], str]:
    """Start the service on a free port; return the process and the URL when it answers requests."""
    command = [sys.executable, "-m", "kanjo", "serve", "--port", "0", "--capacity", "6"]
    process = subprocess.Popen(command, stderr=log, text=True)
    for _ in range(300):
        time.sleep(0.1)
        match = re.search(r"http://[^/]+", Path(log.name).read_text(encoding="utf-8"))
        try:
            if match and httpx.get(match[0] + "/healthz").status_code == 200:
                return process, match[0]
        except httpx.HTTPError:
            continue
    process.kill()
    raise RuntimeError("the service did not start")


def memory_drift(memory_mb: list[float]) -> float:
    """Growth of the median memory from the second fifth of the time to the last one."""
    fifth = max(1, len(memory_mb) // 5)
    return float(np.median(memory_mb[-fifth:]) / np.median(memory_mb[fifth : 2 * fifth]) - 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float, nargs="?", default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        process, url = start_service(log)
        try:
            report = asyncio.run(run_traffic(url, process.pid, 60 * arguments.minutes, arguments.seed))
        finally:
            start_time = time.monotonic()
            process.terminate()
            process.wait(60)
            exit_s = time.monotonic() - start_time
        text = Path(log.name).read_text(encoding="utf-8")
    for (kind, answer), count in sorted(report.answers.items(), key=str):
        print(f"{kind:20} {answer!s:20} {count:7d}")
    n_tracebacks, drift = text.count("Traceback"), memory_drift(report.memory_mb)
    print(f"{report.answers.total()} requests and streams in {arguments.minutes:g} minutes")
    print(f"unexpected answers: {dict(report.unexpected) or 'none'}; tracebacks in the log: {n_tracebacks}")
    samples = ", ".join(f"{value:.0f}" for value in report.memory_mb[:: max(1, len(report.memory_mb) // 10)])
    print(f"memory in MB: {samples}; peak {max(report.memory_mb):.0f}; drift {100 * drift:+.1f} %")
    print(f"seconds from SIGTERM to the end: {exit_s:.1f}")
    return int(bool(report.unexpected) or n_tracebacks > 0 or drift > MAX_DRIFT or exit_s > 30)


if __name__ == "__main__":
    sys.exit(main())
