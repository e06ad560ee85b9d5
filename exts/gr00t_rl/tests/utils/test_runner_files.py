# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints are whole or absent, hold plain data, and are refused in one line when broken."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from helpers import PointMassEnv, make_runner, runner_cfg
from rsl_rl.runners import OnPolicyRunner

from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.rng import rng_state, set_rng_state
from gr00t_rl.utils.runner_files import check_readable


@pytest.mark.parametrize("actor", ["mlp", "flow_sde_one"])
def test_runner_writes_plain_data(actor, tmp_path):
    runner = make_runner(runner_cfg(actor, reward_scaling=True), PointMassEnv())
    assert isinstance(runner, OnPolicyRunner)
    runner.learn(1)
    runner.save(str(tmp_path / "model.pt"), infos={"note": 1})
    content = check_readable(str(tmp_path / "model.pt"))
    assert content["iter"] == 0
    assert content["infos"] == {"note": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]
    assert runner.load(str(tmp_path / "model.pt")) == {"note": 1}


def test_interrupted_write_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    runner, path = make_runner(runner_cfg(), PointMassEnv()), tmp_path / "model.pt"
    runner.save(str(path))
    before = path.read_bytes()

    def fail(state: dict, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        runner.save(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "text", "missing", "foreign"])
def test_broken_checkpoint_is_explained(damage, tmp_path):
    runner, path = make_runner(runner_cfg(), PointMassEnv()), tmp_path / "model.pt"
    runner.save(str(path))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-5000])
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "foreign":
        torch.save({"model": torch.zeros(1)}, path)
    else:
        path.unlink()
    with pytest.raises(ConfigurationError, match=str(path)) as error:
        runner.load(str(path))
    assert "\n" not in str(error.value)


def test_generators_continue_where_they_were_saved():
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()

    state = rng_state("cpu")
    first = draw()
    assert draw() != first
    set_rng_state(state, "cpu")
    assert draw() == first


@pytest.mark.parametrize("world_size", [1, 2])
def test_ranks_do_not_share_a_generator_after_a_resume(world_size, tmp_path):
    """One process continues its own stream; several keep theirs, or all would draw rank 0's noise."""
    runner = make_runner(runner_cfg(), PointMassEnv())
    runner.save(str(tmp_path / "model.pt"))
    expected = torch.rand(3)
    runner.alg.gpu_world_size = world_size
    runner.load(str(tmp_path / "model.pt"))
    assert torch.equal(torch.rand(3), expected) == (world_size == 1)
