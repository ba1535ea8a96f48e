"""Cache of decoded audio: contents, reuse, damage and faults."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kanjo import audio
from kanjo.errors import CorpusError
from kanjo.train.data.audio_cache import AudioSlice, build_audio_cache
from tests.corpora_fixtures import SAMPLE_RATE, write_clip

_BUILD_SCRIPT = f"""
import resource, signal, sys
from pathlib import Path
from kanjo.errors import KanjoError
from kanjo.train.data.audio_cache import AudioSlice, build_audio_cache

if sys.argv[1] == "full-disk":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
audio_slices = [AudioSlice(Path(path)) for path in sys.argv[3:]]
try:
    build_audio_cache(audio_slices, {SAMPLE_RATE}, Path(sys.argv[2]), progress=lambda n, _: print(n, flush=True))
except KanjoError as error:
    print("error:", error)
"""


def _build_command(mode: str, cache: Path, audio_slices: list[AudioSlice]) -> list[str]:
    """Command that builds a cache in a process of its own."""
    return [sys.executable, "-c", _BUILD_SCRIPT, mode, str(cache), *(str(item.path) for item in audio_slices)]


@pytest.fixture
def audio_slices(tmp_path: Path) -> list[AudioSlice]:
    """Four recordings of different lengths and sample rates."""
    return [
        AudioSlice(write_clip(tmp_path / f"{n}.wav", n, seconds=0.2 + 0.05 * n, rate=rate))
        for n, rate in enumerate((8_000, 16_000, 44_100, 48_000))
    ]


def test_build_audio_cache_signals_equal_decoded_recordings(audio_slices: list[AudioSlice], tmp_path: Path) -> None:
    cache = build_audio_cache(audio_slices, SAMPLE_RATE, tmp_path / "cache")
    assert len(cache) == len(audio_slices)
    for i, item in enumerate(audio_slices):
        np.testing.assert_allclose(cache.signal(i), audio.load(item.path, SAMPLE_RATE), atol=1 / 32767)


def test_build_audio_cache_twice_decodes_once(audio_slices: list[AudioSlice], tmp_path: Path) -> None:
    first = build_audio_cache(audio_slices, SAMPLE_RATE, tmp_path / "cache")
    modified_ns = first.folder.stat().st_mtime_ns
    calls: list[int] = []
    second = build_audio_cache(audio_slices, SAMPLE_RATE, tmp_path / "cache", progress=lambda n, _: calls.append(n))
    assert second.folder == first.folder and second.folder.stat().st_mtime_ns == modified_ns and not calls


def test_build_audio_cache_other_rate_or_changed_recording_uses_new_folder(
    audio_slices: list[AudioSlice], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = build_audio_cache(audio_slices, SAMPLE_RATE, cache)
    assert build_audio_cache(audio_slices, 8_000, cache).folder != first.folder
    write_clip(audio_slices[0].path, seed=9)
    os.utime(audio_slices[0].path, ns=(1, 1))
    assert build_audio_cache(audio_slices, SAMPLE_RATE, cache).folder != first.folder


def test_build_audio_cache_identical_recordings_have_equal_fingerprints(
    audio_slices: list[AudioSlice], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.wav"
    copy.write_bytes(audio_slices[1].path.read_bytes())
    cache = build_audio_cache([*audio_slices, AudioSlice(copy)], SAMPLE_RATE, tmp_path / "cache")
    assert cache.fingerprints[1] == cache.fingerprints[-1]
    assert len(set(cache.fingerprints)) == len(audio_slices)


def test_build_audio_cache_slices_of_one_recording_are_cut(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", seconds=1.0)
    slices = [AudioSlice(path, 0.25, 0.5), AudioSlice(path, 0.5, None)]
    cache = build_audio_cache(slices, SAMPLE_RATE, tmp_path / "cache")
    assert [len(cache.signal(i)) for i in range(2)] == [SAMPLE_RATE // 4, SAMPLE_RATE // 2]


def test_build_audio_cache_slice_after_the_end_is_an_error(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", seconds=1.0)
    with pytest.raises(CorpusError, match=r"1\.00 s"):
        build_audio_cache([AudioSlice(path, 0.5, 3.0)], SAMPLE_RATE, tmp_path / "cache")


def test_build_audio_cache_unusable_recordings_are_named_and_no_folder_is_left(
    audio_slices: list[AudioSlice], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("not audio")
    with pytest.raises(CorpusError, match=r"1 of 5 recordings can't be used: .*bad.wav"):
        build_audio_cache([*audio_slices, AudioSlice(bad)], SAMPLE_RATE, tmp_path / "cache")
    with pytest.raises(CorpusError, match=r"missing.wav: no such file"):
        build_audio_cache([*audio_slices, AudioSlice(tmp_path / "missing.wav")], SAMPLE_RATE, tmp_path / "cache")
    assert list((tmp_path / "cache" / "audio").iterdir()) == []


def test_build_audio_cache_truncated_recording_is_used_with_a_warning(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.flac", seconds=4.0)
    path.write_bytes(path.read_bytes()[:20_000])
    cache = build_audio_cache([AudioSlice(path)], SAMPLE_RATE, tmp_path / "cache")
    assert len(cache.warnings) == 1 and cache.warnings[0].startswith(str(path))


def test_build_audio_cache_full_disk_is_reported_and_no_folder_is_left(
    audio_slices: list[AudioSlice], tmp_path: Path
) -> None:
    """A limit on the size of files acts like a full disk: a write fails in the middle."""
    command = _build_command("full-disk", tmp_path / "cache", audio_slices)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "error: can't write" in output and str(tmp_path / "cache") in output
    assert list((tmp_path / "cache" / "audio").iterdir()) == []


def test_build_audio_cache_killed_process_leaves_no_complete_folder(tmp_path: Path) -> None:
    audio_slices = [AudioSlice(write_clip(tmp_path / f"{n}.wav", n, seconds=3, rate=48_000)) for n in range(120)]
    command = _build_command("normal", tmp_path / "cache", audio_slices)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    time.sleep(0.05)
    complete = [path for path in (tmp_path / "cache" / "audio").iterdir() if not path.name.startswith(".")]
    assert complete == []
    assert len(build_audio_cache(audio_slices, SAMPLE_RATE, tmp_path / "cache")) == 120


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["audio.i16", "index.npz"])
@pytest.mark.parametrize("damage", [_cut, _flip_bit, Path.unlink, lambda path: path.write_bytes(b"")])
def test_build_audio_cache_damaged_folder_is_built_again(
    name: str,
    damage: Callable[[Path], object],
    audio_slices: list[AudioSlice],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = build_audio_cache(audio_slices, SAMPLE_RATE, tmp_path / "cache")
    signals = [expected.signal(i) for i in range(len(expected))]
    damage(expected.folder / name)
    again = build_audio_cache(audio_slices, SAMPLE_RATE, tmp_path / "cache")
    assert all(np.array_equal(again.signal(i), signal) for i, signal in enumerate(signals))
    assert f"the cache {expected.folder} is damaged" in caplog.text
    assert [path.name for path in again.folder.parent.iterdir()] == [again.folder.name]


def test_build_audio_cache_every_bit_of_the_index_flipped_gives_the_same_signals(
    audio_slices: list[AudioSlice], tmp_path: Path
) -> None:
    cache = build_audio_cache(audio_slices[:2], SAMPLE_RATE, tmp_path / "cache")
    expected = [cache.signal(0), cache.signal(1)]
    index = cache.folder / "index.npz"
    content = index.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        index.write_bytes(damaged)
        again = build_audio_cache(audio_slices[:2], SAMPLE_RATE, tmp_path / "cache")
        assert len(again) == 2 and all(np.array_equal(again.signal(i), expected[i]) for i in range(2)), position


def test_build_audio_cache_six_threads_all_get_it_and_one_decodes(
    audio_slices: list[AudioSlice], tmp_path: Path
) -> None:
    calls: list[int] = []

    def build(_: int) -> int:
        return len(build_audio_cache(audio_slices, SAMPLE_RATE, tmp_path, progress=lambda n, _: calls.append(n)))

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(build, range(6))) == [4] * 6
    assert calls == [1, 2, 3, 4]


@pytest.mark.slow
def test_build_audio_cache_six_processes_all_get_it_and_one_decodes(tmp_path: Path) -> None:
    audio_slices = [AudioSlice(write_clip(tmp_path / f"{n}.wav", n, seconds=1, rate=48_000)) for n in range(20)]
    command = _build_command("normal", tmp_path / "cache", audio_slices)
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    assert sorted(output.count("\n") for output in outputs) == [0] * 5 + [20]
    assert len(list((tmp_path / "cache" / "audio").iterdir())) == 1


def test_build_audio_cache_loud_samples_are_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", np.array([0.0, 1.5, -1.5, 0.5]), SAMPLE_RATE, subtype="FLOAT")
    cache = build_audio_cache([AudioSlice(tmp_path / "loud.wav")], SAMPLE_RATE, tmp_path / "cache")
    np.testing.assert_allclose(cache.signal(0), [0, 1, -1, 0.5], atol=1e-4)
