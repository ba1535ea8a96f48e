"""Decode m4a, mp4, webm and the other formats of FFmpeg with PyAV (extra ``media``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from kanjo.audio.signals import check_sample_rate
from kanjo.audio.soundfile_decoder import error_message
from kanjo.errors import AudioError

#: Suffixes of formats that libsndfile can't decode.
PYAV_SUFFIXES = frozenset([".m4a", ".mp4", ".aac", ".webm", ".mka", ".wma", ".3gp"])


def is_pyav_format(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of MP4, Matroska or ADTS (AAC)."""
    return head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3" or head[:2] in (b"\xff\xf1", b"\xff\xf9")


class PyAvDecoder:
    """Decodes the first audio track of one file with PyAV.

    Attributes:
        native_rate: Sample rate in Hz.
        channels: Number of channels.
        frames: None; FFmpeg's headers do not state it reliably.
        warnings: Defects of the file; complete after the last block.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """Open a file.

        Args:
            stream: The opened file; :meth:`close` closes it.
            name: Name of the recording in messages.

        Raises:
            AudioError: PyAV is not installed, the format is not supported, or there is no audio track.
        """
        try:
            import av
        except ImportError as error:
            raise AudioError(f"{name}: this format needs PyAV: pip install 'kanjo[media]'") from error
        try:
            container: Any = av.open(stream)
            track = container.streams.audio[0]
            rate = int(track.rate)
        except IndexError as error:
            raise AudioError(f"{name}: contains no audio track") from error
        except (av.error.FFmpegError, ValueError, TypeError) as error:
            raise AudioError(f"{name}: not audio, or in an unsupported format ({error_message(error)})") from error
        check_sample_rate(rate, name)
        self.native_rate = rate
        self.channels = int(track.channels)
        self.frames: int | None = None
        self.warnings: list[str] = []
        self._name, self._stream, self._container, self._track = name, stream, container, track

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._stream.close()

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield blocks of samples (N, channels).

        Raises:
            AudioError: The file is damaged and no sample can be decoded.
        """
        import av

        # Converts only the sample format; rate and channel layout stay the same.
        resampler = av.AudioResampler(format="flt", layout=self._track.layout.name, rate=self.native_rate)
        n_read = 0
        try:
            for frame in self._container.decode(self._track):
                for converted in resampler.resample(frame):
                    block = converted.to_ndarray().reshape(-1, self.channels).astype(np.float32, copy=False)
                    n_read += len(block)
                    yield block
        except av.error.FFmpegError as error:
            if not n_read:
                raise AudioError(
                    f"{self._name}: the file is damaged; no sample can be decoded ({error_message(error)})"
                ) from error
            seconds = n_read / self.native_rate
            self.warnings.append(f"truncated or damaged after {seconds:.2f} s ({error_message(error)})")
