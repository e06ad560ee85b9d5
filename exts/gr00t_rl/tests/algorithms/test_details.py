# SPDX-License-Identifier: BSD-3-Clause
"""What the presets `ppo` and `ppo_v2` take of PPO's implementation details, as the runner really builds them.

The table of all 37 is ``docs/ppo_details.md``.
"""

from __future__ import annotations

import importlib.metadata
import math
from typing import Any

import pytest
import torch
from helpers import PointMassEnv, collect, make_runner, runner_cfg
from tensordict import TensorDict


@pytest.fixture(params=["ppo", "ppo_v2"])
def preset(request) -> tuple[bool, Any]:
    """Whether it is ``ppo_v2``, and the runner of an MLP preset with the cfg as Isaac Lab hands it over."""
    from isaaclab_rl.rsl_rl import handle_deprecated_rsl_rl_cfg

    from gr00t_rl.cfg import MlpPpoRunnerCfg, MlpRunnerCfg

    cfg: Any = (MlpPpoRunnerCfg if request.param == "ppo" else MlpRunnerCfg)()
    cfg = handle_deprecated_rsl_rl_cfg(cfg, importlib.metadata.version("rsl-rl-lib"))
    return request.param == "ppo_v2", make_runner(cfg.to_dict(), PointMassEnv(num_envs=8))


def linear_layers(model: Any) -> list[torch.nn.Linear]:
    return [m for m in model.mlp if isinstance(m, torch.nn.Linear)]


def test_orthogonal_weights_and_zero_biases(preset):
    """Rows (or columns) are orthogonal with norm sqrt(2), 0.01 in the policy's last layer and 1 in the value's."""
    v2, runner = preset
    for model, last_gain in ((runner.alg.actor, 0.01), (runner.alg.critic, 1.0)):
        layers = linear_layers(model)
        gains = [math.sqrt(2.0)] * (len(layers) - 1) + [last_gain]
        orthogonal = []
        for layer, gain in zip(layers, gains, strict=True):
            w = layer.weight.detach()
            gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
            orthogonal.append(torch.allclose(gram, gain**2 * torch.eye(len(gram)), atol=1e-5))
            assert v2 == bool((layer.bias == 0).all())
        assert all(orthogonal) if v2 else not any(orthogonal)


def test_optimiser(preset):
    v2, runner = preset
    groups, alg = runner.alg.optimizer.param_groups, runner.alg
    assert [group["eps"] for group in groups] == [1e-5 if v2 else 1e-8] * 2
    assert [s.kind for s in alg.rates.schedules] == ["linear" if v2 else "fixed"] * 2
    assert [group["weight_decay"] for group in groups] == [0.0, 0.0] and alg.options.warmup_iterations == 0
    assert alg.options.max_grad_norm == (0.5 if v2 else math.inf)
    assert alg.options.normalize_advantage == v2 and not alg.options.normalize_advantage_per_mini_batch


def test_policy_and_value_networks_share_nothing(preset):
    _, runner = preset
    actor, critic = (set(model.parameters()) for model in (runner.alg.actor, runner.alg.critic))
    assert actor and critic and not actor & critic
    assert not {id(b) for b in runner.alg.actor.buffers()} & {id(b) for b in runner.alg.critic.buffers()}


def test_normal_actions_with_a_spread_that_ignores_the_state(preset):
    """log pi(a | s) is the sum over the dimensions of a normal's log-density; its log-std is a free parameter."""
    _, runner = preset
    actor = runner.alg.actor
    obs = TensorDict({"policy": 3.0 * torch.randn(5, 2), "critic": torch.randn(5, 3)}, [5])
    with torch.no_grad():
        actions = actor(obs, stochastic_output=True)
        mean, std = actor.output_distribution_params
        density = -((actions - mean) ** 2) / (2 * std**2) - std.log() - 0.5 * math.log(2 * math.pi)
        torch.testing.assert_close(actor.get_output_log_prob(actions), density.sum(-1))
    assert torch.equal(std, std[:1].expand(5, 2))
    spread = dict(actor.named_parameters())["distribution.log_std_param"]
    torch.testing.assert_close(std[0], spread.detach().exp())
    assert any(spread is p for group in runner.alg.optimizer.param_groups for p in group["params"])


def test_actions_are_stored_as_they_were_drawn(preset):
    """The env clips to [-1, 1] for itself; likelihoods are those of the draw."""
    _, runner = preset
    collect(runner)
    actions = runner.alg.batch["action"]
    assert actions.abs().max() > 1.0
    with torch.no_grad():
        torch.testing.assert_close(
            runner.alg.policy.evaluate(runner.alg.batch).log_prob, runner.alg.batch["log_prob"], atol=1e-5, rtol=0
        )


