"""The service as an ASGI application: routes, error responses and the web page."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import kanjo
from kanjo.errors import KanjoError
from kanjo.inference.emotion_selection import select_emotions
from kanjo.inference.limits import PredictionCancelledError, RecordingLimits, TooManyWindowsError
from kanjo.inference.options import InferenceOptions, ResolvedOptions, resolve_options
from kanjo.inference.prediction import Prediction, failed_prediction
from kanjo.inference.recognizer import Recognizer
from kanjo.inference.speaker_profiles import build_profile
from kanjo.server.access import check_settings
from kanjo.server.emotion_styles import create_emotion_styles
from kanjo.server.errors import RequestError, add_error_handlers
from kanjo.server.limits import RequestLimitsMiddleware
from kanjo.server.metrics import ServiceMetrics
from kanjo.server.queue import InferenceQueue, QueueClosedError, QueueFullError
from kanjo.server.schemas import (
    AUDIO_ERROR_RESPONSES,
    AUDIO_REQUEST_BODY,
    ERROR_RESPONSES,
    EnrollParameters,
    EnrollResponse,
    ModelsResponse,
    NoParameters,
    PredictParameters,
    PredictResponse,
)
from kanjo.server.settings import Settings
from kanjo.server.streams import serve_stream
from kanjo.server.uploads import PcmFormat, Upload, close_uploads, read_speaker_profile, read_uploads

PAGE_FOLDER = Path(__file__).parent / "page"
_MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
_PAGE_HEADERS = {"cache-control": "no-cache"}
_PAGE_FILE = re.compile(r"[\w-]+(\.[\w-]+)+")
_TIMEOUT_RETRY_AFTER_S = 10


def create_app(recognizer: Recognizer, settings: Settings | None = None) -> RequestLimitsMiddleware:
    """Create the service as an ASGI application.

    Args:
        recognizer: Makes the predictions.
        settings: Emotions, token and limits (default: ``Settings()``).

    Raises:
        KanjoError: The bundle does not have the emotions of the settings, the token is not valid, or other machines
            can reach the service without a token.
    """
    settings = settings or Settings()
    check_settings(settings)
    emotions = select_emotions(settings.emotions, recognizer.labels)
    metrics = ServiceMetrics()
    queue = InferenceQueue(
        recognizer,
        metrics,
        capacity=settings.queue_capacity,
        decode_threads=settings.decode_threads,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(queue.close)

    app = FastAPI(
        title="kanjo",
        version=kanjo.__version__,
        summary="Speech emotion recognition",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _add_predict_route(app, queue, settings)
    _add_enroll_route(app, queue, settings)
    _add_info_routes(app, recognizer, metrics, emotions)
    _add_page_routes(app, create_emotion_styles(recognizer.labels))

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await serve_stream(websocket, queue, settings, metrics)

    add_error_handlers(app)
    return RequestLimitsMiddleware(app, settings, metrics)


def _add_predict_route(app: FastAPI, queue: InferenceQueue, settings: Settings) -> None:
    metadata = queue.recognizer.metadata

    @app.post(
        "/v1/predict",
        responses=AUDIO_ERROR_RESPONSES,
        openapi_extra=AUDIO_REQUEST_BODY,
        response_model=PredictResponse,
    )
    async def predict(request: Request, parameters: Annotated[PredictParameters, Query()]) -> Response:
        """Predict the emotion in one or many recordings.

        Send files as multipart/form-data (field ``files``), or one recording as the request body: any format that the
        service can decode (WAV, FLAC, Ogg, MP3, webm, mp4, ...), or raw samples with ``format`` (s16le or f32le),
        ``sample_rate`` and ``channels``. The other parameters are those of ``Recognizer.predict``;
        ``emotions`` has commas (``anger,neutral``).
        """
        options = InferenceOptions(
            parameters.window_s,
            parameters.hop_s,
            parameters.min_confidence,
            parameters.language,
            emotions=parameters.emotions or settings.emotions,
        )
        _resolve(queue, options)  # Fail before the body is read.
        pcm_format = PcmFormat(parameters.format, parameters.sample_rate, parameters.channels)
        uploads = await read_uploads(request, settings, pcm_format)
        try:
            speaker = await read_speaker_profile(request)
            resolved = _resolve(queue, replace(options, speaker=speaker))
        except RequestError:
            close_uploads(uploads)
            raise
        predictions = await _predict_uploads(request, queue, settings, uploads, resolved)
        if len(predictions) == 1 and predictions[0].error:
            raise RequestError(422, "undecodable_audio", f"{predictions[0].file}: {predictions[0].error}")
        content = {
            "model": metadata.name,
            "predictions": [prediction.as_dict() for prediction in predictions],
            "request_id": request.state.request_id,
        }
        return JSONResponse(content)


def _add_enroll_route(app: FastAPI, queue: InferenceQueue, settings: Settings) -> None:
    recognizer = queue.recognizer

    @app.post(
        "/v1/enroll",
        responses=AUDIO_ERROR_RESPONSES,
        openapi_extra=AUDIO_REQUEST_BODY,
        response_model=EnrollResponse,
    )
    async def enroll(request: Request, parameters: Annotated[EnrollParameters, Query()]) -> Response:
        """Build the profile of a speaker from a few of their recordings, with any emotions.

        The service does not store the profile. Send it as the form field ``speaker`` of ``/v1/predict``.
        """
        try:
            recognizer.check_enrollment()
        except KanjoError as error:
            raise RequestError(422, "bad_parameter", str(error)) from error
        uploads = await read_uploads(request, settings, PcmFormat())
        options = _resolve(queue, InferenceOptions())
        predictions = await _predict_uploads(request, queue, settings, uploads, options)
        for prediction in predictions:
            if prediction.error:
                raise RequestError(422, "undecodable_audio", f"{prediction.file}: {prediction.error}")
        try:
            profile = build_profile(parameters.name, recognizer.metadata, predictions)
        except KanjoError as error:
            raise RequestError(422, "no_speech", str(error)) from error
        return JSONResponse({"speaker": profile.as_dict(), "request_id": request.state.request_id})


def _add_info_routes(app: FastAPI, recognizer: Recognizer, metrics: ServiceMetrics, emotions: tuple[str, ...]) -> None:
    @app.get("/v1/models", responses=ERROR_RESPONSES, response_model=ModelsResponse)
    async def list_models(parameters: Annotated[NoParameters, Query()]) -> Response:
        """List the bundles that the service uses."""
        metadata = recognizer.metadata
        model = {
            "name": metadata.name,
            "version": metadata.version,
            "labels": list(metadata.labels),
            "emotions": list(emotions),
            "sample_rate": metadata.sample_rate,
            "window_s": metadata.window_s,
            "hop_s": metadata.hop_s,
            "languages": sorted({corpus["language"] for corpus in metadata.corpora}),
            "license": metadata.license,
            "n_parameters": metadata.n_parameters,
            "supports_enrollment": metadata.speaker_size > 0,
        }
        return JSONResponse({"models": [model]})

    @app.get("/healthz")
    async def check_health() -> dict[str, str]:
        """Check that the service responds."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    async def export_metrics() -> Response:
        """Return the metrics in Prometheus's text format."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_page_routes(app: FastAPI, emotion_styles: str) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE_FOLDER / "index.html", media_type="text/html")

    @app.get("/page/emotions.css", include_in_schema=False)
    async def page_emotion_styles() -> Response:
        return Response(emotion_styles, media_type="text/css", headers=_PAGE_HEADERS)

    @app.get("/page/{name}", include_in_schema=False)
    async def page_file(name: str) -> Response:
        path = PAGE_FOLDER / name
        if not _PAGE_FILE.fullmatch(name) or path.suffix not in _MEDIA_TYPES or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, media_type=_MEDIA_TYPES[path.suffix], headers=_PAGE_HEADERS)


def _resolve(queue: InferenceQueue, options: InferenceOptions) -> ResolvedOptions:
    """Check the options of a request. Raises RequestError."""
    try:
        return resolve_options(options, queue.recognizer.metadata)
    except KanjoError as error:
        raise RequestError(422, "bad_speaker" if options.speaker else "bad_parameter", str(error)) from error


async def _predict_uploads(
    request: Request, queue: InferenceQueue, settings: Settings, uploads: list[Upload], options: ResolvedOptions
) -> list[Prediction]:
    """Predict and close all uploads, as long as the client waits for them.

    Raises:
        RequestError: The queue is full, the prediction takes too long, or the recordings have too many windows.
        ClientDisconnect: The client has left.
    """
    try:
        queue.acquire()
    except QueueFullError as error:
        close_uploads(uploads)
        raise RequestError(429, "busy", str(error), {"retry-after": str(error.retry_after_s)}) from error
    timeout_s = settings.response_timeout_s
    limits = RecordingLimits(settings.max_duration_s, settings.max_windows, threading.Event())
    watcher = asyncio.create_task(_cancel_when_client_leaves(request, limits))
    try:
        return await asyncio.wait_for(_predict_in_order(queue, uploads, options, limits), timeout_s)
    except asyncio.TimeoutError:
        message = f"the prediction was not complete after {timeout_s:g} s; send fewer or shorter recordings"
        raise RequestError(503, "timeout", message, {"retry-after": str(_TIMEOUT_RETRY_AFTER_S)}) from None
    except TooManyWindowsError as error:
        message = str(error)
        if len(uploads) > 1:
            message += f" (the limit of a request is {settings.max_windows} windows, in all recordings together)"
        raise RequestError(422, "too_many_windows", message) from error
    except QueueClosedError as error:
        raise RequestError(503, "stopping", f"{error}; try again later") from error
    except PredictionCancelledError as error:
        raise ClientDisconnect from error
    finally:
        watcher.cancel()
        queue.release()
        close_uploads(uploads)


async def _cancel_when_client_leaves(request: Request, limits: RecordingLimits) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    if limits.cancelled is not None:
        limits.cancelled.set()


async def _predict_in_order(
    queue: InferenceQueue, uploads: list[Upload], options: ResolvedOptions, limits: RecordingLimits
) -> list[Prediction]:
    predictions: list[Prediction] = []
    n_windows = 0
    for upload in uploads:
        if predictions:
            limits.check_cancelled()
        if upload.file.read(1):
            upload.file.seek(0)
            remaining = replace(limits, max_windows=limits.max_windows - n_windows)
            predictions.append(await queue.predict(upload.file, upload.name, options, remaining))
        else:
            predictions.append(failed_prediction(upload.name, "the file is empty (0 bytes)"))
        n_windows += len(predictions[-1].windows)
    return predictions
