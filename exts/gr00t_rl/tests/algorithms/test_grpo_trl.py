# SPDX-License-Identifier: BSD-3-Clause
"""GRPO against TRL's GRPOTrainer on a one-step Gaussian bandit.

The constants are what TRL 1.16.0 computed for the same actions, rewards and policies, once, by

    uv pip install --target build/trl --no-deps trl accelerate datasets dill multiprocess xxhash pandas
    PYTHONPATH=build/trl python exts/gr00t_rl/tests/algorithms/trl_constants.py
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import EnvCfg, collect, grpo_cfg, make_runner
from tensordict import TensorDict
from torch.distributions import Normal, kl_divergence

sys.path.append(str(Path(__file__).parent))
from trl_constants import ACTIONS, NEW, OLD, REFERENCE, REWARDS

from gr00t_rl.algorithms.ranks import Tally

ADVANTAGES = {
    "grpo": [
        [0.8658754229545593, -0.8658754229545593, -0.8658754229545593, 0.8658754229545593],
        [-0.12908610701560974, -0.9036027789115906, 1.4199471473693848, -0.3872583210468292],
        [0.0, 0.0, 0.0, 0.0],
    ],
    "dr_grpo": [[0.5, -0.5, -0.5, 0.5], [-0.125, -0.875, 1.375, -0.375], [0.0, 0.0, 0.0, 0.0]],
}
"""TRL's with scale_rewards="group" and "none"."""
METRICS = {"grpo/mean_reward": 0.7083333134651184, "grpo/reward_std": 0.6291528940200806, "frac_zero_std": 1 / 3}
"""TRL's reward, reward_std and frac_reward_zero_std."""
LOSS, LOSS_HIGH_CLIP, LOSS_KL, KL = 0.039797257632017136, 0.02065221406519413, 0.04831080138683319, 0.085135318338871
"""TRL's loss with eps 0.2; with eps 0.2 below and 0.4 above; with beta 0.1; and its estimate of the KL there."""


class Bandit:
    """One step, one number, and the rewards that are in the table."""

    num_envs, num_actions, max_episode_length, device = 12, 1, 1, "cpu"
    unwrapped: Any = None

    def __init__(self) -> None:
        self.cfg = EnvCfg()
        self.cfg.start_group_size = 4  # type: ignore[attr-defined]
        self.episode_length_buf = torch.zeros(12, dtype=torch.long)
        self.unwrapped = self

    def get_observations(self) -> TensorDict:
        return TensorDict({"policy": torch.zeros(12, 1)}, [12])

    def reset(self) -> tuple[TensorDict, dict]:
        return self.get_observations(), {}

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        return self.get_observations(), torch.tensor(REWARDS).flatten(), torch.ones(12, dtype=torch.long), {}


def become(actor: Any, policy: tuple[float, float]) -> None:
    """Make an MLP actor the Gaussian (mean, std) everywhere."""
    with torch.no_grad():
        for parameter in actor.mlp.parameters():
            parameter.zero_()
        actor.mlp[-1].bias.fill_(policy[0])
        actor.distribution.log_std_param.fill_(math.log(policy[1]))


def bandit(**options: Any) -> Any:
    """Return GRPO with the weights of NEW after a rollout by OLD, with the table's actions in place of those drawn."""
    runner = make_runner(grpo_cfg("mlp", zero_std_groups="keep", **options), Bandit())  # type: ignore[arg-type]
    alg = runner.alg
    become(alg.actor, REFERENCE)
    if alg.reference is not None:
        alg.reference.adopt()
    become(alg.actor, OLD)
    collect(runner)
    actions = torch.tensor(ACTIONS).view(12, 1)
    alg.batch["action"], alg.batch["log_prob"] = actions, Normal(*OLD).log_prob(actions).squeeze(1)
    become(alg.actor, NEW)
    return alg


def loss_of(alg: Any) -> float:
    return alg._loss(alg._loss_terms(alg.batch[alg._prepare(alg.batch)])).mean().item()


@pytest.mark.parametrize("advantage", ADVANTAGES)
def test_advantages_and_metrics(advantage):
    alg = bandit(advantage=advantage)
    torch.testing.assert_close(alg.batch["advantage"].view(3, 4), torch.tensor(ADVANTAGES[advantage]))
    tally = Tally("cpu")
    alg._tally(tally, alg.batch)
    metrics = alg._describe(tally.exchange()[1])
    assert {name: metrics[name] for name in METRICS} == pytest.approx(METRICS)


def test_loss():
    assert loss_of(bandit()) == pytest.approx(LOSS, abs=1e-6)
    assert loss_of(bandit(clip_param_high=0.4)) == pytest.approx(LOSS_HIGH_CLIP, abs=1e-6)


def test_kl_to_the_reference_is_what_trl_estimates():
    """TRL adds beta times ratio times the k3 estimate at the sampled actions; ours is the mean of that over many."""
    exact = kl_divergence(Normal(*NEW), Normal(*REFERENCE)).item()
    assert loss_of(bandit(kl_coef=0.1)) == pytest.approx(LOSS + 0.1 * exact, abs=1e-6)

    def estimate(actions: torch.Tensor) -> torch.Tensor:
        gap = Normal(*REFERENCE).log_prob(actions) - Normal(*NEW).log_prob(actions)
        ratio = (Normal(*NEW).log_prob(actions) - Normal(*OLD).log_prob(actions)).exp()
        return ratio * (gap.exp() - gap - 1)

    assert pytest.approx(LOSS_KL - LOSS, abs=1e-6) == 0.1 * KL
    assert estimate(torch.tensor(ACTIONS)).mean().item() == pytest.approx(KL, abs=1e-6)
    torch.manual_seed(0)
    samples = estimate(Normal(*OLD).sample((100_000,)))
    assert samples.mean().item() == pytest.approx(exact, abs=4 * samples.std().item() / 100_000**0.5)
