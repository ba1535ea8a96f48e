"""Run the service under uvicorn: it waits for no slow sender, and answers what it accepted before it stops."""

from __future__ import annotations

import asyncio
import logging
import sys

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kanjo.inference.recognizer import Recognizer
from kanjo.server.app import create_app
from kanjo.server.settings import Settings


def protocol(header_s: float) -> type[H11Protocol]:
    """HTTP/1.1 where a request's head must be there after ``header_s`` seconds; uvicorn itself would wait for ever."""

    class Impatient(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._arm()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
            super().connection_lost(exc)

        def _arm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = self.loop.call_later(header_s, self._late)

        def _late(self) -> None:
            begun = self.cycle is not None and not self.cycle.response_complete
            if not begun and self.transport.get_protocol() is self:
                self.transport.close()

    return Impatient


def run(recognizer: Recognizer, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; requests that were accepted are answered first (``stop_s`` at most)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name in ("kanjo.server", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name == "kanjo.server" else logging.WARNING)
    config = uvicorn.Config(
        create_app(recognizer, settings),
        host=settings.host,
        port=settings.port,
        http=protocol(settings.header_s),
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=settings.stop_s,
        ws_max_size=1 << 20,
        h11_max_incomplete_event_size=64 << 10,
    )
    uvicorn.Server(config).run()
