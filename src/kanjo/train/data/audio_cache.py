"""Cache of decoded audio: all utterances as mono at one sample rate, in one memory-mapped int16 file.

A cache is a folder ``<cache>/audio/<key>`` with ``audio.i16``, the samples of the utterances one after the other, and
``index.npz``. The key is a digest of everything that the samples depend on: paths, sizes and modification times of the
recordings, start and end times, sample rate, and the version of this code. So a changed corpus or another rate gets a
new folder. A folder is written under a temporary name and renamed when it is complete. A lock lets one process at a
time decode the same recordings. A folder whose samples are not those that were written is built again.
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
from kanjo.array_files import DamagedFileError, load_arrays, save_arrays
from kanjo.corpora import Manifest, Utterance
from kanjo.errors import AudioError, CorpusError
from kanjo.files import atomic_directory, os_error_message, user_folder
from kanjo.train.data.cache_files import cache_lock, report_damage

#: Part of the key of every cache. Increase it when this code writes other samples than before.
CACHE_VERSION = 1
_SAMPLES_FILE, _INDEX_FILE = "audio.i16", "index.npz"
_FULL_SCALE = 32767
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AudioCache:
    """Decoded audio of U utterances.

    Attributes:
        folder: Folder of the cache.
        sample_rate: Sample rate in Hz.
        samples: Samples of all utterances, int16 (total length,), memory-mapped.
        offsets: Utterance i is ``samples[offsets[i]:offsets[i + 1]]``, (U + 1,).
        fingerprints: SHA-1 of the samples of each utterance: identical recordings have the same fingerprint.
        warnings: Warnings of the decoder, such as a recording that is cut short.
    """

    folder: Path
    sample_rate: int
    samples: npt.NDArray[np.int16]
    offsets: npt.NDArray[np.int64]
    fingerprints: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def signal(self, i: int) -> audio.Signal:
        """Return utterance i as float32 (N,) with full scale at 1.0."""
        samples = self.samples[self.offsets[i] : self.offsets[i + 1]]
        return np.asarray(np.multiply(samples, np.float32(1 / _FULL_SCALE), dtype=np.float32))


@dataclass(frozen=True)
class AudioSlice:
    """A recording, or the part of it between two times."""

    path: Path
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class _DecodedSlice:
    samples: npt.NDArray[np.int16]
    warnings: list[str]


def get_cache_folder() -> Path:
    """Return the folder for caches: ``KANJO_CACHE``, or ``kanjo`` in the user's cache folder."""
    if folder := os.environ.get("KANJO_CACHE"):
        return Path(folder)
    return user_folder("XDG_CACHE_HOME", ".cache", "KANJO_CACHE to a folder for the cache") / "kanjo"


def collect_audio_slices(manifests: Sequence[Manifest]) -> tuple[list[AudioSlice], list[Utterance]]:
    """Concatenate the utterances of manifests, and locate each one's audio."""
    audio_slices, utterances = [], []
    for manifest in manifests:
        for utterance in manifest.utterances:
            audio_slices.append(AudioSlice(manifest.audio_path(utterance), utterance.start_s, utterance.end_s))
            utterances.append(utterance)
    return audio_slices, utterances


def build_audio_cache(
    audio_slices: Sequence[AudioSlice],
    sample_rate: int,
    cache: Path | None = None,
    progress: Progress | None = None,
    jobs: int = 0,
) -> AudioCache:
    """Open the audio cache of some recordings; decode them first if it does not exist.

    Args:
        audio_slices: Recordings, or parts of recordings.
        sample_rate: Sample rate of the cache in Hz.
        cache: Folder for caches (default: :func:`get_cache_folder`).
        progress: Called with the numbers of decoded and of all recordings.
        jobs: Number of threads that decode; 0: one per core.

    Raises:
        CorpusError: Recordings can't be read; the message names them. No cache is left behind.
        KanjoError: The cache can't be written, for example because the disk is full.
    """
    folder = (cache or get_cache_folder()) / "audio" / _cache_key(audio_slices, sample_rate)
    if opened := _open_if_complete(folder, sample_rate, len(audio_slices)):
        return opened
    with cache_lock(folder):
        if opened := _open_if_complete(folder, sample_rate, len(audio_slices)):
            return opened  # another process built it
        with atomic_directory(folder) as temporary:
            _write_cache(temporary, audio_slices, sample_rate, progress, jobs or os.cpu_count() or 1)
        return _open_cache(folder, sample_rate, len(audio_slices))


def _open_if_complete(folder: Path, sample_rate: int, n_slices: int) -> AudioCache | None:
    """Open a cache, None if it does not exist or is damaged."""
    if not folder.exists():
        return None
    try:
        return _open_cache(folder, sample_rate, n_slices)
    except DamagedFileError as error:
        report_damage(folder, error)
        return None


def _cache_key(audio_slices: Sequence[AudioSlice], sample_rate: int) -> str:
    """Compute the digest of everything that the samples depend on."""
    digest = hashlib.sha256(f"{CACHE_VERSION} {sample_rate}\n".encode())
    errors: list[str] = []
    for item in audio_slices:
        try:
            state = item.path.stat()
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else os_error_message(error)
            errors.append(f"{item.path}: {reason}")
            continue
        line = f"{item.path.resolve()}\0{state.st_size} {state.st_mtime_ns} {item.start_s} {item.end_s}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    _raise_unusable_recordings(errors, len(audio_slices))
    return digest.hexdigest()[:24]


