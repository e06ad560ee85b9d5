# SPDX-License-Identifier: BSD-3-Clause
"""What computes here: CPU cores, memory, GPUs."""

from __future__ import annotations

import os

from .finding import Finding, importing, in_line

GIB = 2**30


def devices() -> list[Finding]:
    """CPU, threads, memory and every CUDA GPU, which is asked to add two numbers."""
    return [_cpu(), _threads(), _memory(), *_gpus()]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _cpu() -> Finding:
    return Finding("CPU", True, f"{_cores()} of {os.cpu_count()} cores may be used")


def _threads() -> Finding:
    found = os.environ.get("OMP_NUM_THREADS", "not set: one in a simulation on the CPU")
    return Finding("threads of torch", True, found)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return Finding("memory", total >= 4, f"{total:.0f} GiB", "a state task needs 2 GiB, --full-size weights 6 or 11")


def _gpus() -> list[Finding]:
    if importing("torch"):
        return [Finding("CUDA", False, "torch does not load", "see packages above")]
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        reason = f"no GPU, or no driver for CUDA {built}" if built else "this torch is built without CUDA"
        return [
            Finding("CUDA", False, reason, "not needed for the shipped tiny networks; the released one wants a GPU")
        ]
    return [_gpu(index) for index in range(torch.cuda.device_count())]


def _gpu(index: int) -> Finding:
    import torch

    name = f"cuda:{index}"
    try:
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        assert float(torch.ones((), device=name) + 1) == 2
    except Exception as error:
        return Finding(name, False, in_line(error), "check the driver with nvidia-smi")
    return Finding(name, True, f"{properties.name}, {free / GIB:.0f} of {total / GIB:.0f} GiB free")
