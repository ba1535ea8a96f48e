"""Files of arrays whose damage is found when they are read: ``.npz`` with the checksum of each array."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo.files import atomic_write

#: An array of any type.
Array = npt.NDArray[np.generic]


class DamagedFileError(Exception):
    """A file is cut short, has other content than was written, or can't be read."""


def save_arrays(path: Path, **arrays: npt.ArrayLike) -> None:
    """Write arrays, completely or not at all.

    Raises:
        KanjoError: The file can't be written, for example because the disk is full.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        values: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
        np.savez(stream, **values)


def load_arrays(path: Path) -> dict[str, Array]:
    """Read arrays, and verify their checksums.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFileError: The file is damaged or can't be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise DamagedFileError(f"{damaged} has another checksum than was written")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (
        OSError,
        ValueError,  # including errors of Unicode
        EOFError,
        KeyError,
        IndexError,
        OverflowError,
        RuntimeError,  # including NotImplementedError
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
    ) as error:
        raise DamagedFileError(" ".join(str(error).split()) or type(error).__name__) from error
