"""The service over real sockets: what it answers, what it refuses, and that the next request is answered."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from websockets import Origin
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import kanjo
from tests.server_fixtures import SPOKEN, Service, service

MOODS = SPOKEN / "two-moods.flac"


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service(header_s=1.0, body_s=1.5, idle_s=2.0, max_bytes=2_000_000, longest_s=30.0, capacity=8) as found:
        yield found


@pytest.fixture
def client(running: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=30) as found:
        yield found
        again = found.post("/v1/predict", content=MOODS.read_bytes(), headers={"content-type": "audio/flac"})
        assert again.status_code == 200, "after what this test did, the next request is not answered"


def same(answer: dict[str, object], expected: kanjo.Prediction) -> None:
    found = json.loads(json.dumps(answer))
    wanted = json.loads(json.dumps(expected.as_dict()))
    assert found["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
    for key in ("segments", "windows"):
        assert [(s["start_s"], s["label"]) for s in found[key]] == [(s["start_s"], s["label"]) for s in wanted[key]]
    assert (found["label"], found["warnings"]) == (wanted["label"], wanted["warnings"])


def pcm(path: Path = MOODS) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(path, dtype="int16")
    return samples, rate


def test_files_a_body_and_raw_samples_get_what_predict_says(client: httpx.Client) -> None:
    expected = kanjo.load().predict(MOODS)
    files = [("files", (path.name, path.read_bytes())) for path in (MOODS, SPOKEN / "calm-low.flac")]
    several = client.post("/v1/predict", files=files, headers={"x-request-id": "mine-1"})
    assert several.status_code == 200 and several.json()["request_id"] == several.headers["x-request-id"] == "mine-1"
    assert [item["file"] for item in several.json()["predictions"]] == ["two-moods.flac", "calm-low.flac"]
    same(several.json()["predictions"][0], expected)
    body = client.post("/v1/predict", content=MOODS.read_bytes(), headers={"content-type": "application/octet-stream"})
    same(body.json()["predictions"][0], expected)
    samples, rate = pcm()
    raw = {"format": "s16le", "sample_rate": rate}
    same(client.post("/v1/predict", content=samples.tobytes(), params=raw).json()["predictions"][0], expected)
    stereo = np.stack([samples, samples], 1).astype(np.float32) / 32768
    raw = {"format": "f32le", "sample_rate": rate, "channels": 2}
    same(client.post("/v1/predict", content=stereo.tobytes(), params=raw).json()["predictions"][0], expected)
    cut = client.post(
        "/v1/predict", files=files[:1], params={"hop_s": 2.0, "min_confidence": 0.9, "language": "ko"}
    ).json()
    same(cut["predictions"][0], kanjo.load().predict(MOODS, hop_s=2.0, min_confidence=0.9, language="ko"))


@pytest.mark.parametrize("container", ["webm", "mp4", "ogg"])
def test_what_a_browser_records_is_decoded(client: httpx.Client, container: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV (extra media) is not installed")
    samples, rate = pcm()
    codec = {"webm": "libopus", "mp4": "aac", "ogg": "libopus"}[container]
    path = tmp_path / f"blob.{container}"
    with av.open(str(path), "w", format=container) as made:
        stream = made.add_stream(codec, rate=48_000, layout="mono")
        resampler = av.AudioResampler(
            format="fltp", layout="mono", rate=48_000, frame_size=960 if codec == "libopus" else 1024
        )
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            made.mux(stream.encode(part))
        made.mux(stream.encode(None))
    answer = client.post("/v1/predict", files={"files": ("blob", path.read_bytes())})
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["duration_s"] == pytest.approx(len(samples) / rate, abs=0.15)


def test_models_health_metrics_and_openapi(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model["name"] == "default" and model["labels"] == list(kanjo.load().labels)
    assert client.get("/healthz").json() == {"status": "ok"}
    metrics = client.get("/metrics").text
    assert re.search(r'kanjo_requests_total\{path="/v1/predict",status="200"\} [1-9]', metrics)
    for name in (
        "kanjo_request_seconds_bucket",
        "kanjo_audio_seconds_total",
        "kanjo_streams",
        "kanjo_batch_recordings_sum",
    ):
        assert name in metrics
    schema = client.get("/openapi.json").json()
    assert schema["paths"]["/v1/predict"]["post"]["requestBody"]["content"].keys() >= {"multipart/form-data", "audio/*"}
    assert schema["components"]["schemas"]["PredictionOut"]["properties"]["label"]["examples"] == ["happiness"]
    assert "429" in schema["paths"]["/v1/predict"]["post"]["responses"]


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"content": b"", "headers": {"content-type": "audio/wav"}}, 422, "the request is empty"),
        ({"content": b"Dear diary", "headers": {"content-type": "audio/wav"}}, 422, "recording: not audio that can be read"),
        ({"content": b"{}", "headers": {"content-type": "application/json"}}, 415, "content type application/json: expected"),
        ({"content": b"[" * 200_000, "headers": {"content-type": "application/json"}}, 415, "expected multipart"),
        ({"content": b"abc", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 422, ""),
        ({"files": {"other": b"RIFF"}}, 422, "expected parts named"),
        ({"files": {"files": ("e.wav", b"")}}, 422, "e.wav: an empty file"),
        ({"files": {"files": ("../../etc/pass\nwd", b"x")}}, 422, "not audio that can be read"),
        ({"files": {"files": ("a.wav", MOODS.read_bytes()[:3000])}}, 422, "a.wav: "),
        ({"content": b"ab", "params": {"format": "s24", "sample_rate": 16000}}, 422, "format s24: expected s16le or f32le"),
        ({"content": b"ab", "params": {"format": "s16le"}}, 422, "needs sample_rate"),
        ({"content": b"ab", "params": {"format": "s16le", "sample_rate": 3}}, 422, "3 Hz; expected 4000"),
        ({"content": b"a", "params": {"format": "s16le", "sample_rate": 16000}}, 422, "no samples"),
        ({"content": b"\x00\x00\xc0\x7f" * 800, "params": {"format": "f32le", "sample_rate": 16000}}, 422, "sample 0 is not a number"),
        ({"content": b"ab", "params": {"hop_s": 99}}, 422, "hop of 99"),
        ({"content": b"ab", "params": {"min_confidence": "much"}}, 422, "min_confidence"),
        ({"content": np.zeros(31 * 8000, "<i2").tobytes(), "params": {"format": "s16le", "sample_rate": 8000}}, 422, "longer than 30 s"),
        ({"content": bytes(2_000_001)}, 413, "more than 2 MB were sent"),
    ],
)  # fmt: skip
def test_bad_requests_get_a_status_and_one_line(client: httpx.Client, request_: dict, status: int, said: str) -> None:
    answer = client.post("/v1/predict", **request_)
    assert answer.status_code == status, answer.text
    assert said in answer.text and "Traceback" not in answer.text
    assert answer.headers["x-request-id"]


def test_silent_and_short_recordings_are_answered_unsure(client: httpx.Client) -> None:
    for seconds, said in ((1.0, "silent"), (0.01, "too short")):
        raw = {"format": "s16le", "sample_rate": 16000}
        (answer,) = client.post("/v1/predict", content=bytes(2 * int(16_000 * seconds)), params=raw).json()[
            "predictions"
        ]
        assert answer["label"] == "unsure" and any(said in warning for warning in answer["warnings"])


def test_one_bad_file_of_many_gets_its_error(client: httpx.Client) -> None:
    files = [
        ("files", ("good.flac", MOODS.read_bytes())),
        ("files", ("bad.wav", b"no sound")),
        ("files", ("C:\\x\\odd\u202e.wav", b"")),
    ]
    found = client.post("/v1/predict", files=files).json()["predictions"]
    assert [bool(item["error"]) for item in found] == [False, True, True]
    assert found[2]["file"] == "odd.wav"


def test_wrong_methods_paths_and_hosts(client: httpx.Client) -> None:
    for path in ("/nope", "/page/../app.py", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/app", "/page/app.py"):
        assert client.get(path).status_code == 404, path
    assert client.get("/v1/predict").status_code == 405
    assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 421


def send_raw(running: Service, *parts: bytes, pause: float = 0.0) -> bytes:
    """Bytes as they are, and what comes back until the service closes."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as wire:
        for part in parts:
            wire.sendall(part)
            time.sleep(pause)
        found = b""
        while chunk := wire.recv(65536):
            found += chunk
        return found


