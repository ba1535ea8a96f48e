"""Recognize emotion in speech.

>>> import kanjo
>>> recognizer = kanjo.load()
>>> recognizer.predict("clip.wav").label  # doctest: +SKIP
'happiness'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kanjo.errors import AudioError, BundleError, CorpusError, KanjoError, RecipeError
from kanjo.inference.prediction import Prediction, Segment
from kanjo.inference.recognizer import Recognizer, load
from kanjo.inference.streaming import Stream

if TYPE_CHECKING:
    from kanjo.experiments.finetune_result import FinetuneResult

__version__ = "0.1.0"

__all__ = [
    "AudioError",
    "BundleError",
    "CorpusError",
    "KanjoError",
    "Prediction",
    "RecipeError",
    "Recognizer",
    "Segment",
    "Stream",
    "__version__",
    "finetune",
    "load",
]


def finetune(
    data: str | Path,
    output: str | Path,
    *,
    corpus_root: str | Path | None = None,
    from_scratch: str = "",
    n_folds: int | None = None,
    resume: bool = False,
    threads: int = 0,
) -> FinetuneResult:
    """Fit the heads of the built-in model to your own recordings. Needs the extra ``train``.

    Args:
        data: A folder with one sub-folder for each class, a table, a manifest, or the name of a published corpus.
        output: The run folder, which must be empty or absent unless ``resume`` is true.
        corpus_root: The folder of the published corpora, if ``data`` is the name of one.
        from_scratch: Name or file of a recipe to train instead.
        n_folds: Folds of the cross-validation (default: five under 500 clips, else one split).
        resume: Continue an interrupted run.
        threads: CPU cores to use; 0: all.

    Returns:
        The scores of the original and of the new model on the same clips, and the folder of the bundle.

    Raises:
        KanjoError: The data can't be used, or the folder can't be written.
    """
    from kanjo.errors import requires_extra

    with requires_extra("train", "training needs PyTorch"):
        from kanjo.experiments import finetune as experiment
    from kanjo.experiments.reporter import NullReporter

    options = experiment.FinetuneOptions(from_scratch, n_folds, resume, threads)
    root = str(corpus_root) if corpus_root else None
    return experiment.finetune(data, Path(output), root, options, NullReporter())