def _write_cache(
    folder: Path, audio_slices: Sequence[AudioSlice], sample_rate: int, progress: Progress | None, jobs: int
) -> None:
    """Decode the recordings into a folder. After the first error, the rest is decoded only to find more errors."""
    offsets, fingerprints = [0], []
    errors: list[str] = []
    warnings: list[str] = []
    with (folder / _SAMPLES_FILE).open("wb") as stream:
        for n_done, result in enumerate(_decode_in_threads(audio_slices, sample_rate, jobs), 1):
            if isinstance(result, AudioError):
                errors.append(str(result))
            else:
                warnings += result.warnings
                if not errors:
                    stream.write(result.samples.data)
                offsets.append(offsets[-1] + len(result.samples))
                fingerprints.append(_fingerprint(result.samples))
            if progress:
                progress(n_done, len(audio_slices))
    _raise_unusable_recordings(errors, len(audio_slices))
    save_arrays(
        folder / _INDEX_FILE,
        offsets=np.asarray(offsets, np.int64),
        fingerprints=np.asarray(fingerprints, "S40"),
        warnings=np.asarray(warnings, np.str_),
        sample_rate=np.asarray(sample_rate),
    )


def _decode_in_threads(
    audio_slices: Sequence[AudioSlice], sample_rate: int, jobs: int
) -> Iterator[_DecodedSlice | AudioError]:
    """Yield decoded recordings in order. Threads use all cores, because libsndfile and soxr release Python's lock."""
    max_pending = 4 * jobs
    with ThreadPoolExecutor(jobs) as pool:
        pending: list[Future[_DecodedSlice | AudioError]] = []
        for item in audio_slices:
            pending.append(pool.submit(_decode, item, sample_rate))
            if len(pending) > max_pending:
                yield pending.pop(0).result()
        for future in pending:
            yield future.result()


def _decode(item: AudioSlice, sample_rate: int) -> _DecodedSlice | AudioError:
    """Decode, resample and round to int16; return the error of a recording that can't be read."""
    try:
        reader = audio.open_audio(item.path)
        signal = audio.slice_signal(reader.signal(sample_rate), sample_rate, item.start_s, item.end_s, str(item.path))
    except AudioError as error:
        return error
    np.clip(signal, -1.0, 1.0, out=signal)
    samples = np.rint(signal * np.float32(_FULL_SCALE)).astype(np.int16)
    return _DecodedSlice(samples, [f"{item.path}: {warning}" for warning in reader.warnings])


def _open_cache(folder: Path, sample_rate: int, n_slices: int) -> AudioCache:
    """Open a cache and compare its samples with their fingerprints.

    Raises:
        DamagedFileError: It has other content than was written.
    """
    try:
        index = load_arrays(folder / _INDEX_FILE)
        offsets = index["offsets"].astype(np.int64)
        fingerprints = tuple(fingerprint.decode() for fingerprint in index["fingerprints"].tolist())
        warnings = tuple(str(warning) for warning in index["warnings"])
        n_samples = (folder / _SAMPLES_FILE).stat().st_size / np.dtype(np.int16).itemsize
        if not len(offsets) - 1 == len(fingerprints) == n_slices:
            raise DamagedFileError(f"it has {len(fingerprints)} recordings, expected {n_slices}")
        if n_samples != offsets[-1]:
            raise DamagedFileError(f"it has {n_samples:g} samples, expected {offsets[-1]}")
        samples = np.memmap(folder / _SAMPLES_FILE, np.int16, "r") if offsets[-1] else np.zeros(0, np.int16)
    except (OSError, ValueError, KeyError) as error:
        raise DamagedFileError(str(error)) from error
    cache = AudioCache(folder, sample_rate, samples, offsets, fingerprints, warnings)
    _verify_samples(cache)
    return cache


def _verify_samples(cache: AudioCache) -> None:
    """Compare the samples with the fingerprints. Threads use all cores, because hashlib releases Python's lock."""

    def is_damaged(i: int) -> bool:
        return _fingerprint(cache.samples[cache.offsets[i] : cache.offsets[i + 1]]) != cache.fingerprints[i]

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        n_damaged = sum(pool.map(is_damaged, range(len(cache)), chunksize=256))
    if n_damaged:
        raise DamagedFileError(f"the samples of {n_damaged} recordings are not those that were written")


def _fingerprint(samples: npt.NDArray[np.int16]) -> str:
    return hashlib.sha1(samples.data, usedforsecurity=False).hexdigest()


def _raise_unusable_recordings(errors: list[str], n_recordings: int) -> None:
    """Raise CorpusError with the first three errors, if there are any."""
    if errors:
        shown = "; ".join(errors[:3]) + (f"; and {len(errors) - 3} more" if len(errors) > 3 else "")
        raise CorpusError(
            f"{len(errors)} of {n_recordings} recordings can't be used: {shown}. 'kanjo corpus check' lists them all"
        )
