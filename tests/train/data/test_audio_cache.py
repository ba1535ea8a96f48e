from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kanjo import audio
from kanjo.errors import CorpusError, KanjoError
from kanjo.train.data.audio_cache import Item, pack
from tests.corpora_fixtures import RATE, clip


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    return [
        Item(clip(tmp_path / f"{n}.wav", n, seconds=0.2 + 0.05 * n, rate=rate))
        for n, rate in enumerate((8_000, 16_000, 44_100, 48_000))
    ]


def test_a_pack_holds_what_decoding_gives(items: list[Item], tmp_path: Path) -> None:
    packed = pack(items, RATE, tmp_path / "cache")
    assert len(packed) == len(items)
    for i, item in enumerate(items):
        np.testing.assert_allclose(packed.signal(i), audio.load(item.path, RATE), atol=1 / 32767)


def test_a_pack_is_made_once(items: list[Item], tmp_path: Path) -> None:
    first = pack(items, RATE, tmp_path / "cache")
    made = first.folder.stat().st_mtime_ns
    calls: list[int] = []
    again = pack(items, RATE, tmp_path / "cache", progress=lambda done, total: calls.append(done))
    assert again.folder == first.folder and again.folder.stat().st_mtime_ns == made and not calls


def test_another_rate_or_a_changed_recording_makes_a_new_pack(items: list[Item], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = pack(items, RATE, cache)
    assert pack(items, 8_000, cache).folder != first.folder
    clip(items[0].path, seed=9)
    os.utime(items[0].path, ns=(1, 1))
    assert pack(items, RATE, cache).folder != first.folder


def test_identical_recordings_have_one_fingerprint(items: list[Item], tmp_path: Path) -> None:
    twin = tmp_path / "twin.wav"
    twin.write_bytes(items[1].path.read_bytes())
    marks = pack([*items, Item(twin)], RATE, tmp_path / "cache").fingerprints
    assert marks[1] == marks[-1]
    assert len(set(marks)) == len(items)


def test_stretches(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.wav", seconds=1.0)
    packed = pack([Item(path, 0.25, 0.5), Item(path, 0.5, None)], RATE, tmp_path / "cache")
    assert [len(packed.signal(i)) for i in range(2)] == [RATE // 4, RATE // 2]
    with pytest.raises(CorpusError, match="lies outside its 1.00 s"):
        pack([Item(path, 0.5, 3.0)], RATE, tmp_path / "cache")


def test_unusable_recordings_are_named_and_nothing_is_left(items: list[Item], tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("not audio")
    with pytest.raises(CorpusError, match=r"1 of 5 recordings can't be used: .*bad.wav: not audio"):
        pack([*items, Item(bad)], RATE, tmp_path / "cache")
    with pytest.raises(CorpusError, match=r"missing.wav: no such file"):
        pack([*items, Item(tmp_path / "missing.wav")], RATE, tmp_path / "cache")
    assert list((tmp_path / "cache" / "packs").iterdir()) == []


def test_cut_short_recordings_are_packed_and_noted(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.flac", seconds=4.0)
    path.write_bytes(path.read_bytes()[:20_000])
    packed = pack([Item(path)], RATE, tmp_path / "cache")
    assert len(packed.problems) == 1 and "cut short" in packed.problems[0]


def test_a_full_disk_says_so_and_leaves_nothing(items: list[Item], tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: the write fails in the middle, as there."""
    script = (
        "import resource, signal, sys; from pathlib import Path; from kanjo.train.data.audio_cache import pack, Item\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from kanjo.errors import KanjoError\n"
        f"try: pack([Item(Path(p)) for p in sys.argv[2:]], {RATE}, Path(sys.argv[1]))\n"
        "except KanjoError as error: print('said:', error)\n"
    )
    arguments = [str(tmp_path / "cache"), *(str(item.path) for item in items)]
    out = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert out.stdout.startswith("said: can't write the pack")
    assert list((tmp_path / "cache" / "packs").iterdir()) == []


def test_a_killed_pack_is_not_taken_for_whole(tmp_path: Path) -> None:
    items = [Item(clip(tmp_path / f"{n}.wav", n, seconds=3, rate=48_000)) for n in range(120)]
    script = (
        "import sys; from pathlib import Path; from kanjo.train.data.audio_cache import pack, Item\n"
        f"pack([Item(Path(p)) for p in sys.argv[2:]], {RATE}, Path(sys.argv[1]), progress=lambda d, t: print(d, flush=True))"
    )
    arguments = [str(tmp_path / "cache"), *(str(item.path) for item in items)]
    with subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    time.sleep(0.05)
    left = [path for path in (tmp_path / "cache" / "packs").iterdir() if not path.name.startswith(".")]
    assert left == []
    assert len(pack(items, RATE, tmp_path / "cache")) == 120


def test_a_damaged_pack_says_what_to_do(items: list[Item], tmp_path: Path) -> None:
    packed = pack(items, RATE, tmp_path / "cache")
    with (packed.folder / "audio.i16").open("r+b") as stream:
        stream.truncate(100)
    with pytest.raises(KanjoError, match="delete it, and it is made anew"):
        pack(items, RATE, tmp_path / "cache")


def test_loud_samples_are_clipped_not_wrapped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", np.array([0.0, 1.5, -1.5, 0.5]), RATE, subtype="FLOAT")
    np.testing.assert_allclose(
        pack([Item(tmp_path / "loud.wav")], RATE, tmp_path / "c").signal(0), [0, 1, -1, 0.5], atol=1e-4
    )
