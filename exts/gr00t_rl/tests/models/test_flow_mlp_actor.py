# SPDX-License-Identifier: BSD-3-Clause
"""The flow policy of MLP size, and what flow actors share: heads, what the log-probability counts, state, export."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import ACTORS, PointMassEnv, collect, make_runner, runner_cfg
from rsl_rl.runners import OnPolicyRunner
from rsl_rl.utils import resolve_callable
from tensordict import TensorDict
from torch.distributions import Normal

from gr00t_rl.flow import sample_time
from gr00t_rl.models import FlowMlpActor, Gr00tActor
from gr00t_rl.utils.errors import ConfigurationError

N, STATE, ACTION, STEPS, HORIZON, K = 4, 5, 2, 3, 4, 3
HEADS: dict[str, dict[str, Any]] = {
    "one": {"head": "flow_sde", "stochastic_steps": "one"},
    "all": {"head": "flow_sde", "stochastic_steps": "all"},
    "correlated": {"head": "flow_sde", "stochastic_steps": "all", "noise_correlation": 0.6},
    "gaussian": {"head": "gaussian"},
    "correlated_gaussian": {"head": "gaussian", "noise_correlation": 0.6},
    "noise": {"head": "flow_noise"},
}
MLP: dict[str, Any] = {
    "class_name": "FlowMlpActor",
    "hidden_dims": [32, 32],
    "action_horizon": HORIZON,
    "n_action_steps": STEPS,
    "num_inference_timesteps": K,
}


def observations(n: int = N, seed: int = 0) -> TensorDict:
    generator = torch.Generator().manual_seed(seed)
    return TensorDict({"policy": torch.randn(n, STATE, generator=generator), "critic": torch.zeros(n, 1)}, [n])


def make_actor(**kwargs: Any) -> FlowMlpActor:
    torch.manual_seed(0)
    options = {**{k: v for k, v in MLP.items() if k != "class_name"}, **kwargs}
    actor = FlowMlpActor(observations(), {"actor": ["policy"], "critic": ["critic"]}, "actor", ACTION, **options)
    with torch.no_grad():
        for parameter in actor.head.parameters():
            parameter += 0.3 * torch.randn_like(parameter)  # an untrained noise network gives the same sigma everywhere
    return actor


# -- likelihoods -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_prob_over", ["executed", "chain"])
@pytest.mark.parametrize("head", HEADS)
def test_evaluate_reproduces_decide(head, log_prob_over):
    """Before any weight moves: equal log-probabilities, no divergence, the entropy of the stored deviations."""
    actor = make_actor(**HEADS[head], log_prob_over=log_prob_over)
    with torch.inference_mode():
        chunk, record = actor.decide(actor.observe(observations(8)))
    found = actor.evaluate(record.clone())
    assert chunk.shape == (8, STEPS, ACTION)
    torch.testing.assert_close(found.log_prob, record["log_prob"], atol=1e-5, rtol=0)
    assert found.kl.abs().max() < 1e-5
    torch.testing.assert_close(found.entropy, Normal(record["mean"], record["std"]).entropy().flatten(1).sum(1))


@pytest.mark.parametrize("head", ["all", "noise"])
def test_log_prob_counts_executed_steps_or_the_whole_chain(head):
    """The same stored chain, scored both ways by hand: 3 of 4 steps, or all of them."""
    actor = make_actor(**HEADS[head])
    _, record = actor.decide(observations())
    field = actor.velocity_field(record)
    x, x_next, step = record["x"], record["x_next"], record["step"]
    assert x.shape == (N, K, HORIZON, ACTION)
    if head == "noise":
        mean, std = x + field(x, step) / K, actor.head.noise(x, step, field.condition)  # type: ignore[operator]
    else:
        mean, std = actor.head.transition(x, field(x, step), step)  # type: ignore[operator]
    terms = Normal(mean, std.expand_as(mean)).log_prob(x_next)
    torch.testing.assert_close(actor.evaluate(record).log_prob, terms[:, :, :STEPS].sum((1, 2, 3)))
    actor.log_prob_over = "chain"
    whole = actor.decide(observations())[1]
    assert whole["mean"].shape == (N, K, HORIZON, ACTION)
    record["mean"], record["std"] = mean, std.expand_as(mean)
    torch.testing.assert_close(actor.evaluate(record).log_prob, terms.sum((1, 2, 3)))


def test_padded_dimensions_count_in_the_chain_only():
    """GR00T's chunk is wider than the env's action: H x A against n_action_steps x action_dim numbers per step."""
    obs = observations()
    groups = {"actor": ["policy"], "critic": ["critic"]}
    for log_prob_over in ("executed", "chain"):
        actor = Gr00tActor(
            obs, groups, "actor", ACTION, n_action_steps=STEPS, head="flow_noise", log_prob_over=log_prob_over
        )
        horizon, width = actor.chunk_shape
        assert width > ACTION
        _, record = actor.decide(actor.observe(obs))
        assert record["x"].shape == (N, 4, horizon, width)
        counted = (STEPS, ACTION) if log_prob_over == "executed" else (horizon, width)
        assert record["mean"].shape == (N, 4, *counted)
        x_next = record["x_next"][:, :, : counted[0], : counted[1]]
        expected = Normal(record["mean"], record["std"]).log_prob(x_next).sum((1, 2, 3))
        torch.testing.assert_close(record["log_prob"], expected)
        torch.testing.assert_close(actor.evaluate(record).log_prob, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("head", [*HEADS, "gr00t_noise"])
def test_ratio_is_one_through_rollout_store_and_update(head, monkeypatch):
    """With learning rate 0 every minibatch of the update finds the stored log-probabilities, and no divergence."""
    cfg_of_head = {**MLP, **HEADS[head]} if head in HEADS else {**ACTORS["flow_sde_all"], "head": "flow_noise"}
    monkeypatch.setitem(ACTORS, "flow", cfg_of_head)
    runner = make_runner(runner_cfg("flow", learning_rate=0.0, normalize_advantage=True), PointMassEnv(num_envs=5))
    collect(runner)
    alg = runner.alg
    evaluate, ratios = alg.policy.evaluate, []

    def noting(record: TensorDict) -> Any:
        found = evaluate(record)
        ratios.append((found.log_prob - record["log_prob"]).exp().detach())
        return found

    alg.policy.evaluate = noting
    metrics = alg.update()
    ratio = torch.cat(ratios)
    assert len(ratio) > 10
    assert (ratio - 1.0).abs().max() < 1e-4
    assert metrics["approx_kl"] < 1e-6
    assert metrics["clipfrac"] == 0.0


def test_an_update_moves_velocity_and_noise(monkeypatch):
    """PPO trains both networks of the policy; the stored chain carries all that scoring needs."""
    monkeypatch.setitem(ACTORS, "flow", {**MLP, "head": "flow_noise"})
    runner = make_runner(runner_cfg("flow"), PointMassEnv(num_envs=5))
    before = {name: p.detach().clone() for name, p in runner.alg.actor.named_parameters()}
    runner.learn(2)
    moved = {name for name, p in runner.alg.actor.named_parameters() if not torch.equal(p, before[name])}
    assert moved == set(before)
    assert any(name.startswith("head.noise.") for name in moved)


# -- the velocity field and its supervised loss ------------------------------------------------------------------------


def test_field_is_the_network_at_the_steps_time():
    """v(x, k) of a row does not depend on its neighbours, and transitions of a decision see its own observation."""
    actor, obs = make_actor(obs_normalization=False), observations()
    field = actor.velocity_field(obs)
    assert torch.equal(field.condition, obs["policy"])
    x, step = torch.randn(N, 2, HORIZON, ACTION), torch.tensor([[0, 2]] * N)
    found = field(x, step)
    assert found.shape == x.shape
    for m, k in enumerate((0, 2)):
        alone = actor.velocity(x[1:2, m], torch.tensor([k / K]), obs["policy"][1:2])
        torch.testing.assert_close(found[1, m], alone[0])


def test_flow_matching_loss_by_hand():
    """(v(x_t, t) - (action - noise))^2 over the demonstrated steps, with noise and times of the same generator."""
    actor, obs = make_actor(), observations()
    actions, mask = (
        torch.randn(N, HORIZON, ACTION),
        torch.arange(HORIZON).expand(N, -1) < torch.tensor([[4], [3], [1], [2]]),
    )
    torch.manual_seed(3)
    found = actor.flow_matching_loss(obs, actions, mask)
    torch.manual_seed(3)
    noise, t = torch.randn(N, HORIZON, ACTION), sample_time((N,))
    x = (1 - t)[:, None, None] * noise + t[:, None, None] * actions
    error = (actor.velocity(x, t, actor.latent(obs["policy"])) - (actions - noise)).square()
    torch.testing.assert_close(found, error[mask].mean())


@pytest.mark.slow
def test_cloning_reaches_both_modes():
    """Two equally frequent chunks, +0.5 and -0.5: the trained flow makes both, and little between."""
    shape = {"hidden_dims": [128, 128], "action_horizon": 1, "n_action_steps": 1, "num_inference_timesteps": 10}
    actor = make_actor(**shape, obs_normalization=False)
    obs = TensorDict({"policy": torch.zeros(256, STATE)}, [256])
    actions = torch.where(torch.arange(256) % 2 == 0, 0.5, -0.5)[:, None, None].expand(-1, 1, ACTION)
    optimizer = torch.optim.Adam(actor.network.parameters(), lr=3e-3)
    for _ in range(600):
        optimizer.zero_grad()
        actor.flow_matching_loss(obs, actions).backward()
        optimizer.step()
    with torch.no_grad():
        chunk = actor.act_chunk(obs)[:, 0, 0]
    assert 0.3 < (chunk > 0).float().mean() < 0.7
    assert ((chunk.abs() - 0.5).abs() < 0.2).float().mean() > 0.7


# -- state, play, export -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor_class", ["mlp", "gr00t"])
def test_the_noise_network_is_saved_and_loaded(actor_class):
    """Among the trained parameters of the actor, whichever they are; another agent's policy then acts the same."""
    obs, groups = observations(), {"actor": ["policy"], "critic": ["critic"]}

    def make() -> Any:
        if actor_class == "mlp":
            return make_actor(head="flow_noise")
        return Gr00tActor(obs, groups, "actor", ACTION, n_action_steps=STEPS, head="flow_noise")

    first, second = make(), make()
    with torch.no_grad():
        for parameter in first.head.parameters():
            parameter += torch.randn_like(parameter)
    noise = {name for name, _ in first.named_parameters() if name.startswith("head.noise.")}
    assert len(noise) == 9
    state = first.state_dict()
    assert noise <= set(state)
    _, record = first.decide(first.observe(obs))
    assert (second.evaluate(record).log_prob - record["log_prob"]).abs().max() > 1e-3
    second.load_state_dict(state)
    torch.testing.assert_close(second.evaluate(record).log_prob, record["log_prob"], atol=1e-5, rtol=0)


