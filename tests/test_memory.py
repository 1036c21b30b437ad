"""Freed memory is kept for the next tensors, and goes back to the system in the end."""

import platform
import resource
from pathlib import Path

import pytest
import torch

from mscon.memory import MIB, freed_memory_kept

SIZES = [size * MIB for size in range(1, 21)]


def page_faults() -> int:
    """Of the last of six steps, each of which makes tensors of 1 to 20 MiB and then frees them all."""
    faults = 0
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(size // 4) for size in SIZES]
        del tensors
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return faults


def resident_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library, with habits of its own")
def test_memory_is_kept_within_and_given_back_afterwards() -> None:
    pages = sum(SIZES) // resource.getpagesize()
    with freed_memory_kept():
        assert page_faults() < 0.1 * pages
        with freed_memory_kept():  # such as an embedding in the course of a training
            pass
        assert page_faults() < 0.1 * pages
        inside = resident_mib()
    assert resident_mib() < inside - 100


def test_under_another_c_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with freed_memory_kept():
        assert float(torch.ones(4).sum()) == 4.0
