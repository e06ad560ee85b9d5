# SPDX-License-Identifier: BSD-3-Clause
"""What is not finite is found in rows and in whole training states, and gets into no file and out of none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import PointMassEnv, make_runner, runner_cfg

from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.finite import LIMIT, all_fine, find_nonfinite, fine_rows

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_rows(dtype):
    x = torch.zeros(6, 2, 3, dtype=dtype)
    x[1, 1, 2], x[2, 0, 0], x[3, 1, 0] = NAN, INF, -INF
    x[4] = torch.finfo(torch.float16).max
    x[5, 0, 1] = 1.0
    assert fine_rows(x).tolist() == [True, False, False, False, True, True]
    assert fine_rows(x[:, 1, 2]).tolist() == [True, False, True, True, True, True]
    for row, fine in enumerate(fine_rows(x).tolist()):
        assert all_fine([x[:1], x[row], x[:, :, :0]], "cpu") == fine


def test_what_cannot_be_squared_is_not_fine():
    """A solver that blows up passes 1e20 before infinity, and squares of that are infinite in float32."""
    assert fine_rows(torch.tensor([LIMIT, -1e14, 1e20, -1e20])).tolist() == [True, True, False, False]
    assert all_fine([torch.tensor([LIMIT])], "cpu") and not all_fine([torch.tensor([-1e20])], "cpu")
    assert torch.full((4096,), LIMIT).square().sum().isfinite()


def test_states():
    state: dict[str, Any] = {
        "weights": {"a": torch.ones(2), "steps": torch.tensor(3)},
        "rates": [0.1, 2],
        "infos": None,
    }
    assert find_nonfinite(state) is None
    state["moments"] = {0: (torch.ones(1), torch.tensor([1.0, NAN]))}
    assert find_nonfinite(state) == "moments.0.1"
    assert find_nonfinite({**state, "rates": [0.1, INF], "moments": []}) == "rates.1"


PARTS = {
    "actor_state_dict.mlp.0.weight": lambda alg: alg.actor.mlp[0].weight.data,
    "critic_state_dict.obs_normalizer._mean": lambda alg: alg.critic.obs_normalizer._mean,
    "optimizer_state_dict.state.0.exp_avg_sq": lambda alg: alg.optimizer.state[alg.actor_parameters[0]]["exp_avg_sq"],
    "algorithm_state_dict.reward_scaler.moments.m2": lambda alg: alg.reward_scaler.moments.m2,
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("earlier", [True, False])
def test_a_bad_state_is_not_written(part, earlier, tmp_path):
    """Weights, moments, normalisers, scaler: the run stops in a line that names the newest file that was checked."""
    runner = make_runner(runner_cfg(reward_scaling=True), PointMassEnv(), tmp_path)
    if earlier:
        runner.learn(1)
        runner.save(str(tmp_path / "model_7.pt"))
    else:
        runner.logger.init_logging_writer()
        runner.alg.optimizer.zero_grad()
        torch.stack([p.sum() for p in runner.alg.parameters()]).sum().backward()
        runner.alg.optimizer.step()
    PARTS[part](runner.alg).flatten()[0] = NAN
    with pytest.raises(ConfigurationError) as error:
        runner.save(str(tmp_path / "model_9.pt"))
    line, newest = str(error.value), str(tmp_path / "model_7.pt")
    assert f"not finite ({part})" in line and str(tmp_path / "model_9.pt") in line and "\n" not in line
    assert (f"resume from {newest}" if earlier else "start anew") in line
    assert {file.name for file in tmp_path.glob("*model*")} == ({"model_0.pt", "model_7.pt"} if earlier else set())


def test_a_bad_file_is_refused(tmp_path: Path):
    """Those of earlier versions may hold one."""
    path = tmp_path / "model.pt"
    runner = make_runner(runner_cfg(), PointMassEnv())
    torch.save({**runner.alg.save(), "iter": 0, "infos": None}, path)
    runner.load(str(path))
    assert runner.alg.newest_checkpoint == str(path)
    runner.alg.critic.mlp[0].bias.data[0] = INF
    torch.save({**runner.alg.save(), "iter": 0, "infos": None}, path)
    with pytest.raises(ConfigurationError, match=r"is not finite \(critic_state_dict.mlp.0.bias\); pass --checkpoint"):
        runner.load(str(path))