def test_play_is_deterministic_from_zero_noise():
    actor = make_actor(head="flow_noise", init_noise_scale=0.0)
    with torch.no_grad():
        first = [actor(observations()) for _ in range(STEPS + 1)]
        actor.reset(torch.ones(N))
        second = [actor(observations()) for _ in range(STEPS + 1)]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("head", ["one", "noise"])
def test_export_gives_the_same_chunk(head, tmp_path):
    """Through the runner's own export, for inputs other than those it was traced with; without the noise network."""
    actor = make_actor(**HEADS[head])
    actor.train()
    actor.update_normalization(TensorDict({"policy": 3.0 + torch.randn(50, STATE)}, batch_size=[50]))
    runner = object.__new__(OnPolicyRunner)
    runner.alg = SimpleNamespace(get_policy=lambda: actor)  # type: ignore[assignment]
    runner.export_policy_to_jit(str(tmp_path))
    loaded = torch.jit.load(tmp_path / "policy.pt")
    assert not [name for name, _ in loaded.named_parameters() if "noise" in name]
    state, noise = torch.randn(1, STATE), torch.randn(1, HORIZON, ACTION)
    with torch.no_grad():
        expected = actor.env_actions(actor.head.integrate(actor.velocity_of_state(state), noise))
    torch.testing.assert_close(loaded(state, noise), expected, atol=1e-6, rtol=1e-5)
    assert actor.as_onnx().input_names == ["state", "noise"]


# -- wrong settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_action_steps": 5}, "at most agent.actor.action_horizon=4"),
        ({"log_prob_over": "everything"}, "set one of executed, chain"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        make_actor(**options)


def test_images_are_refused():
    obs = TensorDict({"policy": torch.zeros(N, 8, 8, 3)}, [N])
    with pytest.raises(ConfigurationError, match="flat groups"):
        FlowMlpActor(obs, {"actor": ["policy"]}, "actor", ACTION)


def test_resolves_by_bare_name():
    assert resolve_callable("FlowMlpActor") is FlowMlpActor
