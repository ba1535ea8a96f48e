"""Recognize emotion in speech.

>>> import kanjo
>>> recognizer = kanjo.load()
>>> recognizer.predict("clip.wav").label  # doctest: +SKIP
'happiness'
"""

from kanjo.errors import AudioError, BundleError, CorpusError, KanjoError, RecipeError
from kanjo.inference.prediction import Prediction, Segment
from kanjo.inference.recognizer import Recognizer, load
from kanjo.inference.streaming import Stream

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
    "load",
]
