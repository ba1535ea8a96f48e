"""The pack: a corpus decoded, mixed to mono and resampled once, in one memory-mapped int16 file.

A pack is a folder ``<cache>/packs/<key>``: ``audio.i16`` (samples, one utterance after the other) and ``index.npz``. The
key is a digest of everything that the samples depend on (recordings' paths, sizes and times, stretches, rate, this
code's version), so a changed corpus or rate makes a new pack, and a pack that is there is whole: it is filled beside
its place and renamed when it is done.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kanjo import audio
from kanjo.corpora import Manifest, Utterance
from kanjo.errors import AudioError, CorpusError, KanjoError
from kanjo.files import folder_whole, reason

#: Part of every pack's key: raise it when the samples that this code writes change.
PACK_VERSION = 1
_AUDIO, _INDEX = "audio.i16", "index.npz"
_FULL_SCALE = 32767
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pack:
    """``samples`` int16 (all N,), memory-mapped; utterance i is ``samples[offsets[i]:offsets[i + 1]]``."""

    folder: Path
    sample_rate: int
    samples: npt.NDArray[np.int16]
    offsets: npt.NDArray[np.int64]
    fingerprints: tuple[str, ...]
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def signal(self, i: int) -> audio.Signal:
        """Utterance i as float32 (N,), full scale at 1.0."""
        stretch = self.samples[self.offsets[i] : self.offsets[i + 1]]
        return np.asarray(np.multiply(stretch, np.float32(1 / _FULL_SCALE), dtype=np.float32))


@dataclass(frozen=True)
class Item:
    """One stretch of one recording."""

    path: Path
    start_s: float | None = None
    end_s: float | None = None


def cache_folder() -> Path:
    """``KANJO_CACHE``, or ``kanjo`` in the user's cache folder."""
    if own := os.environ.get("KANJO_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kanjo"


def items_of(manifests: Sequence[Manifest]) -> tuple[list[Item], list[Utterance]]:
    """The manifests' utterances one after the other, each with where it lies."""
    items, rows = [], []
    for manifest in manifests:
        for row in manifest.utterances:
            items.append(Item(manifest.path(row), row.start_s, row.end_s))
            rows.append(row)
    return items, rows


def pack(
    items: Sequence[Item], sample_rate: int, cache: Path | None = None, progress: Progress | None = None, jobs: int = 0
) -> Pack:
    """The pack of these stretches at ``sample_rate`` Hz, made now if it isn't there.

    ``jobs`` threads decode (0: one for each core); ``progress(done, total)`` is called while it is made. Raises
    CorpusError naming the recordings that can't be read, KanjoError for a full disk; neither leaves anything behind.
    """
    folder = (cache or cache_folder()) / "packs" / _key(items, sample_rate)
    if not (folder / _INDEX).is_file():
        with folder_whole(folder) as unfinished:
            _fill(unfinished, items, sample_rate, progress, jobs or os.cpu_count() or 1)
    return _open(folder, sample_rate)


def _key(items: Sequence[Item], sample_rate: int) -> str:
    digest = hashlib.sha256(f"{PACK_VERSION} {sample_rate}\n".encode())
    missing: list[str] = []
    for item in items:
        try:
            state = item.path.stat()
        except OSError as error:
            said = "no such file" if isinstance(error, FileNotFoundError) else reason(error)
            missing.append(f"{item.path}: {said}")
            continue
        line = f"{item.path.resolve()}\0{state.st_size} {state.st_mtime_ns} {item.start_s} {item.end_s}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    _complain(missing, len(items))
    return digest.hexdigest()[:24]


def _fill(folder: Path, items: Sequence[Item], sample_rate: int, progress: Progress | None, jobs: int) -> None:
    offsets, fingerprints, broken, odd = [0], [], [], []
    try:
        with (folder / _AUDIO).open("wb") as out:
            for done, result in enumerate(_decoded(items, sample_rate, jobs), 1):
                if isinstance(result, AudioError):
                    broken.append(str(result))
                else:
                    samples, warnings = result
                    odd += warnings
                    if not broken:
                        out.write(samples.data)
                    offsets.append(offsets[-1] + len(samples))
                    fingerprints.append(hashlib.sha1(samples.data, usedforsecurity=False).hexdigest())
                if progress:
                    progress(done, len(items))
        _complain(broken, len(items))
        with (folder / _INDEX).open("wb") as out:
            np.savez(
                out,
                offsets=np.asarray(offsets, np.int64),
                fingerprints=np.asarray(fingerprints, "S40"),
                problems=np.asarray(odd, np.str_),
                sample_rate=np.asarray(sample_rate),
            )
    except OSError as error:
        raise KanjoError(f"can't write the pack {folder.parent}: {reason(error)}") from error


def _decoded(
    items: Sequence[Item], sample_rate: int, jobs: int
) -> Iterator[tuple[npt.NDArray[np.int16], list[str]] | AudioError]:
    """Results in the order of ``items``; libsndfile and soxr let go of the lock, so threads use all cores."""
    ahead = 4 * jobs
    with ThreadPoolExecutor(jobs) as pool:
        waiting: list[Future[tuple[npt.NDArray[np.int16], list[str]] | AudioError]] = []
        for place in range(len(items) + ahead):
            if place < len(items):
                waiting.append(pool.submit(_decode, items[place], sample_rate))
            if place >= ahead or place >= len(items):
                if not waiting:
                    return
                yield waiting.pop(0).result()


def _decode(item: Item, sample_rate: int) -> tuple[npt.NDArray[np.int16], list[str]] | AudioError:
    try:
        source = audio.open_source(item.path)
        signal = audio.stretch(source.signal(sample_rate), sample_rate, item.start_s, item.end_s, str(item.path))
    except AudioError as error:
        return error
    np.clip(signal, -1.0, 1.0, out=signal)
    samples = np.rint(signal * np.float32(_FULL_SCALE)).astype(np.int16)
    return samples, [f"{item.path}: {warning}" for warning in source.warnings]


def _open(folder: Path, sample_rate: int) -> Pack:
    try:
        with np.load(folder / _INDEX, allow_pickle=False) as index:
            offsets = index["offsets"]
            fingerprints = tuple(mark.decode() for mark in index["fingerprints"])
            problems = tuple(str(problem) for problem in index["problems"])
        samples = np.memmap(folder / _AUDIO, np.int16, "r") if offsets[-1] else np.zeros(0, np.int16)
    except (OSError, ValueError, KeyError) as error:
        raise KanjoError(f"the pack {folder} can't be read ({error}); delete it, and it is made anew") from error
    if len(samples) != offsets[-1]:
        raise KanjoError(
            f"the pack {folder} holds {len(samples)} samples, its index {offsets[-1]}; delete it, and it is made anew"
        )
    return Pack(folder, sample_rate, samples, offsets, fingerprints, problems)


def _complain(bad: list[str], total: int) -> None:
    if bad:
        shown = "; ".join(bad[:3]) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")
        raise CorpusError(
            f"{len(bad)} of {total} recordings can't be used: {shown}. 'kanjo corpus check' lists them all"
        )
