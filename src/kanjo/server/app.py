"""The service as an ASGI application: routes, error responses and the web page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

import kanjo
from kanjo.errors import KanjoError
from kanjo.inference.emotion_selection import select_emotions
from kanjo.inference.options import InferenceOptions, ResolvedOptions, resolve_options
from kanjo.inference.prediction import Prediction, failed_prediction
from kanjo.inference.recognizer import Recognizer
from kanjo.inference.speaker_profiles import build_profile
from kanjo.server.errors import RequestError, add_error_handlers
from kanjo.server.limits import RequestLimitsMiddleware
from kanjo.server.metrics import ServiceMetrics
from kanjo.server.queue import InferenceQueue, QueueFullError
from kanjo.server.schemas import AUDIO_REQUEST_BODY, ERROR_RESPONSES, EnrollResponse, ModelsResponse, PredictResponse
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
_PAGE_FILE = re.compile(r"[\w-]+(\.[\w-]+)+")
_TIMEOUT_RETRY_AFTER_S = 10


def create_app(recognizer: Recognizer, settings: Settings | None = None) -> RequestLimitsMiddleware:
    """Create the service as an ASGI application.

    Args:
        recognizer: Makes the predictions.
        settings: Emotions, token and limits (default: ``Settings()``).

    Raises:
        KanjoError: The bundle does not have the emotions of the settings.
    """
    settings = settings or Settings()
    emotions = select_emotions(settings.emotions, recognizer.labels)
    metrics = ServiceMetrics()
    queue = InferenceQueue(
        recognizer,
        metrics,
        capacity=settings.queue_capacity,
        decode_threads=settings.decode_threads,
        max_duration_s=settings.max_duration_s,
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
    _add_page_routes(app)

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await serve_stream(websocket, queue, settings, metrics)

    add_error_handlers(app)
    return RequestLimitsMiddleware(app, settings, metrics)


def _add_predict_route(app: FastAPI, queue: InferenceQueue, settings: Settings) -> None:
    metadata = queue.recognizer.metadata

    @app.post(
        "/v1/predict", responses=ERROR_RESPONSES, openapi_extra=AUDIO_REQUEST_BODY, response_model=PredictResponse
    )
    async def predict(
        request: Request,
        window_s: float | None = None,
        hop_s: float | None = None,
        min_confidence: float | None = None,
        language: str | None = None,
        emotions: str | None = None,
        sample_rate: int | None = None,
        format: str | None = None,
        channels: int = 1,
    ) -> Response:
        """Predict the emotion in one or many recordings.

        Send files as multipart/form-data (field ``files``), or one recording as the request body: any format that the
        service can decode (WAV, FLAC, Ogg, MP3, webm, mp4, ...), or raw samples with ``format`` (s16le or f32le),
        ``sample_rate`` and ``channels``. The other parameters are those of ``Recognizer.predict``;
        ``emotions`` has commas (``anger,neutral``).
        """
        options = InferenceOptions(window_s, hop_s, min_confidence, language, emotions=emotions or settings.emotions)
        _resolve(queue, options)  # Fail before the body is read.
        uploads = await read_uploads(request, settings, PcmFormat(format, sample_rate, channels))
        try:
            speaker = await read_speaker_profile(request)
            resolved = _resolve(queue, replace(options, speaker=speaker))
        except RequestError:
            close_uploads(uploads)
            raise
        predictions = await _predict_uploads(queue, settings, uploads, resolved)
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

    @app.post("/v1/enroll", responses=ERROR_RESPONSES, openapi_extra=AUDIO_REQUEST_BODY, response_model=EnrollResponse)
    async def enroll(request: Request, name: str = "speaker") -> Response:
        """Build the profile of a speaker from a few of their recordings, with any emotions.

        The service does not store the profile. Send it as the form field ``speaker`` of ``/v1/predict``.
        """
        try:
            recognizer.check_enrollment()
        except KanjoError as error:
            raise RequestError(422, "bad_parameter", str(error)) from error
        uploads = await read_uploads(request, settings, PcmFormat())
        predictions = await _predict_uploads(queue, settings, uploads, _resolve(queue, InferenceOptions()))
        for prediction in predictions:
            if prediction.error:
                raise RequestError(422, "undecodable_audio", f"{prediction.file}: {prediction.error}")
        try:
            profile = build_profile(name, recognizer.metadata, predictions)
        except KanjoError as error:
            raise RequestError(422, "no_speech", str(error)) from error
        return JSONResponse({"speaker": profile.as_dict(), "request_id": request.state.request_id})


def _add_info_routes(app: FastAPI, recognizer: Recognizer, metrics: ServiceMetrics, emotions: tuple[str, ...]) -> None:
    @app.get("/v1/models", response_model=ModelsResponse)
    async def list_models() -> Response:
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


def _add_page_routes(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE_FOLDER / "index.html", media_type="text/html")

    @app.get("/page/{name}", include_in_schema=False)
    async def page_file(name: str) -> Response:
        path = PAGE_FOLDER / name
        if not _PAGE_FILE.fullmatch(name) or path.suffix not in _MEDIA_TYPES or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, media_type=_MEDIA_TYPES[path.suffix], headers={"cache-control": "no-cache"})


def _resolve(queue: InferenceQueue, options: InferenceOptions) -> ResolvedOptions:
    """Check the options of a request. Raises RequestError."""
    try:
        return resolve_options(options, queue.recognizer.metadata)
    except KanjoError as error:
        raise RequestError(422, "bad_speaker" if options.speaker else "bad_parameter", str(error)) from error


async def _predict_uploads(
    queue: InferenceQueue, settings: Settings, uploads: list[Upload], options: ResolvedOptions
) -> list[Prediction]:
    """Predict and close all uploads. Raises RequestError if the queue is full or the prediction takes too long."""
    try:
        queue.acquire()
    except QueueFullError as error:
        close_uploads(uploads)
        raise RequestError(429, "busy", str(error), {"retry-after": str(error.retry_after_s)}) from error
    timeout_s = settings.response_timeout_s
    try:
        return await asyncio.wait_for(_predict_in_order(queue, uploads, options), timeout_s)
    except asyncio.TimeoutError:
        message = f"the prediction was not complete after {timeout_s:g} s; send fewer or shorter recordings"
        raise RequestError(503, "timeout", message, {"retry-after": str(_TIMEOUT_RETRY_AFTER_S)}) from None
    finally:
        queue.release()
        close_uploads(uploads)


async def _predict_in_order(queue: InferenceQueue, uploads: list[Upload], options: ResolvedOptions) -> list[Prediction]:
    predictions = []
    for upload in uploads:
        if upload.file.read(1):
            upload.file.seek(0)
            predictions.append(await queue.predict(upload.file, upload.name, options))
        else:
            predictions.append(failed_prediction(upload.name, "the file is empty (0 bytes)"))
    return predictions
