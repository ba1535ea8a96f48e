"""Read the recordings of a request: uploaded files, a request body, or raw PCM samples.

Large uploads are in temporary files, which disappear when they are closed.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, cast

import soundfile
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from kanjo import audio
from kanjo.errors import AudioError, KanjoError
from kanjo.files import os_error_message
from kanjo.inference.speaker_profiles import SpeakerProfile, parse_profile
from kanjo.parsing import parse_json
from kanjo.server.errors import RequestError
from kanjo.server.message_text import describe_unknown
from kanjo.server.settings import Settings

#: PCM formats: the subtype of soundfile, the type of its buffers, and the bytes of a sample.
_PCM_FORMATS = {"s16le": ("PCM_16", "int16", 2), "f32le": ("FLOAT", "float32", 4)}
_MAX_CHANNELS = 32
_MAX_FORM_FIELDS = 20
_FORM_FIELDS = ("files", "speaker")
_MAX_NAME_LENGTH = 255
#: Uploads up to this size stay in memory, larger ones are in a temporary file.
_MEMORY_BYTES = 1 << 20
_DEFAULT_NAME = "recording"


@dataclass(frozen=True)
class Upload:
    """An uploaded recording: its name and its open file."""

    name: str
    file: BinaryIO


@dataclass(frozen=True)
class PcmFormat:
    """Format of raw samples, as the query parameters give it. Without ``format``, the body is an audio file."""

    format: str | None = None
    sample_rate: int | None = None
    channels: int = 1


async def read_uploads(request: Request, settings: Settings, pcm_format: PcmFormat) -> list[Upload]:
    """Read all recordings of a request. The caller closes them with :func:`close_uploads`.

    Raises:
        RequestError: The request has no recording, has a wrong content type, or does not fit on the disk.
    """
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if content_type == "multipart/form-data":
            if pcm_format != PcmFormat():
                message = "format, sample_rate and channels are for raw samples in the request body, not for a form"
                raise RequestError(422, "bad_parameter", message)
            return await _read_form(request, settings)
        if not _is_audio(content_type):
            expected = "expected multipart/form-data, audio/* or application/octet-stream"
            raise RequestError(415, "unsupported_media_type", f"content type {content_type}: {expected}")
        return [await _read_body(request, pcm_format)]
    except OSError as error:
        message = f"the service cannot store the upload: {os_error_message(error)}"
        raise RequestError(507, "insufficient_storage", message) from error


async def read_speaker_profile(request: Request) -> SpeakerProfile | None:
    """Read the speaker profile in the form field ``speaker``, as ``/v1/enroll`` returns it.

    Raises:
        RequestError: The field is not a valid profile.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return None
    field = (await request.form()).get("speaker")  # Starlette caches the form, which read_uploads has parsed.
    if field is None:
        return None
    try:
        content = parse_json(field if isinstance(field, str) else await field.read())
        return parse_profile(content, "speaker")
    except KanjoError as error:
        raise RequestError(422, "bad_speaker", str(error)) from error
    except ValueError as error:
        message = f"speaker: not valid JSON ({error}); expected a speaker profile from /v1/enroll"
        raise RequestError(422, "bad_speaker", message) from error


def close_uploads(uploads: Iterable[Upload]) -> None:
    """Close the files of the uploads, which deletes them."""
    for upload in uploads:
        upload.file.close()


async def _read_form(request: Request, settings: Settings) -> list[Upload]:
    try:
        form = await request.form(max_files=settings.max_files, max_fields=_MAX_FORM_FIELDS)
    except HTTPException as error:
        raise RequestError(422, "bad_form", str(error.detail)) from error
    except UnicodeError as error:  # the form names an encoding that does not fit
        raise RequestError(422, "bad_form", "a name or text of the form can't be decoded; expected UTF-8") from error
    parts = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
    if not parts:
        raise RequestError(422, "no_files", 'the form has no recordings; expected file fields named "files"')
    for field, value in form.multi_items():
        if field not in _FORM_FIELDS:
            raise RequestError(422, "bad_form", describe_unknown(field, _FORM_FIELDS, "form field"))
        if field == "files" and not isinstance(value, UploadFile):
            raise RequestError(422, "bad_form", 'a field "files" is text; expected files (with curl: -F files=@a.wav)')
    return [Upload(_sanitize_name(part.filename or ""), part.file) for part in parts]


async def _read_body(request: Request, pcm_format: PcmFormat) -> Upload:
    body = _temporary_file()
    async for block in request.stream():
        body.write(block)
    if not body.tell():
        body.close()
        raise RequestError(422, "empty", "the request body is empty; expected a recording")
    body.seek(0)
    name = _sanitize_name(request.headers.get("x-file-name", ""))
    if pcm_format == PcmFormat():
        return Upload(name, body)
    try:  # in a thread, because it takes some time
        return Upload(name, await asyncio.to_thread(_pcm_to_wav, body, pcm_format))
    except AudioError as error:
        raise RequestError(422, "bad_parameter", str(error)) from error
    finally:
        body.close()


def _pcm_to_wav(body: BinaryIO, pcm_format: PcmFormat) -> BinaryIO:
    """Convert raw samples to a WAV file. Raises AudioError for an invalid format."""
    sample_rate, channels = pcm_format.sample_rate, pcm_format.channels
    if pcm_format.format is None:
        raise AudioError("sample_rate and channels are for raw samples; they need format (s16le or f32le)")
    if pcm_format.format not in _PCM_FORMATS:
        raise AudioError(f"format {pcm_format.format}: expected {' or '.join(_PCM_FORMATS)}")
    if sample_rate is None or not 1 <= channels <= _MAX_CHANNELS:
        raise AudioError(
            f"format {pcm_format.format} needs sample_rate (in Hz), and channels between 1 and {_MAX_CHANNELS}"
        )
    audio.check_sample_rate(sample_rate, "raw samples")
    subtype, buffer_type, sample_bytes = _PCM_FORMATS[pcm_format.format]
    content = body.read()
    frame_bytes = channels * sample_bytes
    wav_file = _temporary_file()
    with soundfile.SoundFile(wav_file, "w", sample_rate, channels, subtype, format="WAV") as wav:
        wav.buffer_write(content[: len(content) // frame_bytes * frame_bytes], dtype=buffer_type)
    wav_file.seek(0)
    return wav_file


def _is_audio(content_type: str) -> bool:
    other_types = ("application/octet-stream", "application/ogg", "")
    return content_type.startswith(("audio/", "video/")) or content_type in other_types


def _temporary_file() -> BinaryIO:
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(_MEMORY_BYTES))


def _sanitize_name(name: str) -> str:
    """Remove folders and unprintable characters. The name is only a label; no file is opened by it."""
    base_name = re.split(r"[/\\]", name or _DEFAULT_NAME)[-1]
    return "".join(c for c in base_name if c.isprintable())[:_MAX_NAME_LENGTH] or _DEFAULT_NAME