HEAD = b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: audio/wav\r\n"


def test_a_gigabyte_is_refused_before_it_is_sent(running: Service, client: httpx.Client) -> None:
    started = time.monotonic()
    assert send_raw(running, HEAD + b"content-length: 1000000000\r\n\r\n" + bytes(1000)).startswith(b"HTTP/1.1 413")
    assert time.monotonic() - started < 5
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with contextlib.suppress(
        ConnectionError
    ):  # of unknown length, it is cut off where the limit is, maybe while it still sends
        assert b" 413 " in send_raw(running, HEAD + b"transfer-encoding: chunked\r\n\r\n", *[chunk] * 64)


def test_slow_senders_are_let_go(running: Service, client: httpx.Client) -> None:
    """A head that never ends, a body that never ends, and a connection on which nothing is said."""
    started = time.monotonic()
    assert send_raw(running, b"POST /v1/predict HTTP/1.1\r\n") == b""
    assert send_raw(running) == b""
    assert send_raw(running, HEAD + b"content-length: 1000\r\n\r\n", b"R").startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < 15


def test_half_closed_and_broken_sockets(running: Service, client: httpx.Client) -> None:
    content = MOODS.read_bytes()
    head = HEAD + f"content-length: {len(content)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as wire:
        wire.sendall(head + content)
        wire.shutdown(socket.SHUT_WR)
        wire.recv(100)
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as wire:
        wire.sendall(head + content[:500])  # and gone
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n" + b"a" * 100_000 + b"\r\n\r\n"):
        assert b" 400 " in send_raw(running, nonsense + b"\r\n\r\n") + b" 400 "


