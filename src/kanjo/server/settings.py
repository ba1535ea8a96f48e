"""What the service allows, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Limits of the service. Sizes are bytes, times seconds.

    ``capacity``: requests worked on or waiting; ``streams``: open at once; ``token``: asked for as a bearer token where it is not "".
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    capacity: int = 4
    decoders: int = 2
    streams: int = 16
    connections: int = 256
    max_bytes: int = 50_000_000
    max_files: int = 100
    longest_s: float = 900.0
    header_s: float = 10.0
    body_s: float = 60.0
    answer_s: float = 120.0
    idle_s: float = 30.0
    stop_s: int = 30

    @property
    def loopback(self) -> bool:
        """Only this machine can reach it."""
        return self.host in ("127.0.0.1", "localhost", "::1")
