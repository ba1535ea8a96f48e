"""The README's six lines. Run: python examples/six_lines.py"""

from pathlib import Path

import kanjo

recognizer = kanjo.load()
for answer in recognizer.predict_many(sorted(Path(__file__).parent.glob("recordings/*.flac"))):
    print(answer.file, answer.label, f"{answer.confidence:.0%}", *answer.warnings)
