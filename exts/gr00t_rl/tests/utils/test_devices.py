# SPDX-License-Identifier: BSD-3-Clause
"""The device of a process, and threads on the CPU."""

import os
import subprocess
import sys

import pytest
import torch

from gr00t_rl.utils.devices import chosen_device
from gr00t_rl.utils.errors import ConfigurationError

PROGRAM = """
import os, torch
from gr00t_rl.cli import simulated
from gr00t_rl.tasks import known_tasks
known_tasks.unknown_task = simulated.check_overrides = lambda *_: None
cpu, gpu = ["--device", "cpu"], ["--device", "cuda:0"]
for options, variable in (cpu, None), ([], None), (gpu, None), (cpu, "2"):
    os.environ.pop("OMP_NUM_THREADS", None)
    os.environ.update({} if variable is None else {"OMP_NUM_THREADS": variable})
    torch.set_num_threads(3)
    simulated.launch_program(lambda argv: print(torch.get_num_threads()), options)
"""
"""A command that simulates, without the simulator, on a machine without a GPU."""


def test_a_simulation_on_the_cpu_has_one_thread_unless_told_otherwise():
    """In a process of its own: the number of threads belongs to the whole process."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True)
    assert [int(number) for number in done.stdout.split()] == [1, 1, 3, 3]


@pytest.mark.parametrize(
    ("name", "gpus", "found"),
    [
        (None, 0, "cpu"),
        (None, 2, "cuda:0"),
        ("cpu", 0, "cpu"),
        ("cuda:1", 2, "cuda:1"),
        ("cuda", 1, "cuda"),
        ("cuda:0", 0, "has no CUDA GPU; set cpu"),
        ("cuda:7", 1, "has 1 CUDA GPUs; set a lower number"),
        ("gpu", 1, "there is no such device; set cpu, or cuda:0"),
        ("meta", 1, "there is no such device"),
    ],
)
def test_a_device_is_chosen_or_refused(monkeypatch, name, gpus, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if " " not in found:
        assert chosen_device(name) == found
        return
    with pytest.raises(ConfigurationError, match=rf"--device is '{name}': .*{found}"):
        chosen_device(name)
