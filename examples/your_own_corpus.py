"""From recordings of your own to a trained bundle. Run: python examples/your_own_corpus.py TABLE.csv

TABLE.csv has the columns file and emotion, and, for an honest score, speaker. Needs: pip install 'kanjo[train]'.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RECIPE = """
name: mine
corpora: [{{name: own, path: "{table}"}}]
split: {{protocol: speakers-k, k: 5}}
audio: {{window_s: 4.0, hop_s: 2.0, placement: random}}
network: {{type: cnn-lstm-2d, pools: [[2, 2], [4, 2], [4, 2], [4, 1]], dropout: 0.3}}
augment: {{speed: 0.1, gain_db: 6, frequency_masks: 2, time_masks: 2, mixup: 0.3}}
training: {{epochs: 40, label_smoothing: 0.1}}
"""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    table = Path(sys.argv[1]).resolve()
    recipe = Path("mine.yaml")
    recipe.write_text(RECIPE.format(table=table), encoding="utf-8")
    kanjo = [sys.executable, "-m", "kanjo"]
    subprocess.run([*kanjo, "corpus", "check", "own", str(table)], check=True)
    subprocess.run([*kanjo, "train", str(recipe), "-o", "runs/mine"], check=True)
    print("now: kanjo predict --model runs/mine recording.wav")


if __name__ == "__main__":
    main()
