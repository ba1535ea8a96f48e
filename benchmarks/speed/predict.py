# extras: [train]
# needs: tensorflow-cpu keras
"""Prediction with cnn-lstm-2d: what takes how long, and what one recording costs from a cold shell.

Peer: Keras's predict of the same network on ready features, batches of 32. Run: make bench-predict
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

CLIPS, ROUNDS = 192, 5


def exported(folder: Path) -> tuple[Path, Path]:
    """A bundle of the whole graph (random weights: speed doesn't ask what they are), and the network alone."""
    import torch

    from kanjo import bundle, files
    from kanjo.train.config.loading import load_recipe
    from kanjo.train.export.onnx import to_onnx
    from kanjo.train.tasks.base import System, system_of

    class AsFeatures(torch.nn.Module):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            return signal.reshape(-1, 1, 128, 251)

    recipe = load_recipe("cnn-lstm-2d")
    system = system_of(recipe, 8).eval()
    graph = to_onnx(system, 1.0, recipe.audio.window)
    (folder / "draft.onnx").write_bytes(graph)
    labels = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    facts = bundle.Facts("bench", "0", labels, 16_000, 8.0, 4.0, files.sha256(folder / "draft.onnx"), "none")
    bundle.write(folder / "bundle", graph, facts)
    alone = System(AsFeatures(), system.network)  # type: ignore[arg-type]
    (folder / "network.onnx").write_bytes(to_onnx(alone, 1.0, 128 * 251))
    return folder / "bundle", folder / "network.onnx"


def milliseconds(run: Callable[[], object], repeats: int = 30) -> float:
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return 1e3 * sorted(times)[repeats // 2]


def graphs(bundle: Path, network: Path) -> tuple[float, float, float]:
    chance = np.random.default_rng(0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    whole = onnxruntime.InferenceSession(str(bundle / "model.onnx"), options, providers=["CPUExecutionProvider"])
    alone = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
    signal = chance.normal(0, 0.1, (1, 128_000)).astype(np.float32)
    features = chance.normal(size=(32, 128 * 251)).astype(np.float32)
    one = milliseconds(lambda: alone.run(None, {"signal": features[:1]}))
    batch = milliseconds(lambda: alone.run(None, {"signal": features}), 8) / 32
    both = milliseconds(lambda: whole.run(None, {"signal": signal}))
    return one, batch, both


def keras_predict() -> float:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    from keras import layers

    stack = [keras.Input((128, 251, 1))]
    for filters, pool in ((64, 2), (64, 4), (128, 4), (128, 4)):
        stack += [layers.Conv2D(filters, 3, padding="same"), layers.BatchNormalization(), layers.Activation("elu")]
        stack += [layers.MaxPooling2D(pool)]
    network = keras.Sequential([*stack, layers.Reshape((-1, 128)), layers.LSTM(256), layers.Dense(8, "softmax")])
    features = np.random.default_rng(0).normal(size=(32, 128, 251, 1)).astype(np.float32)
    return milliseconds(lambda: network.predict(features, verbose=0), 8) / 32


def clips(folder: Path) -> list[Path]:
    chance = np.random.default_rng(0)
    folder.mkdir()
    paths = [folder / f"{i}.wav" for i in range(CLIPS)]
    for path in paths:
        soundfile.write(path, chance.normal(0, 0.05, int(3.7 * 16_000)), 16_000, subtype="PCM_16")
    return paths


def folder_rate(bundle: Path, paths: list[Path]) -> tuple[float, float]:
    """Clips a second through predict_many, and of decoding alone."""
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
        audio.load(path, 16_000)
    return sorted(rates)[1], len(paths) / (time.perf_counter() - started)


def cold(arguments: list[str]) -> tuple[float, float]:
    """Seconds of wall time (median) and peak MB of the command in a process of its own."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "kanjo", *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    code = "import sys; from kanjo.cli import main; import atexit\n"
    code += "peak = lambda: next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
    code += "atexit.register(lambda: print(peak(), file=sys.stderr)); main()"
    err = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True).stderr
    return sorted(times)[ROUNDS // 2], int(err.split()[-1]) / 1024


def main() -> None:
    if sys.argv[1:] == ["keras"]:
        print(keras_predict())
        return
    with tempfile.TemporaryDirectory() as scratch:
        bundle, network = exported(Path(scratch))
        peer = float(
            subprocess.run(
                [sys.executable, __file__, "keras"], capture_output=True, text=True, check=True
            ).stdout.split()[-1]
        )
        one, batch, both = graphs(bundle, network)
        paths = clips(Path(scratch) / "clips")
        rate, decode_rate = folder_rate(bundle, paths)
        seconds, megabytes = cold(["predict", str(paths[0])])
        hour = Path(scratch) / "hour.wav"
        soundfile.write(
            hour, np.tile(np.random.default_rng(0).normal(0, 0.05, 16_000 * 60), 60), 16_000, subtype="PCM_16"
        )
        hour_seconds, hour_megabytes = cold(["predict", str(hour), "--format", "jsonl"])
    front = both - one
    print("cnn-lstm-2d, 8 s window, two threads")
    print(f"network alone, one clip        {one:6.2f} ms  (goal 12)")
    print(f"front end (whole graph less)   {front:6.2f} ms  = {front / one:.2f} of the network (goal 0.25)")
    print(f"network, batches of 32         {batch:6.2f} ms a clip;  Keras predict {peer:.2f}")
    limit = "decoding" if decode_rate < 1e3 / both else "the graph"
    print(
        f"folder of 3.7 s clips          {rate:6.1f} clips/s  (goal 60); decoding alone {decode_rate:.0f}/s, so {limit} limits"
    )
    print(
        f"kanjo predict one.wav, cold    {seconds:6.2f} s, {megabytes:.0f} MB  (goal 1 s, 200 MB; the default bundle)"
    )
    print(
        f"an hour, default bundle        {hour_seconds:6.1f} s, {hour_megabytes:.0f} MB  (goal 400 MB), {3600 / hour_seconds:.0f}x real time"
    )
    print(f"ratio {peer / batch:.2f} (goal 1)")


if __name__ == "__main__":
    main()
