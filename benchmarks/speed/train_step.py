# extras: [train]
# needs: tensorflow-cpu keras
"""Training steps of cnn-lstm-2d and cnn-lstm-1d compared with the same models in Keras 3 on TensorFlow: clips/s.

Both receive the same input (2D: 128 x 251, batch 32; 1D: 128,000 samples, batch 16), and use the same loss and Adam.
Each runs in its own process; kanjo and Keras run in turn, so that a slower phase of the machine affects both.
Run: make bench-train_step
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

N_ROUNDS = 3
N_EMOTIONS = 8


@dataclass(frozen=True)
class Case:
    """What is measured for one model.

    Attributes:
        batch_size: Clips in a step.
        n_steps: Steps that are measured.
        n_warmup_steps: Steps before them.
        goals: Precision -> goal of the ratio to Keras.
    """

    batch_size: int
    n_steps: int
    n_warmup_steps: int
    goals: dict[str, float]


CASES = {
    "cnn-lstm-2d": Case(32, 8, 2, {"fp32": 1.6, "bf16": 3.0}),
    "cnn-lstm-1d": Case(16, 2, 1, {"fp32": 3.0, "bf16": 3.0}),
}


def measure_kanjo(model_name: str, precision: str) -> float:
    """Clips per second of kanjo's model."""
    import torch
    from torch.nn import functional as F

    from kanjo.train.config.loading import load_recipe
    from kanjo.train.hardware import keep_freed_memory
    from kanjo.train.models.emotion_model import build_emotion_model

    keep_freed_memory()  # as in training
    # the Keras model, like the paper's, uses the last output of the LSTM
    overrides = ["model.aggregation=last"] if model_name == "cnn-lstm-1d" else []
    model = build_emotion_model(load_recipe(model_name, overrides), N_EMOTIONS).model.train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    batch_size = CASES[model_name].batch_size
    shape = (batch_size, 1, 128, 251) if model_name == "cnn-lstm-2d" else (batch_size, 1, 1, 128_000)
    features = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, N_EMOTIONS, (batch_size,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(model(features, None)[0].float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return clips_per_second(CASES[model_name], step)


def measure_keras(model_name: str) -> float:
    """Clips per second of the Keras model."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np
    from keras import layers

    batch_size = CASES[model_name].batch_size
    is_2d = model_name == "cnn-lstm-2d"
    shape = (128, 251, 1) if is_2d else (128_000, 1)
    convolution, pooling = (layers.Conv2D, layers.MaxPooling2D) if is_2d else (layers.Conv1D, layers.MaxPooling1D)
    stack = [keras.Input(shape)]
    for channels, pool in ((64, 2 if is_2d else 4), (64, 4), (128, 4), (128, 4)):
        stack += [
            convolution(channels, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Activation("elu"),
            pooling(pool),
        ]
    stack += [layers.Reshape((-1, 128)), layers.LSTM(256)] if is_2d else [layers.LSTM(64)]
    model = keras.Sequential([*stack, layers.Dense(N_EMOTIONS)])
    model.compile(keras.optimizers.Adam(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    features = np.random.default_rng(0).normal(size=(batch_size, *shape)).astype(np.float32)
    labels = np.random.default_rng(0).integers(0, N_EMOTIONS, batch_size)
    return clips_per_second(CASES[model_name], lambda: model.train_on_batch(features, labels))


def clips_per_second(case: Case, step: Callable[[], object]) -> float:
    """Run the warm-up steps, then measure."""
    for _ in range(case.n_warmup_steps):
        step()
    started = time.perf_counter()
    for _ in range(case.n_steps):
        step()
    return case.batch_size * case.n_steps / (time.perf_counter() - started)


def measure_in_process(model_name: str, system: str) -> float:
    """Measure in a new process; ``system`` is "keras", "fp32" or "bf16"."""
    command = [sys.executable, __file__, model_name, system]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(output.splitlines()[-1])


def main() -> None:
    if len(sys.argv) > 2:
        model_name, system = sys.argv[1:]
        print(measure_keras(model_name) if system == "keras" else measure_kanjo(model_name, system))
        return
    for model_name, case in CASES.items():
        rates: dict[str, list[float]] = {system: [] for system in ("keras", *case.goals)}
        for _ in range(N_ROUNDS):
            for system, values in rates.items():
                values.append(measure_in_process(model_name, system))
        medians = {system: median(values) for system, values in rates.items()}
        print(f"{model_name}, training step, batch {case.batch_size}, median of {N_ROUNDS} rounds, clips/s")
        print(f"Keras 3 on TensorFlow, fp32   {medians['keras']:7.1f}")
        for precision, goal in case.goals.items():
            ratio = medians[precision] / medians["keras"]
            print(f"kanjo, {precision}                   {medians[precision]:7.1f}   ratio {ratio:.2f} (goal {goal:g})")
        print(f"ratio {medians['bf16'] / medians['keras']:.2f} (goal {case.goals['bf16']:g})", flush=True)


if __name__ == "__main__":
    main()
