"""Train a model on your own recordings. Run: python examples/train_own_corpus.py TABLE.csv

TABLE.csv has the columns ``file`` and ``emotion``, and ``speaker`` if available: only with speakers is the score
speaker-independent. The bundle is written to runs/own/bundle. Needs: pip install 'kanjo[train]'.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RECIPE = """
name: own
corpora: [{{name: own, path: "{table}"}}]
split: {{protocol: speaker_kfold, n_folds: 5}}
audio: {{window_s: 4.0, hop_s: 2.0, placement: random}}
model: {{type: cnn-lstm-2d, pools: [[2, 2], [4, 2], [4, 2], [4, 1]], dropout: 0.3}}
augment: {{max_speed_change: 0.1, gain_db: 6, frequency_masks: 2, time_masks: 2, mixup_alpha: 0.3}}
training: {{epochs: 40, label_smoothing: 0.1}}
"""


def main() -> None:
    """Write a recipe, check the table, and train."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    table = Path(sys.argv[1]).resolve()
    recipe = Path("own.yaml")
    recipe.write_text(RECIPE.format(table=table), encoding="utf-8")
    kanjo = [sys.executable, "-m", "kanjo"]
    subprocess.run([*kanjo, "corpus", "check", "own", str(table)], check=True)
    subprocess.run([*kanjo, "train", str(recipe), "-o", "runs/own"], check=True)
    print("Predict with the new model: kanjo predict --model runs/own recording.wav")


if __name__ == "__main__":
    main()
