# SPDX-License-Identifier: BSD-3-Clause
"""GR00T as an rsl_rl actor: sampling and scoring, what is stored, what is saved."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import nn

from gr00t_rl.gr00t import Gr00tN1d5Config
from gr00t_rl.models import Gr00tActor
from gr00t_rl.utils.errors import ConfigurationError

N, STATE, ACTION, STEPS, HORIZON = 3, 5, 2, 3, 6
HEADS: dict[str, dict[str, Any]] = {
    "one": {"head": "flow_sde", "stochastic_steps": "one"},
    "all": {"head": "flow_sde", "stochastic_steps": "all"},
    "gaussian": {"head": "gaussian"},
}


@pytest.fixture(autouse=True)
def _chunks_are_longer_than_what_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give "tiny" a horizon of its own, as checkpoints have."""
    tiny = Gr00tN1d5Config.tiny
    monkeypatch.setattr(Gr00tN1d5Config, "tiny", lambda **sizes: tiny(**{**sizes, "action_horizon": HORIZON}))


def observations(images: int = 0, n: int = N, seed: int = 0) -> TensorDict:
    generator = torch.Generator().manual_seed(seed)
    obs = TensorDict({"policy": torch.randn(n, STATE, generator=generator), "critic": torch.zeros(n, 1)}, [n])
    for i in range(images):
        obs[f"image{i}"] = torch.randint(0, 256, (n, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return obs


def make_actor(images: int = 0, **kwargs: Any) -> Gr00tActor:
    obs = observations(images)
    groups = {"actor": ["policy", *(f"image{i}" for i in range(images))], "critic": ["critic"]}
    torch.manual_seed(0)
    return Gr00tActor(obs, groups, "actor", ACTION, **{"n_action_steps": STEPS, "instruction": "Reach.", **kwargs})


def perturb(actor: Gr00tActor, scale: float = 0.05) -> None:
    """Move all trained weights a little, as an update would."""
    with torch.no_grad():
        for parameter in actor.parameters():
            if parameter.requires_grad:
                parameter += scale * parameter.std(correction=0) * torch.randn_like(parameter)


# -- likelihoods -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [0, 1, 2])
@pytest.mark.parametrize("head", HEADS)
def test_evaluate_reproduces_decide(head, images):
    """Before any weight moves: equal log-probabilities, zero divergence, and the entropy of the stored std."""
    actor, obs = make_actor(images, **HEADS[head]), observations(images, n=8)
    actor.train()
    with torch.inference_mode():
        chunk, record = actor.decide(actor.observe(obs))
    assert chunk.shape == (8, STEPS, ACTION)
    found = actor.evaluate(record.clone())
    assert record["log_prob"].dtype == found.log_prob.dtype == torch.float32
    torch.testing.assert_close(found.log_prob, record["log_prob"], atol=1e-5, rtol=0)
    assert found.kl.abs().max() < 1e-5
    entropy = torch.distributions.Normal(record["mean"], record["std"]).entropy().flatten(1).sum(1)
    torch.testing.assert_close(found.entropy, entropy)


@pytest.mark.parametrize("head", HEADS)
def test_log_prob_is_the_normal_density_of_the_executed_numbers(head):
    actor = make_actor(**HEADS[head])
    _, record = actor.decide(actor.observe(observations()))
    m = 4 if head == "all" else 1
    assert record["mean"].shape == record["std"].shape == (N, m, STEPS, ACTION)
    executed = record["x_next"][:, :, :STEPS, :ACTION]
    expected = torch.distributions.Normal(record["mean"], record["std"]).log_prob(executed).flatten(1).sum(1)
    torch.testing.assert_close(record["log_prob"], expected)


@pytest.mark.parametrize("head", HEADS)
def test_only_executed_steps_and_real_dimensions_count(head):
    """Padded dimensions and later steps of the state reached leave the log-probability alone; executed ones do not."""
    actor = make_actor(**HEADS[head])
    _, record = actor.decide(actor.observe(observations()))
    record = record.detach()
    before = actor.evaluate(record).log_prob
    padded = record.clone()
    padded["x_next"][..., ACTION:] += 1.0
    padded["x_next"][:, :, STEPS:] -= 1.0
    assert torch.equal(actor.evaluate(padded).log_prob, before)
    executed = record.clone()
    executed["x_next"][:, :, STEPS - 1, ACTION - 1] += 0.1
    assert (actor.evaluate(executed).log_prob != before).all()


@pytest.mark.parametrize("head", HEADS)
def test_divergence_grows_when_weights_move(head):
    actor = make_actor(**HEADS[head])
    _, record = actor.decide(actor.observe(observations()))
    record = record.detach()
    perturb(actor)
    found = actor.evaluate(record)
    assert (found.kl > 1e-6).all()
    assert ((found.log_prob - record["log_prob"]).abs() > 1e-4).all()
    assert not found.kl.requires_grad


def test_dropout_stays_off_in_train_mode():
    actor = make_actor(1)
    assert any(isinstance(m, nn.Dropout) and m.p > 0 for m in actor.model.modules())
    actor.train()
    assert actor.training
    assert not any(m.training for m in actor.model.modules())
    record = actor.decide(actor.observe(observations(1)))[1].detach()
    assert torch.equal(actor.evaluate(record).log_prob, actor.evaluate(record).log_prob)


@pytest.mark.parametrize("head", HEADS)
def test_bfloat16_network_keeps_float32_likelihoods(head, record_property):
    """Velocities are bfloat16, but the same in rollout and update: the ratio is still close to 1."""
    actor, obs = make_actor(1, dtype="bfloat16", **HEADS[head]), observations(1, n=32)
    with torch.inference_mode():
        _, record = actor.decide(actor.observe(obs))
    assert record["features"].dtype == torch.bfloat16
    floats = ("x", "x_next", "mean", "std", "log_prob")
    assert {record[key].dtype for key in floats} == {torch.float32}
    record = record.clone()
    log_ratio = actor.evaluate(record[torch.randperm(32)[:7].sort().values]).log_prob
    assert log_ratio.dtype == torch.float32
    ratio = (actor.evaluate(record).log_prob - record["log_prob"]).exp()
    record_property("ratio", f"{ratio.min().item():.6f} to {ratio.max().item():.6f}")
    assert ((ratio - 1).abs() < 0.02).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scale_of_the_initial_noise(dtype):
    """At 0 the ODE starts from zeros, and playing is deterministic."""
    actor = make_actor(dtype=dtype, init_noise_scale=0.0)
    assert not actor.initial_noise(4).any()
    obs = observations()
    assert torch.equal(actor.act_chunk(obs), actor.act_chunk(obs))
    noise = make_actor(init_noise_scale=2.0).initial_noise(64)
    assert noise.dtype == torch.float32
    assert 1.9 < noise.std() < 2.1


# -- what is frozen, what is cached ------------------------------------------------------------------------------------


def count_calls(module: nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("images", [0, 1])
def test_backbone_runs_once_per_decision_and_never_in_the_update(images):
    actor, obs = make_actor(images), observations(images)
    backbone = count_calls(actor.model.backbone.eagle_model.language_model.model)
    attention = count_calls(actor.model.action_head.vl_self_attention)
    _, record = actor.decide(actor.observe(obs))
    expected = images  # a prompt without images was encoded when the actor was built
    assert (len(backbone), len(attention)) == (expected, expected)
    actor.evaluate(record.detach()).log_prob.sum().backward()
    assert (len(backbone), len(attention)) == (expected, expected)


def test_images_are_stored_as_features_only():
    actor, obs = make_actor(1), observations(1)
    observed = actor.observe(obs)
    assert set(obs.keys()) == {"policy", "critic", "image0"}  # the env's own observations stay as they are
    assert set(observed.keys()) == {"policy", "critic", "features"}
    assert observed["features"].shape[0] == N
    assert observed["features"].shape[2] == actor.feature_dim
    assert torch.equal(observed["critic"], obs["critic"])


def test_images_and_states_reach_the_action():
    """Another picture or another state gives another chunk from the same noise."""
    actor, noise = make_actor(1), torch.randn(N, HORIZON, 32)

    def chunk(obs: TensorDict) -> torch.Tensor:
        return actor.head.integrate(actor.velocity_field(actor.observe(obs)), noise)

    base = chunk(observations(1))
    for group in ("policy", "image0"):
        changed = observations(1)
        changed[group] = observations(1, seed=1)[group]
        assert (chunk(changed) - base).abs().max() > 1e-3


@pytest.mark.parametrize(("projector", "diffusion"), [(True, True), (True, False), (False, True)])
def test_only_the_chosen_parts_get_gradients(projector, diffusion):
    train = {part: "full" for part, on in (("projectors", projector), ("dit", diffusion)) if on}
    actor = make_actor(1, train=train, head="flow_sde")
    record = actor.decide(actor.observe(observations(1)))[1].detach()
    actor.evaluate(record).log_prob.sum().backward()
    parts = {
        "model.action_head.state_encoder": projector,
        "model.action_head.action_encoder": projector,
        "model.action_head.action_decoder": projector,
        "model.action_head.position_embedding": projector,
        "model.action_head.model": diffusion,
        "model.action_head.future_tokens": diffusion,
    }
    for name, parameter in actor.named_parameters():
        trained = any(name.startswith(part + ".") and on for part, on in parts.items())
        assert parameter.requires_grad == trained, name
        assert (parameter.grad is not None) == trained, name


def test_observation_normaliser_learns_in_train_mode_only():
    actor, obs = make_actor(obs_normalization=True), observations(n=64)
    actor.eval()
    actor.update_normalization(obs)
    assert actor.state_normalizer is not None
    assert actor.state_normalizer.count == 0
    actor.train()
    actor.update_normalization(obs)
    torch.testing.assert_close(actor.state_normalizer.mean, obs["policy"].mean(0))


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_state_dict_holds_the_trained_weights_and_a_reference(tmp_path):
    actor = make_actor(1, head="gaussian", obs_normalization=True)
    state = actor.state_dict()
    trained = {name for name, p in actor.named_parameters() if p.requires_grad}
    moments = {f"state_normalizer.{name}" for name in ("_mean", "_var", "_std", "count")}
    assert set(state) == trained | moments | {"base"}
    assert state["base"]["checkpoint"] == "tiny"
    torch.save(state, tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    assert loaded["base"] == state["base"]


@pytest.mark.parametrize("head", HEADS)
def test_state_loads_back_exactly(head):
    actor, other = make_actor(1, **HEADS[head]), make_actor(1, **HEADS[head])
    perturb(actor)
    other.load_state_dict(actor.state_dict())
    for (name, a), b in zip(actor.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
    record = actor.decide(actor.observe(observations(1)))[1].detach()
    assert torch.equal(actor.evaluate(record).log_prob, other.evaluate(record).log_prob)


def test_state_of_other_base_weights_is_refused():
    """What to set is what makes these base weights: a seed and sizes, or the checkpoint that the run named."""
    state = make_actor().state_dict()
    with pytest.raises(ConfigurationError, match=r"trained on the base weights 'tiny'.*; set .*tiny_seed") as error:
        make_actor(tiny_seed=1).load_state_dict(state)
    assert "\n" not in str(error.value)
    state["base"]["checkpoint"] = "there/n1d5"
    with pytest.raises(ConfigurationError, match=r"set agent\.actor\.checkpoint=there/n1d5"):
        make_actor(tiny_seed=1).load_state_dict(state)


def test_another_row_is_named_before_the_base_weights():
    """By another row the network is another one, though the checkpoint's files are the same."""
    state = make_actor(embodiment_id=1).state_dict()
    make_actor(embodiment_id=1).load_state_dict(state)
    with pytest.raises(
        ConfigurationError, match=r"agent\.actor\.embodiment_id is 0, but the .* was trained with 1; set"
    ):
        make_actor().load_state_dict(state)
    del state["base"]["embodiment_id"]  # as checkpoints from before it was remembered
    make_actor(embodiment_id=1).load_state_dict(state)
    with pytest.raises(
        ConfigurationError, match=r"trained on the base weights .* and agent\.actor\.embodiment_id as in"
    ):
        make_actor().load_state_dict(state)


def test_other_settings_than_in_training_are_told(capsys):
    state = make_actor().state_dict()
    make_actor(init_noise_scale=0.0).load_state_dict(state)
    assert "warning" not in capsys.readouterr().out
    make_actor(n_action_steps=2, num_inference_timesteps=3, instruction="Push.").load_state_dict(state)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    for said in ("n_action_steps is 2, in training 3", "num_inference_timesteps is 3, in training 4", "'Push.', in tr"):
        assert said in line


@pytest.mark.parametrize("damage", ["missing", "extra", "no base"])
def test_incomplete_state_is_refused(damage):
    actor = make_actor()
    state = actor.state_dict()
    if damage == "missing":
        del state[next(iter(state))]
    elif damage == "extra":
        state["more"] = torch.zeros(1)
    else:
        del state["base"]
    said = {"missing": "it lacks '.*', which this agent trains", "extra": "it holds 'more'", "no base": "another actor"}
    with pytest.raises(ValueError, match=said[damage]):
        actor.load_state_dict(state)


# -- playing -----------------------------------------------------------------------------------------------------------


def test_forward_plays_one_chunk_then_decides_again():
    actor, obs = make_actor(init_noise_scale=0.0), observations()
    later = observations(seed=1)
    with torch.inference_mode():
        first = actor.act_chunk(obs)
        second = actor.act_chunk(later)
        for i in range(STEPS):
            torch.testing.assert_close(actor(obs if i == 0 else later), first[:, i])
        torch.testing.assert_close(actor(later), second[:, 0])


def test_reset_makes_only_the_done_envs_decide_again():
    actor, obs = make_actor(init_noise_scale=0.0), observations()
    later = observations(seed=1)
    with torch.inference_mode():
        first, second = actor.act_chunk(obs), actor.act_chunk(later)
        actor(obs)
        actor.reset(torch.tensor([0, 1, 0]))
        expected = first[:, 1].clone()
        expected[1] = second[1, 0]
        torch.testing.assert_close(actor(later), expected)
        actor.reset()
        torch.testing.assert_close(actor(later), second[:, 0])


def test_forward_follows_a_change_of_the_number_of_envs():
    actor = make_actor()
    assert actor(observations()).shape == (N, ACTION)
    assert actor(observations(n=7)).shape == (7, ACTION)
    actor.reset(torch.zeros(N))  # as in training after an evaluation with more envs
    assert actor(observations()).shape == (N, ACTION)


def test_stochastic_output_explores():
    """A sampled chunk from the same deterministic start differs from the ODE's."""
    actor, obs = make_actor(init_noise_scale=0.0, stochastic_steps="all"), observations()
    with torch.inference_mode():
        assert (actor(obs, stochastic_output=True) - actor.act_chunk(obs)[:, 0]).abs().max() > 1e-2


def test_stock_algorithms_are_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"gr00t_rl\.algorithms:PPO"):
        make_actor().get_output_log_prob(torch.zeros(N, ACTION))


# -- wrong settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_action_steps": 7}, "n_action_steps is 7, but the checkpoint's action horizon is 6"),
        ({"n_action_steps": 0}, "n_action_steps is 0"),
        ({"checkpoint": "no/such/folder"}, "agent.actor.checkpoint='no/such/folder'"),
        ({"checkpoint": "no/such/folder", "tokenizer": "elsewhere"}, "agent.actor.checkpoint='no/such/folder'"),
        ({"embodiment_id": 99}, "agent.actor.embodiment_id=99: embodiment id is 99"),
    ],
)
def test_settings_that_do_not_fit(setting, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        make_actor(**setting)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shape", "dtype", "action_dim", "message"),
    [
        ((N, 32, 32, 3), torch.float32, 2, "observation group 'policy' is torch.float32"),
        ((N, 5, 5), torch.float32, 2, "observation group 'policy'"),
        ((N, 65), torch.float32, 2, "the state has 65 dimensions, but the checkpoint takes 1 to 64"),
        ((N, 5), torch.float32, 33, "the env's action has 33 dimensions, but the checkpoint takes 1 to 32"),
    ],
)
def test_observations_and_actions_that_do_not_fit(shape, dtype, action_dim, message):
    obs = TensorDict({"policy": torch.zeros(shape, dtype=dtype)}, batch_size=[N])
    with pytest.raises(ConfigurationError, match=message):
        Gr00tActor(obs, {"actor": ["policy"]}, "actor", action_dim, n_action_steps=STEPS)
