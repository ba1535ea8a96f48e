"""kanjo recognises emotion in speech.

>>> import kanjo
>>> recognizer = kanjo.load()
>>> recognizer.predict("clip.wav").label  # doctest: +SKIP
'happiness'
"""

from kanjo.errors import AudioError, BundleError, CorpusError, KanjoError, RecipeError
from kanjo.prediction import Prediction, Segment
from kanjo.recognizer import Recognizer, load
from kanjo.stream import Stream

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
