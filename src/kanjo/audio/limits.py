"""Limits of decoding: a longest duration, cancellation, and a time limit for formats of FFmpeg."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from kanjo.errors import AudioError, KanjoError

#: Seconds that a decoder may take in addition to the duration of the sound that it has decoded.
_TIME_LIMIT_S = 20.0


class DecodingCancelledError(KanjoError):
    """The caller's ``cancelled`` function returned true while a recording was opened or decoded."""


@dataclass(frozen=True)
class DecodingLimits:
    """When to stop decoding.

    Attributes:
        max_duration_s: Longest recording that is accepted, in seconds.
        cancelled: Called at least once for each block; decoding stops if it returns true.
    """

    max_duration_s: float = math.inf
    cancelled: Callable[[], bool] | None = None

    def check_cancelled(self, name: str) -> None:
        """Raise DecodingCancelledError if the caller has cancelled."""
        if self.cancelled is not None and self.cancelled():
            raise DecodingCancelledError(f"{name}: decoding was cancelled")

    def check_duration(self, duration_s: float | None, name: str) -> None:
        """Raise AudioError for a recording that is longer than the limit."""
        if duration_s is not None and duration_s > self.max_duration_s:
            raise AudioError(f"{name}: longer than the limit of {self.max_duration_s:g} s")


class DecodingClock:
    """Limits the time that one decoder may take. The time between two calls of the decoder does not count.

    A decoder may take 20 s, plus one second for each second of sound. So a file that makes it work without result
    ends soon, and a recording of ten hours on a slow computer does not.
    """

    def __init__(self, name: str, limits: DecodingLimits) -> None:
        """Set the name of the recording in messages, and start the clock."""
        self._name, self._limits = name, limits
        self._spent_s = self._decoded_s = 0.0
        self._start: float | None = time.monotonic()

    def resume(self) -> None:
        """Start or continue; the decoder works now."""
        if self._start is None:
            self._start = time.monotonic()

    def pause(self, decoded_s: float = 0.0) -> None:
        """Stop; the decoder has decoded ``decoded_s`` seconds of sound since the last pause."""
        if self._start is not None:
            self._spent_s += time.monotonic() - self._start
            self._start = None
        self._decoded_s += decoded_s

    def check(self) -> None:
        """Check both limits; call it often while the decoder works.

        Raises:
            DecodingCancelledError: The caller has cancelled.
            AudioError: The decoder has taken too long.
        """
        self._limits.check_cancelled(self._name)
        spent_s = self._spent_s + (time.monotonic() - self._start if self._start is not None else 0.0)
        if spent_s > _TIME_LIMIT_S + self._decoded_s:
            raise AudioError(
                f"{self._name}: decoding took {spent_s:.0f} s for {self._decoded_s:.1f} s of sound; the file is damaged"
            )
