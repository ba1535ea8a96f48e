# extras: [train]
# needs: tensorflow-cpu keras
"""Training steps of cnn-lstm-2d and cnn-lstm-1d against the same networks in Keras 3 on TensorFlow: clips a second.

Both take the same input (2D: 128 x 251, batch 32; 1D: 128,000 samples, batch 16), the same loss and Adam; each runs in a process of its own, ours and the
peer's in turn, so that a machine that slows down slows both. Run: make bench-train_step
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

ROUNDS = 3
#: network -> batch, steps that count, steps before them, goals of the ratios.
CASES = {
    "cnn-lstm-2d": (32, 8, 2, {"fp32": 1.6, "bf16": 3.0}),
    "cnn-lstm-1d": (16, 2, 1, {"fp32": 3.0, "bf16": 3.0}),
}


def ours(name: str, precision: str) -> float:
    import torch
    from torch.nn import functional as F

    from kanjo.train.config.loading import load_recipe
    from kanjo.train.tasks.base import system_of
    from kanjo.train.trainer import keep_freed_memory

    keep_freed_memory()  # as training does
    overrides = ["network.read=last"] if name == "cnn-lstm-1d" else []  # as the peer, and the paper, read the LSTM
    network = system_of(load_recipe(name, overrides), 8).network.train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, fused=True)
    batch = CASES[name][0]
    shape = (batch, 1, 128, 251) if name == "cnn-lstm-2d" else (batch, 1, 1, 128_000)
    features = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 8, (batch,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(network(features, None)[0].float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _rate(name, step)


def peer(name: str) -> float:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np
    from keras import layers

    batch = CASES[name][0]
    two = name == "cnn-lstm-2d"
    shape = (128, 251, 1) if two else (128_000, 1)
    convolution, pooling = (layers.Conv2D, layers.MaxPooling2D) if two else (layers.Conv1D, layers.MaxPooling1D)
    stack = [keras.Input(shape)]
    for filters, pool in ((64, 2 if two else 4), (64, 4), (128, 4), (128, 4)):
        stack += [
            convolution(filters, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Activation("elu"),
            pooling(pool),
        ]
    stack += [layers.Reshape((-1, 128)), layers.LSTM(256)] if two else [layers.LSTM(64)]
    network = keras.Sequential([*stack, layers.Dense(8)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(1e-4), loss)
    features = np.random.default_rng(0).normal(size=(batch, *shape)).astype(np.float32)
    labels = np.random.default_rng(0).integers(0, 8, batch)
    return _rate(name, lambda: network.train_on_batch(features, labels))


def _rate(name: str, step: object) -> float:
    batch, steps, warm, _ = CASES[name]
    for _ in range(warm):
        step()  # type: ignore[operator]
    started = time.perf_counter()
    for _ in range(steps):
        step()  # type: ignore[operator]
    return batch * steps / (time.perf_counter() - started)


def _in_process(name: str, what: str) -> float:
    out = subprocess.run([sys.executable, __file__, name, what], capture_output=True, text=True, check=True).stdout
    return float(out.splitlines()[-1])


def main() -> None:
    if len(sys.argv) > 2:
        name, what = sys.argv[1:]
        print(peer(name) if what == "keras" else ours(name, what))
        return
    for name, (batch, _, _, goals) in CASES.items():
        rates: dict[str, list[float]] = {"keras": [], "fp32": [], "bf16": []}
        for _ in range(ROUNDS):
            for what in rates:
                rates[what].append(_in_process(name, what))
        best = {what: sorted(found)[len(found) // 2] for what, found in rates.items()}
        print(f"{name}, training step, batch {batch}, median of {ROUNDS} rounds, clips/s")
        print(f"peer   Keras 3 on TensorFlow, fp32   {best['keras']:7.1f}")
        for what, goal in goals.items():
            print(
                f"ours   PyTorch, {what}                {best[what]:7.1f}   ratio {best[what] / best['keras']:.2f} (goal {goal:g})"
            )
        print(f"ratio {best['bf16'] / best['keras']:.2f} (goal {goals['bf16']:g})", flush=True)


if __name__ == "__main__":
    main()
