"""Predict the emotion of the example recordings. Run: python examples/predict.py"""

from pathlib import Path

import kanjo

recognizer = kanjo.load()
for prediction in recognizer.predict_many(sorted(Path(__file__).parent.glob("recordings/*.flac"))):
    print(prediction.file, prediction.label, f"{prediction.confidence:.0%}", *prediction.warnings)
