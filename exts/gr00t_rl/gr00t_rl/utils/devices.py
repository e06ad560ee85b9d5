# SPDX-License-Identifier: BSD-3-Clause
"""The device of a process: which one is meant, whether it is there, and threads on the CPU."""

from __future__ import annotations

import os

import torch

from .errors import ConfigurationError


def device_problem(name: str) -> str | None:
    """Say what is wrong with the name of a device, and what to set; None for one that is there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        return "there is no such device; set cpu, or cuda:0"
    if device.type == "cuda" and not torch.cuda.is_available():
        return "this machine has no CUDA GPU; set cpu"
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        return f"this machine has {torch.cuda.device_count()} CUDA GPUs; set a lower number"
    return None


def chosen_device(name: str | None) -> str:
    """Return the device that ``--device`` names, or the GPU if there is one.

    Raises:
        ConfigurationError: There is no such device.
    """
    if name is None:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    problem = device_problem(name)
    if problem is not None:
        raise ConfigurationError(f"--device is {name!r}: {problem}")
    return name


def one_thread_on_cpu(device: str | torch.device) -> None:
    """Let torch compute with one thread where it shares the CPU with the simulator.

    The networks of a CPU run are so small that a second thread costs more than it brings. ``OMP_NUM_THREADS`` has
    precedence, and a GPU run is left as it is.

    Args:
        device: Device of the run.
    """
    if torch.device(device).type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
