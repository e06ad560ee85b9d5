# SPDX-License-Identifier: BSD-3-Clause
"""Only so many checkpoints of a run stay, and saving and loading take no second copy of the state in memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import PointMassEnv, grpo_cfg, make_runner, parameters, runner_cfg
from planned_env import PlannedEnv

from gr00t_rl.algorithms.resume import rescue
from gr00t_rl.launch.checkpoints import BEST_MODEL
from gr00t_rl.utils.errors import NotWritten
from gr00t_rl.utils.kept_checkpoints import KeptCheckpoints


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.pt"))


def write(folder: Path, name: str, kept: KeptCheckpoints | None = None, is_best: bool = False) -> Path:
    path = folder / name
    path.write_text(f"{name} {is_best}")
    if kept is not None:
        kept.add(path, is_best)
    return path


def test_the_newest_and_the_best_stay(tmp_path):
    kept = KeptCheckpoints(2)
    write(tmp_path, "model_99.pt")  # of whoever ran here before
    for number, is_best in enumerate((False, True, True, False, False)):
        write(tmp_path, f"model_{number}.pt", kept, is_best)
    assert names(tmp_path) == ["model_3.pt", "model_4.pt", "model_99.pt", BEST_MODEL]
    assert (tmp_path / BEST_MODEL).read_text() == "model_2.pt True"
    write(tmp_path, "model_4.pt", kept)  # the last one again, as at the end of a run
    write(tmp_path, "other.pt", kept, True)
    assert names(tmp_path) == ["model_3.pt", "model_4.pt", "model_99.pt", BEST_MODEL, "other.pt"]
    assert (tmp_path / BEST_MODEL).read_text() == "model_2.pt True"


def test_all_stay_and_the_best_has_a_second_name(tmp_path):
    kept = KeptCheckpoints()
    for number in range(3):
        write(tmp_path, f"model_{number}.pt", kept, number == 1)
    assert names(tmp_path) == ["model_0.pt", "model_1.pt", "model_2.pt", BEST_MODEL]
    assert (tmp_path / BEST_MODEL).samefile(tmp_path / "model_1.pt")


def test_file_systems_without_links_get_a_copy(tmp_path, monkeypatch):
    def refuse(*args: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write(tmp_path, "model_0.pt", KeptCheckpoints(1), True)
    assert (tmp_path / BEST_MODEL).read_text() == "model_0.pt True" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_a_run_keeps_what_it_is_asked_for(algorithm, tmp_path):
    """And nothing of the run that it goes on from; the best is a checkpoint like any other."""
    for run, resumed in (("first", None), ("second", "first/model_3.pt")):
        cfg = runner_cfg() if algorithm == "ppo" else grpo_cfg()
        cfg |= {"save_interval": 1, "keep_checkpoints": 2, "evaluation_interval": 1}
        env = PlannedEnv((1, 3, 2, 2), group_size=0 if algorithm == "ppo" else 4)
        runner = make_runner(cfg, env, tmp_path / run)
        if resumed:
            runner.load(str(tmp_path / resumed))
        runner.learn(4)
    assert names(tmp_path / "first") == ["model_2.pt", "model_3.pt", BEST_MODEL]
    assert names(tmp_path / "second") == ["model_6.pt", "model_7.pt", BEST_MODEL]
    assert torch.load(tmp_path / "first" / BEST_MODEL, weights_only=True)["iter"] == 1
    assert torch.load(tmp_path / "second" / BEST_MODEL, weights_only=True)["iter"] == 5
    runner.load(str(tmp_path / "second" / BEST_MODEL))


def test_all_stay_by_default_and_a_save_that_fails_removes_nothing(tmp_path, monkeypatch):
    runner = make_runner(runner_cfg() | {"save_interval": 1}, PointMassEnv(), tmp_path / "all")
    runner.learn(3)
    assert names(tmp_path / "all") == ["model_0.pt", "model_1.pt", "model_2.pt"]
    runner = make_runner(runner_cfg() | {"save_interval": 1, "keep_checkpoints": 1}, PointMassEnv(), tmp_path / "one")
    runner.learn(2)

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(NotWritten, match="disk full"):
        runner.learn(1)
    assert set(names(tmp_path / "one")) >= {"model_1.pt"}


def anonymous() -> int:
    """Memory of this process that is no file's [B]."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


def peak(action: Callable[[], Any]) -> int:
    """Return how much memory an action needs at most besides what there was before [B]."""
    found, done = [anonymous()], threading.Event()

    def watch() -> None:
        while not done.is_set():
            found.append(anonymous())
            time.sleep(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        action()
    finally:
        done.set()
        thread.join()
    return max(found) - found[0]


def test_a_save_takes_no_second_copy(tmp_path, record_property):
    """Saving adds next to nothing to weights and moments, and loading the moments alone, which were not there.

    Large allocations go to the system and back, so that the process shows them. STATE_WIDTH=12000 makes 1.7 GB of it.
    """
    width = int(os.environ.get("STATE_WIDTH", "3072"))

    def make() -> Any:
        cfg = runner_cfg(num_learning_epochs=1, num_mini_batches=1)
        cfg["actor"]["hidden_dims"] = [width, width, 8]
        return make_runner(cfg, PointMassEnv())

    runner = make()
    runner.learn(1)
    runner.alg.optimizer.zero_grad()
    moments = [t for entry in runner.alg.optimizer.state.values() for t in entry.values()]
    weights = sum(p.nbytes for p in parameters(runner))
    state = weights + sum(t.nbytes for t in moments)
    path = str(tmp_path / "model_0.pt")
    figures = {"save": peak(lambda: runner.save(path)), "rescue": peak(lambda: rescue(runner.alg, str(tmp_path), True))}
    later = make()
    figures["load"] = peak(lambda: later.load(path))
    for name, more in figures.items():
        record_property(name, f"{more / 1e6:.0f} MB of {state / 1e6:.0f} MB")
    assert state > 12 * width**2
    assert figures["save"] < 0.1 * state and figures["rescue"] < 0.1 * state
    assert figures["load"] < 1.1 * (state - weights)
