"""The commands ``kanjo corpus download``, ``filelists`` and ``leakage``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kanjo.corpora import CORPORA, read_corpus
from tests import corpora_fixtures
from tests.corpora.http_server import Server, make_corpus
from tests.shell import run_kanjo


def test_filelists_loso_writes_one_folder_for_each_speaker(tmp_path: Path) -> None:
    root = corpora_fixtures.make_ravdess(tmp_path / "ravdess", actors=6)
    result = run_kanjo("corpus", "filelists", "ravdess", root, tmp_path / "lists", "--protocol", "loso")
    assert result.returncode == 0, result.stderr
    folders = [f"loso{n:02d}" for n in range(1, 7)]
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == ["ids.json", *folders]
    test_list = tmp_path / "lists" / "loso03" / "ravdess_audio_sid_text_test_filelist.txt"
    rows = read_corpus("own", test_list).utterances
    assert {row.speaker for row in rows} == {"03"} and len(rows) == 8


def test_filelists_female_with_emotions_selects_utterances(tmp_path: Path) -> None:
    root = corpora_fixtures.make_ravdess(tmp_path / "ravdess", actors=6)
    options = ["--protocol", "female", "--emotions", "anger,calm"]
    result = run_kanjo("corpus", "filelists", "ravdess", root, tmp_path / "lists", *options)
    assert "speaker-dependent" in result.stderr
    rows = [row for path in (tmp_path / "lists" / "female").iterdir() for row in read_corpus("own", path).utterances]
    assert len(rows) == 6 and {row.emotion for row in rows} == {"anger", "calm"}


def test_filelists_invalid_options_are_refused(tmp_path: Path) -> None:
    root = corpora_fixtures.make_ravdess(tmp_path / "ravdess", actors=2)
    command = ["corpus", "filelists", "ravdess", root, tmp_path / "lists"]
    assert run_kanjo(*command, "--protocol", "every").returncode == 2
    assert run_kanjo(*command, "--emotions", "boredom").returncode == 1


def test_leakage_reports_identical_recordings(tmp_path: Path) -> None:
    root = corpora_fixtures.make_ravdess(tmp_path / "ravdess", actors=6)
    copy = root / "Actor_02" / "03-01-05-01-02-01-02.wav"
    copy.write_bytes((root / "Actor_01" / "03-01-05-01-01-01-01.wav").read_bytes())
    command = ["corpus", "leakage", "ravdess", root]
    result = run_kanjo(*command, "--protocol", "loso")
    assert result.returncode == 0, result.stderr
    first, *others = result.stdout.splitlines()
    assert "speaker-independent: none of the 1 test speakers" in first
    assert "LEAK: 1 test recordings are identical" in first
    assert len(others) == 5 and "no test recording is identical" in others[-1]
    reports = json.loads(run_kanjo(*command, "--protocol", "speaker_dependent", "-f", "json").stdout)
    assert len(reports) == 5 and reports[0]["shared_speakers"] > 0
    assert run_kanjo(*command, "--protocol", "x").returncode == 1


def test_download_command_fetches_checks_and_skips_a_complete_corpus(
    server: Server, ravdess_zip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = dict.fromkeys(CORPORA["ravdess"].emotions, 3)
    monkeypatch.setitem(CORPORA, "ravdess", make_corpus(server, ravdess_zip, emotions=counts, n_speakers=3))
    command = ["corpus", "download", "ravdess", tmp_path / "r"]
    first = run_kanjo(*command, "-s")
    assert first.returncode == 0, first.stderr
    assert "ok      utterances                            24" in first.stdout
    assert "CC BY-NC-SA 4.0. Cite: S. R. Livingstone" in first.stderr
    server.requests.clear()
    second = run_kanjo(*command, "-s")
    assert second.returncode == 0 and str(tmp_path / "r") in second.stderr and not server.requests
    next((tmp_path / "r").rglob("*.wav")).unlink()
    assert run_kanjo(*command, "--keep").returncode == 0
    assert len(server.requests) == 1 and len(list((tmp_path / "r" / ".download").glob("*.complete"))) == 1


def test_download_command_corpus_on_request_explains_how_to_get_it(tmp_path: Path) -> None:
    command = ["corpus", "download", "jtes", tmp_path / "j"]
    result = run_kanjo(*command)
    assert result.returncode == 1 and "Japanese Twitter-based" in result.stderr and "Put it into" in result.stderr
    corpora_fixtures.make_jtes(tmp_path / "j")
    result = run_kanjo(*command, "-s")
    assert result.returncode == 1 and "DIFFERS utterances" in result.stdout


def test_check_with_label_map_accepts_other_words(tmp_path: Path) -> None:
    corpora_fixtures.write_clips(tmp_path, "a.wav", "neighbor.wav")
    (tmp_path / "t.csv").write_text("file,emotion\na.wav,grumpy\n", encoding="utf-8")
    refused = run_kanjo("corpus", "check", "own", "t.csv", cwd=tmp_path)
    assert refused.returncode == 1 and "--label-map WORD=EMOTION" in refused.stderr
    report = run_kanjo("corpus", "check", "own", "t.csv", "--label-map", "grumpy=anger", cwd=tmp_path).stdout
    assert "emotion anger" in report
    assert "recordings not in the table" in report
