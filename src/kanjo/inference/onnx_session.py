"""ONNX Runtime as kanjo wants it: quiet, small in memory, and telling nobody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

#: ONNX Runtime 1.31 and later collect usage and would send it, from the moment they are imported. Whoever wants that says "0" before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def session(graph: Path | bytes, threads: int | None = None) -> Any:
    """An inference session on the CPU of a file, or of a model's bytes. ``threads``: cores that one run may use. Raises whatever ONNX Runtime does."""
    import onnxruntime  # a fifth of a second: only when it is needed

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.enable_mem_pattern = False  # plans for one batch size; ours vary, and without it memory is a fifth less
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # waiting threads took a core from decoding
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        graph if isinstance(graph, bytes) else str(graph), options, providers=["CPUExecutionProvider"]
    )
