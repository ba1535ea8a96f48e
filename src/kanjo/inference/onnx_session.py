"""ONNX Runtime sessions, and the graph of a bundle that runs in one."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo.audio import Signal
from kanjo.bundle import BUILTIN_FOLDER, Bundle
from kanjo.errors import BundleError, KanjoError
from kanjo.inference.windowing import Window

#: ONNX Runtime 1.31 and later collect usage data at import and send it. Set this variable to "0" to allow that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

#: Devices that a model can run on. "auto" is the GPU if ONNX Runtime can use one, else the CPU.
AUTO, CPU, CUDA = "auto", "cpu", "cuda"
DEVICES = (AUTO, CPU, CUDA)
#: ONNX Runtime's execution providers of each device, the preferred one first.
_PROVIDERS = {CPU: ["CPUExecutionProvider"], CUDA: ["CUDAExecutionProvider", "CPUExecutionProvider"]}

#: Windows in one batch. Eight windows keep two cores busy and need little memory.
BATCH_SIZE = 8

#: Output with the probabilities of time steps, of graphs that take segments of speech.
TIME_STEPS = "time_step_probabilities"
#: Length of a time step in seconds.
TIME_STEP_S = 0.25

_REQUIRED_OUTPUTS = ["probabilities", "embedding"]
#: Longest duration of the run that checks a graph; graphs may contain loops.
_MAX_CHECK_S = 30
#: How much the sum of probabilities may differ from 1.
_MAX_SUM_ERROR = 1e-3


def choose_device(requested: str = AUTO) -> str:
    """Return the device to use, "cpu" or "cuda".

    Args:
        requested: One of :data:`DEVICES`.

    Raises:
        KanjoError: The name is unknown, or ONNX Runtime can't use the device.
    """
    if requested not in DEVICES:
        raise KanjoError(f"unknown device {requested!r}; expected {', '.join(DEVICES)}")
    if requested == CPU:
        return CPU
    has_cuda = _PROVIDERS[CUDA][0] in available_providers()
    if requested == CUDA and not has_cuda:
        raise KanjoError(
            "device cuda: the installed ONNX Runtime has no CUDA; pip uninstall onnxruntime, then pip install "
            "'kanjo[gpu]', on a machine with an NVIDIA GPU; or use --device cpu"
        )
    return CUDA if has_cuda else CPU


def create_session(graph: Path | bytes, threads: int | None = None, device: str = CPU) -> Any:
    """Create an ONNX Runtime session.

    Args:
        graph: Path of an ONNX file, or its content.
        threads: Threads of one run (default: one for each core).
        device: "cpu" or "cuda".

    Raises:
        Exception: Any exception of ONNX Runtime; its exceptions have no common base class.
    """
    import onnxruntime  # imported here because the import takes 0.2 s

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    # Memory patterns are planned for one batch size. Our batch size varies; without patterns, memory is 20 % lower.
    options.enable_mem_pattern = False
    # Threads that spin while they wait would take a core from the decoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    model = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(model, options, providers=_PROVIDERS[device])


def available_providers() -> list[str]:
    """Return the names of the execution providers of the installed ONNX Runtime."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return list(onnxruntime.get_available_providers())


@dataclass(frozen=True)
class WindowOutput:
    """Outputs of the graph for one window.

    Attributes:
        probabilities: Probability of each emotion, shape (E,).
        embedding: Output of the layer before the classifier, shape (D,).
        ood_score: Out-of-distribution score, or None if the graph has no such output.
        time_steps: Probabilities (K, E) of each 0.25 s, or None if the graph has no such output.
    """

    probabilities: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    ood_score: float | None = None
    time_steps: npt.NDArray[np.float32] | None = None


