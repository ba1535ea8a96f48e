"""Run the service under uvicorn, with a time limit for request headers and a graceful shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kanjo.errors import KanjoError
from kanjo.inference.recognizer import Recognizer
from kanjo.server.app import create_app
from kanjo.server.limits import RequestLimitsMiddleware
from kanjo.server.settings import Settings

_MAX_WEBSOCKET_MESSAGE_BYTES = 1 << 20
#: Messages of one stream that wait in memory.
_MAX_WEBSOCKET_QUEUE = 2
#: Seconds after ``shutdown_timeout_s``: uvicorn closes what is left, and the process ends in any case.
_CLOSE_MARGIN_S, _EXIT_MARGIN_S = 4, 8
_MAX_HEADER_BYTES = 64 << 10


def run(recognizer: Recognizer, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then complete the accepted requests.

    After ``shutdown_timeout_s``, requests that are not complete get status 503, and the process ends.
    """
    _configure_logging()
    app = create_app(recognizer, settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=create_protocol(settings.header_timeout_s),
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=settings.shutdown_timeout_s + _CLOSE_MARGIN_S,
        ws_max_size=_MAX_WEBSOCKET_MESSAGE_BYTES,
        ws_max_queue=_MAX_WEBSOCKET_QUEUE,
        ws_per_message_deflate=False,  # samples do not get smaller, but a small message could become a large one
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
    )
    _Server(config, app, settings).run()


class _Server(uvicorn.Server):
    """Informs the application when the shutdown begins, and ends the process if it takes too long."""

    def __init__(self, config: uvicorn.Config, app: RequestLimitsMiddleware, settings: Settings) -> None:
        super().__init__(config)
        self._app, self._settings = app, settings

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.begin_shutdown()
        with _exit_after(self._settings.shutdown_timeout_s + _EXIT_MARGIN_S):
            await super().shutdown(sockets)


@contextlib.contextmanager
def _exit_after(timeout_s: float) -> Iterator[None]:
    """End the process if the block takes longer: a decoder that hangs can't be stopped in another way."""
    timer = threading.Timer(timeout_s, os._exit, [1])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def find_port(host: str, port: int) -> int:
    """Check that the service can listen on an address.

    Args:
        host: Host name or IP address.
        port: Port, or 0 for any free port.

    Returns:
        The port.

    Raises:
        KanjoError: The port is in use, or the host is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            return int(listener.getsockname()[1])
    except OSError as error:
        reason = error.strerror or error
        raise KanjoError(f"can't listen on {host}:{port}: {reason}; choose another --port or --host") from error


def create_protocol(header_timeout_s: float) -> type[H11Protocol]:
    """Return an HTTP/1.1 protocol that closes a connection whose request headers are not complete in time.

    uvicorn itself has no such limit.
    """

    class HeaderTimeoutProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._start_timer()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._start_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def _start_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_later(header_timeout_s, self._close_if_idle)

        def _close_if_idle(self) -> None:
            is_responding = self.cycle is not None and not self.cycle.response_complete
            # After an upgrade to WebSocket, the transport belongs to another protocol.
            if not is_responding and self.transport.get_protocol() is self:
                self.transport.close()

    return HeaderTimeoutProtocol


def _configure_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("kanjo.server", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
