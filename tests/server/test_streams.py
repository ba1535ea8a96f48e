"""``/v1/stream``: predictions during a stream, errors, and clients that do not read or disappear."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import cast

import httpx
import numpy as np
import pytest
from fastapi import WebSocket, WebSocketDisconnect
from websockets import Origin
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import kanjo
from kanjo.server.settings import Settings
from kanjo.server.streams import _send
from tests.server_fixtures import (
    CLIP,
    ServiceProcess,
    assert_same_prediction,
    open_stream,
    read_pcm,
    receive_all,
)


def test_stream_matches_recognizer(service: ServiceProcess, client: httpx.Client) -> None:
    samples, sample_rate = read_pcm()
    content = samples.tobytes()
    block_bytes = 3201  # Odd, so that messages end within a sample.
    with open_stream(service, {"sample_rate": sample_rate, "format": "s16le"}) as connection:
        assert json.loads(connection.recv())["type"] == "ready"
        for start in range(0, len(content), block_bytes):
            connection.send(content[start : start + block_bytes])
        connection.send('{"end": true}')
        messages = receive_all(connection)
    assert messages[-1]["type"] == "prediction"
    assert_same_prediction(messages[-1], kanjo.load().predict(CLIP))
    windows = [message for message in messages if message["type"] == "window"]
    final = [message["start_s"] for message in windows if message.get("is_final", True)]
    assert final == [window["start_s"] for window in messages[-1]["windows"][: len(final)]] and final
    assert any(message.get("is_final") is False for message in windows)
    levels = [message for message in messages if message["type"] == "level"]
    assert any(level["speech_probability"] > 0.8 for level in levels)
    assert levels[-1]["duration_s"] == pytest.approx(len(samples) / sample_rate, abs=0.5)


def test_stream_with_emotions_matches_recognizer(service: ServiceProcess, client: httpx.Client) -> None:
    samples, sample_rate = read_pcm()
    with open_stream(service, {"sample_rate": sample_rate, "emotions": ["sad", "anger"]}) as connection:
        assert json.loads(connection.recv())["labels"] == ["anger", "sadness"]
        connection.send(samples.tobytes())
        connection.send('{"end": true}')
        messages = receive_all(connection)
    assert_same_prediction(messages[-1], kanjo.load().predict(CLIP, emotions=("anger", "sadness")))


@pytest.mark.parametrize(
    ("first_message", "second_message", "code"),
    [
        ("[" * 5000, None, "bad_message"),
        ("{" * 3000, None, "bad_message"),
        ("[]", None, "bad_message"),
        (b"\x00\x00", None, "bad_message"),
        ({"sample_rate": 5}, None, "bad_parameter"),
        ({"sample_rate": True}, None, "bad_parameter"),
        ({"sample_rate": 16000, "format": ["s16le"]}, None, "bad_parameter"),
        ({"sample_rate": 16000, "hop_s": "x"}, None, "bad_parameter"),
        ({"sample_rate": 16000, "language": 1}, None, "bad_parameter"),
        ({"sample_rate": 16000, "emotions": 1}, None, "bad_parameter"),
        ({"sample_rate": 16000, "emotions": [1, 2]}, None, "bad_parameter"),
        ({"sample_rate": 16000, "emotions": "anger"}, None, "bad_parameter"),
        ({"sample_rate": 16000, "format": "f32le"}, b"\x00\x00\xc0\x7f" * 10, "bad_samples"),
        ({"sample_rate": 16000}, '{"end": 1}', "bad_message"),
        ({"sample_rate": 16000}, '{"end": true}', "empty"),
        ({"sample_rate": 8000}, bytes(2 * 8000 * 31), "too_long"),
        ({"sample_rate": 16000}, None, "idle_timeout"),
    ],
)
def test_stream_with_bad_message_returns_error(
    service: ServiceProcess,
    client: httpx.Client,
    first_message: object,
    second_message: str | bytes | None,
    code: str,
) -> None:
    with open_stream(service, first_message) as connection:
        if second_message is not None:
            connection.send(second_message)
        error = receive_all(connection)[-1]
    assert error["type"] == "error"
    assert error["code"] == connection.close_reason == code
    assert error["message"]


def test_stream_from_foreign_origin_is_rejected(service: ServiceProcess, client: httpx.Client) -> None:
    url = service.url.replace("http", "ws") + "/v1/stream"
    with pytest.raises(InvalidStatus, match="403"), connect(url, origin=Origin("https://evil.example")):
        pass


def test_stream_closed_by_client_leaves_service_running(service: ServiceProcess, client: httpx.Client) -> None:
    with open_stream(service, {"sample_rate": 16000}) as connection:
        connection.recv()
        connection.send(bytes(32_000))
        connection.close()
        with pytest.raises(ConnectionClosed):
            for _ in range(10):  # messages may be waiting
                connection.recv()
    with open_stream(service, {"sample_rate": 16000}) as connection:
        connection.socket.close()  # without a closing handshake


def websocket_frame(opcode: int, content: bytes) -> bytes:
    """A final client frame with a 16-bit length and a mask of zeros (RFC 6455, section 5.2)."""
    return bytes([0x80 | opcode, 0xFE]) + len(content).to_bytes(2, "big") + bytes(4) + content


def test_service_responds_during_stream_that_does_not_read(service: ServiceProcess, client: httpx.Client) -> None:
    options = {"sample_rate": 8000, "hop_s": 0.01, "window_s": 0.3, "format": "s16le"}
    noise = np.random.default_rng(0).normal(0, 3000, 8000).astype("<i2").tobytes()
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.sendall(
            b"GET /v1/stream HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        )
        connection.sendall(websocket_frame(1, json.dumps(options).ljust(200).encode()))
        for _ in range(10):
            connection.sendall(websocket_frame(2, noise))
            assert client.get("/healthz").status_code == 200
        assert client.post("/v1/predict", content=CLIP.read_bytes()).status_code == 200


def test_send_to_client_that_does_not_read_disconnects_it() -> None:
    class StalledWebSocket:
        async def send_text(self, text: str) -> None:
            await asyncio.sleep(60)

    with pytest.raises(WebSocketDisconnect):
        asyncio.run(_send(cast(WebSocket, StalledWebSocket()), {"type": "ready"}, Settings(idle_timeout_s=0.05)))
