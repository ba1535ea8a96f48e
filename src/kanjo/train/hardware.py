"""Settings that depend on the machine: precision and memory allocation."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

import torch

from kanjo.errors import KanjoError
from kanjo.inference.onnx_session import CPU, CUDA, DEVICES


def use_bf16(precision: str) -> bool:
    """Whether to compute in bfloat16: "bf16" yes, "fp32" no, "auto" where the processor supports it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # in hardware, not emulated


def choose_training_device(requested: str) -> str:
    """Choose the device that this process and its child processes train on, before the first use of a GPU.

    Args:
        requested: "cpu", "cuda", or "auto": the GPU if there is one.

    Returns:
        "cpu" or "cuda".

    Raises:
        KanjoError: The name is unknown, or PyTorch can't use the device.
    """
    if requested not in DEVICES:
        raise KanjoError(f"unknown device {requested!r}; expected {', '.join(DEVICES)}")
    if requested == CPU:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return CPU
    if torch.cuda.is_available():
        return CUDA
    if requested == CUDA:
        raise KanjoError(
            f"device cuda: PyTorch {torch.__version__} finds no GPU; install a build of PyTorch with CUDA on a machine "
            "with an NVIDIA GPU, or use --device cpu"
        )
    return CPU


def set_threads(n_threads: int) -> None:
    """Limit the CPU threads of PyTorch."""
    torch.set_num_threads(n_threads)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next allocation; without glibc, do nothing.

    Training allocates the same tens of megabytes in each step. By default, glibc returns them to the system, and the
    first access to the new pages takes 10 to 20 % of a step on a CPU (``make bench-dcnn_epoch``).
    """
    largest, trim_threshold, top_pad, mmap_max = 2**31 - 1, -1, -2, -4  # malloc.h
    with suppress(OSError, AttributeError):  # another C library, or one without mallopt
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, largest)
        libc.mallopt(top_pad, 64 << 20)
