"""Inference: windows, voice activity, segments, streams, speaker profiles and writers."""
