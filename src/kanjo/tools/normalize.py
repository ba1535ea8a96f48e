"""Change the level of a recording: to full scale, to an RMS level, or to a loudness."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from kanjo.audio import open_audio
from kanjo.errors import AudioError
from kanjo.tools.soundfile_io import copy_blocks, create_like, describe_warnings, read_blocks

#: The absolute gate of ITU-R BS.1770: quieter recordings have no loudness.
_MIN_LUFS = -70.0
SILENT = "silent, copied unchanged"


def normalize(path: Path, target: Path, rms_db: float | None = None, lufs: float | None = None) -> str:
    """Write a recording with its peak at full scale (like ``librosa.util.normalize``), or at a level.

    Format, bit depth, sample rate and tags stay the same. Silence is copied unchanged, and so is a recording without
    loudness if ``lufs`` is given. A level that would clip becomes a peak at full scale. These cases return a warning.

    Args:
        path: The recording.
        target: The file to write.
        rms_db: RMS level, dBFS.
        lufs: Loudness, LUFS (ITU-R BS.1770-4); ignored if ``rms_db`` is given.

    Returns:
        The warnings about the recording, or "".

    Raises:
        AudioError: The recording can't be read or written.
    """
    gain, warning = _choose_gain(path, rms_db, lufs)
    with open_audio(path) as source, create_like(target, source, source.native_rate, path) as output:
        copy_blocks(source, output, lambda block: block * gain)
        return describe_warnings(path, warning, *source.warnings)


def _choose_gain(path: Path, rms_db: float | None, lufs: float | None) -> tuple[float, str]:
    """Return the factor for all samples, and a warning or ""."""
    peak, measured_rms_db = _measure(path)
    if peak == 0.0:
        return 1.0, SILENT
    gain, warning = 1.0, ""
    if rms_db is not None:
        level, unit = rms_db, "dB"
        gain = _db_to_gain(rms_db - measured_rms_db)
    elif lufs is not None:
        level, unit = lufs, "LUFS"
        loudness = measure_loudness(path)
        if loudness > _MIN_LUFS:
            gain = _db_to_gain(lufs - loudness)
        else:
            warning = "too short or too quiet to have a loudness, copied unchanged"
    else:
        return 1.0 / peak, ""
    if gain * peak > 1.0:
        excess_db = 20 * float(np.log10(gain * peak))
        gain = 1.0 / peak
        warning = (
            f"{level:g} {unit} would clip; its peak is at full scale, which is {excess_db:.1f} dB below this level"
        )
    return gain, warning


def _db_to_gain(db: float) -> float:
    return float(10 ** (db / 20))


def _measure(path: Path) -> tuple[float, float]:
    """Return the peak and the RMS level (dBFS; -inf for silence) of a recording."""
    peak, sum_of_squares, n_samples = 0.0, 0.0, 0
    with open_audio(path) as source:
        for block in read_blocks(source):
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            sum_of_squares += float(np.square(block, dtype=np.float64).sum())
            n_samples += block.size
    return peak, 10 * float(np.log10(sum_of_squares / n_samples)) if sum_of_squares else float("-inf")


def measure_loudness(path: Path) -> float:
    """Return the integrated loudness of a recording in LUFS (ITU-R BS.1770-4, EBU Tech 3341), by FFmpeg's ``ebur128``.

    Returns:
        LUFS; -70, the absolute gate, for a recording without loudness.

    Raises:
        AudioError: The recording can't be read, or PyAV (extra ``media``) is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise AudioError("loudness needs PyAV: pip install 'kanjo[media]'") from error
    with open_audio(path) as source:
        layout = {1: "mono", 2: "stereo"}.get(source.channels, f"{source.channels}c")
        time_base = Fraction(1, source.native_rate)
        graph = _build_meter_graph(av, source.native_rate, layout, time_base)
        loudness, n_frames = _MIN_LUFS, 0
        for block in read_blocks(source):
            frame = av.AudioFrame.from_ndarray(block.astype(np.float32).reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = source.native_rate, n_frames, time_base
            n_frames += len(block)
            graph.push(frame)
            loudness = _pull_loudness(av, graph, loudness)
        graph.push(None)
        return _pull_loudness(av, graph, loudness)


def _build_meter_graph(av: Any, sample_rate: int, layout: str, time_base: Fraction) -> Any:
    graph = av.filter.Graph()
    source = graph.add_abuffer(format="flt", sample_rate=sample_rate, layout=layout, time_base=time_base)
    meter, sink = graph.add("ebur128", "metadata=1:framelog=quiet"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    return graph


def _pull_loudness(av: Any, graph: Any, loudness: float) -> float:
    """Return the newest integrated loudness in the frames of the meter; ``loudness`` if there is no frame."""
    while True:
        try:
            loudness = float(graph.pull().metadata.get("lavfi.r128.I", loudness))
        except (av.error.BlockingIOError, av.error.EOFError):
            return max(loudness, _MIN_LUFS)
