"""``kanjo serve``: the service and its page."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Annotated

import typer

from kanjo.cli.common import Model, say
from kanjo.errors import KanjoError


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    model: Model = "default",
    host: Annotated[str, typer.Option(help="The address to listen on; 127.0.0.1: this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    token: Annotated[
        str, typer.Option(envvar="KANJO_TOKEN", help="Ask for this bearer token.", show_default=False)
    ] = "",
    capacity: Annotated[
        int, typer.Option(min=0, help="Requests worked on or waiting; the next gets 429. 0: two for each core.")
    ] = 0,
    streams: Annotated[int, typer.Option(min=1, help="Streams open at once.")] = 16,
    max_mb: Annotated[float, typer.Option(min=0.001, help="The largest request.")] = 50.0,
    max_seconds: Annotated[float, typer.Option(min=1.0, help="The longest recording or stream.")] = 900.0,
) -> None:
    """Answer over HTTP and WebSocket, with a page at /; nothing that is sent is kept.

    Example: kanjo serve --port 8000
    """
    try:
        from kanjo.server.run import run
    except ImportError as error:
        raise KanjoError(
            f"the service needs more than is installed ({error.name}): pip install 'kanjo[serve]'"
        ) from error
    from kanjo.inference.recognizer import load
    from kanjo.server.settings import Settings

    cores = os.cpu_count() or 1
    settings = Settings(
        host=host, port=port, token=token, capacity=capacity or 2 * cores, decoders=max(2, cores), streams=streams,
        max_bytes=round(max_mb * 1e6), longest_s=max_seconds,
    )  # fmt: skip
    recognizer = load(model, threads=max(1, cores // 2))  # decoding wants the others
    if not settings.loopback and not token:
        say(f"kanjo: {host} can be reached from other machines, and no --token is asked for")
    settings = replace(settings, port=_free(host, port))
    say(f"http://{'[' + host + ']' if ':' in host else host}:{settings.port}/  ({recognizer.facts.name}; Ctrl-C ends)")
    run(recognizer, settings)


def _free(host: str, port: int) -> int:
    """The port, or a free one for 0. Raises KanjoError where it can't be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise KanjoError(
            f"can't listen on {host}:{port}: {error.strerror or error}; choose another --port or --host"
        ) from error
