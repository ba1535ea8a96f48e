"""Export of a model as one ONNX graph, from samples to probabilities."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from kanjo.train.export.onnx_surgery import make_input_optional, remove_traces
from kanjo.train.models.emotion_model import EmotionModel

OPSET_VERSION = 18
MAX_BATCH_SIZE = 4096


class ExportGraph(nn.Module):
    """The module that is exported: feature extractor, model, temperature and softmax.

    Args:
        model: The trained model.
        temperature: Divides the logits.
        temperature_enrolled: Divides the logits where the speaker is enrolled. Without it, the graph has no input
            ``speaker``.
    """

    def __init__(self, model: EmotionModel, temperature: float, temperature_enrolled: float | None = None) -> None:
        super().__init__()
        # These two names become prefixes of the names of the weights in the graph.
        self.feature_extractor, self.model = model.feature_extractor, model.model
        self.temperature, self.temperature_enrolled = temperature, temperature_enrolled

    def forward(self, signal: Tensor, speaker: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute probabilities and embeddings.

        Args:
            signal: Samples (B, N).
            speaker: The speaker's mean embedding and a 1, or zeros without enrollment (B, D + 1).

        Returns:
            Probabilities (B, E) and embeddings (B, D).
        """
        if self.temperature_enrolled is None or speaker is None:
            logits, embedding = self.model(*self.feature_extractor(signal))
            return torch.softmax(logits / self.temperature, dim=1), embedding
        enrolled = speaker[:, -1:]
        logits, embedding = self.model(*self.feature_extractor(signal), speaker[:, :-1], enrolled)
        temperature = self.temperature + enrolled * (self.temperature_enrolled - self.temperature)
        return torch.softmax(logits / temperature, dim=1), embedding


def export_onnx(
    model: EmotionModel, temperature: float, window: int, temperature_enrolled: float | None = None
) -> bytes:
    """Export a model as a serialized ONNX model.

    Args:
        model: The trained model.
        temperature: Divides the logits.
        window: Length of the input in samples.
        temperature_enrolled: Divides the logits where the speaker is enrolled. If given, the graph has the optional
            input ``speaker`` (B or 1, D + 1).

    Returns:
        A model with the input ``signal`` (B, window) and the outputs ``probabilities`` (B, E), ``embedding`` (B, D).
    """
    inputs = {"signal": torch.zeros(2, window)}
    if temperature_enrolled is not None:
        inputs["speaker"] = torch.zeros(2, model.speaker_size + 1)
    module = ExportGraph(model, temperature, temperature_enrolled).cpu().float().eval()
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    exported = _run_exporter(module, inputs)
    remove_traces(exported)
    if "speaker" in inputs:
        make_input_optional(exported, "speaker", np.zeros((1, inputs["speaker"].shape[1]), np.float32))
    onnx.checker.check_model(exported)
    return bytes(exported.SerializeToString())


def _run_exporter(module: nn.Module, inputs: dict[str, Tensor]) -> onnx.ModelProto:
    """Export a module with a variable batch size."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # hides warnings about torchvision's operators
    batch = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH_SIZE)}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # The exporter warns about its own internals. The result is compared with PyTorch afterwards.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=["probabilities", "embedding"],
            dynamic_shapes=(batch,) * len(inputs),
            opset_version=OPSET_VERSION,
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch.onnx.export returned no program, although dynamo=True was given")
        path = Path(folder) / "model.onnx"
        program.save(path, external_data=False)
        return onnx.load(path)
