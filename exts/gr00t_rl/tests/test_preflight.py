# SPDX-License-Identifier: BSD-3-Clause
"""Every wrong setting ends in one line that names it and says what to set."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch
from preflight_helpers import METADATA, MODALITY, Cfg, agent, env, line_of, write_config, write_metadata

from gr00t_rl import preflight
from gr00t_rl.preflight import check_agent, check_run, remember_agent


def test_good_settings_pass():
    check_agent(agent())
    check_agent(agent(actor={"head": "gaussian", "stochastic_steps": "all", "dtype": "bfloat16"}))
    check_agent(agent(actor={"class_name": "MLPModel"}))


@pytest.mark.parametrize(
    ("part", "name", "value", "hint"),
    [
        (None, "num_steps_per_env", 0, "an integer of at least 1"),
        ("algorithm", "num_learning_epochs", 0, "an integer of at least 1"),
        ("algorithm", "num_mini_batches", 0, "an integer of at least 1"),
        ("algorithm", "num_mini_batches", "four", "an integer of at least 1"),
        ("algorithm", "gamma", 1.01, "a number in [0, 1]"),
        ("algorithm", "gamma", None, "a number in [0, 1]"),
        ("algorithm", "lam", -0.1, "a number in [0, 1]"),
        ("algorithm", "schedule", "sometimes", "adaptive"),
        ("actor", "head", "flow_nosie", "one of flow_sde, flow_noise, gaussian"),
        ("actor", "stochastic_steps", "some", "one, all"),
        ("actor", "dtype", "float16", "float32, bfloat16"),
        ("actor", "feature_cache", "disk", "device, host, pixels"),
        ("actor", "attn_implementation", "flash", "sdpa, eager, flash_attention_2"),
        ("actor", "n_action_steps", 0, "an integer of at least 1"),
        ("actor", "n_action_steps", 25, "an integer from 1 to agent.num_steps_per_env=24"),
        ("actor", "num_inference_timesteps", 0, "at least 1"),
        ("actor", "init_noise_scale", -1.0, "a number of at least 0"),
        ("actor", "noise_level", 0.0, "a number more than 0"),
        ("actor", "checkpoint", "no/such/folder", "set a GR00T checkpoint, or tiny or tiny-n1.7"),
        ("actor", "checkpoint", "./missing", "set a GR00T checkpoint, or tiny or tiny-n1.7"),
    ],
)
def test_wrong_setting(part, name, value, hint):
    cfg = agent(**({name: value} if part is None else {part: {name: value}}))
    line = line_of(check_agent, cfg)
    assert f"agent.{name if part is None else f'{part}.{name}'}" in line
    assert repr(value) in line
    assert hint in line


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (None, "num_steps_per_env", 2.5),
        ("algorithm", "num_learning_epochs", 2.5),
        ("algorithm", "num_mini_batches", 2.5),
        ("actor", "n_action_steps", 2.5),
        ("actor", "num_inference_timesteps", 2.5),
    ],
)
def test_fractions_where_a_number_is_counted(part, name, value):
    cfg = agent(**({name: value} if part is None else {part: {name: value}}))
    assert name in line_of(check_agent, cfg)


def test_settings_of_the_other_head_do_not_matter():
    check_agent(agent(actor={"head": "gaussian", "noise_level": 0.0}))
    check_agent(agent(actor={"head": "flow_sde", "init_std": 0.0}))
    line = line_of(check_agent, agent(actor={"head": "gaussian", "init_std": 0.0}))
    assert "agent.actor.init_std is 0.0" in line


def test_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = line_of(check_agent, agent(device="cuda:0"))
    assert "agent.device is 'cuda:0'" in line
    assert "set cpu" in line


def test_wandb_that_is_not_installed(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "wandb" else find_spec(name, *a))
    assert "pip install" in line_of(check_agent, agent(logger="wandb"))


def test_wandb_that_isaac_lab_cannot_start(monkeypatch):
    wandb = ModuleType("wandb")
    vars(wandb).update(__version__="0.31.0", __spec__=ModuleSpec("wandb", None), util=ModuleType("wandb.util"))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    assert "wandb 0.31.0 does not have; pip install 'gr00t_rl[wandb]'" in line_of(check_agent, agent(logger="wandb"))


@pytest.mark.parametrize("embodiments", [4, 32])
def test_a_released_folder_with_an_unusual_row_or_uncut_pictures_is_told(remembered, tmp_path, capsys, embodiments):
    """Its files say neither: a warning, in the run's own place; a tiny network has no usual row."""
    folder = write_config(tmp_path, embodiments)
    write_metadata(tmp_path, METADATA)
    remembered.obs_groups["actor"] = ["policy", "front"]
    seen = env(observations=Cfg(policy=Cfg(), critic=Cfg(), front=Cfg()))
    for row, crop, said in ((0, 1.0, 2), (24, 1.0, 1), (0, 0.95, 1), (24, 0.95, 0)):
        if row >= embodiments:
            continue
        modality = {**MODALITY, "video": {"front": "front"}, "video_crop": crop}
        vars(remembered.actor).update(checkpoint=folder, n_action_steps=6, modality=modality, embodiment_id=row)
        check_run(seen)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == (said if embodiments == 32 else 0)
        assert all(line.startswith("[gr00t_rl] warning: ") for line in lines)
        assert any("embodiment_id is 0, but NVIDIA's programs" in line for line in lines) == (row == 0 and bool(lines))
        assert any("video_crop=0.95" in line for line in lines) == (crop == 1 and bool(lines))


