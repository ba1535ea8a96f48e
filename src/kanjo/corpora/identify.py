"""Find out which corpus the recordings of a table are from, where the table states none.

The name of a table says nothing about its corpus. The folders of the recordings do: ``dataset/esd/0019/Angry/...``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from kanjo.corpora.formats.tables import read_manifest
from kanjo.corpora.manifest import Manifest, Utterance
from kanjo.corpora.registry import CORPORA
from kanjo.corpora.words import normalize
from kanjo.errors import CorpusError

#: Two corpora may have the same folder; the first counts.
_CORPUS_OF_FOLDER = {folder: corpus for corpus in reversed(CORPORA.values()) for folder in corpus.folders}
#: JTES's speakers f01 to f50 and m01 to m50 have the numbers 0 to 99 in the lists of DCNN-LSTMWA.
_JTES_PER_SEX = 50
_DIGITS = {"esd": 4, "ravdess": 2, "ravdess-song": 2}
_ONLY_SPEAKER = {"studies": "Teacher"}


def read_labeled_table(
    path: Path, label_map: Mapping[str, str] | None = None, *, root: Path | None = None, corpus: str = ""
) -> Manifest:
    """Read a table of the user, and identify the corpora of its rows.

    Args:
        path: A CSV, TSV, Parquet or JSON lines file, or a filelist.
        label_map: Emotion for each label that is not a word of the vocabulary.
        root: The folder of the recordings (None: that of the table or one of its parents).
        corpus: Corpus of the rows that state none ("": unknown).

    Raises:
        CorpusError: As :func:`kanjo.corpora.read_manifest`.
    """
    manifest = read_manifest(path, root, label_map, corpus=corpus)
    if corpus:
        return name_corpus(replace(manifest, assumed_corpus=corpus), corpus)
    return identify_listed_corpora(manifest, path)


def identify_listed_corpora(manifest: Manifest, path: Path) -> Manifest:
    """Replace the assumed corpus of utterances by that of their folders, else by that which the name of a list states.

    Args:
        manifest: The utterances.
        path: The list.
    """
    manifest = identify_corpora(manifest)
    known = _corpus_of_list_name(path)
    return name_corpus(manifest, known) if known and manifest.assumed_corpus else manifest


def _corpus_of_list_name(path: Path) -> str:
    """Return the published corpus that the name of a list states: esd for ``esd_audio_sid_text_train_filelist.txt``."""
    prefix, mark, _ = path.name.partition("_audio_sid_text_")
    return prefix if mark and prefix in CORPORA else ""


def check_corpus_name(name: str) -> None:
    """Refuse a name that is nearly that of a published corpus: a misspelt corpus would look like another one.

    Raises:
        CorpusError: The name is similar to that of a published corpus.
    """
    matches = [] if name in CORPORA else difflib.get_close_matches(name.casefold(), CORPORA, n=1, cutoff=0.8)
    if matches:
        raise CorpusError(f"unknown corpus {name!r}; did you mean {matches[0]}? Names of own corpora must differ more")


def name_corpus(manifest: Manifest, name: str) -> Manifest:
    """Replace the assumed corpus of utterances by a name."""
    rows = (
        row._replace(corpus=name, speaker=speaker_name(name, row.speaker))
        if row.corpus == manifest.assumed_corpus
        else row
        for row in manifest.utterances
    )
    return replace(manifest, utterances=tuple(rows), assumed_corpus="")


def identify_corpora(manifest: Manifest) -> Manifest:
    """Replace the assumed corpus of utterances by the published corpus in whose folder their recordings are.

    Their speakers get the names that kanjo gives them. The others keep the assumed corpus.
    """
    if not manifest.assumed_corpus:
        return manifest
    corpus_of_folder: dict[str, str] = {}
    rows, root = [], manifest.root.absolute().as_posix()
    is_unknown = False
    for row in manifest.utterances:
        if row.corpus == manifest.assumed_corpus:
            folder = row.file[: row.file.rfind("/") + 1]
            if folder not in corpus_of_folder:
                corpus_of_folder[folder] = _corpus_in_path(PurePosixPath(root, folder), row)
            if name := corpus_of_folder[folder]:
                row = row._replace(corpus=name, speaker=speaker_name(name, row.speaker))
            else:
                is_unknown = True
        rows.append(row)
    return replace(manifest, utterances=tuple(rows), assumed_corpus=manifest.assumed_corpus if is_unknown else "")


def without_assumed_corpus(manifest: Manifest) -> Manifest:
    """Leave the corpus of utterances empty for which it is only assumed, so that a table of them does not state it."""
    rows = (row._replace(corpus="") if row.corpus == manifest.assumed_corpus else row for row in manifest.utterances)
    return replace(manifest, utterances=tuple(rows)) if manifest.assumed_corpus else manifest


def speaker_name(corpus: str, speaker: str) -> str:
    """Return the name that kanjo's reader of a corpus gives to a speaker that a list numbers: "11" of ESD is "0011"."""
    if not speaker:
        return _ONLY_SPEAKER.get(corpus, "")
    if not (speaker.isascii() and speaker.isdecimal()):
        return speaker
    if corpus == "jtes" and int(speaker) < 2 * _JTES_PER_SEX:
        sex, number = divmod(int(speaker), _JTES_PER_SEX)
        return f"{'fm'[sex]}{number + 1:02d}"
    return f"{int(speaker):0{_DIGITS[corpus]}d}" if corpus in _DIGITS else speaker


def _corpus_in_path(folder: PurePosixPath, row: Utterance) -> str:
    """Return the corpus that a folder is named after, the innermost first; "" if there is none."""
    for part in reversed(folder.parts):
        corpus = _CORPUS_OF_FOLDER.get(part)
        if corpus and (corpus.stem is None or corpus.stem.fullmatch(normalize(Path(row.file).stem))):
            return corpus.name
    return ""
