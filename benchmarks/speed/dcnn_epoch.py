# extras: [train]
# needs: librosa
"""An epoch of the DCNN's finetuning, end to end, against a loop in the reference's style: seconds for the same utterances.

The reference (github.com/tkhrtnk/DCNN-LSTMWA, written anew here with librosa, since torchvision and torchaudio have no CPU
build) reads and transforms every file anew in each epoch, one at a time, stacks 128 files, and steps once for each segment
index, in float32, over padding too; then it goes through the validation files the same way. Ours is `kanjo train`'s own first
stage: recordings packed once, features in the batch, segments of many utterances, bfloat16 where the processor has it. Both
read the same generated recordings (RAVDESS's lengths), start from the same random AlexNet, and run in turn, each in a
process of its own. Beside the ratio: segments a second in training and inference, and the front end's share of a step.
Run: make bench-dcnn_epoch
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

TRAIN, VALIDATION, RATE, WINDOW_S, BATCH, ROUNDS = 256, 64, 16_000, 4.0, 128, 2
GOAL, TRAINED_GOAL, INFERRED_GOAL, SHARE_GOAL = 4.0, 45.0, 240.0, 0.10


def recordings(folder: Path) -> list[Path]:
    """Pulses in noise, of 2.9 to 4.4 s."""
    chance, paths = np.random.default_rng(0), []
    for n in range(TRAIN + VALIDATION):
        t = np.arange(int(RATE * chance.uniform(2.9, 4.4))) / RATE
        voice = 0.1 * np.sign(np.sin(2 * np.pi * (120 + 10 * (n % 8)) * t)) * np.abs(np.sin(2 * np.pi * 2.5 * t))
        paths.append(folder / f"{n:03d}.wav")
        soundfile.write(paths[-1], (voice + chance.normal(0, 0.003, len(t))).astype(np.float32), RATE)
    return paths


def peer(folder: Path) -> list[float]:
    """Seconds of one epoch: training files, then validation files."""
    import librosa
    import torch
    from torch.nn import functional as F

    from kanjo.train.features.log_mel import IMAGENET_DEVIATION, IMAGENET_MEAN
    from kanjo.train.models.alexnet import AlexNet

    mean, deviation = (torch.tensor(values).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))

    def segments(path: Path) -> torch.Tensor:
        signal, _ = librosa.load(path, sr=RATE)
        signal = librosa.util.fix_length(signal, size=int(WINDOW_S * RATE))
        signal = np.append(signal[0], signal[1:] - 0.97 * signal[:-1]) + 1e-8
        power = librosa.feature.melspectrogram(
            y=signal, sr=RATE, n_fft=400, hop_length=160, n_mels=64, fmin=20, fmax=8000, htk=True
        )
        static = np.log(power + 1e-20)
        first = librosa.feature.delta(static, width=5, mode="nearest")
        image = np.stack([static, first, librosa.feature.delta(first, width=5, mode="nearest")]).astype(np.float32)
        low, high = image.min((1, 2), keepdims=True), image.max((1, 2), keepdims=True)
        colours = (torch.from_numpy((image - low) / (high - low)) - mean) / deviation
        cut = torch.stack([colours[:, :, s : s + 64] for s in range(0, colours.shape[2] - 63, 32)])
        return F.interpolate(cut, (227, 227), mode="bilinear", antialias=True)

    network = AlexNet(8)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    paths = sorted(folder.glob("*.wav"))

    def go(part: list[Path], train: bool) -> None:
        for start in range(0, len(part), BATCH):
            batch = torch.stack([segments(path) for path in part[start : start + BATCH]])
            labels = torch.tensor([int(path.stem) % 8 for path in part[start : start + BATCH]])
            for s in range(batch.shape[1]):
                loss = F.cross_entropy(network(batch[:, s]), labels)
                if train:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

    go(paths[:8], True)
    started = time.perf_counter()
    go(paths[:TRAIN], True)
    with torch.no_grad():
        go(paths[TRAIN:], False)
    return [time.perf_counter() - started]


def ours(folder: Path) -> list[float]:
    """Seconds of one epoch, segments/s in training and in inference, and the front end's share of a training step."""
    import torch

    from kanjo.train.config.loading import load_recipe
    from kanjo.train.data.audio_cache import Item, pack
    from kanjo.train.data.datasets import SegmentWindows, Windows, loader
    from kanjo.train.tasks.base import SegmentModule, deep_network, system_of
    from kanjo.train.tasks.two_stage import segment_counts
    from kanjo.train.trainer import in_bf16, keep_freed_memory

    keep_freed_memory()
    recipe = load_recipe("dcnn-blstm-attention", ["network.weights=none"])
    assert recipe.finetune is not None
    packed = pack([Item(path) for path in sorted(folder.glob("*.wav"))], RATE, folder / "cache")
    labels = [n % 8 for n in range(TRAIN + VALIDATION)]
    system = system_of(recipe, 8)
    parts = [
        SegmentWindows(windows, segment_counts(system, windows))
        for side in (range(TRAIN), range(TRAIN, TRAIN + VALIDATION))
        for windows in [Windows(packed, side, labels, recipe.audio.window)]
    ]
    module = SegmentModule(system, 8, recipe.finetune, recipe.augment, None)
    module._note = lambda *_: None  # type: ignore[method-assign]
    optimizer = torch.optim.Adam(module.parameters(), 1e-4, fused=True)
    network = deep_network(system)

    def go(part: SegmentWindows, train: bool) -> float:
        started = time.perf_counter()
        for batch in loader(part, part.items(BATCH), shuffle=train):
            with torch.autocast("cpu", torch.bfloat16, enabled=in_bf16("auto")):
                if train:
                    loss = module.training_step(batch, 0)
                    optimizer.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.finetune.gradient_clip)  # type: ignore[union-attr]
                    optimizer.step()
                else:
                    module.logits(batch)
        return time.perf_counter() - started

    def front_end() -> float:
        started = time.perf_counter()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=in_bf16("auto")):
            for batch in loader(parts[0], parts[0].items(BATCH), shuffle=True):
                features, _ = system.features(batch["signal"])
                network.images(features, batch["row"], batch["segment"])
        return time.perf_counter() - started

    with torch.no_grad():
        go(parts[1], False)
    go(SegmentWindows(parts[0].windows, [1] * TRAIN), True)
    trained = go(parts[0], True)
    module.eval()
    with torch.no_grad():
        inferred = go(parts[1], False)
    return [trained + inferred, parts[0].n_segments / trained, parts[1].n_segments / inferred, front_end() / trained]


