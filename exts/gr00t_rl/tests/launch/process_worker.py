# SPDX-License-Identifier: BSD-3-Clause
"""One of two processes that torch's launcher starts: rsl_rl's runner on an env of torch alone, with an accident.

    process_worker.py ACCIDENT LOG_DIR

The accident happens to rank 1 in its 15th env step, the first of the third iteration: "killed" by SIGKILL, or "asks"
the launcher to stop by SIGTERM, or "interrupts" it as Ctrl-C does. With "raises" there is no env and no runner, which
take seconds to load: rank 1 breaks while rank 0 waits for it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch
import torch.distributed as dist
from helpers import PointMassEnv, make_runner, runner_cfg

from gr00t_rl.utils import process_group

ACCIDENT_STEP = 15


class UnluckyEnv(PointMassEnv):
    """An env to which something happens."""

    accident = ""
    steps = 0

    def step(self, actions: torch.Tensor) -> Any:
        self.steps += 1
        if self.steps == ACCIDENT_STEP and process_group.rank() == 1:
            if self.accident == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            os.kill(os.getppid(), signal.SIGINT if self.accident == "interrupts" else signal.SIGTERM)
        if self.steps >= ACCIDENT_STEP and self.accident != "killed":
            signal.sigtimedwait([], 0.2)  # the request is on its way: do not finish before
        return super().step(actions)


def train(accident: str, log_dir: str) -> None:
    """Train until the accident, and on if there is none."""
    process_group.install()
    rank = process_group.rank()
    env = UnluckyEnv(num_envs=4, seed=10 + rank)
    env.accident, env.cfg.log_dir = accident, log_dir  # type: ignore[attr-defined]
    cfg = runner_cfg()
    cfg["save_interval"] = 1
    make_runner(cfg, env, Path(log_dir), seed=100 + rank).learn(5)


def main(accident: str, log_dir: str) -> None:
    """Do what the command line says."""
    torch.set_num_threads(1)
    if accident != "raises":
        return train(accident, log_dir)
    dist.init_process_group("gloo")
    if process_group.rank() == 1:
        raise ValueError("the gripper is gone")
    dist.all_reduce(torch.zeros(1))


if __name__ == "__main__":
    from torch.distributed.elastic.multiprocessing.errors import record

    record(main)(*sys.argv[1:])
