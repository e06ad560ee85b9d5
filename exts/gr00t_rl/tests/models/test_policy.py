# SPDX-License-Identifier: BSD-3-Clause
"""Stock rsl_rl models as policies whose decisions last one env step."""

from __future__ import annotations

import torch
from rsl_rl.models import MLPModel
from tensordict import TensorDict
from torch.distributions import Normal, kl_divergence

from gr00t_rl.models import StepPolicy


def make_policy() -> StepPolicy:
    torch.manual_seed(0)
    obs = TensorDict({"policy": torch.zeros(2, 3), "other": torch.zeros(2, 1)}, batch_size=[2])
    cfg = {"class_name": "GaussianDistribution", "init_std": 0.5, "std_type": "log"}
    return StepPolicy(MLPModel(obs, {"actor": ["policy"]}, "actor", 2, [8], distribution_cfg=cfg), ["policy"])


def test_keeps_only_the_groups_that_are_read():
    obs = TensorDict({"policy": torch.zeros(2, 3), "other": torch.zeros(2, 1)}, batch_size=[2])
    assert list(make_policy().observe(obs).keys()) == ["policy"]


def test_statistics_are_those_of_the_models_normal():
    policy, obs = make_policy(), TensorDict({"policy": torch.randn(4, 3)}, batch_size=[4])
    chunk, record = policy.decide(obs)
    assert torch.equal(chunk, record["action"].unsqueeze(1))
    old = Normal(policy.model(obs), 0.5)
    torch.testing.assert_close(record["log_prob"], old.log_prob(record["action"]).sum(-1))
    record = record.detach()
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter += 0.05
    new = Normal(policy.model(obs), 0.5 * torch.tensor(0.05).exp())
    found = policy.evaluate(record)
    torch.testing.assert_close(found.log_prob, new.log_prob(record["action"]).sum(-1))
    torch.testing.assert_close(found.entropy, new.entropy().sum(-1))
    torch.testing.assert_close(found.kl, kl_divergence(old, new).sum(-1))
    assert found.log_prob.requires_grad
    assert not found.kl.requires_grad