def with_flash_attention(monkeypatch) -> None:
    flash = ModuleType("flash_attn")
    flash.__spec__ = ModuleSpec("flash_attn", None)
    monkeypatch.setitem(sys.modules, "flash_attn", flash)


def test_flash_attention_needs_bfloat16_and_a_gpu(monkeypatch):
    with_flash_attention(monkeypatch)
    flash = {"attn_implementation": "flash_attention_2"}
    line = line_of(check_agent, agent(actor=flash))
    assert line.endswith(
        "agent.actor.attn_implementation is 'flash_attention_2'; set sdpa, or agent.actor.dtype=bfloat16 in place of "
        "agent.actor.dtype=float32: flash-attn takes no float32"
    )
    line = line_of(check_agent, agent(actor={**flash, "dtype": "bfloat16"}))
    assert "needs a GPU, but agent.device=cpu; set sdpa, or --device cuda:0" in line
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_agent(agent(device="cuda:0", actor={**flash, "dtype": "bfloat16"}))


@pytest.fixture
def remembered():
    """Keep a runner cfg as the agent of the next env, and forget it after the test."""
    cfg = agent()
    remember_agent(cfg)
    yield cfg
    preflight._agent = None


def test_run_with_matching_env_and_agent(remembered):
    check_run(env())


def test_missing_camera(remembered):
    remembered.obs_groups["actor"] = ["policy", "camera"]
    line = line_of(check_run, env())
    assert "agent.obs_groups.actor" in line
    assert "'camera'" in line
    assert "['policy', 'critic']" in line
    assert "-Camera variant" in line


def test_missing_critic_group(remembered):
    line = line_of(check_run, env(observations=Cfg(policy=Cfg(), critic=None)))
    assert "agent.obs_groups.critic" in line
    assert "-Camera" not in line


def test_sampled_instructions_need_an_actor_that_hears_them(remembered):
    spoken = env(observations=Cfg(policy=Cfg(), critic=Cfg(), instruction=Cfg()))
    check_run(spoken)
    remembered.actor.instruction = "push"
    line = line_of(check_run, spoken)
    assert "env.sample_instructions is True" in line and "agent.actor.instruction='push'" in line
    remembered.actor.class_name = "MLPModel"
    assert "the actor MLPModel knows no language; set it to False" in line_of(check_run, spoken)
    spoken.instruction_names = lambda: ["push", "stack"]  # the task says it in numbers as well
    check_run(spoken)


