# SPDX-License-Identifier: BSD-3-Clause
"""Threads of a process that simulates."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import torch
from gr00t_rl.utils.devices import one_thread_on_cpu
torch.set_num_threads(3)
one_thread_on_cpu({device!r})
print(torch.get_num_threads())
"""


@pytest.mark.parametrize(("device", "variable", "threads"), [("cpu", None, 1), ("cuda:0", None, 3), ("cpu", "2", 3)])
def test_a_simulation_on_the_cpu_has_one_thread_unless_told_otherwise(device, variable, threads):
    """In a process of its own: the number of threads belongs to the whole process."""
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    env |= {} if variable is None else {"OMP_NUM_THREADS": variable}
    program = PROGRAM.format(device=device)
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert int(done.stdout) == threads