@contextlib.contextmanager
def opened(running: Service, first: object) -> Iterator[ClientConnection]:
    with connect(running.url.replace("http", "ws") + "/v1/stream", max_size=None) as wire:
        wire.send(first if isinstance(first, str | bytes) else json.dumps(first))
        yield wire


def heard(wire: ClientConnection) -> list[dict[str, Any]]:
    """Everything that is said until the service closes."""
    found = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            found.append(json.loads(wire.recv()))
    return found


def test_a_stream_says_what_predict_says(running: Service, client: httpx.Client) -> None:
    samples, rate = pcm()
    content = samples.tobytes()
    with opened(running, {"sample_rate": rate, "format": "s16le"}) as wire:
        assert json.loads(wire.recv())["type"] == "ready"
        for at in range(0, len(content), 3201):  # odd: a sample may be cut in two
            wire.send(content[at : at + 3201])
        wire.send('{"end": true}')
        said = heard(wire)
    assert said[-1]["type"] == "prediction"
    same(said[-1], kanjo.load().predict(MOODS))
    assert [m["start_s"] for m in said if m["type"] == "window"] == [0, 1, 2, 3, 4, 5]
    assert any(m["speech"] > 0.8 for m in said if m["type"] == "level")


@pytest.mark.parametrize(
    ("first", "then", "code"),
    [
        ("[" * 5000, None, "bad_message"),
        ("{" * 3000, None, "bad_message"),
        ("[]", None, "bad_message"),
        (b"\x00\x00", None, "bad_message"),
        ({"sample_rate": 5}, None, "bad_parameter"),
        ({"sample_rate": True}, None, "bad_parameter"),
        ({"sample_rate": 16000, "format": ["s16le"]}, None, "bad_parameter"),
        ({"sample_rate": 16000, "hop_s": "x"}, None, "bad_parameter"),
        ({"sample_rate": 16000, "format": "f32le"}, b"\x00\x00\xc0\x7f" * 10, "bad_samples"),
        ({"sample_rate": 16000}, '{"end": 1}', "bad_message"),
        ({"sample_rate": 16000}, '{"end": true}', "empty"),
        ({"sample_rate": 8000}, bytes(2 * 8000 * 31), "too_long"),
        ({"sample_rate": 16000}, None, "idle"),
    ],
)  # fmt: skip
def test_bad_streams_are_told_why(
    running: Service, client: httpx.Client, first: object, then: str | bytes | None, code: str
) -> None:
    with opened(running, first) as wire:
        if then is not None:
            wire.send(then)
        said = heard(wire)
    assert said[-1]["type"] == "error" and said[-1]["code"] == code, said
    assert said[-1]["message"] and wire.close_reason == code


def test_a_stream_of_a_foreign_page_is_refused(running: Service, client: httpx.Client) -> None:
    address = running.url.replace("http", "ws") + "/v1/stream"
    with pytest.raises(InvalidStatus, match="403"), connect(address, origin=Origin("https://evil.example")):
        pass


