# SPDX-License-Identifier: BSD-3-Clause
"""Exploration, step and first learning rate of the agents that fine-tune a checkpoint."""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium as gym
import pytest
from helpers import PointMassEnv, collect, make_runner, runner_cfg

import gr00t_rl.tasks  # noqa: F401  registers the tasks
from gr00t_rl.cfg import Gr00tFinetuneRunnerCfg, Gr00tGrpoFinetuneRunnerCfg, explore, steps_of
from gr00t_rl.tasks.agents import train_adapters


def first_update(noise_level: float, desired_kl: float) -> tuple[float, float]:
    """Return the KL of a first update with the rate that fits both, and that rate."""
    rate = steps_of(noise_level, desired_kl)["learning_rate"]
    # 6 optimiser steps (2 epochs of 3 minibatches) move less than a task's 20
    cfg = runner_cfg("flow_sde_one", learning_rate=4.0 * rate)
    cfg["actor"].update(noise_level=noise_level, init_noise_scale=1.0)
    ours = make_runner(cfg, PointMassEnv(num_envs=64))
    collect(ours)
    return ours.alg.update()["approx_kl"], rate


def test_the_first_update_is_the_same_share_of_the_wanted_kl_at_every_noise() -> None:
    """With one rate for all, those of the largest and the smallest would differ by (1 / 0.25)² · 12 = 192."""
    wanted = [(1.0, 0.12), (1.0, 0.04), (0.5, 0.12), (0.5, 0.04), (0.25, 0.01)]
    found = [first_update(*settings) for settings in wanted]
    shares = [kl / desired for (kl, _), (_, desired) in zip(found, wanted, strict=True)]
    assert max(shares) < 3.0 * min(shares)
    assert found[0][1] / found[-1][1] == pytest.approx(4.0 * 12.0**0.5)


@pytest.mark.parametrize("adapters_first", [False, True])
def test_adapters_keep_their_rate_whatever_the_order(adapters_first) -> None:
    runner: Any = Gr00tFinetuneRunnerCfg()
    for step in (0, 1):
        if (step == 0) == adapters_first:
            train_adapters(runner)
        else:
            explore(runner, noise_level=0.5, desired_kl=0.04)
    assert runner.algorithm.learning_rate == pytest.approx(1.25e-4)  # five times 2.5e-4 * 0.5 * 0.2
    runner.actor.train = {"dit": "lora"}  # a part that is not named is off
    explore(runner, noise_level=0.5, desired_kl=0.04)
    assert runner.algorithm.learning_rate == pytest.approx(1.25e-4)
    plain: Any = Gr00tFinetuneRunnerCfg()
    explore(plain, noise_level=0.5, desired_kl=0.04)
    assert plain.algorithm.learning_rate == pytest.approx(2.5e-5)


def finetuning_agents() -> list[tuple[str, str, Any]]:
    """Return task, name and runner of every registered agent that starts from a checkpoint."""
    found = []
    for task, spec in gym.registry.items():
        for name, entry in spec.kwargs.items():
            if task.startswith("Gr00t-") and name.startswith("rsl_rl_") and isinstance(entry, str):
                module, _, cls = entry.partition(":")
                kind = getattr(importlib.import_module(module), cls)
                if issubclass(kind, (Gr00tFinetuneRunnerCfg, Gr00tGrpoFinetuneRunnerCfg)) or "_lora_" in name:
                    found.append((task, name, kind()))
    return found


def test_every_agent_starts_with_the_rate_of_its_noise_and_its_kl() -> None:
    """Whoever sets one of them alone gets a first update that is many times too large or too small."""
    agents = finetuning_agents()
    assert {"Gr00t-Push-Cube-Franka", "Gr00t-Tabletop-Cubes-Franka-Camera"} <= {task for task, _, _ in agents}
    assert sum("_lora_" in name for _, name, _ in agents) == 10  # five families, with and without cameras
    for task, name, runner in agents:
        algorithm = runner.algorithm
        fitting = steps_of(runner.actor.noise_level, algorithm.desired_kl)
        factor = 5.0 if "_lora_" in name else 1.0
        assert algorithm.learning_rate == pytest.approx(factor * fitting["learning_rate"]), (task, name)
        assert algorithm.target_kl == fitting["target_kl"] and algorithm.schedule == "adaptive", (task, name)
