"""Unpack archives safely: nothing outside the folder, no archive bombs, all files or none."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from kanjo.errors import CorpusError, KanjoError
from kanjo.files import os_error_message

#: Called with the number of bytes done and in total.
Progress = Callable[[int, int], None]

#: First part of the names of folders that files are unpacked into.
UNPACKING_PREFIX = ".unpacking."
#: Speech is never compressed to a hundredth of its size; an archive that claims this is a bomb. Small ones are exempt.
_MAX_RATIO, _MAX_BYTES_AT_ANY_RATIO = 100, 1 << 24
_MAX_MEMBERS = 1_000_000
_BLOCK_BYTES = 1 << 20
#: Files that macOS adds to archives.
_JUNK = ("__MACOSX", ".DS_Store")


#: First bytes of zip, gzip, bzip2 and xz.
_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
_TAR_BLOCK_BYTES = 512


class DamagedArchiveError(CorpusError):
    """An archive is damaged or not complete; it must be downloaded again."""


@dataclass(frozen=True)
class _Member:
    """A file in an archive."""

    path: PurePosixPath
    size_bytes: int
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip or a (compressed) tar, also a damaged or unfinished one."""
    with path.open("rb") as stream:
        if stream.read(8).startswith(_MAGIC):
            return True
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(path: Path, folder: Path, only: str = "", progress: Progress | None = None) -> int:
    """Unpack a zip or tar into a folder: all files or none. Existing files with the same names are replaced.

    Args:
        path: The archive. Its single top folder, if it has one, is left out.
        folder: Where the files go.
        only: Unpack only this folder of the archive; "" unpacks everything.
        progress: Called with the number of bytes done and in total.

    Returns:
        The number of unpacked files.

    Raises:
        DamagedArchiveError: The archive is damaged or not complete.
        CorpusError: The archive is implausibly large, or has a link, a device, or a path outside the folder.
        KanjoError: The disk is full or can't be written.
    """
    try:
        with _open_members(path) as all_members:
            members = _select_members(all_members, path, only)
            total_bytes = sum(member.size_bytes for member in members)
            _check_size(path, len(all_members), total_bytes, folder)
            with tempfile.TemporaryDirectory(prefix=UNPACKING_PREFIX, dir=path.parent) as temporary:
                _write_members(members, Path(temporary), path, total_bytes, progress)
                for child in sorted(Path(temporary).iterdir()):
                    _move(child, folder / child.name)
            return len(members)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        NotImplementedError,
        RuntimeError,
        UnicodeError,
    ) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # the checksum of gzip or bzip2
            raise _damaged(path, error) from error
        raise KanjoError(f"can't unpack {path.name} into {folder}: {os_error_message(error)}") from error


def _damaged(path: Path, reason: Exception | str) -> DamagedArchiveError:
    text = " ".join(str(reason).split())
    return DamagedArchiveError(f"{path.name}: the archive is damaged or not complete ({text}); download it again")


@contextmanager
def _open_members(path: Path) -> Iterator[list[_Member]]:
    """Open an archive and list its files. A zip has its list at the end."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield [_zip_member(archive, info, path) for info in archive.infolist() if not info.is_dir()]
        return
    with path.open("rb") as stream:
        if stream.read(2) == b"PK":
            raise _damaged(path, "the list of its files, which is at the end, is missing")
    with tarfile.open(path) as tar:
        members = [_tar_member(tar, info, path) for info in tar if not info.isdir()]
        _check_end(tar, path)
        yield members


def _check_end(tar: tarfile.TarFile, path: Path) -> None:
    """Check that a tar ends with a block of zeros, and read to the end of the file.

    Python takes a damaged header for the end of the archive. It verifies the checksum of a compressed file only when
    it reads the last byte.
    """
    stream = tar.fileobj
    if stream is None:
        return
    stream.seek(tar.offset)
    end = stream.read(_TAR_BLOCK_BYTES)
    if len(end) < _TAR_BLOCK_BYTES or any(end):
        raise _damaged(path, f"no end of the archive at byte {tar.offset:,}")
    while stream.read(_BLOCK_BYTES):
        pass


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> _Member:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise CorpusError(f"{path.name}: {info.filename} is a link; kanjo unpacks only regular files")
    return _Member(_safe_path(info.filename, path), info.file_size, lambda: archive.open(info))


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> _Member:
    not_regular = CorpusError(f"{path.name}: {info.name} is a link or a device; kanjo unpacks only regular files")
    if not info.isreg():
        raise not_regular

    def open_member() -> IO[bytes]:
        stream = archive.extractfile(info)
        if stream is None:
            raise not_regular
        return stream

    return _Member(_safe_path(info.name, path), info.size, open_member)


def _safe_path(name: str, archive_path: Path) -> PurePosixPath:
    """Return the relative path of a member. Raises CorpusError if it is outside the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    has_drive = ":" in (path.parts or ("",))[0]
    if path.is_absolute() or has_drive or ".." in path.parts or not path.parts or "\0" in name:
        raise CorpusError(
            f"{archive_path.name}: the path {name!r} is outside the folder; this archive is not safe to unpack"
        )
    return path


