"""Corpora: what is published, where it lies, and its utterances in one shape."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from kanjo.corpora.corpus import Corpus
from kanjo.corpora.formats.filelist import write_filelist
from kanjo.corpora.formats.tables import read_manifest
from kanjo.corpora.manifest import COLUMNS, Manifest, Utterance, manifest_text, write_manifest
from kanjo.corpora.readers.aihub import AIHUB, AIHUB_FIRST
from kanjo.corpora.readers.ased import ASED
from kanjo.corpora.readers.baved import BAVED
from kanjo.corpora.readers.cafe import CAFE
from kanjo.corpora.readers.cremad import CREMAD
from kanjo.corpora.readers.emodb import EMODB
from kanjo.corpora.readers.emotale import EMOTALE
from kanjo.corpora.readers.emotiontts import EMOTIONTTS
from kanjo.corpora.readers.emovo import EMOVO
from kanjo.corpora.readers.esd import ESD
from kanjo.corpora.readers.iemocap import IEMOCAP
from kanjo.corpora.readers.jtes import JTES
from kanjo.corpora.readers.meld import MELD
from kanjo.corpora.readers.mesd import MESD
from kanjo.corpora.readers.nemo import NEMO
from kanjo.corpora.readers.own import read_folder
from kanjo.corpora.readers.ravdess import RAVDESS, RAVDESS_SONG
from kanjo.corpora.readers.savee import SAVEE
from kanjo.corpora.readers.shemo import SHEMO
from kanjo.corpora.readers.studies import STUDIES
from kanjo.corpora.readers.tess import TESS
from kanjo.corpora.readers.turev import TUREV
from kanjo.corpora.readers.urdu import URDU
from kanjo.errors import CorpusError

__all__ = [
    "COLUMNS",
    "CORPORA",
    "Corpus",
    "Manifest",
    "Utterance",
    "corpus_named",
    "find_root",
    "manifest_text",
    "read_corpus",
    "read_manifest",
    "write_filelist",
    "write_manifest",
]

_ALL = (
    JTES, ESD, EMODB, AIHUB, AIHUB_FIRST, RAVDESS, RAVDESS_SONG, STUDIES,
    CREMAD, TESS, SAVEE, IEMOCAP, MELD, NEMO, EMOTIONTTS, EMOVO, CAFE, MESD, SHEMO, URDU,
    ASED, TUREV, EMOTALE, BAVED,
)  # fmt: skip
CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in _ALL}

#: The name under which a user's own table or folder is read.
OWN = "own"


def corpus_named(name: str) -> Corpus:
    """The published corpus of that name. Raises CorpusError, naming the nearest, for one that is not known."""
    if name in CORPORA:
        return CORPORA[name]
    near = difflib.get_close_matches(name.casefold(), CORPORA, n=1)
    hint = f" did you mean {near[0]}?" if near else ""
    raise CorpusError(f"unknown corpus {name!r};{hint} Known: {', '.join(CORPORA)}, or '{OWN}' for one of yours")


def find_root(name: str, below: Path) -> Path:
    """Where a corpus lies below a folder of corpora (or at it, when that is its own folder). Raises CorpusError."""
    corpus = corpus_named(name)
    for folder in corpus.folders:
        if (below / folder).is_dir():
            return below / folder
    if below.name in corpus.folders and below.is_dir():
        return below
    raise CorpusError(
        f"{name}: not found below {below}; expected a folder {' or '.join(corpus.folders)} there. {corpus.how_to_get}"
    )


def read_corpus(name: str, path: Path, label_map: Mapping[str, str] | None = None) -> Manifest:
    """Every utterance of a corpus that lies at ``path``, in the order of its files.

    ``name`` is a published corpus or "own" (a table or a folder of yours; its utterances carry the path's stem as their
    corpus). Raises CorpusError when nothing of it is there, or a label is unknown.
    """
    if name != OWN:
        return Manifest(path, tuple(corpus_named(name).read(path)))
    if path.is_file():
        return read_manifest(path, label_map=label_map)
    return Manifest(path, tuple(read_folder(path, path.resolve().name, label_map or {})))
