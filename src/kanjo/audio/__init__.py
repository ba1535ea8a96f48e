"""Audio input and output: decode any format, resample, measure levels, write files."""

from kanjo.audio.formats import SUFFIXES
from kanjo.audio.limits import DecodingCancelledError, DecodingLimits
from kanjo.audio.reader import (
    LFS_POINTER_START,
    AudioReader,
    AudioSource,
    load,
    open_audio,
    open_signal,
    read_duration,
    source_name,
)
from kanjo.audio.resampling import Resampler, resample
from kanjo.audio.search import describe_suffixes, find_recordings, is_recording
from kanjo.audio.signals import (
    MAX_RATE,
    MIN_RATE,
    SampleType,
    Signal,
    check_sample_rate,
    check_samples,
    mix_to_mono,
    peak_normalize,
    slice_signal,
    to_sample_matrix,
    to_window_batch,
)
from kanjo.audio.writing import write

__all__ = [
    "LFS_POINTER_START",
    "MAX_RATE",
    "MIN_RATE",
    "SUFFIXES",
    "AudioReader",
    "AudioSource",
    "DecodingCancelledError",
    "DecodingLimits",
    "Resampler",
    "SampleType",
    "Signal",
    "check_sample_rate",
    "check_samples",
    "describe_suffixes",
    "find_recordings",
    "is_recording",
    "load",
    "mix_to_mono",
    "open_audio",
    "open_signal",
    "peak_normalize",
    "read_duration",
    "resample",
    "slice_signal",
    "source_name",
    "to_sample_matrix",
    "to_window_batch",
    "write",
]