def _select_members(members: Sequence[_Member], path: Path, only: str) -> list[_Member]:
    """Drop junk, the single top folder, and all files that are not in the folder ``only``."""
    selected = [
        member
        for member in members
        if not set(_JUNK) & set(member.path.parts) and not member.path.name.startswith("._")
    ]
    top_folders = {member.path.parts[0] for member in selected}
    if len(top_folders) == 1 and all(len(member.path.parts) > 1 for member in selected):
        selected = [replace(member, path=PurePosixPath(*member.path.parts[1:])) for member in selected]
    selected = [member for member in selected if not only or member.path.parts[0] == only]
    if not selected:
        content = f"no files in the folder {only}" if only and members else "no files"
        raise CorpusError(f"{path.name}: the archive contains {content}; expected recordings")
    return selected


def _check_size(path: Path, n_members: int, total_bytes: int, folder: Path) -> None:
    archive_bytes = path.stat().st_size
    if n_members > _MAX_MEMBERS or total_bytes > max(_MAX_RATIO * archive_bytes, _MAX_BYTES_AT_ANY_RATIO):
        raise CorpusError(
            f"{path.name}: an archive of {archive_bytes:,} bytes claims to contain {total_bytes:,} bytes in "
            f"{n_members:,} files; speech can't be compressed so much, so kanjo does not unpack it"
        )
    free_bytes = shutil.disk_usage(folder).free
    if total_bytes > free_bytes:
        raise KanjoError(
            f"{folder}: {total_bytes / 1e9:.1f} GB to unpack, {free_bytes / 1e9:.1f} GB free; "
            "free some space and try again"
        )


def _write_members(
    members: Sequence[_Member], folder: Path, path: Path, total_bytes: int, progress: Progress | None
) -> None:
    done_bytes = 0
    for n, member in enumerate(members, 1):
        _write_member(member, folder / member.path, path)
        done_bytes += member.size_bytes
        if progress and (n % 50 == 0 or n == len(members)):
            progress(done_bytes, total_bytes)


def _write_member(member: _Member, target: Path, path: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    remaining = member.size_bytes
    with member.open() as source, target.open("wb") as output:
        while block := source.read(_BLOCK_BYTES):
            remaining -= len(block)
            if remaining < 0:
                raise CorpusError(
                    f"{path.name}: {member.path} is larger than the {member.size_bytes:,} bytes that the archive "
                    "states; the archive is damaged or not safe to unpack"
                )
            output.write(block)
    if remaining:
        raise _damaged(path, f"{member.path} is smaller than the {member.size_bytes:,} bytes that it states")


def _move(source: Path, target: Path) -> None:
    """Move a file or folder; merge folders that already exist."""
    target_is_folder = target.is_dir() and not target.is_symlink()
    if source.is_dir() and target_is_folder:
        for child in sorted(source.iterdir()):
            _move(child, target / child.name)
        source.rmdir()
        return
    if target_is_folder:
        raise CorpusError(f"{target} is a folder, but the archive has a file with this name; move it and try again")
    source.replace(target)
