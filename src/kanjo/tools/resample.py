"""Change the sample rate of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr

from kanjo.audio import open_audio
from kanjo.tools.soundfile_io import (
    clip,
    copy_blocks,
    create_like,
    describe_warnings,
    read_blocks,
    sample_dtype,
)


def resample(path: Path, target: Path, sample_rate: int) -> str:
    """Write a recording at another sample rate (soxr, very high quality), block by block.

    Format, bit depth, channels and tags stay the same.

    Args:
        path: The recording.
        target: The file to write.
        sample_rate: Hz.

    Returns:
        The warnings about the recording, or "".

    Raises:
        AudioError: The recording can't be read, or not be written at this sample rate.
    """
    with open_audio(path) as source, create_like(target, source, sample_rate, path) as output:
        if source.native_rate == sample_rate:
            copy_blocks(source, output, lambda block: block)
            return describe_warnings(path, *source.warnings)
        dtype = sample_dtype(source)
        stream = soxr.ResampleStream(source.native_rate, sample_rate, source.channels, dtype=dtype, quality="VHQ")
        for block in read_blocks(source):
            output.write(clip(stream.resample_chunk(block)))
        output.write(clip(stream.resample_chunk(np.zeros((0, source.channels), dtype), last=True)))
        return describe_warnings(path, *source.warnings)
