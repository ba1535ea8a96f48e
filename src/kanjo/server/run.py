"""Run the service under uvicorn, with a time limit for request headers and a graceful shutdown."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kanjo.errors import KanjoError
from kanjo.inference.recognizer import Recognizer
from kanjo.server.app import create_app
from kanjo.server.settings import Settings

_MAX_WEBSOCKET_MESSAGE_BYTES = 1 << 20
_MAX_HEADER_BYTES = 64 << 10


def run(recognizer: Recognizer, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then complete the accepted requests (``shutdown_timeout_s`` at most)."""
    _configure_logging()
    config = uvicorn.Config(
        create_app(recognizer, settings),
        host=settings.host,
        port=settings.port,
        http=create_protocol(settings.header_timeout_s),
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
        ws_max_size=_MAX_WEBSOCKET_MESSAGE_BYTES,
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
    )
    uvicorn.Server(config).run()


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
