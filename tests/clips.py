"""Recordings for tests: the example recordings, and an excerpt of the conversation."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import soundfile

RECORDINGS = Path(__file__).parent.parent / "examples" / "recordings"
#: The sentences: one speaker and one emotion each.
SENTENCES = sorted(path for path in RECORDINGS.glob("*-[12].flac"))


def _cut_two_turns() -> Path:
    """Write two turns of the conversation, an angry and a sad one, as a recording of 9.6 s with several segments."""
    folder = tempfile.mkdtemp(prefix="kanjo-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    samples, rate = soundfile.read(RECORDINGS / "conversation.flac", dtype="int16")
    path = Path(folder) / "two-turns.flac"
    soundfile.write(path, samples[round(26.5 * rate) : round(36.1 * rate)], rate, subtype="PCM_16")
    return path


TWO_TURNS = _cut_two_turns()
