"""Limits of the work for one recording. The service sets them; the command line and the Python API have none."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass

from kanjo.audio import DecodingLimits
from kanjo.errors import AudioError, KanjoError
from kanjo.inference.options import ResolvedOptions

#: A shorter recording takes less time than the cancellation of its decoder.
CANCELLABLE_AFTER_S = 10.0
#: Time in which a decoder is not cancelled, so that short recordings are completed.
_DECODER_GRACE_S = 0.5


class TooManyWindowsError(AudioError):
    """A recording has more windows than the limit."""


class PredictionCancelledError(KanjoError):
    """The caller of a prediction has cancelled it."""


@dataclass(frozen=True)
class RecordingLimits:
    """Limits of one recording.

    Attributes:
        max_duration_s: Longest recording that is accepted, in seconds.
        max_windows: Largest number of windows.
        cancelled: An event that ends the work, if it is set. The first CANCELLABLE_AFTER_S are completed in any case.
    """

    max_duration_s: float = math.inf
    max_windows: float = math.inf
    cancelled: threading.Event | None = None

    def check_cancelled(self, duration_s: float = math.inf) -> None:
        """Raise PredictionCancelledError if the work was cancelled, unless little was decoded so far (in seconds)."""
        if self.cancelled is not None and self.cancelled.is_set() and duration_s >= CANCELLABLE_AFTER_S:
            raise PredictionCancelledError("the prediction was cancelled")

    def decoding_limits(self) -> DecodingLimits:
        """Return the limits of the decoder, which starts now."""
        event, start_time = self.cancelled, time.monotonic()
        if event is None:
            return DecodingLimits(self.max_duration_s)
        return DecodingLimits(
            self.max_duration_s, lambda: event.is_set() and time.monotonic() - start_time > _DECODER_GRACE_S
        )

    def check_size(self, n_samples: float, sample_rate: int, options: ResolvedOptions, name: str) -> None:
        """Check the duration of a recording and its number of windows.

        Args:
            n_samples: Number of samples at the bundle's sample rate, those so far or all.
            sample_rate: The bundle's sample rate in Hz.
            options: Lengths of the windows and hops.
            name: Name of the recording in messages.

        Raises:
            AudioError: The recording is longer than ``max_duration_s``.
            TooManyWindowsError: The recording has more than ``max_windows`` windows.
        """
        if n_samples > self.max_duration_s * sample_rate:
            raise AudioError(f"{name}: longer than the limit of {self.max_duration_s:g} s")
        if options.speech_segments:  # their number does not depend on options
            return
        n_hops = max(0.0, n_samples - options.window_length) / options.hop_length
        if math.ceil(n_hops) + 1 > self.max_windows:
            raise TooManyWindowsError(
                f"{name}: more than {self.max_windows:g} windows in {n_samples / sample_rate:.1f} s with a hop of "
                f"{options.hop_length / sample_rate:g} s; use a longer hop (hop_s) or fewer or shorter recordings"
            )
