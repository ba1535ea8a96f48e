"""``WS /v1/stream``: samples in, answers out while they are spoken.

The client's first message is JSON: ``{"sample_rate": 16000, "format": "s16le"}`` (or f32le; ``window_s``, ``hop_s``, ``min_confidence``,
``language``, ``speaker`` (a profile of ``/v1/enroll``'s), and ``token`` where the service asks for one). Then binary messages of mono samples, of any length; a text message
``{"end": true}`` ends it. The service sends JSON: ``{"type": "ready"}``, ``{"type": "level", "speech": 0.98, "seconds": 1.5}``,
``{"type": "window", ...}``, at the end ``{"type": "prediction", ...}``; or ``{"type": "error", "code", "message"}``, and closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import WebSocket, WebSocketDisconnect

from kanjo.errors import KanjoError
from kanjo.inference.speaker_profiles import profile_from
from kanjo.inference.streaming import Stream
from kanjo.server.limits import is_token
from kanjo.server.metrics import Measures
from kanjo.server.queue import Engine
from kanjo.server.settings import Settings

log = logging.getLogger("kanjo.server")

_FORMATS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
_OPTIONS = ("window_s", "hop_s", "min_confidence", "language")
_FIRST = 1 << 16  # a speaker's profile is some kilobytes
_LEVEL_S = 0.25


class _Ended(Exception):
    """The stream is over, for a reason that the client is told: a code of its own, and WebSocket's."""

    def __init__(self, code: str, message: str, close: int = 1008) -> None:
        super().__init__(message)
        self.code, self.close = code, close


async def serve(socket: WebSocket, engine: Engine, settings: Settings, measures: Measures) -> None:
    """One stream from its first message to its last."""
    request_id = socket.scope.get("state", {}).get("request_id", "") or secrets.token_hex(8)
    await socket.accept()
    said = "ended by the client"
    try:
        if engine.streams >= settings.streams:
            raise _Ended("busy", f"{settings.streams} streams are open, which is the limit here; try again later", 1013)
        engine.streams += 1
        measures.streams.inc()
        try:
            await _one(socket, engine, settings)
        finally:
            engine.streams -= 1
            measures.streams.dec()
    except _Ended as ended:
        said = f"{ended.code}: {ended}"
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, asyncio.TimeoutError):
            await _send(
                socket, {"type": "error", "code": ended.code, "message": str(ended), "request_id": request_id}, settings
            )
            await socket.close(ended.close, ended.code)
    except (WebSocketDisconnect, RuntimeError):
        pass  # it left; there is nobody to tell
    log.info("%s WS /v1/stream %s", request_id, said)


async def _one(socket: WebSocket, engine: Engine, settings: Settings) -> None:
    first = await _received(socket, settings)
    stream, kind = _opened(first, engine, settings)
    await _send(socket, {"type": "ready", "labels": list(engine.recognizer.labels)}, settings)
    held, told = b"", 0.0
    while True:
        message = await _received(socket, settings)
        if message.get("text") is not None:
            if _json(message["text"]).get("end") is not True:
                raise _Ended("bad_message", 'expected samples, or {"end": true}')
            break
        content = held + message["bytes"]
        whole = len(content) // kind.itemsize * kind.itemsize
        held = content[whole:]
        samples: npt.NDArray[Any] = np.frombuffer(content[:whole], kind)
        try:
            answers = await engine.aside(lambda samples=samples: stream.feed(samples))  # type: ignore[misc]
        except KanjoError as error:
            raise _Ended("bad_samples", str(error)) from error
        if stream.seconds > settings.longest_s:
            raise _Ended("too_long", f"longer than {settings.longest_s:g} s, which is the limit here", 1009)
        for answer in answers:
            await _send(socket, {"type": "window", **answer.as_dict()}, settings)
        if stream.seconds - told >= _LEVEL_S:
            told = stream.seconds
            await _send(
                socket, {"type": "level", "speech": round(stream.speech, 3), "seconds": round(told, 3)}, settings
            )
    try:
        whole_answer = await engine.aside(stream.finish)
    except KanjoError as error:
        raise _Ended("empty", str(error)) from error
    engine.measures.seconds.inc(whole_answer.duration_s)
    await _send(socket, {"type": "prediction", **whole_answer.as_dict()}, settings)
    await socket.close(1000)


def _opened(first: dict[str, Any], engine: Engine, settings: Settings) -> tuple[Stream, np.dtype[Any]]:
    if first.get("text") is None or len(first["text"]) > _FIRST:
        raise _Ended("bad_message", 'expected JSON first, such as {"sample_rate": 16000, "format": "s16le"}')
    asked = _json(first["text"])
    if settings.token and not is_token(str(asked.get("token", "")), settings.token):
        raise _Ended("unauthorized", "a token is needed in the first message")
    rate, form = asked.get("sample_rate"), asked.get("format", "s16le")
    if not isinstance(rate, int) or isinstance(rate, bool) or not isinstance(form, str) or form not in _FORMATS:
        raise _Ended("bad_parameter", f"sample_rate {rate!r}, format {form!r}: expected Hz, and s16le or f32le")
    options = {key: asked[key] for key in _OPTIONS if asked.get(key) is not None}
    if not all(isinstance(options[key], str if key == "language" else int | float) for key in options):
        raise _Ended("bad_parameter", f"expected numbers for {', '.join(_OPTIONS[:3])}, a word for language")
    try:
        if asked.get("speaker") is not None:
            options["speaker"] = profile_from(asked["speaker"], "speaker")
        return Stream(engine.recognizer, rate, **options), _FORMATS[form]
    except KanjoError as error:
        raise _Ended("bad_parameter", str(error)) from error


async def _received(socket: WebSocket, settings: Settings) -> dict[str, Any]:
    try:
        message = await asyncio.wait_for(socket.receive(), settings.idle_s)
    except asyncio.TimeoutError:
        raise _Ended("idle", f"nothing came for {settings.idle_s:g} s") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    return dict(message)


async def _send(socket: WebSocket, content: dict[str, Any], settings: Settings) -> None:
    """A client that never reads fills its window: after ``idle_s`` it is let go."""
    try:
        await asyncio.wait_for(socket.send_text(json.dumps(content, ensure_ascii=False)), settings.idle_s)
    except asyncio.TimeoutError:
        raise WebSocketDisconnect(1008) from None


def _json(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text) if len(text) <= _FIRST else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _Ended("bad_message", f"expected a JSON object of at most {_FIRST} characters")
    return content
