"""Settings that depend on the machine: precision and memory allocation."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import torch


def use_bf16(precision: str) -> bool:
    """Whether to compute in bfloat16: "bf16" yes, "fp32" no, "auto" where the processor supports it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # in hardware, not emulated


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
