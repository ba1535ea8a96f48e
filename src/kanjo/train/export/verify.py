"""Comparison of an ONNX graph with the PyTorch model: both must give the same probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kanjo.bundle import BundleMetadata
from kanjo.inference import onnx_session
from kanjo.train.export.onnx_surgery import OOD_OUTPUT
from kanjo.train.models.emotion_model import EmotionModel

#: Probabilities of PyTorch and ONNX Runtime may differ by this much.
MAX_DIFFERENCE = 1e-4


def max_probability_difference(
    model: EmotionModel, graph: Path | bytes, metadata: BundleMetadata, signals: Iterable[Tensor]
) -> float:
    """Compute the largest difference between the probabilities of a model and of a bundle's graph.

    An int8 graph runs one window at a time, because it scales activations by the maximum of the whole batch.

    Args:
        model: The PyTorch model. It is set to evaluation mode.
        graph: The bundle's graph.
        metadata: The bundle's metadata, which has the temperature.
        signals: Batches of windows (B, N).

    Returns:
        The largest absolute difference, NaN if a probability is NaN.
    """
    session = onnx_session.create_session(graph, torch.get_num_threads())
    names = [output.name for output in session.get_outputs() if output.name in ("probabilities", OOD_OUTPUT)]
    model.eval()
    differences = []
    if "int8" in metadata.quantization:
        signals = (window for signal in signals for window in torch.split(signal, 1))
    with torch.inference_mode():
        for signal in signals:
            outputs = dict(zip(names, session.run(names, {"signal": signal.numpy()}), strict=True))
            probabilities = outputs["probabilities"]
            ood_scores = outputs.get(OOD_OUTPUT, np.zeros(len(signal), np.float32))
            temperature = torch.from_numpy(metadata.temperature_at(ood_scores))[:, None]
            expected = torch.softmax(model(signal)[0] / temperature, 1).numpy()
            differences.append(np.abs(expected - probabilities).max())
    return float(np.max(differences))
