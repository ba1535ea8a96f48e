"""Readers and writers of tables of utterances."""
