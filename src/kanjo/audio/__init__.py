"""Audio input and output: decode any format, resample, measure levels, write files."""

from kanjo.audio.reader import (
    LFS_POINTER_START,
    SUFFIXES,
    AudioReader,
    find_recordings,
    load,
    open_audio,
    open_signal,
)
from kanjo.audio.resampling import Resampler, resample
from kanjo.audio.signals import (
    MAX_RATE,
    MIN_RATE,
    Signal,
    check_finite,
    check_sample_rate,
    peak_normalize,
    slice_signal,
    to_sample_matrix,
)
from kanjo.audio.writing import write

__all__ = [
    "LFS_POINTER_START",
    "MAX_RATE",
    "MIN_RATE",
    "SUFFIXES",
    "AudioReader",
    "Resampler",
    "Signal",
    "check_finite",
    "check_sample_rate",
    "find_recordings",
    "load",
    "open_audio",
    "open_signal",
    "peak_normalize",
    "resample",
    "slice_signal",
    "to_sample_matrix",
    "write",
]
