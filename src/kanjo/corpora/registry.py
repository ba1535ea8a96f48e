"""The published corpora that kanjo reads, and how to find and read one of them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from kanjo.corpora.corpus import Corpus
from kanjo.corpora.formats.tables import read_manifest
from kanjo.corpora.manifest import Manifest
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

CORPORA: dict[str, Corpus] = {
    "jtes": JTES,
    "esd": ESD,
    "emodb": EMODB,
    "aihub": AIHUB,
    "aihub-first": AIHUB_FIRST,
    "ravdess": RAVDESS,
    "ravdess-song": RAVDESS_SONG,
    "studies": STUDIES,
    "crema-d": CREMAD,
    "tess": TESS,
    "savee": SAVEE,
    "iemocap": IEMOCAP,
    "meld": MELD,
    "nemo": NEMO,
    "emotiontts": EMOTIONTTS,
    "emovo": EMOVO,
    "cafe": CAFE,
    "mesd": MESD,
    "shemo": SHEMO,
    "urdu": URDU,
    "ased": ASED,
    "turev": TUREV,
    "emotale": EMOTALE,
    "baved": BAVED,
}

#: The corpus name for a table or a folder of the user.
OWN_CORPUS = "own"


def get_corpus(name: str) -> Corpus:
    """Return the published corpus with this name.

    Raises:
        CorpusError: The name is unknown; the message suggests the nearest one.
    """
    if name in CORPORA:
        return CORPORA[name]
    matches = difflib.get_close_matches(name.casefold(), CORPORA, n=1)
    hint = f" did you mean {matches[0]}?" if matches else ""
    raise CorpusError(
        f"unknown corpus {name!r};{hint} Expected one of {', '.join(CORPORA)}, or '{OWN_CORPUS}' for your own data"
    )


def find_root(name: str, corpora_root: Path) -> Path:
    """Find the folder of a corpus.

    Args:
        name: A published corpus.
        corpora_root: A folder of corpora, or the folder of this corpus.

    Raises:
        CorpusError: The corpus is unknown, or its folder does not exist.
    """
    corpus = get_corpus(name)
    for folder in corpus.folders:
        if (corpora_root / folder).is_dir():
            return corpora_root / folder
    if corpora_root.name in corpus.folders and corpora_root.is_dir():
        return corpora_root
    raise CorpusError(
        f"{name}: not found below {corpora_root}; expected a folder named {' or '.join(corpus.folders)}. "
        + (f"Download it: kanjo corpus download {name} DIR" if corpus.archives else corpus.how_to_get)
    )


def read_corpus(
    name: str, path: Path, label_map: Mapping[str, str] | None = None, *, validate: bool = True
) -> Manifest:
    """Read all utterances of a corpus, in the order of its files.

    Args:
        name: A published corpus, or "own" for a table or a folder of the user.
        path: Folder of the corpus, or for "own" also a table. The corpus name of own utterances is the stem of this
            path.
        label_map: Emotion for each label of own data that the vocabulary does not contain, or that it maps
            differently.
        validate: Refuse infinite, negative and reversed times in own data, and recordings that a table lists twice
            with different emotions; False leaves them to ``kanjo corpus check``.

    Raises:
        CorpusError: The corpus is unknown, has no utterances at ``path``, or has an unknown label; or own data have
            times or labels that are not valid.
    """
    if name != OWN_CORPUS:
        return Manifest(path, tuple(get_corpus(name).read(path)))
    if not path.exists():
        raise CorpusError(f"{path}: no such file or folder; expected a table or a folder of recordings")
    if path.is_file():
        return read_manifest(path, label_map=label_map, validate=validate)
    corpus = path.resolve().name
    utterances = read_folder(path, corpus, {} if label_map is None else label_map, validate)
    return Manifest(path, tuple(utterances), corpus)
