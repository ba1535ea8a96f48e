"""Decode m4a, mp4, webm and the other formats of FFmpeg with PyAV (extra ``media``).

FFmpeg can open other files and network addresses that a recording names. So kanjo chooses the demuxer by the content of
the file, allows no protocol, refuses to open anything else, and limits the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from kanjo.audio.chunk_sizes import is_cut_short
from kanjo.audio.limits import DecodingClock, DecodingLimits
from kanjo.audio.signals import SampleMatrix, SampleType, check_sample_rate
from kanjo.audio.soundfile_decoder import error_message
from kanjo.audio.stream_view import StreamView
from kanjo.audio.wav_header import truncation_message
from kanjo.errors import AudioError, KanjoError

#: Seconds of sound in a block.
_BLOCK_S = 1.0
#: The part of the stated duration that a complete file has, and the seconds that may be missing at the end.
_COMPLETE_FRACTION, _MAX_MISSING_S = 0.98, 0.25
#: Demuxers whose duration is stated in the file, not estimated from its size.
_STATES_DURATION = frozenset(["mov", "matroska", "asf", "flv", "caf"])
#: Options of FFmpeg: no protocol, and no files that the recording refers to.
_OPTIONS = {"protocol_whitelist": "none", "enable_drefs": "0", "use_absolute_path": "0"}
#: Full scale of the integer formats of FFmpeg by their size in bytes; those of 8 bits are unsigned.
_FULL_SCALE = {2: 32_768.0, 4: 2_147_483_648.0, 8: 2.0**63}

#: Planes of an AVFrame (AV_NUM_DATA_POINTERS).
_N_PLANE_POINTERS = 8


class PyAvDecoder:
    """Decodes the first audio track of one file with PyAV.

    Attributes:
        native_rate: Sample rate in Hz.
        channels: Number of channels.
        frames: None; FFmpeg's headers do not state it reliably.
        warnings: Defects of the file; complete after the last block.
        duration_s: Seconds that the header states, or None.
    """

    def __init__(self, stream: BinaryIO, name: str, demuxer: str, limits: DecodingLimits) -> None:
        """Open a file.

        Args:
            stream: The opened file. It must stay open; closing the decoder does not close it.
            name: Name of the recording in messages.
            demuxer: FFmpeg's demuxer, see :func:`kanjo.audio.formats.sniff_demuxer`.
            limits: When to stop.

        Raises:
            AudioError: PyAV is not installed, the format is not supported, or there is no audio track.
            DecodingCancelledError: The caller has cancelled.
        """
        try:
            import av
        except ImportError as error:
            raise AudioError(f"{name}: this format needs PyAV: pip install 'kanjo[media]'") from error
        self._name, self._clock = name, DecodingClock(name, limits)
        self._container: Any = None
        cut_short = is_cut_short(stream, demuxer)
        try:
            self._container = av.open(
                StreamView(stream, on_read=self._clock.check),
                format=demuxer,
                options=dict(_OPTIONS),
                io_open=_refuse_to_open,
                metadata_errors="replace",
            )
            if not self._container.streams.audio:
                raise AudioError(f"{name}: contains no audio track")
            self._track = self._container.streams.audio[0]
            if self._track.codec_context is None:
                raise AudioError(f"{name}: FFmpeg has no decoder for its audio codec, or the codec id is damaged")
            rate, channels = int(self._track.rate or 0), int(self._track.channels or 0)
            if not rate or not channels:
                raise AudioError(f"{name}: the audio track states no sample rate or no channels")
            if self._track.codec_context.name == "alac":
                # The last frame has its actual length already; FFmpeg would subtract the padding once more.
                self._track.codec_context.flags2 |= av.codec.context.Flags2.skip_manual
            self.native_rate, self.channels = check_sample_rate(rate, name), channels
            self.duration_s = self._stated_duration(demuxer)
        except KanjoError:
            self.close()
            raise
        except Exception as error:  # PyAV raises errors of any type for damaged files
            self.close()
            message = error_message(error)
            raise AudioError(f"{name}: not audio, or in an unsupported format ({message})") from error
        self._clock.pause()
        self.frames: int | None = None
        self.warnings: list[str] = []
        self._cut_short, self._n_read, self._last_error = cut_short, 0, ""
        self._n_damaged = self._n_damaged_inside = 0  # inside: with other packets behind them

    def close(self) -> None:
        """Close the file, but not the stream that it reads."""
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def blocks(self, dtype: SampleType = "float32") -> Iterator[SampleMatrix]:
        """Yield blocks of samples (N, channels).

        Raises:
            AudioError: The file is damaged and no sample can be decoded, or decoding takes too long.
            DecodingCancelledError: The caller has cancelled.
        """
        pending: list[SampleMatrix] = []
        n_pending = 0
        self._clock.resume()
        for samples in self._decode(dtype):
            pending.append(samples)
            n_pending += len(samples)
            if n_pending >= _BLOCK_S * self.native_rate:
                yield self._join(pending)
                pending, n_pending = [], 0
                self._clock.resume()
        if pending:
            yield self._join(pending)
        self._clock.pause()
        self._finish()

    def _join(self, pending: list[SampleMatrix]) -> SampleMatrix:
        """Return decoded samples as one block, and stop the clock while the caller uses it."""
        block = np.concatenate(pending)
        self._n_read += len(block)
        self._clock.pause(len(block) / self.native_rate)
        return block

    def _decode(self, dtype: SampleType) -> Iterator[SampleMatrix]:
        """Yield the samples of each frame; a packet that can't be decoded is left out."""
        packets = self._container.demux(self._track)
        while True:
            self._clock.check()
            try:
                packet = next(packets, None)
            except KanjoError:
                raise
            except Exception as error:
                self._last_error = error_message(error)
                self._cut_short = True
                return
            if packet is None:
                return
            try:
                frames = [_to_samples(frame, dtype) for frame in packet.decode()]
            except KanjoError:
                raise
            except Exception as error:
                self._last_error = error_message(error)
                self._n_damaged += 1
                continue
            if frames:
                self._n_damaged_inside = self._n_damaged
            for samples, rate in frames:
                yield self._adapt(samples, rate)

    def _adapt(self, samples: SampleMatrix, rate: int) -> SampleMatrix:
        """Convert samples to the channels of the file; another sample rate is an error."""
        if rate != self.native_rate:
            raise AudioError(
                f"{self._name}: the sample rate changes from {self.native_rate} to {rate} Hz within the recording; "
                "convert it to WAV"
            )
        if samples.shape[1] != self.channels:
            return np.repeat(samples.mean(axis=1, keepdims=True, dtype=samples.dtype), self.channels, axis=1)
        return samples

    def _finish(self) -> None:
        """Report what is missing, after the last packet."""
        actual_s = self._n_read / self.native_rate
        if not self._n_read:
            reason = f" ({self._last_error})" if self._last_error else ""
            if self._last_error or self._cut_short:
                raise AudioError(f"{self._name}: the file is damaged; no sample can be decoded{reason}")
            return
        expected_s = self.duration_s or 0.0
        missing_s = expected_s - actual_s
        is_short = missing_s > _MAX_MISSING_S and actual_s < _COMPLETE_FRACTION * expected_s
        # The last packet of a file that was cut short is incomplete.
        if n_damaged := self._n_damaged_inside if is_short or self._cut_short else self._n_damaged:
            self.warnings.append(
                f"damaged: {n_damaged} packets of the audio track can't be decoded ({self._last_error})"
            )
        if is_short:
            self.warnings.append(truncation_message(expected_s, actual_s))
        elif self._cut_short:
            reason = f" ({self._last_error})" if self._last_error else ""
            self.warnings.append(f"truncated: the file was cut short and contains {actual_s:.2f} s{reason}")

    def _stated_duration(self, demuxer: str) -> float | None:
        """Return the duration of the track, or of a file that contains nothing else."""
        if demuxer not in _STATES_DURATION:
            return None
        if self._track.duration and self._track.time_base:
            return float(self._track.duration * self._track.time_base)
        if self._container.duration and len(self._container.streams) == 1:
            return float(self._container.duration) / 1e6
        return None