def _in_process(what: str, folder: Path) -> list[float]:
    out = subprocess.run(
        [sys.executable, __file__, what, str(folder)], capture_output=True, text=True, check=True
    ).stdout
    return [float(word) for word in out.splitlines()[-1].split()]


def main() -> None:
    if len(sys.argv) > 1:
        print(*(peer if sys.argv[1] == "peer" else ours)(Path(sys.argv[2])))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recordings(folder)
        theirs, own = [], []
        for _ in range(ROUNDS):
            theirs.append(_in_process("peer", folder))
            own.append(_in_process("ours", folder))
    slow, fast = min(theirs)[0], min(own)
    print(
        f"finetuning AlexNet on segments, {TRAIN} + {VALIDATION} utterances, batch {BATCH}, better of {ROUNDS} rounds"
    )
    print(f"peer   reference-style loop, an epoch   {slow:7.1f} s")
    print(f"ours   an epoch                         {fast[0]:7.1f} s")
    print(f"ours   training, segments/s             {fast[1]:7.0f}   (goal {TRAINED_GOAL:g})")
    print(f"ours   inference, segments/s            {fast[2]:7.0f}   (goal {INFERRED_GOAL:g})")
    print(f"ours   front end and resize of a step   {100 * fast[3]:7.1f} % (goal {100 * SHARE_GOAL:g})")
    print(f"ratio {slow / fast[0]:.2f} (goal {GOAL:g})")


if __name__ == "__main__":
    main()
