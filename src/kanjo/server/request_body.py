"""The body of a request: limits of its size and time; the part that the application does not read is discarded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from kanjo.server.errors import RequestError
from kanjo.server.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

#: Seconds for which the rest of a body is discarded: in all, and without a byte of it.
_MAX_DISCARD_S, _MAX_DISCARD_IDLE_S = 30.0, 5.0


class RequestBody:
    """Receives the body of one request.

    Args:
        headers: The headers of the request; the names are lower case.
        receive: The ASGI callable that receives the messages of the client.
        settings: The limits.
    """

    def __init__(self, headers: dict[str, str], receive: Receive, settings: Settings) -> None:
        self._receive = receive
        self._max_bytes, self._timeout_s = settings.max_request_bytes, settings.body_timeout_s
        self._deadline = time.monotonic() + settings.body_timeout_s
        length = headers.get("content-length", "0")
        self._announced_bytes = int(length[:20]) if length.isdecimal() else 0
        self._waits_for_continue = headers.get("expect", "").lower() == "100-continue"
        self._n_bytes = 0
        self._is_complete = not self._announced_bytes and "transfer-encoding" not in headers

    @property
    def is_incomplete(self) -> bool:
        """Whether the client may still be sending a part of the body."""
        return not self._is_complete and not (self._waits_for_continue and not self._n_bytes)

    async def receive(self) -> Message:
        """Receive the next message; an ASGI callable.

        Raises:
            RequestError: The body is too large, or was not complete in time.
        """
        if self._is_complete:
            return await self._receive()
        if self._announced_bytes > self._max_bytes:
            raise self._too_large()
        try:
            message = await asyncio.wait_for(self._receive(), max(self._deadline - time.monotonic(), 0.001))
        except asyncio.TimeoutError:
            error = f"the request was not complete after {self._timeout_s:g} s"
            raise RequestError(408, "request_timeout", error) from None
        self._count(message)
        if self._n_bytes > self._max_bytes:
            raise self._too_large()
        return message

    async def discard(self) -> None:
        """Receive the rest of the body and forget it, for a limited time.

        A connection that is closed while the client sends is reset, and many clients then never see the response.
        """
        deadline = time.monotonic() + _MAX_DISCARD_S
        while not self._is_complete:
            timeout_s = min(deadline - time.monotonic(), _MAX_DISCARD_IDLE_S)
            try:
                self._count(await asyncio.wait_for(self._receive(), max(timeout_s, 0.0)))
            except asyncio.TimeoutError:
                return

    def _count(self, message: Message) -> None:
        """Count the bytes of a message; the last one, and a client that has left, end the body."""
        self._n_bytes += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)

    def _too_large(self) -> RequestError:
        message = f"the request is larger than the limit of {self._max_bytes / 1e6:g} MB"
        return RequestError(413, "too_large", message)
