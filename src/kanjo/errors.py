"""Everything kanjo raises on purpose: one line that says what was found, what was expected and what to do."""

from __future__ import annotations


class KanjoError(Exception):
    """Base of every error that kanjo raises on purpose."""


class AudioError(KanjoError):
    """A recording that can't be read, or holds no usable samples."""


class CorpusError(KanjoError):
    """A corpus, manifest or split that isn't what it should be."""


class RecipeError(KanjoError):
    """A recipe with an unknown key, a value out of range, or two values that contradict each other."""


class BundleError(KanjoError):
    """A bundle that is missing, changed, too new, or not a bundle."""