def test_reset_envs_whose_actions_have_no_known_rest_are_announced(remembered, capsys):
    """Zero is a place for a joint's target: one line says which key, and what to set."""
    remembered.actor.modality = waiting = {
        "embodiment_tag": "new_embodiment",
        "video": {},
        "state": {"arm": {"group": "policy", "start": 0, "end": 2, "normalization": None}},
        "action": {
            "arm": {"start": 0, "end": 2, "normalization": None},
            "hand": {"start": 2, "end": 3, "normalization": None},
        },
    }
    check_run(env())
    assert not capsys.readouterr().out, "envs wait for nobody"
    remembered.actor.align_decisions = True
    check_run(env())
    (line,) = capsys.readouterr().out.splitlines()
    assert "agent.actor.align_decisions is True, and agent.actor.modality.action.hand has absolute values" in line
    assert "acts with 0 there, for up to 7 steps. Set absolute=False if it is a change, hold to" in line
    for known in ({"absolute": False}, {"hold": 0.04}):
        waiting["action"]["hand"] = {"start": 2, "end": 3, "normalization": None, **known}
        check_run(env())
        assert not capsys.readouterr().out


def test_final_observations_switched_off(remembered, monkeypatch):
    check_run(env(compute_final_obs=False))  # a task of another make trains without, with a warning
    monkeypatch.setattr("gr00t_rl.preflight.env.checks_itself", lambda env_cfg: True)
    line = line_of(check_run, env(compute_final_obs=False))
    assert "env.compute_final_obs is False" in line
    assert "set it to True" in line
    remembered.algorithm.class_name = "PPO"
    check_run(env(compute_final_obs=False))  # rsl_rl's own PPO bootstraps from the stored value


def test_wrong_agent_setting_ends_the_env_too(remembered):
    remembered.actor.head = "unknown"
    assert "agent.actor.head" in line_of(check_run, env())


def test_env_without_an_agent_is_not_checked():
    cfg = agent()
    remember_agent(cfg)
    del cfg  # the reference is weak: a runner cfg that is gone belongs to no run
    check_run(env(compute_final_obs=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "flow_noise", "sigma_min": 0.0}, "agent.actor.sigma_min is 0.0; set a number more than 0"),
        ({"head": "flow_noise", "sigma_max": 0.01}, "set at least agent.actor.sigma_min=0.05"),
        ({"log_prob_over": "all"}, "executed, chain"),
        ({"class_name": "FlowMlpActor", "action_horizon": 4}, "at most agent.actor.action_horizon=4"),
        ({"class_name": "FlowMlpActor", "action_horizon": 8, "head": "flow_nosie"}, "flow_noise"),
    ],
)
def test_settings_of_flow_noise_and_of_the_flow_mlp(change, message):
    """Bounds of a noise that is not used may be anything; an MLP's chunk has the horizon that is set."""
    check_agent(agent(actor={"head": "flow_noise"}))
    check_agent(agent(actor={"sigma_min": 0.0}))
    check_agent(agent(actor={"class_name": "FlowMlpActor", "action_horizon": 8}))
    assert message in line_of(check_agent, agent(actor=change))


@pytest.mark.parametrize(
    ("actor", "says"),
    [
        ({"head": "flow_sde"}, "noise_level, or set agent.actor.head=flow_noise or gaussian"),
        ({"head": "flow_noise", "sigma_max": 0.05}, "sigma_max higher"),
    ],
)
def test_entropy_bonus_for_noise_that_does_not_learn(actor, says):
    """It would do nothing; and there is what to use instead."""
    line = line_of(check_agent, agent(actor=actor, algorithm={"entropy_coef": 0.01}))
    assert "agent.algorithm.entropy_coef is 0.01, but" in line and says in line
    check_agent(agent(actor=actor))
    for head in ("gaussian", "flow_noise"):
        check_agent(agent(actor={"head": head}, algorithm={"entropy_coef": 0.01}))
    check_agent(agent(actor={"class_name": "MLPModel", "head": None}, algorithm={"entropy_coef": 0.01}))
