"""What a request holds: recordings as files, as its body, or as raw samples; in files that vanish when they are closed."""

from __future__ import annotations

import json
import re
import tempfile
from typing import BinaryIO, cast

import soundfile
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from kanjo import audio
from kanjo.errors import AudioError, KanjoError
from kanjo.files import reason
from kanjo.inference.speaker_profiles import Profile, profile_from
from kanjo.server.limits import Refused
from kanjo.server.settings import Settings

_PCM = {"s16le": "PCM_16", "f32le": "FLOAT"}

#: What is sent: its name, and the open file.
Recording = tuple[str, BinaryIO]


async def recordings(request: Request, settings: Settings, raw: tuple[str | None, int | None, int]) -> list[Recording]:
    """What a request holds, in files that vanish when they are closed. Raises Refused."""
    try:
        return await _recordings(request, settings, raw)
    except OSError as error:  # a large upload lies in a file, and there was no room for it
        raise Refused(507, "no_room", f"the service can't hold the upload: {reason(error)}") from error


async def _recordings(request: Request, settings: Settings, raw: tuple[str | None, int | None, int]) -> list[Recording]:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _uploads(request, settings)
    if not (kind.startswith(("audio/", "video/")) or kind in ("application/octet-stream", "application/ogg", "")):
        raise Refused(
            415, "not_audio", f"content type {kind}: expected multipart/form-data, audio/* or application/octet-stream"
        )
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
    found = [
        (_plain(part.filename or "recording"), part.file)
        for part in form.getlist("files")
        if isinstance(part, UploadFile)
    ]
    if not found:
        raise Refused(422, "no_files", 'no recording sent: expected parts named "files"')
    return found


async def speaker(request: Request) -> Profile | None:
    """The profile in a form's part ``speaker``, as ``/v1/enroll`` has answered it. Raises Refused."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return None
    sent = (await request.form()).get("speaker")  # parsed before, with the recordings
    if sent is None:
        return None
    try:
        return profile_from(json.loads(sent if isinstance(sent, str) else await sent.read()), "speaker")
    except (KanjoError, ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, KanjoError) else "speaker: not JSON; expected a profile of /v1/enroll's"
        raise Refused(422, "bad_speaker", said) from error


def _plain(name: str) -> str:
    """A file's name without folders or what a terminal would act on; nothing is ever opened by it."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c for c in last if c.isprintable())[:255] or "recording"


def close(found: list[Recording]) -> None:
    """Nothing of it is kept."""
    for _, recording in found:
        recording.close()
