"""ASGI middleware for every request: request id, access checks, size and time limits, metrics, log and shutdown."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from kanjo.server.access import check_host, check_origin, check_token
from kanjo.server.errors import RequestError, error_body
from kanjo.server.metrics import ServiceMetrics
from kanjo.server.request_body import Message, Receive, RequestBody
from kanjo.server.settings import Settings

log = logging.getLogger("kanjo.server")

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Paths with a metric label of their own. All others share the label "other", so that the number of labels is bounded.
_METRIC_PATHS = frozenset(
    ["/", "/v1/predict", "/v1/enroll", "/v1/models", "/v1/stream", "/healthz", "/metrics", "/openapi.json"]
)
_REQUEST_ID = re.compile(r"[\w.-]{1,64}")
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", _CONTENT_SECURITY_POLICY.encode()),
)


class RequestLimitsMiddleware:
    """Checks and limits every request before the application receives it.

    Args:
        app: The ASGI application to wrap.
        settings: The limits.
        metrics: Receives the number and the duration of the requests.
    """

    def __init__(self, app: App, settings: Settings, metrics: ServiceMetrics) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics
        self._is_stopping = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin_shutdown(self) -> None:
        """Refuse new requests; those in progress get ``shutdown_timeout_s``, then status 503. Call it in the loop."""
        self._is_stopping = True
        asyncio.get_running_loop().call_later(self.settings.shutdown_timeout_s, self._cancel_requests)

    def _cancel_requests(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        handlers = {"http": self._handle_http, "websocket": self._handle_websocket}
        handle = handlers.get(scope["type"], self.app)
        task = asyncio.current_task() if scope["type"] in handlers else None
        if task is not None:
            self._tasks.add(task)
        try:
            await handle(scope, receive, send)
        finally:
            if task is not None:
                self._tasks.discard(task)

    async def _handle_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _decode_headers(scope)
        client_id = headers.get("x-request-id", "")
        request_id = client_id if _REQUEST_ID.fullmatch(client_id) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        body = RequestBody(headers, receive, self.settings)
        start_time, status, duration_s = time.monotonic(), 0, 0.0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, duration_s
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    *_SECURITY_HEADERS,
                ]
            duration_s = time.monotonic() - start_time
            if message["type"] == "http.response.body" and not message.get("more_body") and body.is_incomplete:
                await _send_before_end_of_body(message, body, send)
            else:
                await send(message)

        try:
            self._check_access(scope, headers)
            await self.app(scope, body.receive, send_with_headers)
        except RequestError as error:
            if not status:
                await _send_error(error, request_id, send_with_headers)
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise
            if not status:
                await _send_error(_stopping_error(), request_id, send_with_headers)
        finally:
            self._record(scope, request_id, status, duration_s or time.monotonic() - start_time)

    async def _handle_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _decode_headers(scope)
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        try:
            self._check_access(scope, headers)
            check_origin("WEBSOCKET", headers)
        except RequestError as error:
            log.info("%s WS %s rejected: %s", request_id, json.dumps(scope["path"]), error)
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": error.code})
            return
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise

    def _check_access(self, scope: Scope, headers: dict[str, str]) -> None:
        """Check who sends a request. Streams send their token in their first message."""
        if self._is_stopping:
            raise _stopping_error()
        check_host(headers, self.settings)
        if scope["type"] == "http":
            check_origin(scope["method"], headers)
            check_token(scope["path"], headers, self.settings)

    def _record(self, scope: Scope, request_id: str, status: int, duration_s: float) -> None:
        """Write one request to the metrics and the log."""
        path = scope["path"] if scope["path"] in _METRIC_PATHS else "other"
        self.metrics.requests.labels(path, str(status)).inc()
        self.metrics.request_duration.labels(path).observe(duration_s)
        quoted_path = json.dumps(scope["path"])
        log.info("%s %s %s %d %.0f ms", request_id, scope["method"], quoted_path, status, 1000 * duration_s)


def _stopping_error() -> RequestError:
    return RequestError(503, "stopping", "the service is stopping; try again later", {"retry-after": "10"})


async def _send_error(error: RequestError, request_id: str, send: Send) -> None:
    body = json.dumps(error_body(error.code, error.message, request_id)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    headers += [(key.encode(), value.encode()) for key, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_before_end_of_body(message: Message, body: RequestBody, send: Send) -> None:
    """Send the last part of a response now, but end it, and perhaps the connection, when the client has sent all."""
    await send({**message, "more_body": True})
    try:
        await body.discard()
    finally:
        await send({"type": "http.response.body", "body": b""})


def _decode_headers(scope: Scope) -> dict[str, str]:
    return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
