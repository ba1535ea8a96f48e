"""Limits of requests: host, token, size, time, and broken connections."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import httpx
import pytest

from tests.server_fixtures import CLIP, ServiceProcess, open_stream, send_bytes, start_service

HEADERS = b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: audio/wav\r\n"


def test_request_with_foreign_host_returns_421(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 421


def test_request_with_large_content_length_returns_413_at_once(service: ServiceProcess, client: httpx.Client) -> None:
    start_time = time.monotonic()
    response = send_bytes(service, HEADERS + b"content-length: 1000000000\r\n\r\n" + bytes(1000))
    assert response.startswith(b"HTTP/1.1 413")
    assert time.monotonic() - start_time < 5


def test_request_with_large_chunked_body_returns_413(service: ServiceProcess, client: httpx.Client) -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with contextlib.suppress(ConnectionError):  # The service may close the connection while the client still sends.
        assert b" 413 " in send_bytes(service, HEADERS + b"transfer-encoding: chunked\r\n\r\n", *[chunk] * 64)


@pytest.mark.parametrize("parts", [(), (b"POST /v1/predict HTTP/1.1\r\n",)], ids=["nothing", "incomplete headers"])
def test_connection_without_complete_headers_is_closed(
    service: ServiceProcess, client: httpx.Client, parts: tuple[bytes, ...]
) -> None:
    start_time = time.monotonic()
    assert send_bytes(service, *parts) == b""
    assert time.monotonic() - start_time < 8


def test_request_with_incomplete_body_returns_408(service: ServiceProcess, client: httpx.Client) -> None:
    assert send_bytes(service, HEADERS + b"content-length: 1000\r\n\r\n", b"R").startswith(b"HTTP/1.1 408")


def test_service_survives_broken_connections(service: ServiceProcess, client: httpx.Client) -> None:
    """The ``client`` fixture checks that the next request succeeds."""
    content = CLIP.read_bytes()
    headers = HEADERS + f"content-length: {len(content)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(headers + content)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(100)
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(headers + content[:500])


@pytest.mark.parametrize("content", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n" + b"a" * 100_000 + b"\r\n"])
def test_request_that_is_not_http_is_rejected(service: ServiceProcess, client: httpx.Client, content: bytes) -> None:
    try:
        response = send_bytes(service, content + b"\r\n\r\n")
    except ConnectionError:
        return
    assert response == b"" or b" 400 " in response


def test_token_is_required_and_not_logged() -> None:
    with start_service(token="sesame") as service, httpx.Client(base_url=service.url) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic c2VzYW1l"}):
            response = client.post("/v1/predict", content=b"x", headers=headers)
            assert response.status_code == 401, headers
            assert response.headers["www-authenticate"].startswith('Bearer realm="kanjo"')
            assert client.get("/metrics", headers=headers).status_code == 401
        for path in ("/", "/healthz", "/page/app.js"):
            assert client.get(path).status_code == 200, path
        headers = {"authorization": "Bearer sesame"}
        assert client.post("/v1/predict", content=CLIP.read_bytes(), headers=headers).status_code == 200
        for token, message_type in (("", "error"), ("wrong", "error"), ("sesame", "ready")):
            with open_stream(service, {"sample_rate": 16000, "token": token}) as connection:
                assert json.loads(connection.recv())["type"] == message_type
    assert "sesame" not in service.stop()
