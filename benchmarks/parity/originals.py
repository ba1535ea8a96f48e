"""Import the modules of the original repositories, without a change of their files, and print what was replaced."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import soundfile
import torch

#: What the compared functions do not need.
_UNUSED = ("h5py", "pygame", "tqdm", "matplotlib", "matplotlib.pyplot")
#: What was replaced in the imported modules, for the output.
replaced: list[str] = []


@dataclass(frozen=True)
class Row:
    """A line of the table: the largest difference of a quantity over ``n`` clips or files."""

    quantity: str
    difference: float | str
    unit: str
    n: int | str
    cause: str = ""

    def __str__(self) -> str:
        value = self.difference if isinstance(self.difference, str) else f"{self.difference:.2g}"
        return f"| {self.quantity} | {value} | {self.unit} | {self.n} | {self.cause} |"


def not_compared(quantity: str, reason: object) -> Row:
    """A line for what could not be compared."""
    return Row(quantity, "not compared", "", "", " ".join(str(reason).split())[:100])


@contextmanager
def folder_on_path(folder: Path) -> Iterator[None]:
    """Import from a folder, and forget its modules after that: the repositories have modules of the same names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(folder)):
                del sys.modules[name]


def load_modules(folder: Path, *names: str) -> list[ModuleType]:
    """Import modules of a checkout; packages that they import but do not need are replaced where they are missing."""
    for name in _UNUSED:
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = MagicMock()
            replaced.append(f"{name}: not installed, not needed; an empty module")
    with folder_on_path(folder.resolve()):
        return [importlib.import_module(name) for name in names]


def replace_old_calls() -> None:
    """Replace the calls of the originals that no longer work in the installed versions."""
    import torchaudio

    def load(filepath: str) -> tuple[torch.Tensor, int]:
        samples, rate = soundfile.read(filepath, dtype="float32", always_2d=True)
        return torch.from_numpy(np.ascontiguousarray(samples.T)), rate

    torchaudio.load = load
    replaced.append("torchaudio.load: soundfile.read (torchaudio 2.9 and later need another package to read files)")


def replace_keras_optimizer() -> None:
    """Let the 1D port's ``SGD(lr=..., decay=...)`` pass in Keras 3; optimizers do not take part in the comparison."""
    from keras import optimizers

    sgd = optimizers.SGD

    def without_old_arguments(**options: Any) -> Any:
        options.pop("decay", None)
        return sgd(learning_rate=options.pop("lr", 0.01), **options)

    optimizers.SGD = without_old_arguments
    replaced.append("keras.optimizers.SGD: lr and decay, which Keras 3 does not know (not compared)")
