"""Readers and writers of utterance tables."""
