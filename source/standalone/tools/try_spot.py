# SPDX-License-Identifier: BSD-3-Clause
"""Take a training away three times, and see that the same line, given again, brings it to its end.

    python source/standalone/tools/try_spot.py

A tiny real training under scripts/spot.sh, in the simulator, on the CPU, in an empty folder:

1. SIGTERM comes to the training alone: the loop starts it again, and it goes on.
2. SIGTERM comes to the loop: the training saves, and the loop leaves with 75, "start me again".
3. The same line again: it goes on, finishes, and the loop leaves with 0.
4. The same line again: nothing is left to do, 0.
5. A line with a mistake: it fails once, and is not started again.

Takes a few minutes: the simulator starts three times. Exit status 1 says that something was different.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TOTAL = 40
"""Iterations of the whole training."""
LIMIT_S = 1200
"""Time after which a start is given up [s]."""
_ITERATION = re.compile(r"Learning iteration (\d+)/")


class Loop:
    """scripts/spot.sh over a training, and what both print."""

    def __init__(self, folder: Path, processes: int, *settings: str) -> None:
        """Start it in ``folder``."""
        self.log = folder / f"output_{len(list(folder.glob('output_*.txt')))}.txt"
        training = [sys.executable, "-um", "gr00t_rl", "train", "--task", "Gr00t-Push-Cube-Franka", "--device", "cpu"]
        training += ["--num_envs", "4", "--processes", str(processes), "--checkpoint", "latest"]
        training += ["agent.num_steps_per_env=16", f"agent.total_iterations={TOTAL}", *settings]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with self.log.open("w") as file:
            command = [ROOT / "scripts" / "spot.sh", *training]
            self.process = subprocess.Popen(command, cwd=folder, env=env, stdout=file, stderr=subprocess.STDOUT)

    @property
    def iterations(self) -> list[int]:
        """The iterations that were done, in order."""
        return [int(number) for number in _ITERATION.findall(self.log.read_text())]

    @property
    def restarts(self) -> int:
        """How often the loop started the training again."""
        return self.log.read_text().count("starting it again")

    def wait_for(self, count: int) -> None:
        """Wait until so many iterations were done since the start of the loop."""
        deadline = time.monotonic() + LIMIT_S
        while len(self.iterations) < count:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.fail(f"{count} iterations were not reached")
            time.sleep(0.2)

    def ends(self, code: int) -> None:
        """Wait for the loop's end, and compare its exit code."""
        found = self.process.wait(LIMIT_S)
        if found != code:
            self.fail(f"the loop left with {found}, not with {code}")

    def fail(self, what: str) -> None:
        """End the program, with what was printed last."""
        self.process.terminate()
        sys.exit("\n".join([*self.log.read_text().splitlines()[-40:], f"try_spot: {what}"]))


def training_of(loop: Loop) -> int:
    """Return the process that the loop waits for."""
    return int(Path(f"/proc/{loop.process.pid}/task/{loop.process.pid}/children").read_text().split()[0])


def check(loop: Loop, what: str, fine: bool) -> None:
    """Say what was found; ends the program if it is not as it should be."""
    if not fine:
        loop.fail(what)
    print(f"fine: {what}", flush=True)


def main() -> None:
    """Do all five, in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1, help="processes that train together")
    count = parser.parse_args().processes
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        first = Loop(folder, count)
        first.wait_for(3)
        os.kill(training_of(first), signal.SIGTERM)
        before = len(first.iterations)
        first.wait_for(before + 4)  # one more may have ended before it stopped
        check(first, f"SIGTERM to the training: started again {first.restarts} time", first.restarts == 1)
        first.process.send_signal(signal.SIGTERM)
        first.ends(75)
        done = first.iterations
        check(first, f"SIGTERM to the loop: saved and left with 75 after iteration {done[-1]}", first.restarts == 1)
        check(first, f"iterations 0 to {done[-1]}, each once", done == list(range(len(done))))

        second = Loop(folder, count)
        second.ends(0)
        check(
            second, f"the same line: went on with iteration {second.iterations[0]}", second.iterations[0] == len(done)
        )
        check(second, f"and ended with {TOTAL - 1}", done + second.iterations == list(range(TOTAL)))

        third = Loop(folder, count)
        third.ends(0)
        check(third, "the same line: nothing is left to do", "nothing is left to do" in third.log.read_text())

        wrong = Loop(folder, count, "agent.experiment_name=wrong", "agent.algorithm.clip_param=-1")
        code = wrong.process.wait(LIMIT_S)
        check(wrong, f"a mistake: left with {code}, not started again", code not in (0, 75) and wrong.restarts == 0)
    print("a training that is taken away comes to its end")


if __name__ == "__main__":
    main()
