"""The service's routes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

import kanjo
from kanjo.errors import KanjoError
from kanjo.inference.prediction import Prediction, failed
from kanjo.inference.recognizer import Recognizer
from kanjo.inference.recording import Manner
from kanjo.inference.speaker_profiles import Profile, profile_of
from kanjo.server import streams, uploads
from kanjo.server.limits import Guard, Refused, error_body
from kanjo.server.metrics import Measures
from kanjo.server.queue import Engine, Full
from kanjo.server.schemas import EnrolledOut, ErrorOut, ModelsOut, Predictions
from kanjo.server.settings import Settings

PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorOut, "description": what}
    for status, what in {
        401: "a token is needed", 408: "sent too slowly", 413: "too large", 415: "not a recording's content type",
        422: "no recording that can be heard", 429: "busy; Retry-After says when", 503: "stopping, or the answer took too long",
        507: "no room for the upload",
    }.items()
}  # fmt: skip
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "speaker": {"type": "string", "description": "a profile of /v1/enroll's, as JSON"},
                    },
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
    engine = Engine(
        recognizer, measures, capacity=settings.capacity, decoders=settings.decoders, longest_s=settings.longest_s
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.close)

    app = FastAPI(
        title="kanjo", version=kanjo.__version__, summary="Emotion in speech", lifespan=lifespan, docs_url=None, redoc_url=None
    )  # fmt: skip
    _answering(app, engine, settings, measures)
    _about(app, recognizer, measures)
    _page(app)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Exception, _broken)
    app.add_exception_handler(HTTPException, _http_error)
    return Guard(app, settings, measures)


def _answering(app: FastAPI, engine: Engine, settings: Settings, measures: Measures) -> None:
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
        options = (window_s, hop_s, min_confidence, language)
        _manner(recognizer, options, None)  # what can't be is said before anything is read
        recordings = await uploads.recordings(request, settings, (format, sample_rate, channels))
        try:
            manner = _manner(recognizer, options, await uploads.speaker(request))
        except Refused:
            uploads.close(recordings)
            raise
        found = await _within(engine, settings, recordings, manner)
        if len(found) == 1 and found[0].error:
            raise Refused(422, "not_heard", f"{found[0].file}: {found[0].error}")
        content = {
            "model": recognizer.facts.name,
            "predictions": [item.as_dict() for item in found],
            "request_id": request.state.request_id,
        }
        return JSONResponse(content)

    @app.post("/v1/enroll", responses=_REFUSALS, openapi_extra=_BODY, response_model=EnrolledOut)
    async def enroll(request: Request, name: str = "speaker") -> Response:
        """A speaker's profile, of a few recordings of them in whatever emotions. Nothing of it is kept here: send it along as ``speaker``."""
        try:
            recognizer.enrollable()
        except KanjoError as error:
            raise Refused(422, "bad_parameter", str(error)) from error
        recordings = await uploads.recordings(request, settings, (None, None, 1))
        found = await _within(engine, settings, recordings, recognizer.manner())
        broken = next((item for item in found if item.error), None)
        try:
            if broken:
                raise KanjoError(f"{broken.file}: {broken.error}")
            profile = profile_of(name, recognizer.facts, found)
        except KanjoError as error:
            raise Refused(422, "not_heard", str(error)) from error
        return JSONResponse({"speaker": profile.as_dict(), "request_id": request.state.request_id})

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await streams.serve(socket, engine, settings, measures)


def _about(app: FastAPI, recognizer: Recognizer, measures: Measures) -> None:
    """What answers here, and how it does."""

    @app.get("/v1/models", response_model=ModelsOut)
    async def models() -> Response:
        """The bundles that answer here."""
        facts = recognizer.facts
        languages = sorted({corpus["language"] for corpus in facts.corpora})
        model = {
            "name": facts.name, "version": facts.version, "labels": list(facts.labels), "sample_rate": facts.sample_rate,
            "window_s": facts.window_s, "hop_s": facts.hop_s, "languages": languages, "licence": facts.licence,
            "parameters": facts.n_parameters, "speakers": facts.speaker_size > 0,
        }  # fmt: skip
        return JSONResponse({"models": [model]})

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the service answers."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Prometheus's text format."""
        return Response(generate_latest(measures.registry), media_type=CONTENT_TYPE_LATEST)


def _page(app: FastAPI) -> None:
    """The page and its parts."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", media_type="text/html")

    @app.get("/page/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        path = PAGE / name
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)+", name) or path.suffix not in _TYPES or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, media_type=_TYPES[path.suffix], headers={"cache-control": "no-cache"})


def _manner(
    recognizer: Recognizer,
    options: tuple[float | None, float | None, float | None, str | None],
    speaker: Profile | None,
) -> Manner:
    try:
        return recognizer.manner(*options, speaker)
    except KanjoError as error:
        raise Refused(422, "bad_speaker" if speaker else "bad_parameter", str(error)) from error


async def _within(
    engine: Engine, settings: Settings, recordings: list[uploads.Recording], manner: Manner
) -> list[Prediction]:
    """The answers, where there is room and time for them; the recordings are closed. Raises Refused."""
    try:
        engine.enter()
    except Full as full:
        uploads.close(recordings)
        raise Refused(429, "busy", str(full), {"retry-after": str(full.retry_after_s)}) from full
    try:
        return await asyncio.wait_for(_answers(engine, recordings, manner), settings.answer_s)
    except asyncio.TimeoutError:
        raise Refused(503, "too_long", f"no answer within {settings.answer_s:g} s", {"retry-after": "10"}) from None
    finally:
        engine.leave()
        uploads.close(recordings)


async def _answers(engine: Engine, recordings: list[uploads.Recording], manner: Manner) -> list[Prediction]:
    found = []
    for name, recording in recordings:
        if not recording.read(1):
            found.append(failed(name, "an empty file (0 bytes)"))
            continue
        recording.seek(0)
        found.append(await engine.predict(recording, name, manner))
    return found


async def _refused(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    body = error_body(refused.code, refused.message, request.state.request_id)
    return JSONResponse(
        body,
        refused.status,
        {**refused.headers, "connection": "close"} if refused.status in (408, 413) else refused.headers,
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
