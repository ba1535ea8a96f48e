from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import soundfile

from kanjo.errors import KanjoError
from kanjo.tools.file_tree import TreeResult, convert_tree
from kanjo.tools.resample import resample
from tests.corpora_fixtures import SAMPLE_RATE, write_clips

_to_8_khz = partial(resample, sample_rate=8000)


def _counts(result: TreeResult) -> tuple[int, int, int]:
    return result.converted, result.copied, result.skipped


def _write_tree(root: Path) -> Path:
    """Write two recordings, a text file, and a hidden recording."""
    write_clips(root, "f01/ang/a b.wav", "f01/ü.flac", "._x.wav")
    (root / "notes.txt").write_text("notes")
    return root


def test_convert_tree_converts_recordings_and_copies_other_files(tmp_path: Path) -> None:
    source, target = _write_tree(tmp_path / "in"), tmp_path / "out"
    assert _counts(convert_tree(source, target, _to_8_khz)) == (2, 2, 0)
    assert soundfile.info(target / "f01" / "ang" / "a b.wav").samplerate == 8000
    assert (target / "notes.txt").read_text() == "notes"
    assert soundfile.info(source / "f01" / "ang" / "a b.wav").samplerate == SAMPLE_RATE


def test_convert_tree_again_resumes(tmp_path: Path) -> None:
    source, target = _write_tree(tmp_path / "in"), tmp_path / "out"
    convert_tree(source, target, _to_8_khz)
    assert _counts(convert_tree(source, target, _to_8_khz)) == (0, 0, 4)
    (target / "f01" / "ü.flac").unlink()
    assert _counts(convert_tree(source, target, _to_8_khz)) == (1, 0, 3)


def test_convert_tree_reports_progress(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    convert_tree(_write_tree(tmp_path / "in"), tmp_path / "out", _to_8_khz, 1, lambda *call: calls.append(call))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_convert_tree_target_that_is_or_is_inside_the_source_is_refused(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "in", "a.wav")
    (tmp_path / "link").symlink_to(source)
    for target in (source, source / "deeper", tmp_path / "link"):
        with pytest.raises(KanjoError, match="originals are not overwritten"):
            convert_tree(source, target, _to_8_khz)
    with pytest.raises(KanjoError, match="originals are not overwritten"):
        convert_tree(source / "a.wav", source / "a.wav", _to_8_khz)


def test_convert_tree_missing_source_or_file_as_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KanjoError, match="no such file or folder"):
        convert_tree(tmp_path / "missing", tmp_path / "out", _to_8_khz)
    source = write_clips(tmp_path / "in", "a.wav")
    (tmp_path / "file").write_text("")
    with pytest.raises(KanjoError, match="is a file; expected a folder"):
        convert_tree(source, tmp_path / "file", _to_8_khz)


def test_convert_tree_unusable_recordings_do_not_stop_the_others(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "in", "a.wav", "b.wav")
    (source / "empty.wav").write_bytes(b"")
    (source / "noise.wav").write_bytes(os.urandom(999))
    (source / "dead.wav").symlink_to(tmp_path / "nowhere")
    result = convert_tree(source, tmp_path / "out", _to_8_khz)
    dead, empty, noise = result.errors
    assert "dead.wav: the link points to a file that does not exist" in dead
    assert "empty.wav: the file is empty (0 bytes)" in empty
    assert "noise.wav: not audio, or in an unsupported format" in noise
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", "b.wav"]


def test_convert_tree_interrupted_write_leaves_no_partial_file(tmp_path: Path) -> None:
    def fail_on_a_full_disk(path: Path, target: Path) -> str:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    result = convert_tree(write_clips(tmp_path / "in", "a.wav"), tmp_path / "out", fail_on_a_full_disk)
    assert len(result.errors) == 1 and "the disk is full" in result.errors[0]
    assert list((tmp_path / "out").iterdir()) == []
