"""A real service in a process of its own, on a port that is free."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPOKEN = Path(__file__).parent.parent / "examples" / "recordings"

_CODE = """
import sys
from dataclasses import replace
import kanjo
from kanjo.server.run import run
from kanjo.server.settings import Settings
from kanjo.cli.serve import _free
settings = replace(Settings(), **{key: type(getattr(Settings(), key))(value) for key, value in (word.split("=") for word in sys.argv[1:])})
settings = replace(settings, port=_free(settings.host, 0))
print(f"http://127.0.0.1:{settings.port}/", flush=True)
run(kanjo.load(threads=1), settings)
"""


class Service:
    """``url`` without the last slash; ``log`` once it has ended."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url, self.log = process, url, ""

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def stop(self) -> str:
        """Ask it to end, wait until it has, and give its log."""
        if self.process.poll() is None:
            self.process.terminate()
        self.log += self.process.communicate(timeout=60)[1] or ""
        return self.log


@contextmanager
def service(before: str = "", **settings: object) -> Iterator[Service]:
    """A service with settings of its own, ready to answer; ``before``: Python that its process runs first."""
    import httpx

    words = [f"{key}={value}" for key, value in settings.items()]
    process = subprocess.Popen(
        [sys.executable, "-c", f"{before}\n{_CODE}", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    found = re.match(r"http://\S+:\d+", process.stdout.readline())
    assert found, process.communicate()[1]
    running = Service(process, found[0])
    try:
        for _ in range(600):
            try:
                httpx.get(running.url + "/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield running
    finally:
        running.stop()
