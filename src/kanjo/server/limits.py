"""What every request passes first: an id, who it is, how much it may send and how long it may take; what is counted and logged."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from kanjo.server.metrics import Measures
from kanjo.server.settings import Settings

log = logging.getLogger("kanjo.server")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

#: Paths that are counted under their own name.
_COUNTED = frozenset(["/", "/v1/predict", "/v1/models", "/v1/stream", "/healthz", "/metrics", "/openapi.json"])
#: Paths that need no token: the page itself asks for one, and whoever watches the service has none.
_OPEN = re.compile(r"/(?:healthz|page/[\w.-]+)?")
_ID = re.compile(r"[\w.-]{1,64}")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; "
        b"connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)


class Refused(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


class Guard:
    """ASGI middleware around the application."""

    def __init__(self, app: App, settings: Settings, measures: Measures) -> None:
        self.app, self.settings, self.measures = app, settings, measures

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.monotonic(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *_HEADERS]
            await send(message)

        try:
            self._check_host(headers)
            self._check_token(scope["path"], headers)
            await self.app(scope, self._limited(headers, receive), answer)
        except Refused as refused:
            if not status:
                await _refuse(refused, request_id, answer)
        finally:
            took = time.monotonic() - started
            path = scope["path"] if scope["path"] in _COUNTED else "other"
            self.measures.requests.labels(path, str(status)).inc()
            self.measures.latency.labels(path).observe(took)
            log.info("%s %s %s %d %.0f ms", request_id, scope["method"], json.dumps(scope["path"]), status, 1000 * took)

    async def _websocket(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        scope.setdefault("state", {})["request_id"] = secrets.token_hex(8)
        try:
            self._check_host(headers)
            origin = headers.get("origin", "")
            if origin and origin.split("://")[-1] != headers.get("host", ""):
                raise Refused(403, "foreign_origin", f"a page of {origin} may not open a stream here")
        except Refused as refused:
            log.info("%s WS %s refused: %s", scope["state"]["request_id"], json.dumps(scope["path"]), refused)
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refused.code})
            return
        await self.app(scope, receive, send)

    def _check_host(self, headers: dict[str, str]) -> None:
        """A page of elsewhere must not reach this machine's service under a name of its own (DNS rebinding)."""
        name = (
            headers.get("host", "").rsplit(":", 1)[0] if not headers.get("host", "").endswith("]") else headers["host"]
        )
        if self.settings.loopback and name not in ("localhost", "127.0.0.1", "[::1]", "testserver", ""):
            raise Refused(421, "wrong_host", f"this service answers on this machine only, not as {name}")

    def _check_token(self, path: str, headers: dict[str, str]) -> None:
        if not self.settings.token or _OPEN.fullmatch(path):
            return
        if not is_token(headers.get("authorization", "").removeprefix("Bearer "), self.settings.token):
            raise Refused(
                401,
                "unauthorized",
                "a bearer token is needed: Authorization: Bearer TOKEN",
                {"www-authenticate": "Bearer"},
            )

    def _limited(self, headers: dict[str, str], receive: Receive) -> Receive:
        """``receive`` that counts bytes and keeps time."""
        most = self.settings.max_bytes
        length = headers.get("content-length", "0")
        too_large = Refused(413, "too_large", f"more than {most / 1e6:g} MB were sent, which is the limit here")
        deadline = time.monotonic() + self.settings.body_s
        read, done = 0, False

        async def limited() -> Message:
            nonlocal read, done
            if done:
                return await receive()
            if length.isdigit() and int(length) > most:
                raise too_large
            try:
                message = await asyncio.wait_for(receive(), max(deadline - time.monotonic(), 0.001))
            except asyncio.TimeoutError:
                raise Refused(
                    408, "too_slow", f"the request was not complete after {self.settings.body_s:g} s"
                ) from None
            read += len(message.get("body", b""))
            if read > most:
                raise too_large
            done = not message.get("more_body", False)
            return message

        return limited


def is_token(given: str, expected: str) -> bool:
    """Whether a token is the right one, in a time that says nothing of it."""
    return hmac.compare_digest(given.encode(), expected.encode())


def error_body(code: str, message: str, request_id: str) -> dict[str, Any]:
    """The JSON of every refusal."""
    return {"error": {"code": code, "message": message}, "request_id": request_id}


async def _refuse(refused: Refused, request_id: str, send: Send) -> None:
    body = json.dumps(error_body(refused.code, refused.message, request_id)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    headers += [(key.encode(), value.encode()) for key, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
