"""``kanjo serve``: the HTTP service and its web page."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated

import typer

from kanjo.cli.common import Device, Emotions, Model, load_on, print_message
from kanjo.errors import KanjoError


def serve(
    model: Model = "default",
    emotions: Emotions = None,
    device: Device = "auto",
    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 accepts this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")] = 8000,
    token: Annotated[
        str, typer.Option(envvar="KANJO_TOKEN", help="Bearer token that clients must send.", show_default=False)
    ] = "",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Accept every client, although other machines can reach --host.")
    ] = False,
    capacity: Annotated[
        int, typer.Option(min=0, help="Requests processed or waiting; further ones get status 429. 0: two per core.")
    ] = 0,
    streams: Annotated[int, typer.Option(min=1, help="Largest number of open streams.")] = 16,
    max_mb: Annotated[float, typer.Option(min=0.001, help="Largest request, in megabytes.")] = 50.0,
    max_seconds: Annotated[float, typer.Option(min=1.0, help="Longest recording or stream, in seconds.")] = 900.0,
    max_windows: Annotated[int, typer.Option(min=1, help="Most windows in one request or stream.")] = 5000,
) -> None:
    """Predict over HTTP and WebSocket, with a web page at /. Uploads are not stored.

    Example: kanjo serve --port 8000
    """
    try:
        from kanjo.server.access import check_settings, is_loopback_name
        from kanjo.server.run import find_port, run
    except ImportError as error:
        raise KanjoError(
            f"the service needs the extra 'serve' ({error.name} is missing): pip install 'kanjo[serve]'"
        ) from error
    from kanjo.inference.emotion_selection import select_emotions
    from kanjo.server.settings import Settings

    cores = os.cpu_count() or 1
    settings = Settings(
        host=host,
        port=port,
        emotions=emotions,
        token=token,
        insecure=insecure,
        queue_capacity=capacity or 2 * cores,
        decode_threads=max(2, cores),
        max_streams=streams,
        max_request_bytes=round(max_mb * 1e6),
        max_duration_s=max_seconds,
        max_windows=max_windows,
    )
    check_settings(settings)
    recognizer = load_on(model, device, threads=max(1, cores // 2))  # the other cores decode
    select_emotions(emotions, recognizer.labels)  # fails before the service starts
    if insecure and not token and not is_loopback_name(host):
        print_message(f"kanjo: other machines can reach {host}, and no token is required (--insecure)")
    settings = replace(settings, port=find_port(host, port))
    url_host = f"[{host}]" if ":" in host else host
    print_message(f"http://{url_host}:{settings.port}/  ({recognizer.metadata.name}; stop with Ctrl-C)")
    run(recognizer, settings)
