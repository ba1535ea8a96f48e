# extras: [train]
# needs: tensorflow-cpu keras
"""Training step of cnn-lstm-2d at batch 32 against the same network in Keras 3 on TensorFlow: clips a second.

Both take the same features (128 x 251), the same loss, Adam and batch; each runs in a process of its own, ours and the
peer's in turn, so that a machine that slows down slows both. Run: make bench-train_step
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

BATCH, STEPS, WARM, ROUNDS = 32, 8, 2, 3
GOALS = {"fp32": 1.6, "bf16": 3.0}


def ours(precision: str) -> float:
    import torch
    from torch.nn import functional as F

    from kanjo.train.module import system_of
    from kanjo.train.optimise import keep_freed_memory
    from kanjo.train.recipe import load_recipe

    keep_freed_memory()  # as training does
    network = system_of(load_recipe("cnn-lstm-2d"), 8).network.train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, fused=True)
    features = torch.randn(BATCH, 1, 128, 251).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 8, (BATCH,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(network(features)[0].float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _rate(step)


def peer() -> float:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np
    from keras import layers

    stack = [keras.Input((128, 251, 1))]
    for filters, pool in ((64, 2), (64, 4), (128, 4), (128, 4)):
        stack += [layers.Conv2D(filters, 3, padding="same"), layers.BatchNormalization(), layers.Activation("elu")]
        stack += [layers.MaxPooling2D(pool)]
    network = keras.Sequential([*stack, layers.Reshape((-1, 128)), layers.LSTM(256), layers.Dense(8)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(1e-4), loss)
    features = np.random.default_rng(0).normal(size=(BATCH, 128, 251, 1)).astype(np.float32)
    labels = np.random.default_rng(0).integers(0, 8, BATCH)
    return _rate(lambda: network.train_on_batch(features, labels))


def _rate(step: object) -> float:
    for _ in range(WARM):
        step()  # type: ignore[operator]
    started = time.perf_counter()
    for _ in range(STEPS):
        step()  # type: ignore[operator]
    return BATCH * STEPS / (time.perf_counter() - started)


def _in_process(what: str) -> float:
    out = subprocess.run([sys.executable, __file__, what], capture_output=True, text=True, check=True).stdout
    return float(out.splitlines()[-1])


def main() -> None:
    if len(sys.argv) > 1:
        print(peer() if sys.argv[1] == "keras" else ours(sys.argv[1]))
        return
    rates: dict[str, list[float]] = {"keras": [], "fp32": [], "bf16": []}
    for _ in range(ROUNDS):
        for what in rates:
            rates[what].append(_in_process(what))
    best = {what: sorted(found)[len(found) // 2] for what, found in rates.items()}
    print(f"cnn-lstm-2d, training step, batch {BATCH}, median of {ROUNDS} rounds, clips/s")
    print(f"peer   Keras 3 on TensorFlow, fp32   {best['keras']:7.1f}")
    for what, goal in GOALS.items():
        print(f"ours   PyTorch, {what}                {best[what]:7.1f}   ratio {best[what] / best['keras']:.2f} (goal {goal:g})")
    print(f"ratio {best['bf16'] / best['keras']:.2f} (goal {GOALS['bf16']:g})")


if __name__ == "__main__":
    main()
