"""Write audio files."""

from __future__ import annotations

from pathlib import Path

import soundfile

from kanjo.audio.output_file import open_output
from kanjo.audio.signals import Signal
from kanjo.audio.soundfile_decoder import error_message
from kanjo.errors import AudioError
from kanjo.files import atomic_write


def write(path: Path, signal: Signal, sample_rate: int, subtype: str | None = None) -> None:
    """Write samples to a file, completely or not at all.

    Args:
        path: Path of the file; its suffix selects the format.
        signal: Samples with full scale 1.0.
        sample_rate: Sample rate in Hz.
        subtype: Subtype of libsndfile, such as "PCM_16" (default: that of the format).

    Raises:
        AudioError: The format does not support this signal or sample rate.
        KanjoError: The file can't be written.

    Shape:
        - signal: (N,) or (N, channels)
    """
    try:
        with atomic_write(path) as temporary, open_output(temporary) as file:
            soundfile.write(file, signal, sample_rate, subtype=subtype)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise AudioError(f"can't write {path}: {error_message(error)}") from error