def test_a_stream_that_never_reads_is_let_go() -> None:
    """Others are answered meanwhile, and the service's memory does not hold what is not fetched."""
    with service(idle_s=1.0) as running, httpx.Client(base_url=running.url, timeout=30) as client:
        wire = socket.create_connection(("127.0.0.1", running.port), timeout=20)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        wire.sendall(
            b"GET /v1/stream HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        )

        def frame(kind: int, content: bytes) -> bytes:
            return (
                bytes([0x80 | kind, 0xFE]) + len(content).to_bytes(2, "big") + bytes(4) + content
            )  # masked with zeros

        first = json.dumps({"sample_rate": 8000, "hop_s": 0.01, "window_s": 0.3, "format": "s16le"}).ljust(200).encode()
        wire.sendall(frame(1, first))
        noise = (np.random.default_rng(0).normal(0, 3000, 8000)).astype("<i2").tobytes()
        wire.settimeout(15)
        sent = 0
        try:
            for _ in range(400):
                wire.sendall(frame(2, noise[:16000]))
                sent += 1
                if sent % 20 == 0:
                    assert client.get("/healthz").status_code == 200
        except OSError:
            pass  # it was let go
        wire.close()
        assert client.post("/v1/predict", content=MOODS.read_bytes()).status_code == 200


def test_a_token_is_asked_for() -> None:
    with service(token="sesame") as running, httpx.Client(base_url=running.url) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic c2VzYW1l"}):
            answer = client.post("/v1/predict", content=b"x", headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer", headers
            assert client.get("/metrics", headers=headers).status_code == 401
        assert (
            client.get("/").status_code
            == client.get("/healthz").status_code
            == client.get("/page/app.js").status_code
            == 200
        )
        good = client.post("/v1/predict", content=MOODS.read_bytes(), headers={"authorization": "Bearer sesame"})
        assert good.status_code == 200
        for token, kind in (("", "error"), ("wrong", "error"), ("sesame", "ready")):
            with opened(running, {"sample_rate": 16000, "token": token}) as wire:
                assert json.loads(wire.recv())["type"] == kind
    assert "sesame" not in running.stop()


def test_a_full_house_says_when_to_come_again() -> None:
    """Twenty at once where two may wait: each gets its answer or 429 with Retry-After, and the log names each by its id."""
    with service(capacity=2, streams=1) as running:
        content = MOODS.read_bytes()

        def ask(n: int) -> httpx.Response:
            return httpx.post(
                running.url + "/v1/predict", content=content, headers={"x-request-id": f"n-{n}"}, timeout=60
            )

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(ask, range(20)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429} and statuses.count(200) >= 2
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1 and refused.json()["error"]["code"] == "busy"
        assert httpx.post(running.url + "/v1/predict", content=content).status_code == 200
        with opened(running, {"sample_rate": 16000}) as first:
            assert json.loads(first.recv())["type"] == "ready"
            with connect(running.url.replace("http", "ws") + "/v1/stream") as second:
                assert heard(second)[0]["code"] == "busy"
    log = running.stop()
    assert {f"n-{n}" for n in range(20)} <= set(re.findall(r"n-\d+", log))


def test_memory_stays_flat() -> None:
    """The soak in short: after a warm-up, forty requests leave the service as large as it was, at least once in four; a leak grows every time."""
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc, which this system doesn't have")
    content, sizes = MOODS.read_bytes(), []
    with service() as running, ThreadPoolExecutor(3) as pool:
        status = Path(f"/proc/{running.process.pid}/status")
        for n in (40,) * 5:
            answers = list(
                pool.map(lambda _: httpx.post(running.url + "/v1/predict", content=content, timeout=60), range(n))
            )
            assert all(answer.status_code == 200 for answer in answers)
            sizes.append(int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]))  # type: ignore[index]
    assert min(later / earlier for earlier, later in pairwise(sizes)) < 1.02, sizes


def test_what_was_accepted_is_answered_before_it_stops() -> None:
    samples, rate = pcm()
    long = np.tile(samples, 60).tobytes()  # ten minutes: some seconds of work
    with service() as running:
        with ThreadPoolExecutor(1) as pool:
            raw = {"format": "s16le", "sample_rate": rate}
            answer = pool.submit(httpx.post, running.url + "/v1/predict", content=long, params=raw, timeout=120)
            time.sleep(1.0)
            running.process.terminate()
            assert answer.result().status_code == 200
        running.process.wait(60)
        with pytest.raises(httpx.TransportError):
            httpx.get(running.url + "/healthz")
    assert running.process.returncode in (0, -15)


def test_a_full_disk_is_said_and_small_uploads_are_answered(tmp_path: Path) -> None:
    """Uploads over 1 MB are put where there is no room: /proc takes no file."""
    if not Path("/proc").is_dir():
        pytest.skip("a folder that takes no file is /proc, which this system doesn't have")
    samples, rate = pcm()
    big, raw = np.tile(samples, 5).tobytes(), {"format": "s16le", "sample_rate": rate}
    code = "import tempfile; tempfile.tempdir = '/proc'"
    with service(before=code) as running, httpx.Client(base_url=running.url, timeout=30) as client:
        for answer in (
            client.post("/v1/predict", content=big, params=raw),
            client.post("/v1/predict", files={"files": ("x", big)}),
        ):
            assert answer.status_code == 507 and "can't hold the upload" in answer.text, answer.text
        assert client.post("/v1/predict", content=MOODS.read_bytes()).status_code == 200


