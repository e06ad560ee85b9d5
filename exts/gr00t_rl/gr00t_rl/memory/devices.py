# SPDX-License-Identifier: BSD-3-Clause
"""How much memory a device has, how much of it is free, and what a run takes of it beside its tensors."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from ..utils.errors import ConfigurationError

KIB, MIB, GIB = 2**10, 2**20, 2**30
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": KIB, "MI": MIB, "GI": GIB, "TI": 2**40}


@dataclass(frozen=True)
class Beside:
    """What a run takes beside its own tensors, in bytes; measured by ``benchmarks/memory_estimate.py``."""

    process: int
    """Interpreter, torch, Isaac Lab, the simulator's code and kernels; on a GPU the context and the libraries."""
    env: int
    """Simulator, per env."""
    pixel: int
    """Renderer and pictures on their way to the policy, per pixel of a camera of an env."""
    slack: float
    """What the allocator keeps beyond the tensors, as a share of those that come and go."""


BESIDE = {
    "cpu": Beside(process=1580 * MIB, env=120 * KIB, pixel=66, slack=0.1),
    # not measured on a GPU: the context, cuBLAS and the kernels of torch and Warp; per env what the CPU takes
    "cuda": Beside(process=2 * GIB, env=120 * KIB, pixel=66, slack=0.1),
}
"""By type of the device."""


def free_bytes(device: str | torch.device) -> int:
    """Return the bytes that this process can still take: of a GPU's memory, or of the machine's or container's.

    Several ranks on one machine's CPU share alike.
    """
    device = torch.device(device)
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    available = _kib_of(Path("/proc/meminfo"), "MemAvailable")
    return min(available, _room_in_container()) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def own_bytes(device: str | torch.device) -> int:
    """Return the bytes that this process holds already."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) if torch.cuda.is_initialized() else 0
    return _kib_of(Path("/proc/self/status"), "VmRSS")


def _kib_of(file: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", file.read_text(), re.MULTILINE)
    return int(found[1]) * KIB if found else 2**63


def _room_in_container(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return what the control group still allows; page cache can be given up."""
    try:
        limit, used = (root / "memory.max").read_text().strip(), int((root / "memory.current").read_text())
        cached = re.search(r"^inactive_file (\d+)", (root / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return 2**63
    return 2**63 if limit == "max" else int(limit) - used + (int(cached[1]) if cached else 0)


def parse_bytes(text: str) -> int:
    """Read a size such as 80GB (10^9 bytes) or 80GiB (2^30).

    Raises:
        ConfigurationError: It is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if found is None or float(found[1]) <= 0:
        raise ConfigurationError(f"--memory is {text!r}; set a size such as 80GB or 24GiB")
    return int(float(found[1]) * _UNITS[found[2]])
