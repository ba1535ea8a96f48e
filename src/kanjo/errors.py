"""Errors of kanjo. Each message is one line: what was found, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class KanjoError(Exception):
    """Base class of all errors of kanjo."""


class AudioError(KanjoError):
    """A recording can't be decoded, or contains no usable samples."""


class CorpusError(KanjoError):
    """A corpus, manifest or split is missing, damaged or not valid."""


class RecipeError(KanjoError):
    """A recipe has an unknown key, a value out of range, or two values that contradict each other."""


class BundleError(KanjoError):
    """A bundle is missing, was changed or damaged, or has another format."""


@contextmanager
def requires_extra(extra: str, problem: str) -> Iterator[None]:
    """Report a package that is not installed in one line; put the import into the ``with`` block.

    Args:
        extra: The extra of kanjo that installs the package.
        problem: What needs which package, such as "figures need matplotlib".

    Raises:
        KanjoError: The import failed.
    """
    try:
        yield
    except ImportError as error:
        raise KanjoError(f"{problem}: pip install 'kanjo[{extra}]'") from error
