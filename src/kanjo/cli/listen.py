"""``kanjo listen``: predictions for the microphone, live."""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from kanjo import audio
from kanjo.bundle import BundleMetadata
from kanjo.cli.common import Emotions, Hop, MinConfidence, Model, Speaker, check_format, load_on, print_message
from kanjo.cli.prediction_output import PredictionOutput
from kanjo.cli.prediction_table import by_probability, percent
from kanjo.cli.terminal import Terminal, detect_terminal, display_width, pad
from kanjo.cli.timeline_strip import format_time, paint_label
from kanjo.errors import KanjoError
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.prediction import Segment
from kanjo.inference.recording import EARLY_RESULTS_S
from kanjo.inference.streaming import Stream

#: Duration of the blocks that the microphone delivers.
_CHUNK_S = 0.1
#: Width of the status line on a terminal of any width, and of the bar in it.
_MAX_LINE_WIDTH, _BAR_WIDTH = 78, 10
Samples = npt.NDArray[np.float32]


def listen(
    model: Model = "default",
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="A recording instead of the microphone.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="Name or number of the microphone; ? lists them.")] = "",
    seconds: Annotated[float, typer.Option(min=0.0, help="Stop after this many seconds; 0: stop with Ctrl-C.")] = 0.0,
    hop: Hop = None,
    min_confidence: MinConfidence = None,
    speaker: Speaker = None,
    emotions: Emotions = None,
    form: Annotated[str, typer.Option("--format", "-f", help="table, or jsonl: one object per prediction.")] = "table",
) -> None:
    """Predict the emotion at the microphone while someone speaks; at the end, print the timeline.

    Example: kanjo listen --hop 0.5
    """
    check_format(form, ("table", "jsonl"))
    if device == "?":
        print(_list_devices())
        return
    recognizer = load_on(model, "auto")
    options = InferenceOptions(hop_s=hop, min_confidence=min_confidence, speaker=speaker, emotions=emotions)
    labels = resolve_options(options, recognizer.metadata).emotions  # fails before the microphone is opened
    with _open_file(source) if source else _open_microphone(device) as (sample_rate, chunks):
        name = str(source or "microphone")
        stream = Stream(recognizer, sample_rate, name=name, **options.as_keywords())
        print_message(
            f"listening ({sample_rate} Hz); the first prediction comes after {_first_result(recognizer.metadata)}"
            + ("" if source else "; stop with Ctrl-C")
        )
        with suppress(KeyboardInterrupt):  # the usual end
            _feed(stream, chunks, form, seconds)
    if sys.stderr.isatty():
        sys.stderr.write("\r" + " " * _line_width(detect_terminal(sys.stderr)) + "\r")
    PredictionOutput(form, labels, [name]).write([stream.finish()])


def _first_result(metadata: BundleMetadata) -> str:
    """When a stream gives its first prediction."""
    return f"{EARLY_RESULTS_S[0]:g} s of speech" if metadata.uses_speech_segments else f"{metadata.window_s:g} s"


def _feed(stream: Stream, chunks: Iterator[Samples], form: str, seconds: float) -> None:
    """Feed chunks into the stream and show its predictions, for at most ``seconds`` (0: no limit)."""
    latest: Segment | None = None
    terminal = detect_terminal(sys.stderr)
    for chunk in chunks:
        for latest in stream.feed(chunk):
            if form == "jsonl":
                print(json.dumps(latest.as_dict(), ensure_ascii=False), flush=True)
        if sys.stderr.isatty():
            sys.stderr.write("\r" + _status_line(stream, latest, terminal))
            sys.stderr.flush()
        if seconds and stream.seconds >= seconds:
            return


def _status_line(stream: Stream, latest: Segment | None, terminal: Terminal) -> str:
    """Elapsed time, whether there is speech, the label with its confidence, and the next most probable emotions."""
    speech = "speech" if stream.speech > 0.5 else "      "
    pieces = [f"{format_time(stream.seconds):>7}  {speech}"]
    if latest is not None:
        bar = terminal.bar(latest.confidence, _BAR_WIDTH)
        others = [(name, p) for name, p in by_probability(latest.probabilities) if name != latest.label]
        pieces += [f"  {latest.label:<9}", f" {percent(latest.confidence):>5} {bar}"]
        pieces += [f"  {name} {percent(p)}" for name, p in others[:2]]
    width, line = _line_width(terminal), ""
    for piece in pieces:
        if display_width(line + piece) > width:
            break
        line += piece
    padded = pad(line, width)
    if latest is None or latest.label not in padded:
        return padded
    return padded.replace(latest.label, paint_label(latest.label, latest.label, terminal), 1)


def _line_width(terminal: Terminal) -> int:
    """Columns of the status line; a character in the last column would start a new line."""
    return min(_MAX_LINE_WIDTH, (terminal.width or _MAX_LINE_WIDTH + 1) - 1)


@contextmanager
def _open_file(path: Path) -> Iterator[tuple[int, Iterator[Samples]]]:
    """The sample rate and the chunks of a recording."""
    with audio.open_audio(path) as source:
        step = max(1, round(_CHUNK_S * source.native_rate))

        def chunks() -> Iterator[Samples]:
            for block in source.blocks():
                yield from (block[start : start + step] for start in range(0, len(block), step))

        yield source.native_rate, chunks()


@contextmanager
def _open_microphone(device: str) -> Iterator[tuple[int, Iterator[Samples]]]:
    """The sample rate and the chunks of a microphone. Raises KanjoError if there is none."""
    sounddevice = _import_sounddevice()
    chunks: queue.SimpleQueue[Samples] = queue.SimpleQueue()
    selected = int(device) if device.isdigit() else device or None
    try:
        rate = int(sounddevice.query_devices(selected, "input")["default_samplerate"])
        block_length = round(_CHUNK_S * rate)
        stream = sounddevice.InputStream(
            rate, block_length, selected, 1, "float32", callback=lambda block, *_: chunks.put(block[:, 0].copy())
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise KanjoError(
            f"no microphone can be opened ({str(error).splitlines()[0]}); --device ? lists them"
        ) from error
    with stream:
        yield rate, iter(chunks.get, None)


def _list_devices() -> str:
    devices = _import_sounddevice().query_devices()
    return str(devices) if len(devices) else "no microphone was found"


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise KanjoError(
            "the microphone needs pip install 'kanjo[live]'; --from FILE uses a recording instead"
        ) from error
    except OSError as error:
        raise KanjoError(
            "the microphone needs the library PortAudio (Debian: apt install libportaudio2); "
            "--from FILE uses a recording instead"
        ) from error
    return sounddevice
