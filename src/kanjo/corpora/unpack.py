"""Archives taken apart with care: nothing lands outside the folder, nothing grows beyond measure, nothing is left half done."""

from __future__ import annotations

import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from kanjo.errors import CorpusError, KanjoError
from kanjo.files import reason

Progress = Callable[[int, int], None]
#: Speech never shrinks to a hundredth; an archive that claims it did is a bomb.
_MAX_RATIO, _FREE_OF_RATIO = 100, 1 << 24
_MAX_MEMBERS = 1_000_000
_BLOCK = 1 << 20
#: What archivers add of their own.
_JUNK = ("__MACOSX", ".DS_Store")


@dataclass(frozen=True)
class _Member:
    name: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a (compressed) tar."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(path: Path, folder: Path, only: str = "", progress: Progress | None = None) -> int:
    """Unpack a zip or tar into ``folder``, whole or not at all; returns how many files. What is there of the same name goes.

    The one folder that holds everything is left out; of the rest only what lies under ``only`` is taken. Raises CorpusError for
    a member that would land elsewhere, a link or a device, a size beyond reason or beyond the disk, or a damaged archive.
    """
    try:
        with _opened(path) as members:
            chosen = _chosen(members, path, only)
            total = sum(member.size for member in chosen)
            _measured(path, len(members), total, folder)
            with tempfile.TemporaryDirectory(prefix=".unpacking.", dir=path.parent) as made:
                done = 0
                for n, member in enumerate(chosen, 1):
                    _write(member, Path(made) / member.name, path)
                    done += member.size
                    if progress and (n % 50 == 0 or n == len(chosen)):
                        progress(done, total)
                for child in sorted(Path(made).iterdir()):
                    _moved(child, folder / child.name)
            return len(chosen)
    except OSError as error:
        raise KanjoError(f"can't unpack {path.name} into {folder}: {reason(error)}") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise CorpusError(f"{path.name}: a damaged archive ({' '.join(str(error).split())})") from error


@contextmanager
def _opened(path: Path) -> Iterator[list[_Member]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as zipped:
            yield [_zip_member(zipped, info, path) for info in zipped.infolist() if not info.is_dir()]
        return
    with tarfile.open(path) as tarred:
        yield [_tar_member(tarred, info, path) for info in tarred if not info.isdir()]


def _zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> _Member:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise CorpusError(f"{path.name}: {info.filename} is a link; refused")
    return _Member(_inside(info.filename, path), info.file_size, lambda: zipped.open(info))


def _tar_member(tarred: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> _Member:
    if not info.isreg():
        raise CorpusError(f"{path.name}: {info.name} is a link or a device; refused")

    def opened() -> IO[bytes]:
        stream = tarred.extractfile(info)
        assert stream is not None, "a regular file, as was looked at above"
        return stream

    return _Member(_inside(info.name, path), info.size, opened)


def _inside(name: str, path: Path) -> PurePosixPath:
    """A member's place. Raises CorpusError for one that leads out of the folder."""
    place = PurePosixPath(name.replace("\\", "/"))
    if (
        place.is_absolute()
        or ".." in place.parts
        or ":" in (place.parts or ("",))[0]
        or not place.parts
        or "\0" in name
    ):
        raise CorpusError(f"{path.name}: {name!r} would land outside the folder; refused")
    return place


def _chosen(members: list[_Member], path: Path, only: str) -> list[_Member]:
    kept = [
        member
        for member in members
        if not set(_JUNK) & set(member.name.parts) and not member.name.name.startswith("._")
    ]
    tops = {member.name.parts[0] for member in kept}
    if len(tops) == 1 and all(len(member.name.parts) > 1 for member in kept):
        kept = [_Member(PurePosixPath(*member.name.parts[1:]), member.size, member.open) for member in kept]
    kept = [member for member in kept if not only or member.name.parts[0] == only]
    if not kept:
        raise CorpusError(f"{path.name}: {f'nothing under {only}' if only and members else 'nothing'} in it")
    return kept


def _measured(path: Path, n: int, total: int, folder: Path) -> None:
    packed = path.stat().st_size
    if n > _MAX_MEMBERS or total > max(_MAX_RATIO * packed, _FREE_OF_RATIO):
        raise CorpusError(
            f"{path.name}: {packed:,} bytes that claim to hold {total:,} in {n:,} files; no corpus of speech shrinks so; refused"
        )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise KanjoError(f"{folder}: {total / 1e9:.1f} GB to unpack, {free / 1e9:.1f} GB free; make room and try again")


def _write(member: _Member, place: Path, path: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with member.open() as source, place.open("wb") as out:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise CorpusError(f"{path.name}: {member.name} is larger than the archive says; refused")
            out.write(block)
    if left:
        raise CorpusError(f"{path.name}: {member.name} is smaller than the archive says; it is damaged")


def _moved(source: Path, target: Path) -> None:
    """Move a file or folder to its place, into a folder that is there already."""
    if source.is_dir() and target.is_dir() and not target.is_symlink():
        for child in sorted(source.iterdir()):
            _moved(child, target / child.name)
        source.rmdir()
        return
    if target.is_dir() and not target.is_symlink():
        raise CorpusError(f"{target} is a folder where the archive has a file; move it away and try again")
    source.replace(target)
