# extras: [train]
# needs: tensorflow-cpu keras
"""Prediction with cnn-lstm-2d: duration of its parts, and duration and memory of the command in a new process.

The model is compared with Keras's predict of the same model on ready features, in batches of 32.
Run: make bench-predict
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import soundfile

N_CLIPS, N_ROUNDS, BATCH_SIZE = 192, 5, 32
SAMPLE_RATE, CLIP_S = 16_000, 3.7
N_MELS, N_FRAMES = 128, 251
LABELS = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
#: Runs the command and prints the peak memory of its process in kB on stderr.
PEAK_MEMORY_SCRIPT = """
import atexit, sys
from kanjo.cli import main
def peak():
    return next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
atexit.register(lambda: print(peak(), file=sys.stderr))
main()
"""


@dataclass(frozen=True)
class GraphTimes:
    """Durations in ms: the model for one clip and per clip of a batch, and the whole graph for one clip."""

    model: float
    model_in_batch: float
    graph: float


def export_models(folder: Path) -> tuple[Path, Path]:
    """Export a bundle with random weights, and the model without feature extraction; return both paths."""
    import torch

    from kanjo import bundle, files
    from kanjo.train.config.loading import load_recipe
    from kanjo.train.export.onnx import export_onnx
    from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model

    class ReshapeToFeatures(torch.nn.Module):
        """Passes features that were flattened to a signal."""

        def forward(self, signal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = signal.reshape(-1, 1, N_MELS, N_FRAMES)
            return features, torch.full_like(signal[:, 0], N_FRAMES, dtype=torch.long)

    recipe = load_recipe("cnn-lstm-2d")
    emotion_model = build_emotion_model(recipe, len(LABELS)).eval()
    graph = export_onnx(emotion_model, 1.0, recipe.audio.window)
    (folder / "whole.onnx").write_bytes(graph)
    metadata = bundle.BundleMetadata(
        name="benchmark",
        version="0",
        labels=LABELS,
        sample_rate=SAMPLE_RATE,
        window_s=8.0,
        hop_s=4.0,
        sha256=files.sha256(folder / "whole.onnx"),
        license="none",
    )
    bundle.write_bundle(folder / "bundle", graph, metadata)
    model_only = EmotionModel(ReshapeToFeatures(), emotion_model.model, SAMPLE_RATE)  # type: ignore[arg-type]
    (folder / "model.onnx").write_bytes(export_onnx(model_only, 1.0, N_MELS * N_FRAMES))
    return folder / "bundle", folder / "model.onnx"


def median_ms(function: Callable[[], object], n_runs: int = 30) -> float:
    """Median duration of a function in ms, after three calls that are not measured."""
    for _ in range(3):
        function()
    durations_s = []
    for _ in range(n_runs):
        started = time.perf_counter()
        function()
        durations_s.append(time.perf_counter() - started)
    return 1e3 * median(durations_s)


def measure_graphs(bundle: Path, model: Path) -> GraphTimes:
    """Measure with two threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    providers = ["CPUExecutionProvider"]
    graph_session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), options, providers=providers)
    model_session = onnxruntime.InferenceSession(str(model), options, providers=providers)
    generator = np.random.default_rng(0)
    signal = generator.normal(0, 0.1, (1, 8 * SAMPLE_RATE)).astype(np.float32)
    features = generator.normal(size=(BATCH_SIZE, N_MELS * N_FRAMES)).astype(np.float32)
    return GraphTimes(
        model=median_ms(lambda: model_session.run(None, {"signal": features[:1]})),
        model_in_batch=median_ms(lambda: model_session.run(None, {"signal": features}), 8) / BATCH_SIZE,
        graph=median_ms(lambda: graph_session.run(None, {"signal": signal})),
    )


