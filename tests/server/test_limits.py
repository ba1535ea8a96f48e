"""Limits of requests: host, token, size, time, and broken connections."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from http.client import HTTPResponse

import httpx
import pytest

from tests.server_fixtures import CLIP, ServiceProcess, open_stream, send_bytes, start_service

HEADERS = b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: audio/wav\r\n"


def read_response(connection: socket.socket) -> tuple[int, str]:
    """Return the status and the error code of the next response."""
    response = HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read()).get("error", {}).get("code", "")


def test_request_with_foreign_host_returns_421(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 421


def test_request_with_large_content_length_returns_413_at_once(service: ServiceProcess, client: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=1) as connection:
        connection.sendall(HEADERS + b"content-length: 1000000000\r\n\r\n" + bytes(1000))
        assert read_response(connection) == (413, "too_large")


def test_request_with_large_chunked_body_returns_413(service: ServiceProcess, client: httpx.Client) -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    parts = [HEADERS, b"transfer-encoding: chunked\r\n\r\n", *[chunk] * 64, b"0\r\n\r\n"]
    assert send_bytes(service, *parts).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("query", "header", "status", "code"),
    [
        ("", "", 413, "too_large"),
        ("", "origin: https://evil.example\r\n", 403, "wrong_origin"),
        ("", "host: evil.example\r\n", 421, "wrong_host"),
        ("?hop=1", "", 422, "bad_parameter"),
    ],
)
def test_response_before_the_end_of_the_body_reaches_client_that_sends_all_of_it(
    service: ServiceProcess, client: httpx.Client, query: str, header: str, status: int, code: str
) -> None:
    block = bytes(100_000)
    n_blocks = 24 if status == 413 else 8
    host = "" if header.startswith("host") else "host: localhost\r\n"
    request = f"POST /v1/predict{query} HTTP/1.1\r\n{host}{header}content-length: {n_blocks * len(block)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (request.encode(), *[block] * n_blocks):
            connection.sendall(part)
            time.sleep(0.02)  # the service could close the connection now
        assert read_response(connection) == (status, code)


def test_request_after_a_refused_one_uses_the_same_connection(service: ServiceProcess, client: httpx.Client) -> None:
    refused = HEADERS.replace(b"predict", b"predict?hop=1") + b"content-length: 300000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(refused + bytes(100_000))
        assert read_response(connection) == (422, "bad_parameter")
        connection.sendall(bytes(200_000) + b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert read_response(connection) == (200, "")


@pytest.mark.parametrize("pause_s", [0.02, None], ids=["sends for ever", "sends nothing more"])
def test_refused_request_whose_body_does_not_end_is_closed(pause_s: float | None) -> None:
    setup = "import kanjo.server.request_body as b; b._MAX_DISCARD_S, b._MAX_DISCARD_IDLE_S = 1.0, 0.5"
    with start_service(setup, max_request_bytes=1000) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
            connection.sendall(HEADERS + b"content-length: 1000000000\r\n\r\n" + bytes(1000))
            assert read_response(connection) == (413, "too_large")
            start_time = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while pause_s is not None and time.monotonic() - start_time < 5:
                    connection.sendall(bytes(1000))
                    time.sleep(pause_s)
                assert connection.recv(1) == b""
            assert 0.3 < time.monotonic() - start_time < 3
        assert "Traceback" not in service.stop()


def test_service_at_sigterm_ends_although_a_refused_client_still_sends() -> None:
    setup = "import kanjo.server.request_body as b; b._MAX_DISCARD_IDLE_S = 20.0"
    with start_service(setup, max_request_bytes=1000, shutdown_timeout_s=1) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
            connection.sendall(HEADERS + b"content-length: 1000000000\r\n\r\n" + bytes(1000))
            assert read_response(connection) == (413, "too_large")
            start_time = time.monotonic()
            log = service.stop()
            assert connection.recv(1) == b""
        assert time.monotonic() - start_time < 4
        assert "Traceback" not in log and "completing response" not in log


def test_client_that_waits_for_continue_gets_413_and_the_end_at_once(
    service: ServiceProcess, client: httpx.Client
) -> None:
    start_time = time.monotonic()
    response = send_bytes(service, HEADERS + b"content-length: 1000000000\r\nexpect: 100-continue\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 413")
    assert time.monotonic() - start_time < 2


@pytest.mark.parametrize("parts", [(), (b"POST /v1/predict HTTP/1.1\r\n",)], ids=["nothing", "incomplete headers"])
def test_connection_without_complete_headers_is_closed(
    service: ServiceProcess, client: httpx.Client, parts: tuple[bytes, ...]
) -> None:
    start_time = time.monotonic()
    assert send_bytes(service, *parts) == b""
    assert time.monotonic() - start_time < 8


def test_request_with_incomplete_body_returns_408(service: ServiceProcess, client: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(HEADERS + b"content-length: 1000\r\n\r\nR")
        assert read_response(connection) == (408, "request_timeout")


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
