"""Precision and memory allocation."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from kanjo.train.hardware import use_bf16

_COUNT_PAGE_FAULTS = """
import resource, numpy
from kanjo.train.hardware import keep_freed_memory
keep_freed_memory()
def count_page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        numpy.empty(64 << 20, numpy.uint8)[::4096] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
count_page_faults()
print(count_page_faults())
"""


def test_use_bf16_explicit_precision_does_not_depend_on_machine() -> None:
    assert use_bf16("bf16") and not use_bf16("fp32")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_keep_freed_memory_reuses_pages() -> None:
    result = subprocess.run([sys.executable, "-c", _COUNT_PAGE_FAULTS], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 1000, "5 x 16384 pages without it"
