"""Tests, one file a room."""

import os

# Before anything reads it. What the tests train is tiny, and on a busy machine threads that wait for each other take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
