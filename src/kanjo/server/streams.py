"""The WebSocket ``/v1/stream``: the client sends samples, the service sends predictions while they arrive.

Messages of the client:

1. JSON: ``{"sample_rate": 16000, "format": "s16le"}`` (or ``f32le``). Optional keys: ``window_s``, ``hop_s``,
   ``min_confidence``, ``language``, ``emotions`` (a list, or a string with commas), ``speaker`` (a profile from
   ``/v1/enroll``), and ``token`` (if the service has one).
2. Binary messages with mono samples, of any length.
3. JSON: ``{"end": true}``.

Messages of the service, all JSON: ``{"type": "ready", "labels": [...]}``, then
``{"type": "level", "speech_probability": 0.98, "duration_s": 1.5}`` and ``{"type": "window", ...}`` (a segment), at the
end ``{"type": "prediction", ...}``. On an error, the service sends ``{"type": "error", "code", "message"}`` and closes.
Unknown keys and query parameters are errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from fastapi import WebSocket, WebSocketDisconnect

from kanjo.errors import KanjoError
from kanjo.inference.limits import RecordingLimits, TooManyWindowsError
from kanjo.inference.speaker_profiles import parse_profile
from kanjo.inference.streaming import Stream
from kanjo.parsing import parse_json
from kanjo.server.access import token_matches
from kanjo.server.errors import INTERNAL_ERROR_MESSAGE, error_body
from kanjo.server.message_text import describe_unknown, shorten
from kanjo.server.metrics import ServiceMetrics
from kanjo.server.queue import InferenceQueue, QueueClosedError
from kanjo.server.settings import Settings

log = logging.getLogger("kanjo.server")

_T = TypeVar("_T")

_SAMPLE_TYPES: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
_OPTION_TYPES: dict[str, type | tuple[type, ...]] = {
    "window_s": (int, float),
    "hop_s": (int, float),
    "min_confidence": (int, float),
    "language": str,
    "emotions": (str, list),
}
_OPTION_DESCRIPTIONS = {"language": "a string", "emotions": "a list of words, or a string with commas"}
#: Keys of the first message and of the last one.
_FIRST_KEYS = frozenset(["sample_rate", "format", "token", "speaker", *_OPTION_TYPES])
_LAST_KEYS = frozenset(["end"])
_MAX_TEXT_LENGTH = 1 << 16  # A speaker profile has some kilobytes.
_LEVEL_INTERVAL_S = 0.25

# WebSocket close codes (RFC 6455, section 7.4.1)
_NORMAL_CLOSURE = 1000
_POLICY_VIOLATION = 1008
_MESSAGE_TOO_BIG = 1009
_INTERNAL_ERROR = 1011
_SERVICE_RESTART = 1012
_TRY_AGAIN_LATER = 1013


class StreamError(Exception):
    """A stream that the service closes. ``code`` is in the error message, ``close_code`` is that of the WebSocket."""

    def __init__(self, code: str, message: str, close_code: int = _POLICY_VIOLATION) -> None:
        super().__init__(message)
        self.code = code
        self.close_code = close_code


async def serve_stream(
    websocket: WebSocket, inference_queue: InferenceQueue, settings: Settings, metrics: ServiceMetrics
) -> None:
    """Serve one stream from its first message to its end."""
    request_id = websocket.scope.get("state", {}).get("request_id", "") or secrets.token_hex(8)
    await websocket.accept()
    status = "closed by the client"
    try:
        if inference_queue.n_streams >= settings.max_streams:
            message = f"all {settings.max_streams} streams of the service are in use; try again later"
            raise StreamError("busy", message, _TRY_AGAIN_LATER)
        inference_queue.n_streams += 1
        metrics.streams_in_flight.inc()
        try:
            await StreamSession(websocket, inference_queue, settings).run()
            status = "complete"
        finally:
            inference_queue.n_streams -= 1
            metrics.streams_in_flight.dec()
    except StreamError as error:
        status = f"{error.code}: {error}"
        await _send_error(websocket, error, request_id, settings)
    except (WebSocketDisconnect, RuntimeError):
        pass  # The client has closed the connection, so no message can be sent.
    except Exception:
        log.exception("%s WS /v1/stream: internal error", request_id)
        status = "internal_error"
        internal_error = StreamError("internal_error", INTERNAL_ERROR_MESSAGE, _INTERNAL_ERROR)
        await _send_error(websocket, internal_error, request_id, settings)
    log.info("%s WS /v1/stream %s", request_id, status)


async def _send_error(websocket: WebSocket, error: StreamError, request_id: str, settings: Settings) -> None:
    body = error_body(error.code, str(error), request_id)
    content = {"type": "error", **body["error"], "request_id": request_id}
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, asyncio.TimeoutError):
        await _send(websocket, content, settings)
        await websocket.close(error.close_code, error.code)


class StreamSession:
    """Reads the messages of one client and sends the predictions."""

    def __init__(self, websocket: WebSocket, inference_queue: InferenceQueue, settings: Settings) -> None:
        self.websocket = websocket
        self.queue = inference_queue
        self.settings = settings

    async def run(self) -> None:
        """Process the stream until ``{"end": true}``.

        Raises:
            StreamError: The client has sent something invalid or nothing, or the stream is too long.
            WebSocketDisconnect: The client has closed the connection, or reads nothing.
        """
        for name in self.websocket.query_params:
            raise StreamError("bad_parameter", describe_unknown(name, (), "query parameter"))
        stream, sample_type = self._open_stream(await self._receive())
        await self._send({"type": "ready", "labels": list(stream.emotions)})
        remainder = b""  # A message may end within a sample.
        last_level_s = 0.0
        while (message := await self._receive()).get("text") is None:
            content = remainder + message["bytes"]
            n_samples = len(content) // sample_type.itemsize
            remainder = content[n_samples * sample_type.itemsize :]
            await self._process(stream, np.frombuffer(content, sample_type, n_samples))
            if stream.seconds - last_level_s >= _LEVEL_INTERVAL_S:
                last_level_s = stream.seconds
                await self._send_level(stream)
        last_message = _parse_message(message["text"])
        _check_keys(last_message, _LAST_KEYS)
        if last_message.get("end") is not True:
            raise StreamError("bad_message", 'expected samples, or {"end": true}')
        await self._finish(stream)

    async def _process(self, stream: Stream, samples: npt.NDArray[Any]) -> None:
        """Feed samples to the stream and send the windows that they complete, in batches."""
        max_duration_s = self.settings.max_duration_s
        if stream.seconds + len(samples) / stream.sample_rate > max_duration_s:
            message = f"the stream is longer than the limit of {max_duration_s:g} s"
            raise StreamError("too_long", message, _MESSAGE_TOO_BIG)
        try:
            batches = await self._run(lambda: stream._feed_batches(samples))
            while (windows := await self._run(lambda: next(batches, None))) is not None:
                for window in windows:
                    await self._send({"type": "window", **window.as_dict()})
        except TooManyWindowsError as error:
            raise StreamError("too_many_windows", str(error), _MESSAGE_TOO_BIG) from error
        except KanjoError as error:
            raise StreamError("bad_samples", str(error)) from error

    async def _run(self, function: Callable[[], _T]) -> _T:
        try:
            return await self.queue.run_for_stream(function)
        except QueueClosedError as error:
            raise StreamError("stopping", f"{error}; try again later", _SERVICE_RESTART) from error

    async def _send_level(self, stream: Stream) -> None:
        speech_probability, duration_s = round(stream.speech, 3), round(stream.seconds, 3)
        await self._send({"type": "level", "speech_probability": speech_probability, "duration_s": duration_s})

    async def _finish(self, stream: Stream) -> None:
        try:
            prediction = await self._run(stream.finish)
        except KanjoError as error:
            raise StreamError("empty", str(error)) from error
        self.queue.metrics.audio_seconds.inc(prediction.duration_s)
        await self._send({"type": "prediction", **prediction.as_dict()})
        await self.websocket.close(_NORMAL_CLOSURE)

    def _open_stream(self, message: dict[str, Any]) -> tuple[Stream, np.dtype[Any]]:
        """Create the stream that the first message describes."""
        if message.get("text") is None:
            expected = 'expected JSON such as {"sample_rate": 16000, "format": "s16le"}'
            raise StreamError("bad_message", f"the first message is binary; {expected}")
        config = _parse_message(message["text"])
        if self.settings.token and not token_matches(config.get("token"), self.settings.token):
            raise StreamError("unauthorized", 'the first message needs a valid "token"')
        _check_keys(config, _FIRST_KEYS)
        sample_rate, sample_format = config.get("sample_rate"), config.get("format", "s16le")
        if not isinstance(sample_rate, int) or isinstance(sample_rate, bool):
            raise _parameter_error("sample_rate", sample_rate, "an integer in Hz")
        if not isinstance(sample_format, str) or sample_format not in _SAMPLE_TYPES:
            raise _parameter_error("format", sample_format, "s16le or f32le")
        options = {key: config[key] for key in _OPTION_TYPES if config.get(key) is not None}
        options.setdefault("emotions", self.settings.emotions)
        for key, value in options.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, _OPTION_TYPES[key])):
                raise _parameter_error(key, value, _OPTION_DESCRIPTIONS.get(key, "a number"))
        try:
            if config.get("speaker") is not None:
                options["speaker"] = parse_profile(config["speaker"], "speaker")
            stream = Stream(self.queue.recognizer, sample_rate, **options)
        except KanjoError as error:
            raise StreamError("bad_parameter", str(error)) from error
        stream._set_limits(RecordingLimits(max_windows=self.settings.max_windows))
        return stream, _SAMPLE_TYPES[sample_format]

    async def _receive(self) -> dict[str, Any]:
        timeout_s = self.settings.idle_timeout_s
        try:
            message = await asyncio.wait_for(self.websocket.receive(), timeout_s)
        except asyncio.TimeoutError:
            raise StreamError("idle_timeout", f"no message was received for {timeout_s:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return dict(message)

    async def _send(self, content: dict[str, Any]) -> None:
        await _send(self.websocket, content, self.settings)


async def _send(websocket: WebSocket, content: dict[str, Any], settings: Settings) -> None:
    """Send JSON. Disconnect a client that does not read its messages, because its buffer would grow."""
    try:
        await asyncio.wait_for(websocket.send_text(json.dumps(content, ensure_ascii=False)), settings.idle_timeout_s)
    except asyncio.TimeoutError:
        raise WebSocketDisconnect(_POLICY_VIOLATION) from None


def _parse_message(text: str) -> dict[str, Any]:
    """Parse a JSON object. Raises StreamError."""
    if len(text) > _MAX_TEXT_LENGTH:
        raise StreamError("bad_message", f"expected a JSON object of at most {_MAX_TEXT_LENGTH} characters")
    try:
        content = parse_json(text)
    except ValueError as error:
        raise StreamError("bad_message", f"not valid JSON ({error}); expected a JSON object") from error
    if not isinstance(content, dict):
        raise StreamError("bad_message", f"{shorten(text)}: expected a JSON object")
    return content


def _check_keys(content: dict[str, Any], known: frozenset[str]) -> None:
    for name in content:
        if name not in known:
            raise StreamError("bad_message", describe_unknown(name, known, "key"))


def _parameter_error(name: str, value: object, expected: str) -> StreamError:
    return StreamError("bad_parameter", f"{name} {shorten(repr(value))}: expected {expected}")
