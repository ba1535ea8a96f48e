"""Settings and limits of the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Address, token and limits of the service.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        emotions: Emotions among which labels are chosen if a request names none (default: all of the bundle).
        token: Bearer token that clients must send; "" accepts every client.
        insecure: Accept every client, although other machines can reach the host and there is no token.
        queue_capacity: Requests that may be processed or wait at the same time; further ones get status 429.
        decode_threads: Threads that decode uploads, and as many again for streams.
        max_streams: Streams that may be open at the same time.
        max_connections: Connections that may be open at the same time.
        max_request_bytes: Largest request body.
        max_files: Files in one request.
        max_duration_s: Longest recording or stream.
        max_windows: Windows in one request or stream.
        header_timeout_s: Time for a client to send the request headers.
        body_timeout_s: Time for a client to send the request body.
        response_timeout_s: Time to compute a response.
        idle_timeout_s: Time after which a stream is closed that sends or reads nothing.
        shutdown_timeout_s: Time to complete accepted requests after SIGTERM; then they get status 503.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    emotions: Sequence[str] | str | None = None
    token: str = ""
    insecure: bool = False
    queue_capacity: int = 4
    decode_threads: int = 2
    max_streams: int = 16
    max_connections: int = 256
    max_request_bytes: int = 50_000_000
    max_files: int = 100
    max_duration_s: float = 900.0
    max_windows: int = 5_000
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    response_timeout_s: float = 120.0
    idle_timeout_s: float = 30.0
    shutdown_timeout_s: int = 20