def _refuse_to_open(url: str, flags: int, options: Any) -> Any:
    """Called by FFmpeg to open another file."""
    raise AudioError("the recording refers to another file; expected a recording that contains its sound")


def _to_samples(frame: Any, dtype: SampleType) -> tuple[SampleMatrix, int]:
    """Return the samples (N, channels) of a frame of FFmpeg with full scale 1.0, and the sample rate."""
    n_channels = len(frame.layout.channels)
    array = _to_array(frame)
    samples = array.T if frame.format.is_planar else array.reshape(-1, n_channels)
    if samples.dtype == np.uint8:
        converted = (samples.astype(dtype) - 128) / np.dtype(dtype).type(128)
    elif samples.dtype.kind == "i":
        converted = samples.astype(dtype) * np.dtype(dtype).type(1 / _FULL_SCALE[samples.dtype.itemsize])
    else:
        converted = samples.astype(dtype)
    return np.ascontiguousarray(converted), int(frame.sample_rate)


def _to_array(frame: Any) -> npt.NDArray[Any]:
    """Return the samples of a frame as FFmpeg stores them, without reading beyond its planes.

    FFmpeg ends the list of planes with a null pointer only if there are fewer than eight. PyAV always looks for it: its
    ``to_ndarray`` ends the process for a planar frame of eight channels, such as AAC in 7.1.
    """
    n_channels = frame.layout.nb_channels
    if not frame.format.is_planar or n_channels < _N_PLANE_POINTERS:
        return np.asarray(frame.to_ndarray())
    from av.audio.frame import format_dtypes
    from av.audio.plane import AudioPlane

    dtype = np.dtype(format_dtypes[frame.format.name])
    planes: list[Any] = [AudioPlane(frame, n) for n in range(n_channels)]
    return np.stack([np.frombuffer(plane, dtype, frame.samples) for plane in planes])