def test_observations_are_normalised_and_clipped(preset):
    """By their running moments, then to [-10, 10]; `ppo` takes them as they are."""
    v2, runner = preset
    actor = runner.alg.actor
    far = TensorDict({"policy": torch.tensor([[1e4, -1e4], [0.3, 0.2]])}, [2])
    if not v2:
        assert torch.equal(actor.get_latent(far), far["policy"])
        return
    runner.learn(1)
    latent = actor.get_latent(far)
    assert latent[0].tolist() == [10.0, -10.0]
    normaliser = actor.obs_normalizer
    assert normaliser.count > 0
    torch.testing.assert_close(latent[1], (far["policy"][1] - normaliser.mean) / (normaliser.std + normaliser.eps))


def test_exported_policy_clips_too(preset):
    _, runner = preset
    far = torch.tensor([[50.0, -40.0], [0.3, 0.2]])
    policy = runner.alg.actor
    exported = policy.as_jit().eval()
    policy.eval()
    with torch.no_grad():
        torch.testing.assert_close(exported(far), policy(TensorDict({"policy": far}, [2])))
    policy.train()


def test_rewards_are_scaled_and_clipped(preset):
    v2, runner = preset
    scaler = runner.alg.reward_scaler
    assert (scaler is not None) == v2
    if scaler is not None:
        assert (scaler.clip, scaler.gamma) == (10.0, runner.alg.options.gamma)


def test_loss_is_policy_plus_value_minus_entropy():
    """One backward pass of L = policy - c2 entropy + c1 value (paper, eq. 9)."""
    runner = make_runner(runner_cfg(num_learning_epochs=1, num_mini_batches=1, max_grad_norm=1e9), PointMassEnv())
    alg = runner.alg
    alg.options.entropy_coef, alg.options.value_loss_coef = 0.07, 0.3
    collect(runner)
    batch = alg.batch.clone()
    batch["advantage"] = (batch["advantage"] - batch["advantage"].mean()) / (batch["advantage"].std() + 1e-8)
    terms = {name: term.mean() for name, term in alg._loss_terms(batch).items()}
    (terms["policy"] - 0.07 * terms["entropy"] + 0.3 * terms["value"]).backward()
    expected = [p.grad.clone() for p in alg.parameters()]
    alg.optimizer.step = lambda *_: None
    alg.update()
    for a, p in zip(expected, alg.parameters(), strict=True):
        torch.testing.assert_close(p.grad, a, atol=1e-6, rtol=1e-4)


def rnn_preset(rnn_type: str) -> Any:
    """The runner of `ppo_v2` with recurrent layers."""
    from isaaclab_rl.rsl_rl import handle_deprecated_rsl_rl_cfg

    from gr00t_rl.cfg import RnnRunnerCfg

    cfg: Any = RnnRunnerCfg()
    for model in (cfg.actor, cfg.critic):
        model.hidden_dims, model.rnn_type, model.rnn_hidden_dim, model.rnn_num_layers = [16], rnn_type, 8, 2
    cfg = handle_deprecated_rsl_rl_cfg(cfg, importlib.metadata.version("rsl-rl-lib"))
    return make_runner(cfg.to_dict(), PointMassEnv(num_envs=8))


@pytest.mark.parametrize("rnn_type", ["lstm", "gru"])
def test_recurrent_layers_are_orthogonal_too(rnn_type):
    """Each recurrent matrix, all gates together, has orthonormal columns (or rows), and biases are zero."""
    runner = rnn_preset(rnn_type)
    for network, last_gain in ((runner.alg.actor, 0.01), (runner.alg.critic, 1.0)):
        weights = [(w, 1.0) for name, w in network.rnn.named_parameters() if "weight" in name]
        weights += [(w.weight, g) for w, g in zip(linear_layers(network), (math.sqrt(2.0), last_gain), strict=True)]
        assert len(weights) == 6
        for weight, gain in weights:
            w = weight.detach()
            gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
            torch.testing.assert_close(gram, gain**2 * torch.eye(len(gram)), atol=1e-5, rtol=0)
        biases = [p for name, p in network.named_parameters() if "bias" in name]
        assert len(biases) == 6 and all((bias == 0).all() for bias in biases)
    runner.learn(2)
    # observations are clipped before the recurrent layers, in the exported policy too
    actor = runner.alg.actor.eval()
    far, exported = torch.tensor([[500.0, -0.1]]), runner.alg.actor.as_jit().eval()
    with torch.no_grad():
        latent = (far - actor.obs_normalizer.mean) / (actor.obs_normalizer.std + actor.obs_normalizer.eps)
        assert latent[0, 0] > 10.0
        expected = actor.mlp(actor.rnn.rnn(latent.clamp(-10.0, 10.0).unsqueeze(0))[0].squeeze(0))
        torch.testing.assert_close(actor(TensorDict({"policy": far}, [1])), expected)
        torch.testing.assert_close(torch.jit.script(exported)(far), expected)
