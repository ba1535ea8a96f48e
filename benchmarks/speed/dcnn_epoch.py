# extras: [train]
# needs: librosa
"""One epoch of stage 1 of dcnn-blstm-attention (AlexNet on segments), compared with a loop like the reference's.

The reference (github.com/tkhrtnk/DCNN-LSTMWA; reimplemented here with librosa, because torchvision and torchaudio have
no CPU build) reads and transforms every file in every epoch, one at a time, stacks 128 files, and makes one step for
each segment index, in float32, also on padding; then it processes the validation files in the same way. kanjo decodes
once, computes features in the batch, mixes segments of many utterances, and uses bfloat16 if the processor supports it.
Both read the same generated recordings (with the durations of RAVDESS), start from the same random AlexNet, and run in
turn, each in its own process. Result: seconds of an epoch, segments per second, and the fraction of a training step
that features and resizing take. Run: make bench-dcnn_epoch
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

N_TRAIN, N_VALIDATION, BATCH_SIZE, N_ROUNDS = 256, 64, 128, 2
N_EMOTIONS, SAMPLE_RATE, WINDOW_S = 8, 16_000, 4.0
RATIO_GOAL, TRAINING_GOAL, INFERENCE_GOAL, FEATURES_GOAL = 4.0, 45.0, 240.0, 0.10


def write_recordings(folder: Path) -> None:
    """Write pulse trains in noise, of 2.9 to 4.4 s."""
    generator = np.random.default_rng(0)
    for n in range(N_TRAIN + N_VALIDATION):
        t = np.arange(int(SAMPLE_RATE * generator.uniform(2.9, 4.4))) / SAMPLE_RATE
        pitch_hz = 120 + 10 * (n % N_EMOTIONS)
        pulses = 0.1 * np.sign(np.sin(2 * np.pi * pitch_hz * t)) * np.abs(np.sin(2 * np.pi * 2.5 * t))
        signal = (pulses + generator.normal(0, 0.003, len(t))).astype(np.float32)
        soundfile.write(folder / f"{n:03d}.wav", signal, SAMPLE_RATE)


def label_of(n: int) -> int:
    """Label of the recording with this number."""
    return n % N_EMOTIONS


def measure_reference(folder: Path) -> list[float]:
    """Seconds of one epoch: training files, then validation files."""
    import librosa
    import torch
    from torch.nn import functional as F

    from kanjo.train.features.log_mel import IMAGENET_MEAN, IMAGENET_STD
    from kanjo.train.models.alexnet import AlexNet

    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def segment_images(path: Path) -> torch.Tensor:
        signal, _ = librosa.load(path, sr=SAMPLE_RATE)
        signal = librosa.util.fix_length(signal, size=int(WINDOW_S * SAMPLE_RATE))
        signal = np.append(signal[0], signal[1:] - 0.97 * signal[:-1]) + 1e-8
        power = librosa.feature.melspectrogram(
            y=signal, sr=SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=64, fmin=20, fmax=8000, htk=True
        )
        static = np.log(power + 1e-20)
        delta = librosa.feature.delta(static, width=5, mode="nearest")
        delta_delta = librosa.feature.delta(delta, width=5, mode="nearest")
        image = np.stack([static, delta, delta_delta]).astype(np.float32)
        low, high = image.min((1, 2), keepdims=True), image.max((1, 2), keepdims=True)
        normalized = (torch.from_numpy((image - low) / (high - low)) - mean) / std
        starts = range(0, normalized.shape[2] - 63, 32)
        segments = torch.stack([normalized[:, :, start : start + 64] for start in starts])
        return F.interpolate(segments, (227, 227), mode="bilinear", antialias=True)

    model = AlexNet(N_EMOTIONS)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def run_epoch(paths: list[Path], train: bool) -> None:
        for start in range(0, len(paths), BATCH_SIZE):
            batch_paths = paths[start : start + BATCH_SIZE]
            images = torch.stack([segment_images(path) for path in batch_paths])
            labels = torch.tensor([label_of(int(path.stem)) for path in batch_paths])
            for segment in range(images.shape[1]):
                loss = F.cross_entropy(model(images[:, segment]), labels)
                if train:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

    paths = sorted(folder.glob("*.wav"))
    run_epoch(paths[:8], train=True)  # warm-up
    started = time.perf_counter()
    run_epoch(paths[:N_TRAIN], train=True)
    with torch.no_grad():
        run_epoch(paths[N_TRAIN:], train=False)
    return [time.perf_counter() - started]


def measure_kanjo(folder: Path) -> list[float]:
    """Seconds of one epoch, segments/s of training and of inference, and the features' fraction of a training step."""
    import torch

    from kanjo.train.config.loading import load_recipe
    from kanjo.train.data.audio_cache import AudioSlice, build_audio_cache
    from kanjo.train.data.datasets import SegmentDataset, WindowDataset
    from kanjo.train.hardware import keep_freed_memory
    from kanjo.train.models.emotion_model import build_emotion_model
    from kanjo.train.tasks.two_stage import SegmentCnnModule, count_segments

    keep_freed_memory()
    recipe = load_recipe("dcnn-blstm-attention", ["model.weights=none"])
    paths = sorted(folder.glob("*.wav"))
    audio_cache = build_audio_cache([AudioSlice(path) for path in paths], SAMPLE_RATE, folder / "cache")
    labels = [label_of(n) for n in range(len(paths))]
    emotion_model = build_emotion_model(recipe, N_EMOTIONS)

    def segment_dataset(indices: range) -> SegmentDataset:
        windows = WindowDataset(audio_cache, indices, labels, recipe.audio.window)
        return SegmentDataset(windows, count_segments(emotion_model, windows))

    train_set, validation_set = segment_dataset(range(N_TRAIN)), segment_dataset(range(N_TRAIN, len(paths)))
    module = SegmentCnnModule(emotion_model, N_EMOTIONS, recipe.stage1, recipe.augment, None)
    module.add_results = lambda *_: None  # there is no trainer to log to
    optimizer = torch.optim.Adam(module.parameters(), 1e-4, fused=True)
    predict(module, validation_set)  # warm-up
    train_epoch(module, optimizer, SegmentDataset(train_set.windows, [1] * len(train_set.windows)))
    training_s = train_epoch(module, optimizer, train_set)
    module.eval()
    inference_s = predict(module, validation_set)
    return [
        training_s + inference_s,
        train_set.n_segments / training_s,
        validation_set.n_segments / inference_s,
        compute_images(emotion_model, train_set) / training_s,
    ]