def measure_keras() -> float:
    """Duration per clip of Keras's predict in ms."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    from keras import layers

    stack = [keras.Input((N_MELS, N_FRAMES, 1))]
    for channels, pool in ((64, 2), (64, 4), (128, 4), (128, 4)):
        stack += [layers.Conv2D(channels, 3, padding="same"), layers.BatchNormalization(), layers.Activation("elu")]
        stack += [layers.MaxPooling2D(pool)]
    stack += [layers.Reshape((-1, 128)), layers.LSTM(256), layers.Dense(len(LABELS), "softmax")]
    model = keras.Sequential(stack)
    features = np.random.default_rng(0).normal(size=(BATCH_SIZE, N_MELS, N_FRAMES, 1)).astype(np.float32)
    return median_ms(lambda: model.predict(features, verbose=0), 8) / BATCH_SIZE


def write_clips(folder: Path) -> list[Path]:
    """Write WAV files of noise."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    paths = [folder / f"{i}.wav" for i in range(N_CLIPS)]
    for path in paths:
        signal = generator.normal(0, 0.05, int(CLIP_S * SAMPLE_RATE))
        soundfile.write(path, signal, SAMPLE_RATE, subtype="PCM_16")
    return paths


def measure_folder(bundle: Path, paths: list[Path]) -> tuple[float, float]:
    """Clips per second of predict_many, and of decoding alone."""
    import kanjo
    from kanjo import audio

    recognizer = kanjo.load(bundle)
    list(recognizer.predict_many(paths[:16]))
    rates = []
    for _ in range(3):
        started = time.perf_counter()
        list(recognizer.predict_many(paths))
        rates.append(len(paths) / (time.perf_counter() - started))
    started = time.perf_counter()
    for path in paths:
        audio.load(path, SAMPLE_RATE)
    return median(rates), len(paths) / (time.perf_counter() - started)


def measure_command(arguments: list[str]) -> tuple[float, float]:
    """Median seconds and peak memory in MB of ``kanjo`` in a new process."""
    durations_s = []
    for _ in range(N_ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "kanjo", *arguments], check=True, stdout=subprocess.DEVNULL)
        durations_s.append(time.perf_counter() - started)
    command = [sys.executable, "-c", PEAK_MEMORY_SCRIPT, *arguments]
    stderr = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return median(durations_s), int(stderr.split()[-1]) / 1024


def main() -> None:
    if sys.argv[1:] == ["keras"]:
        print(measure_keras())
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bundle, model = export_models(folder)
        output = subprocess.run([sys.executable, __file__, "keras"], capture_output=True, text=True, check=True).stdout
        keras_ms = float(output.split()[-1])
        times = measure_graphs(bundle, model)
        paths = write_clips(folder / "clips")
        rate, decode_rate = measure_folder(bundle, paths)
        clip_s, clip_mb = measure_command(["predict", str(paths[0])])
        minute = np.random.default_rng(0).normal(0, 0.05, SAMPLE_RATE * 60)
        soundfile.write(folder / "hour.wav", np.tile(minute, 60), SAMPLE_RATE, subtype="PCM_16")
        hour_s, hour_mb = measure_command(["predict", str(folder / "hour.wav"), "--format", "jsonl"])
    features_ms = times.graph - times.model
    limit = "decoding" if decode_rate < 1e3 / times.graph else "the graph"
    print("cnn-lstm-2d, window of 8 s, two threads")
    print(f"model, one clip                {times.model:6.2f} ms (goal 12)")
    print(f"features (graph minus model)   {features_ms:6.2f} ms")
    print(f"features relative to model     {features_ms / times.model:6.2f} (goal 0.25)")
    print(f"model, batches of {BATCH_SIZE}           {times.model_in_batch:6.2f} ms per clip")
    print(f"Keras predict, same batches    {keras_ms:6.2f} ms per clip")
    print(f"folder of clips of {CLIP_S} s       {rate:6.1f} clips/s (goal 60); {limit} is the limit")
    print(f"decoding alone                 {decode_rate:6.1f} clips/s")
    print(f"kanjo predict, new process     {clip_s:6.2f} s, {clip_mb:.0f} MB (goal 1 s, 200 MB; default bundle)")
    print(f"one hour, default bundle       {hour_s:6.1f} s, {hour_mb:.0f} MB (goal 400 MB)")
    print(f"one hour: {3600 / hour_s:.0f} times real time")
    print(f"ratio {keras_ms / times.model_in_batch:.2f} (goal 1)")


if __name__ == "__main__":
    main()
