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

from kanjo.inference.onnx_session import TIME_STEPS
from kanjo.train.export import graph_template
from kanjo.train.export.onnx_surgery import make_input_optional, pad_length, remove_traces
from kanjo.train.models.emotion_model import EmotionModel

OPSET_VERSION = 18
MAX_BATCH_SIZE = 4096
#: Samples that the length of an input is padded to a multiple of inside a graph with inputs of any length.
LENGTH_UNIT = 8000
_UNUSUAL_NUMBERS = (1.2360679, 0.4142135)


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
        self.uses_speaker = temperature_enrolled is not None
        self.temperature: Tensor
        self.temperature_change: Tensor
        # As buffers they keep their names in the graph.
        self.register_buffer("temperature", torch.tensor(temperature), persistent=False)
        change = 0.0 if temperature_enrolled is None else temperature_enrolled - temperature
        self.register_buffer("temperature_change", torch.tensor(change), persistent=False)

    def forward(self, signal: Tensor, speaker: Tensor | None = None) -> tuple[Tensor, ...]:
        """Compute probabilities and embeddings.

        Args:
            signal: Samples (B, N).
            speaker: The speaker's mean embedding and a 1, or zeros without enrollment (B, D + 1).

        Returns:
            Probabilities (B, E) and embeddings (B, D); for a model that classifies time steps also their probabilities
            (B, K, E).
        """
        inputs, temperature = self.feature_extractor(signal), self.temperature
        if self.uses_speaker and speaker is not None:
            enrolled = speaker[:, -1:]
            inputs = (*inputs, speaker[:, :-1], enrolled)
            temperature = self.temperature + enrolled * self.temperature_change
        if not classifies_time_steps(self.model):
            logits, embedding = self.model(*inputs)
            return torch.softmax(logits / temperature, dim=1), embedding
        logits, embedding, step_logits = self.model.classify_time_steps(*inputs)
        step_temperature = temperature.unsqueeze(-1) if temperature.ndim else temperature
        step_probabilities = torch.softmax(step_logits / step_temperature, dim=2)
        return torch.softmax(logits / temperature, dim=1), embedding, step_probabilities


def classifies_time_steps(model: nn.Module) -> bool:
    """Whether a model takes inputs of any length up to its window, and also classifies their time steps."""
    return hasattr(model, "classify_time_steps")


def export_onnx(
    model: EmotionModel,
    temperature: float,
    window: int,
    temperature_enrolled: float | None = None,
    *,
    structure: str = "",
) -> bytes:
    """Export a model as a serialized ONNX model.

    Args:
        model: The trained model.
        temperature: Divides the logits.
        window: Length of the input in samples.
        temperature_enrolled: Divides the logits where the speaker is enrolled. If given, the graph has the optional
            input ``speaker`` (B or 1, D + 1).
        structure: Describes everything about the model but its weights. If the previous export had the same
            description, its graph is used again with the new weights, where this is possible.

    Returns:
        A model with the input ``signal`` (B, window) and the outputs ``probabilities`` (B, E), ``embedding`` (B, D).
        If the model classifies time steps, the length of ``signal`` is up to ``window``, and there is a third output,
        ``time_step_probabilities`` (B, K, E).
    """
    if classifies_time_steps(model.model):
        window = -(-window // LENGTH_UNIT) * LENGTH_UNIT
    inputs = {"signal": torch.zeros(2, window)}
    if temperature_enrolled is not None:
        inputs["speaker"] = torch.zeros(2, model.speaker_size + 1)
    module = ExportGraph(model, temperature, temperature_enrolled).cpu().float().eval()
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if not structure:
        return bytes(_export(module, inputs).SerializeToString())
    structure = f"{structure} {window} {list(inputs)}"
    graph = graph_template.fill(structure, module)
    if graph is None:
        exported = _export_with_other_temperatures(module, inputs)
        graph_template.keep(structure, exported, module)
        graph = graph_template.with_weights(exported, module)
    return graph


def _export(module: ExportGraph, inputs: dict[str, Tensor]) -> onnx.ModelProto:
    """Export a module with its optional input, and with padding to its unit of length."""
    exported = _run_exporter(module, inputs)
    remove_traces(exported)
    if "speaker" in inputs:
        make_input_optional(exported, "speaker", np.zeros((1, inputs["speaker"].shape[1]), np.float32))
    if classifies_time_steps(module.model):
        pad_length(exported, "signal", LENGTH_UNIT)
    onnx.checker.check_model(exported)
    return exported


def _export_with_other_temperatures(module: ExportGraph, inputs: dict[str, Tensor]) -> onnx.ModelProto:
    """Export with temperatures that no other constant equals: the exporter merges equal constants."""
    temperatures = module.temperature.clone(), module.temperature_change.clone()
    for buffer, value in zip((module.temperature, module.temperature_change), _UNUSUAL_NUMBERS, strict=True):
        buffer.fill_(value)
    exported = _export(module, inputs)
    for buffer, original in zip((module.temperature, module.temperature_change), temperatures, strict=True):
        buffer.copy_(original)
    return exported


def _run_exporter(module: ExportGraph, inputs: dict[str, Tensor]) -> onnx.ModelProto:
    """Export a module with a variable batch size, and a variable length if it classifies time steps."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # hides warnings about torchvision's operators
    batch, outputs = torch.export.Dim("batch", min=1, max=MAX_BATCH_SIZE), ["probabilities", "embedding"]
    dynamic_shapes = {name: {0: batch} for name in inputs}
    if classifies_time_steps(module.model):
        outputs.append(TIME_STEPS)
        n_units = torch.export.Dim("units", min=1, max=inputs["signal"].shape[1] // LENGTH_UNIT)
        dynamic_shapes["signal"][1] = LENGTH_UNIT * n_units
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # The exporter warns about its own internals. The result is compared with PyTorch afterwards.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple(dynamic_shapes.values()),
            opset_version=OPSET_VERSION,
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch.onnx.export returned no program, although dynamo=True was given")
        path = Path(folder) / "model.onnx"
        program.save(path, external_data=False)
        return onnx.load(path)
