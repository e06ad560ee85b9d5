# SPDX-License-Identifier: BSD-3-Clause
"""The critic on the actor's cached features."""

from __future__ import annotations

import pytest
import torch
from helpers import PointMassEnv, collect, make_runner, runner_cfg
from tensordict import TensorDict

from gr00t_rl.models import Gr00tFeatureCritic
from gr00t_rl.utils.errors import ConfigurationError


def feature_cfg(image: bool = True) -> dict:
    cfg = runner_cfg("flow_sde_one", image)
    cfg["critic"] |= {"class_name": "Gr00tFeatureCritic", "hidden_dims": [16]}
    return cfg


def test_value_is_the_mlp_of_mean_features_and_state():
    obs = TensorDict({"policy": torch.randn(3, 4), "image": torch.zeros(3, 8, 8, 3)}, batch_size=[3])
    groups = {"actor": ["policy", "image"], "critic": ["policy", "image"]}
    critic = Gr00tFeatureCritic(obs, groups, "critic", 1, 5, hidden_dims=[8], activation="elu", obs_normalization=False)
    features = torch.randn(3, 7, 5, dtype=torch.bfloat16)
    found = critic(TensorDict({"policy": obs["policy"], "features": features}, batch_size=[3]))
    expected = critic.mlp(torch.cat((features.float().mean(1), obs["policy"]), dim=-1))
    assert found.shape == (3, 1)
    torch.testing.assert_close(found, expected)


def test_needs_cameras():
    with pytest.raises(ConfigurationError, match="needs camera images"):
        make_runner(feature_cfg(image=False), PointMassEnv())


@pytest.mark.parametrize("cache", ["host", "pixels"])
def test_features_that_are_kept_elsewhere_normalise_alike(cache):
    """The moments after an update are those with features on the device."""
    critics = []
    for where in ("device", cache):
        cfg = feature_cfg()
        cfg["actor"]["feature_cache"] = where
        runner = make_runner(cfg, PointMassEnv(num_envs=3, image=True))
        collect(runner)
        runner.alg.update()
        critics.append(runner.alg.critic)
    for name, moment in critics[0].normalizer.state_dict().items():
        torch.testing.assert_close(moment, critics[1].normalizer.state_dict()[name])


def test_learns_from_cached_features_and_bootstraps_time_outs():
    """The features of a decision serve actor and critic: the backbone runs for decisions, time-outs and the end."""
    env = PointMassEnv(num_envs=3, image=True, termination=0.0, max_episode_length=4)
    runner = make_runner(feature_cfg(), env)
    rows: list[int] = []
    language_model = runner.alg.actor.model.backbone.eagle_model.language_model.model
    language_model.register_forward_hook(lambda _, __, out: rows.append(len(out.last_hidden_state)))
    collect(runner)
    decisions = len(runner.alg.batch)
    time_outs = int(sum(step["time_outs"].sum() for step in env.history))
    assert time_outs > 0
    assert sum(rows) == decisions + time_outs + 3
    runner.alg.update()
    assert sum(rows) == decisions + time_outs + 3
    assert runner.alg.critic.normalizer.count == decisions
