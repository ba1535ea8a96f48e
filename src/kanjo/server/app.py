"""The service's routes."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import soundfile
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

import kanjo
from kanjo import audio
from kanjo.errors import AudioError, KanjoError
from kanjo.hearing import Manner
from kanjo.prediction import Prediction, failed
from kanjo.recognizer import Recognizer
from kanjo.server import streams
from kanjo.server.engine import Engine, Full
from kanjo.server.guard import Guard, Refused, error_body
from kanjo.server.measures import Measures
from kanjo.server.messages import ErrorOut, ModelsOut, Predictions
from kanjo.server.settings import Settings

PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
_PCM = {"s16le": "PCM_16", "f32le": "FLOAT"}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorOut, "description": what}
    for status, what in {
        401: "a token is needed", 408: "sent too slowly", 413: "too large", 415: "not a recording's content type",
        422: "no recording that can be heard", 429: "busy; Retry-After says when", 503: "stopping, or the answer took too long",
    }.items()
}  # fmt: skip
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def create_app(recognizer: Recognizer, settings: Settings | None = None) -> Any:
    """The service as an ASGI application."""
    settings = settings or Settings()
    measures = Measures()
    engine = Engine(recognizer, measures, capacity=settings.capacity, decoders=settings.decoders, longest_s=settings.longest_s)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.close)

    app = FastAPI(
        title="kanjo", version=kanjo.__version__, summary="Emotion in speech", lifespan=lifespan, docs_url=None, redoc_url=None
    )  # fmt: skip
    _routes(app, engine, settings, measures)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Exception, _broken)
    app.add_exception_handler(HTTPException, _http_error)
    return Guard(app, settings, measures)


def _routes(app: FastAPI, engine: Engine, settings: Settings, measures: Measures) -> None:
    recognizer = engine.recognizer

    @app.post("/v1/predict", responses=_REFUSALS, openapi_extra=_BODY, response_model=Predictions)
    async def predict(
        request: Request,
        window_s: float | None = None,
        hop_s: float | None = None,
        min_confidence: float | None = None,
        language: str | None = None,
        sample_rate: int | None = None,
        format: str | None = None,
        channels: int = 1,
    ) -> Response:
        """The emotion in one or many recordings: files as multipart/form-data, or one as the body itself.

        Any container that can be decoded here is taken (WAV, FLAC, Ogg, MP3, webm, mp4, ...); raw samples with ``format`` (s16le, f32le),
        ``sample_rate`` and ``channels``. The other parameters are those of ``Recognizer.predict``.
        """
        try:
            manner = recognizer.manner(window_s, hop_s, min_confidence, language)
        except KanjoError as error:
            raise Refused(422, "bad_parameter", str(error)) from error
        recordings = await _recordings(request, settings, (format, sample_rate, channels))
        try:
            engine.enter()
        except Full as full:
            _close(recordings)
            raise Refused(429, "busy", str(full), {"retry-after": str(full.retry_after_s)}) from full
        try:
            found = await asyncio.wait_for(_answers(engine, recordings, manner), settings.answer_s)
        except asyncio.TimeoutError:
            raise Refused(503, "too_long", f"no answer within {settings.answer_s:g} s", {"retry-after": "10"}) from None
        finally:
            engine.leave()
            _close(recordings)
        if len(found) == 1 and found[0].error:
            raise Refused(422, "not_heard", f"{found[0].file}: {found[0].error}")
        content = {
            "model": recognizer.facts.name,
            "predictions": [item.as_dict() for item in found],
            "request_id": request.state.request_id,
        }
        return JSONResponse(content)

    @app.get("/v1/models", response_model=ModelsOut)
    async def models() -> Response:
        """The bundles that answer here."""
        facts = recognizer.facts
        languages = sorted({corpus["language"] for corpus in facts.corpora})
        model = {
            "name": facts.name, "version": facts.version, "labels": list(facts.labels), "sample_rate": facts.sample_rate,
            "window_s": facts.window_s, "hop_s": facts.hop_s, "languages": languages, "licence": facts.licence,
            "parameters": facts.n_parameters,
        }  # fmt: skip
        return JSONResponse({"models": [model]})

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await streams.serve(socket, engine, settings, measures)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the service answers."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Prometheus's text format."""
        return Response(generate_latest(measures.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", media_type="text/html")

    @app.get("/page/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        path = PAGE / name
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)+", name) or path.suffix not in _TYPES or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, media_type=_TYPES[path.suffix], headers={"cache-control": "no-cache"})


#: What is sent: its name, and the open file.
Recording = tuple[str, BinaryIO]


async def _recordings(request: Request, settings: Settings, raw: tuple[str | None, int | None, int]) -> list[Recording]:
    """What a request holds, in files that vanish when they are closed. Raises Refused."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _uploads(request, settings)
    if not (kind.startswith(("audio/", "video/")) or kind in ("application/octet-stream", "application/ogg", "")):
        raise Refused(415, "not_audio", f"content type {kind}: expected multipart/form-data, audio/* or application/octet-stream")
    body = cast(BinaryIO, tempfile.SpooledTemporaryFile(1 << 20))  # noqa: SIM115  closed by _close
    async for chunk in request.stream():
        body.write(chunk)
    if not body.tell():
        body.close()
        raise Refused(422, "empty", "the request is empty: expected a recording")
    body.seek(0)
    name = _plain(request.headers.get("x-file-name", "") or "recording")
    try:
        return [(name, _from_pcm(body, *raw) if raw[0] else body)]
    except AudioError as error:
        body.close()
        raise Refused(422, "bad_parameter", str(error)) from error


def _from_pcm(body: BinaryIO, form: str | None, sample_rate: int | None, channels: int) -> BinaryIO:
    """Raw samples as a WAV file. Raises AudioError for a format, rate or number of channels that can't be."""
    if form not in _PCM:
        raise AudioError(f"format {form}: expected {' or '.join(_PCM)}")
    if sample_rate is None or not 1 <= channels <= 32:
        raise AudioError(f"format {form} needs sample_rate (Hz), and channels from 1 to 32")
    audio.check_rate(sample_rate, "raw samples")
    content = body.read()
    width = channels * (2 if form == "s16le" else 4)
    made = cast(BinaryIO, tempfile.SpooledTemporaryFile(1 << 20))  # noqa: SIM115  closed by _close
    with soundfile.SoundFile(made, "w", sample_rate, channels, _PCM[form], format="WAV") as wav:
        wav.buffer_write(content[: len(content) // width * width], dtype="int16" if form == "s16le" else "float32")
    made.seek(0)
    body.close()
    return made


async def _uploads(request: Request, settings: Settings) -> list[Recording]:
    try:
        form = await request.form(max_files=settings.max_files, max_fields=20)
    except HTTPException as error:
        raise Refused(422, "bad_form", str(error.detail)) from error
    found = [(_plain(part.filename or "recording"), part.file) for part in form.getlist("files") if isinstance(part, UploadFile)]
    if not found:
        raise Refused(422, "no_files", 'no recording sent: expected parts named "files"')
    return found


def _plain(name: str) -> str:
    """A file's name without folders or what a terminal would act on; nothing is ever opened by it."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c for c in last if c.isprintable())[:255] or "recording"


async def _answers(engine: Engine, recordings: list[Recording], manner: Manner) -> list[Prediction]:
    found = []
    for name, recording in recordings:
        if not recording.read(1):
            found.append(failed(name, "an empty file (0 bytes)"))
            continue
        recording.seek(0)
        found.append(await engine.predict(recording, name, manner))
    return found


def _close(recordings: list[Recording]) -> None:
    for _, recording in recordings:
        recording.close()


async def _refused(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    body = error_body(refused.code, refused.message, request.state.request_id)
    return JSONResponse(
        body, refused.status, {**refused.headers, "connection": "close"} if refused.status in (408, 413) else refused.headers
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: "no such path", 405: "another method is needed here"}.get(error.status_code, str(error.detail))
    return JSONResponse(error_body("http", message, request.state.request_id), error.status_code, error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    """What nobody foresaw: the log has it whole, the client its id."""
    return JSONResponse(
        error_body("internal", "something went wrong here; the log has it under this id", request.state.request_id), 500
    )