def test_nothing_that_is_sent_is_kept(running: Service, client: httpx.Client) -> None:
    """A large upload lies in a file while it is worked on; afterwards the process has none open, and none is left."""
    samples, rate = pcm()
    big = np.tile(samples, 5).tobytes()
    assert len(big) > 1 << 20 and len(big) < 2_000_000
    assert client.post("/v1/predict", files={"files": ("x.raw", big)}).status_code == 422
    raw = {"format": "s16le", "sample_rate": rate}
    assert client.post("/v1/predict", content=big[: 2 * rate * 29], params=raw).status_code == 200
    opened_files = Path(f"/proc/{running.process.pid}/fd")
    if not opened_files.exists():
        pytest.skip("open files are read from /proc, which this system doesn't have")
    targets = [link.resolve().name for link in opened_files.iterdir() if link.exists()]
    assert not [name for name in targets if "tmp" in name or "deleted" in name]


def test_two_services_on_one_port_and_a_bad_host() -> None:
    from kanjo.cli.serve import _free
    from kanjo.errors import KanjoError

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(KanjoError, match="can't listen on 127.0.0.1:.*choose another --port"):
            _free("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(KanjoError, match="can't listen on nowhere.invalid:0"):
        _free("nowhere.invalid", 0)


def test_closing_a_stream_without_a_word(running: Service, client: httpx.Client) -> None:
    with opened(running, {"sample_rate": 16000}) as wire:
        wire.recv()
        wire.send(bytes(32_000))
        wire.close()
        with pytest.raises(ConnectionClosed):
            wire.recv()
    with opened(running, {"sample_rate": 16000}) as wire:
        wire.socket.close()  # not even a farewell


def test_a_speaker_is_enrolled_sent_along_and_kept_nowhere(
    running: Service, client: httpx.Client, tmp_path: Path
) -> None:
    clips = sorted(SPOKEN.glob("*.flac"))
    ours = kanjo.load().enroll("ana", clips)
    files = [("files", (path.name, path.read_bytes())) for path in clips]
    answer = client.post("/v1/enroll", files=files, params={"name": "ana"})
    assert answer.status_code == 200, answer.text
    profile = answer.json()["speaker"]
    assert (profile["name"], profile["clips"]) == ("ana", len(clips))
    assert profile["mean"] == pytest.approx(ours.mean.tolist(), abs=1e-4)
    expected = kanjo.load().predict(MOODS, speaker=ours)
    assert expected.probabilities != kanjo.load().predict(MOODS).probabilities
    one = [("files", (MOODS.name, MOODS.read_bytes()))]
    known = client.post("/v1/predict", files=one, data={"speaker": json.dumps(profile)})
    same(known.json()["predictions"][0], expected)
    samples, rate = pcm()
    with opened(running, {"sample_rate": rate, "speaker": profile}) as wire:
        wire.send(samples.tobytes())
        wire.send('{"end": true}')
        same(heard(wire)[-1], expected)
    same(client.post("/v1/predict", files=one).json()["predictions"][0], kanjo.load().predict(MOODS))
    assert client.get("/v1/models").json()["models"][0]["speakers"] is True


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("{", "not JSON"),
        ("[" * 5000, "not JSON"),
        ("[]", "not a speaker's profile"),
        ('{"format_version": 1, "mean": []}', "damaged"),
        (
            json.dumps(
                {
                    "format_version": 1,
                    "name": "a",
                    "bundle": "b",
                    "sha256": "c",
                    "clips": 1,
                    "speech_s": 1,
                    "mean": [1.0],
                }
            ),
            "enroll them again",
        ),
    ],
)
def test_bad_profiles_are_refused(running: Service, client: httpx.Client, sent: str, said: str) -> None:
    one = [("files", (MOODS.name, MOODS.read_bytes()))]
    answer = client.post("/v1/predict", files=one, data={"speaker": sent})
    assert answer.status_code == 422 and answer.json()["error"]["code"] == "bad_speaker"
    assert said in answer.json()["error"]["message"]
    nothing = client.post("/v1/enroll", files=[("files", ("a.wav", b"no sound"))])
    assert nothing.status_code == 422 and nothing.json()["error"]["code"] == "not_heard"