class BundleGraph:
    """The ONNX graph of a bundle: from windows of samples to probabilities, embeddings and OOD scores.

    Safe to use from several threads.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, device: str = AUTO) -> None:
        """Load the graph.

        Args:
            bundle: The bundle that contains the graph.
            threads: Threads of one run (default: one for each core).
            device: One of :data:`DEVICES`.

        Raises:
            BundleError: ONNX Runtime can't load the graph, or its outputs are not those of a bundle.
            KanjoError: ONNX Runtime can't use the device.
        """
        self._metadata = bundle.metadata
        self.device = choose_device(device)
        self._threads = threads or os.cpu_count() or 1
        # int8 layers scale their input by the maximum of the batch. In a batch of one window, the result of a window
        # does not depend on other windows.
        single_windows = "int8" in bundle.metadata.quantization
        self._batch_size = 1 if single_windows else BATCH_SIZE
        try:
            self._session = create_session(bundle.graph, 1 if single_windows else threads, self.device)
        except Exception as error:  # ONNX Runtime's exceptions have no other common base class
            raise BundleError(f"{bundle.graph}: ONNX Runtime can't load it ({_first_line(error)})") from error
        names = [node.name for node in self._session.get_outputs()]
        if names[:2] != _REQUIRED_OUTPUTS:
            raise BundleError(
                f"{bundle.graph}: its outputs are {', '.join(names)}; expected {', '.join(_REQUIRED_OUTPUTS)}"
            )
        self._outputs = [name for name in names if name in (*_REQUIRED_OUTPUTS, "ood_score", TIME_STEPS)]
        if self._metadata.uses_speech_segments and TIME_STEPS not in names:
            raise BundleError(f"{bundle.graph}: no output {TIME_STEPS}; bundle.json has segmentation speech")
        if bundle.folder.parent != BUILTIN_FOLDER:  # the tests of kanjo check these; a run takes some milliseconds
            self._check_with_zeros(str(bundle.graph))

    def _check_with_zeros(self, source: str) -> None:
        """Run one window of zeros. Raises BundleError if the outputs are not those that the metadata describes."""
        import onnxruntime

        n_labels, options = len(self._metadata.labels), onnxruntime.RunOptions()
        options.log_severity_level = 4  # a failure becomes a BundleError
        timer = threading.Timer(_MAX_CHECK_S, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            window = np.zeros((1, self._metadata.window_length), np.float32)
            results = self._session.run(self._outputs, {"signal": window}, options)
        except Exception as error:  # ONNX Runtime's exceptions have no other common base class
            raise BundleError(
                f"{source}: it fails for a window of zeros, or takes over {_MAX_CHECK_S} s ({_first_line(error)})"
            ) from error
        finally:
            timer.cancel()
        values = {name: np.asarray(value) for name, value in zip(self._outputs, results, strict=True)}
        probabilities, embedding = values["probabilities"], values["embedding"]
        if probabilities.shape != (1, n_labels):
            raise BundleError(
                f"{source}: probabilities of shape {probabilities.shape}, but bundle.json has {n_labels} labels; "
                f"expected {(1, n_labels)}"
            )
        if embedding.ndim != 2 or len(embedding) != 1 or self._metadata.speaker_size not in (0, embedding.shape[1]):
            expected = self._metadata.speaker_size or "D"
            raise BundleError(f"{source}: embedding of shape {embedding.shape}; expected (1, {expected})")
        if values.get("ood_score", np.zeros(1)).shape != (1,):
            raise BundleError(f"{source}: ood_score of shape {values['ood_score'].shape}; expected (1,)")
        steps = values.get(TIME_STEPS, np.zeros((1, 1, n_labels), np.float32))
        if steps.ndim != 3 or steps.shape[::2] != (1, n_labels):
            raise BundleError(f"{source}: {TIME_STEPS} of shape {steps.shape}; expected (1, K, {n_labels})")
        if any(value.dtype != np.float32 or not np.isfinite(value).all() for value in values.values()):
            raise BundleError(f"{source}: its outputs for a window of zeros are not finite float32 numbers")
        if probabilities.min() < 0 or abs(probabilities.sum() - 1) > _MAX_SUM_ERROR:
            raise BundleError(
                f"{source}: probabilities that add up to {probabilities.sum():.4g} for a window of zeros; expected 1"
            )

    def run(
        self, outputs: Sequence[str], signal: Signal, speaker: npt.NDArray[np.float32] | None = None
    ) -> list[npt.NDArray[np.float32]]:
        """Run the graph: once for all windows, or once for each window of an int8 graph.

        Args:
            outputs: Names of the outputs to compute.
            signal: Windows at the bundle's sample rate.
            speaker: Speaker input, or None if all speakers are unknown.

        Raises:
            KanjoError: ONNX Runtime failed.

        Shape:
            - signal: (B, N)
            - speaker: (B, D + 1)
        """
        inputs = {"signal": signal} if speaker is None else {"signal": signal, "speaker": speaker}
        if self._batch_size == 1 and len(signal) > 1:
            rows = [{name: value[i : i + 1] for name, value in inputs.items()} for i in range(len(signal))]
            return [np.concatenate(values) for values in zip(*(self._run(outputs, row) for row in rows), strict=True)]
        return self._run(outputs, inputs)

    def _run(
        self, outputs: Sequence[str], inputs: Mapping[str, npt.NDArray[np.float32]]
    ) -> list[npt.NDArray[np.float32]]:
        """Run the graph once."""
        try:
            return list(self._session.run(list(outputs), dict(inputs)))
        except Exception as error:  # ONNX Runtime's exceptions have no other common base class
            raise KanjoError(f"ONNX Runtime failed: {_first_line(error)}") from error

    def run_windows(
        self, windows: Sequence[Window], speakers: Sequence[npt.NDArray[np.float32] | None]
    ) -> list[WindowOutput]:
        """Run the graph on any number of windows, in batches.

        Args:
            windows: Windows of one or several recordings.
            speakers: Speaker vector (D + 1,) of each window, or None for an unknown speaker.

        Returns:
            The outputs of each window, in the order of ``windows``.

        Raises:
            KanjoError: ONNX Runtime failed.
        """
        size = self._batch_size
        starts = range(0, len(windows), size)
        window_batches = [windows[start : start + size] for start in starts]
        speaker_batches = [speakers[start : start + size] for start in starts]
        if size > 1 or self._threads == 1 or len(window_batches) < 2:
            results = list(map(self._run_batch, window_batches, speaker_batches))
        else:  # one thread for each window: a single window does not use several cores well
            with ThreadPoolExecutor(self._threads) as pool:
                results = list(pool.map(self._run_batch, window_batches, speaker_batches))
        return [output for batch in results for output in batch]

    def _run_batch(
        self, windows: Sequence[Window], speakers: Sequence[npt.NDArray[np.float32] | None]
    ) -> list[WindowOutput]:
        """Run one batch of windows."""
        length = self._metadata.window_length
        if self._metadata.uses_speech_segments:
            length = max(window.valid for window in windows)
        signal = np.zeros((len(windows), length), np.float32)
        for row, window in zip(signal, windows, strict=True):
            row[: window.valid] = window.signal[: window.valid]
        values = dict(zip(self._outputs, self.run(self._outputs, signal, self._speaker_input(speakers)), strict=True))
        if not np.isfinite(values["probabilities"]).all():
            raise KanjoError(f"the bundle {self._metadata.name} gives probabilities that are not finite numbers")
        ood_scores, time_steps = values.get("ood_score"), values.get(TIME_STEPS)
        return [
            WindowOutput(
                probabilities=values["probabilities"][i],
                embedding=values["embedding"][i],
                ood_score=None if ood_scores is None else float(ood_scores[i]),
                time_steps=None if time_steps is None else time_steps[i, : self._n_time_steps(window)],
            )
            for i, window in enumerate(windows)
        ]

    def _n_time_steps(self, window: Window) -> int:
        """Number of time steps of a window that are not padding."""
        return math.ceil(window.valid / (TIME_STEP_S * self._metadata.sample_rate))

    def _speaker_input(self, speakers: Sequence[npt.NDArray[np.float32] | None]) -> npt.NDArray[np.float32] | None:
        """Stack the speaker vectors to (B, D + 1), zeros for unknown speakers; None if all are unknown."""
        if all(vector is None for vector in speakers):
            return None
        unknown = np.zeros(self._metadata.speaker_size + 1, np.float32)
        return np.stack([unknown if vector is None else vector for vector in speakers])


def _first_line(error: Exception) -> str:
    """Return the first line of a message, or the type of an exception without one."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
