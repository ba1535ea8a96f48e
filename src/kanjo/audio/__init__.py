"""Audio input and output: decode any format, resample, measure levels, write files."""

from kanjo.audio.reader import (
    MAX_RATE,
    MIN_RATE,
    SUFFIXES,
    Resampler,
    Signal,
    Source,
    check_rate,
    find,
    load,
    open_source,
    peak_normalize,
    resample,
    samples_of,
    source_of,
    stretch,
    write,
)

__all__ = [
    "MAX_RATE",
    "MIN_RATE",
    "SUFFIXES",
    "Resampler",
    "Signal",
    "Source",
    "check_rate",
    "find",
    "load",
    "open_source",
    "peak_normalize",
    "resample",
    "samples_of",
    "source_of",
    "stretch",
    "write",
]
