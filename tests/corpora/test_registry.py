from __future__ import annotations

from pathlib import Path

import pytest

from kanjo.corpora import CORPORA, find_root, get_corpus, read_corpus
from kanjo.errors import CorpusError

#: Corpora that do not publish the number of utterances or speakers.
WITHOUT_COUNTS = {"aihub", "aihub-first", "studies", "mesd", "meld"}


def test_corpora_keys_are_the_names_of_the_corpora() -> None:
    assert [corpus.name for corpus in CORPORA.values()] == list(CORPORA)


@pytest.mark.parametrize("name", CORPORA)
def test_corpus_description_is_complete(name: str) -> None:
    corpus = CORPORA[name]
    assert corpus.homepage.startswith(("https://", "http://"))
    assert corpus.citation and corpus.license and corpus.how_to_get
    has_counts = corpus.expected_utterances > 0 and corpus.n_speakers > 0
    assert has_counts != (name in WITHOUT_COUNTS)


def test_corpora_table_in_the_docs_is_up_to_date() -> None:
    from kanjo.cli.corpus import _markdown

    page = Path(__file__).parents[2] / "docs" / "reference" / "corpora.md"
    assert _markdown() in page.read_text(encoding="utf-8"), "insert the output of: kanjo corpus list --markdown"


def test_get_corpus_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(CorpusError, match="did you mean ravdess"):
        get_corpus("ravdes")


def test_find_root_folder_of_corpora_returns_the_folder_of_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "RAVDESS").mkdir()
    assert find_root("ravdess", tmp_path) == tmp_path / "RAVDESS"
    assert find_root("ravdess", tmp_path / "RAVDESS") == tmp_path / "RAVDESS"


def test_find_root_missing_corpus_names_the_expected_folder() -> None:
    with pytest.raises(CorpusError, match="not found below .*expected a folder named nemo or nEMO"):
        find_root("nemo", Path("/nonexistent"))


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_read_corpus_empty_or_missing_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match="no utterances under|can't read"):
        read_corpus(name, tmp_path)
    with pytest.raises(CorpusError, match="no such folder"):
        read_corpus(name, tmp_path / "missing")


def test_every_archive_has_a_complete_address() -> None:
    downloadable = {name for name, corpus in CORPORA.items() if corpus.archives}
    assert {"emodb", "ravdess", "crema-d", "nemo", "tess", "ased"} <= downloadable
    assert not {"jtes", "esd", "aihub", "iemocap", "studies"} & downloadable
    for name in downloadable:
        for archive in CORPORA[name].archives:
            assert archive.url.startswith(("https://", "http://emodb")), archive
            assert archive.digest == "" or len(archive.digest.split(":")[1]) in (32, 64)