def bf16_autocast() -> Any:
    """bfloat16 if the processor supports it."""
    import torch

    from kanjo.train.hardware import use_bf16

    return torch.autocast("cpu", torch.bfloat16, enabled=use_bf16("auto"))


def batches(dataset: Any, shuffle: bool) -> Any:
    """Batches of about ``BATCH_SIZE`` segments."""
    from kanjo.train.data.loaders import build_data_loader

    return build_data_loader(dataset, dataset.n_groups(BATCH_SIZE), shuffle=shuffle)


def train_epoch(module: Any, optimizer: Any, dataset: Any) -> float:
    """Train one epoch; return the seconds."""
    import torch

    started = time.perf_counter()
    for batch in batches(dataset, shuffle=True):
        with bf16_autocast():
            loss = module.training_step(batch, 0)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), module.training_settings.gradient_clip_norm)
            optimizer.step()
    return time.perf_counter() - started


def predict(module: Any, dataset: Any) -> float:
    """Compute the logits of all segments; return the seconds."""
    import torch

    started = time.perf_counter()
    with torch.no_grad(), bf16_autocast():
        for batch in batches(dataset, shuffle=False):
            module.logits(batch)
    return time.perf_counter() - started


def compute_images(emotion_model: Any, dataset: Any) -> float:
    """Compute features and resize them, without the CNN; return the seconds."""
    import torch

    started = time.perf_counter()
    with torch.no_grad(), bf16_autocast():
        for batch in batches(dataset, shuffle=True):
            features, _ = emotion_model.features(batch["signal"])
            emotion_model.model.images(features, batch["row"], batch["segment"])
    return time.perf_counter() - started


SYSTEMS = {"reference": measure_reference, "kanjo": measure_kanjo}


def measure_in_process(system: str, folder: Path) -> list[float]:
    """Run one system in its own process."""
    command = [sys.executable, __file__, system, str(folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(value) for value in output.splitlines()[-1].split()]


def main() -> None:
    if len(sys.argv) > 1:
        print(*SYSTEMS[sys.argv[1]](Path(sys.argv[2])))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_recordings(folder)
        results: dict[str, list[list[float]]] = {system: [] for system in SYSTEMS}
        for _ in range(N_ROUNDS):
            for system, runs in results.items():
                runs.append(measure_in_process(system, folder))
    reference_s = min(results["reference"])[0]
    epoch_s, training_rate, inference_rate, features_fraction = min(results["kanjo"])
    print(f"stage 1, {N_TRAIN} + {N_VALIDATION} utterances, batch {BATCH_SIZE}, better of {N_ROUNDS} rounds")
    print(f"reference   one epoch                           {reference_s:7.1f} s")
    print(f"kanjo       one epoch                           {epoch_s:7.1f} s")
    print(f"kanjo       training, segments/s                {training_rate:7.0f}   (goal {TRAINING_GOAL:g})")
    print(f"kanjo       inference, segments/s               {inference_rate:7.0f}   (goal {INFERENCE_GOAL:g})")
    features_percent, features_goal = 100 * features_fraction, 100 * FEATURES_GOAL
    print(f"kanjo       features and resizing of a step     {features_percent:7.1f} % (goal {features_goal:g})")
    print(f"ratio {reference_s / epoch_s:.2f} (goal {RATIO_GOAL:g})")


if __name__ == "__main__":
    main()
