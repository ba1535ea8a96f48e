"""``kanjo listen``: the microphone, live."""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from kanjo import audio
from kanjo.cli.common import Hop, MinConfidence, Model, Speaker, say
from kanjo.errors import KanjoError
from kanjo.inference import writers
from kanjo.inference.prediction import Segment
from kanjo.inference.recognizer import load
from kanjo.inference.streaming import Stream

_CHUNK_S = 0.1
Samples = npt.NDArray[np.float32]


def register(app: typer.Typer) -> None:
    app.command()(listen)


def listen(
    model: Model = "default",
    source: Annotated[
        Path | None, typer.Option("--from", help="Hear this recording instead of the microphone.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="A microphone's name or number; ? lists them.")] = "",
    seconds: Annotated[float, typer.Option(min=0.0, help="Stop after so many; 0: Ctrl-C ends.")] = 0.0,
    hop: Hop = None,
    min_confidence: MinConfidence = None,
    speaker: Speaker = None,
    form: Annotated[str, typer.Option("--format", "-f", help="table, or jsonl: an object for each answer.")] = "table",
) -> None:
    """Say which emotion is in the voice at the microphone, while it speaks; at the end, the timeline.

    Example: kanjo listen --hop 0.5
    """
    if form not in ("table", "jsonl"):
        raise typer.BadParameter(f"format {form!r}: expected table or jsonl")
    if device == "?":
        print(_devices())
        return
    recognizer = load(model)
    with _file(source) if source else _microphone(device) as (rate, chunks):
        name = str(source or "microphone")
        stream = Stream(recognizer, rate, name=name, hop_s=hop, min_confidence=min_confidence, speaker=speaker)
        say(
            f"listening ({rate} Hz); {recognizer.facts.window_s:g} s until the first answer"
            + ("" if source else "; Ctrl-C ends")
        )
        latest: Segment | None = None
        try:
            for chunk in chunks:
                for latest in stream.feed(chunk):
                    if form == "jsonl":
                        print(json.dumps(latest.as_dict(), ensure_ascii=False), flush=True)
                if sys.stderr.isatty():
                    sys.stderr.write("\r" + _line(stream, latest).ljust(78)[:78])
                    sys.stderr.flush()
                if seconds and stream.seconds >= seconds:
                    break
        except KeyboardInterrupt:
            pass  # that is how it ends
    if sys.stderr.isatty():
        sys.stderr.write("\r" + " " * 78 + "\r")
    for piece in writers.chunks(form, [stream.finish()], recognizer.labels):
        sys.stdout.write(piece)


def _line(stream: Stream, latest: Segment | None) -> str:
    """One line that fits a terminal: how long, whether somebody speaks, and what it sounds like."""
    told = ""
    if latest is not None:
        best = sorted(latest.probabilities.items(), key=lambda pair: -pair[1])[:3]
        told = "   ".join(f"{name} {share:.0%}" for name, share in best)
        told = f"{latest.label if latest.label != best[0][0] else '':<6} {told}"
    return f"{stream.seconds:6.1f} s  {'speech ' if stream.speech > 0.5 else '       '} {told}"


@contextmanager
def _file(path: Path) -> Iterator[tuple[int, Iterator[Samples]]]:
    with audio.open_source(path) as source:
        step = max(1, round(_CHUNK_S * source.native_rate))

        def chunks() -> Iterator[Samples]:
            for block in source.blocks():
                yield from (block[at : at + step] for at in range(0, len(block), step))

        yield source.native_rate, chunks()


@contextmanager
def _microphone(device: str) -> Iterator[tuple[int, Iterator[Samples]]]:
    """The microphone's rate and chunks. Raises KanjoError where there is none."""
    sounddevice = _sounddevice()
    heard: queue.SimpleQueue[Samples] = queue.SimpleQueue()
    chosen = int(device) if device.isdigit() else device or None
    try:
        rate = int(sounddevice.query_devices(chosen, "input")["default_samplerate"])
        stream = sounddevice.InputStream(
            rate, round(_CHUNK_S * rate), chosen, 1, "float32", callback=lambda block, *_: heard.put(block[:, 0].copy())
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise KanjoError(f"no microphone can be used ({str(error).splitlines()[0]}); --device ? lists them") from error
    with stream:
        yield rate, iter(heard.get, None)


def _devices() -> str:
    found = _sounddevice().query_devices()
    return str(found) if len(found) else "no microphone found"


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        missing = (
            "the library PortAudio (Debian: apt install libportaudio2)"
            if isinstance(error, OSError)
            else "pip install 'kanjo[live]'"
        )
        raise KanjoError(f"the microphone needs {missing}; --from FILE hears a recording") from error
    return sounddevice
