"""Lists of recordings on the command line: filelists, and paths on standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kanjo.errors import CorpusError
from kanjo.inference.prediction import Prediction, failed_prediction

if TYPE_CHECKING:
    from kanjo.corpora import Manifest

_SUFFIXES = (".txt", ".cleaned")
#: First bytes of recordings: RIFF and RF64 (WAV), FLAC, Ogg, MP3 with tags, Matroska, AIFF.
_RECORDING_STARTS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\x1aE\xdf\xa3", b"FORM")


def is_list_of_recordings(path: Path) -> bool:
    """Return whether a path is a filelist (path|speaker|text|emotion|language)."""
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return False
    from kanjo.corpora.formats.filelist import is_filelist

    try:
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            return is_filelist(path, stream.readline())
    except OSError:
        return False


def read_list_of_recordings(path: Path, root: Path | None = None) -> Iterator[str | Prediction]:
    """Yield the paths that a filelist names; a failed prediction if it is not valid."""
    from kanjo.corpora import read_manifest

    try:
        manifest = read_manifest(path, root, validate=False)
    except CorpusError as error:
        yield failed_prediction(str(path), str(error).removeprefix(f"{path}: "))
        return
    missing = find_missing_recordings(path, manifest)
    for index, row in enumerate(manifest.utterances):
        file = str(manifest.audio_path(row))
        yield failed_prediction(file, f"no such file ({missing[index]})") if index in missing else file


def find_missing_recordings(path: Path, manifest: Manifest) -> dict[int, str]:
    """Return where a filelist names recordings that do not exist: ``LIST:LINE`` by the index of the utterance.

    Args:
        path: The filelist.
        manifest: Its utterances.
    """
    from kanjo.corpora.formats.filelist import line_numbers

    return {
        index: f"{path}:{number}"
        for index, (number, row) in enumerate(zip(line_numbers(path), manifest.utterances, strict=True))
        if not manifest.audio_path(row).exists()
    }


def read_piped_paths() -> list[str]:
    """Return the paths on standard input: one per line, or separated by null characters (find -print0).

    Raises:
        typer.BadParameter: Standard input is empty, or holds a recording.
    """
    content = sys.stdin.buffer.read() if sys.stdin is not None else b""
    if content.startswith(_RECORDING_STARTS):
        raise typer.BadParameter("standard input holds a recording; give - to predict it")
    separator = b"\0" if b"\0" in content else b"\n"
    lines = (line.strip(b"\r").removeprefix(b"\xef\xbb\xbf") for line in content.split(separator))
    paths = [os.fsdecode(line) for line in lines if line.strip()]
    if not paths:
        raise typer.BadParameter("no recording; give paths, or - to read a recording from standard input")
    return paths
