"""Tests; the folders mirror src/kanjo."""

import os

# Before any library reads it. The trained models are tiny, and on a busy machine several threads slow them down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
