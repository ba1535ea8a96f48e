"""Read, check, download and split corpora of emotional speech."""

from kanjo.corpora.corpus import Corpus
from kanjo.corpora.formats.filelist import write_filelist
from kanjo.corpora.formats.tables import read_manifest
from kanjo.corpora.manifest import COLUMNS, Manifest, Utterance, manifest_to_csv, write_manifest
from kanjo.corpora.registry import CORPORA, OWN_CORPUS, find_root, get_corpus, read_corpus

__all__ = [
    "COLUMNS",
    "CORPORA",
    "OWN_CORPUS",
    "Corpus",
    "Manifest",
    "Utterance",
    "find_root",
    "get_corpus",
    "manifest_to_csv",
    "read_corpus",
    "read_manifest",
    "write_filelist",
    "write_manifest",
]
