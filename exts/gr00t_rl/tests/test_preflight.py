# SPDX-License-Identifier: BSD-3-Clause
"""Every wrong setting ends in one line that names it and says what to set."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from dataclasses import fields
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from gr00t_rl import preflight
from gr00t_rl.cfg import ActionKeyCfg, ModalityCfg, StateKeyCfg
from gr00t_rl.gr00t import ActionKey, Gr00tN1d5Config, Gr00tN1d7Config, Modality, PolicySettings, StateKey
from gr00t_rl.gr00t.checkpoint import SETTINGS_FILE
from gr00t_rl.preflight import check_agent, check_run, remember_agent
from gr00t_rl.utils.errors import ConfigurationError


class Cfg(SimpleNamespace):
    """A cfg object; unlike SimpleNamespace itself, it can be referred to weakly."""


def agent(**changes: Any) -> Cfg:
    """A runner cfg that works; ``changes`` are given by the name of the part: algorithm={...}, actor={...}."""
    actor = {
        "class_name": "gr00t_rl.models:Gr00tActor",
        "checkpoint": "tiny",
        "embodiment_id": 0,
        "head": "flow_sde",
        "stochastic_steps": "one",
        "dtype": "float32",
        "attn_implementation": "sdpa",
        "feature_cache": "device",
        "n_action_steps": 8,
        "num_inference_timesteps": 4,
        "noise_level": 0.5,
        "init_std": 0.3,
        "sigma_min": 0.05,
        "sigma_max": 0.2,
        "init_noise_scale": 1.0,
        "log_prob_over": "executed",
    }
    algorithm = {
        "class_name": "gr00t_rl.algorithms:PPO",
        "num_learning_epochs": 5,
        "num_mini_batches": 4,
        "gamma": 0.99,
        "lam": 0.95,
        "schedule": "linear",
    }
    runner = {
        "device": "cpu",
        "logger": "tensorboard",
        "num_steps_per_env": 24,
        "obs_groups": {"actor": ["policy"], "critic": ["critic"]},
    }
    actor |= changes.pop("actor", {})
    algorithm |= changes.pop("algorithm", {})
    return Cfg(**{**runner, **changes}, actor=Cfg(**actor), algorithm=Cfg(**algorithm))


def env(**changes: Any) -> Cfg:
    observations = changes.pop("observations", Cfg(policy=Cfg(), critic=Cfg()))
    return Cfg(**{"compute_final_obs": True, **changes}, observations=observations)


def line_of(check: Any, *args: Any) -> str:
    """The error's text, which must be one line."""
    with pytest.raises(ConfigurationError) as error:
        check(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


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
    assert "set agent.device=cpu" in line


def test_wandb_that_is_not_installed(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "wandb" else find_spec(name, *a))
    assert "pip install" in line_of(check_agent, agent(logger="wandb"))


def test_wandb_that_isaac_lab_cannot_start(monkeypatch):
    wandb = ModuleType("wandb")
    vars(wandb).update(__version__="0.31.0", __spec__=ModuleSpec("wandb", None), util=ModuleType("wandb.util"))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    assert "wandb 0.31.0 does not have; pip install 'gr00t_rl[wandb]'" in line_of(check_agent, agent(logger="wandb"))


def write_config(folder, embodiments: int = 4) -> str:
    config = Gr00tN1d5Config.tiny(action_horizon=6, max_num_embodiments=embodiments)
    for name, content in {**config.to_files("float32"), "tokenizer_config.json": {}}.items():
        (folder / name).write_text(json.dumps(content))
    return str(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_action_steps": 7}, "agent.actor.n_action_steps is 7; set at most the checkpoint's action horizon 6"),
        ({"embodiment_id": 4}, "agent.actor.embodiment_id is 4; set from 0 to 3"),
        ({"embodiment_id": -1}, "agent.actor.embodiment_id is -1"),
    ],
)
def test_settings_that_do_not_fit_the_checkpoint(tmp_path, change, message):
    folder = write_config(tmp_path)
    check_agent(agent(actor={"checkpoint": folder, "n_action_steps": 6, "embodiment_id": 3}))
    assert message in line_of(check_agent, agent(actor={"checkpoint": folder, "n_action_steps": 6, **change}))


@pytest.mark.parametrize("content", [None, "", "not json", "[]", "{}", '{"action_head_cfg": 3}'])
def test_broken_or_foreign_checkpoint(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    line = line_of(check_agent, agent(actor={"checkpoint": str(tmp_path)}))
    assert f"agent.actor.checkpoint={str(tmp_path)!r}" in line
    assert "set the folder that holds config.json" in line


def test_a_checkpoint_without_a_tokenizer_needs_one_named(tmp_path):
    folder = write_config(tmp_path)
    (tmp_path / "tokenizer_config.json").rename(tmp_path / "elsewhere")
    line = line_of(check_agent, agent(actor={"checkpoint": folder, "n_action_steps": 6}))
    assert "has no tokenizer" in line and "set agent.actor.tokenizer" in line and "Qwen3-VL-2B" in line


def test_another_network_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "another"}')
    line = line_of(check_agent, agent(actor={"checkpoint": str(tmp_path)}))
    assert "model_type is 'another', not 'gr00t_n1_5' or 'Gr00tN1d7'" in line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embodiment_id": 0}, "agent.actor.embodiment_id is 0, but the checkpoint says 2 for 'arm'; set that"),
        ({"n_action_steps": 5}, "agent.actor.n_action_steps is 5, but the checkpoint was trained on chunks of 4 for"),
    ],
)
def test_what_a_checkpoint_says_of_its_embodiment(tmp_path, settings, message):
    """N1.7's files name the row of an embodiment's weights and how long its chunks were."""
    config = Gr00tN1d7Config.tiny(action_horizon=6)
    keys = {"state": {"modality_keys": ["q"]}, "action": {"modality_keys": ["q"], "delta_indices": [0, 1, 2, 3]}}
    keys = {part: {"delta_indices": [0], "mean_std_embedding_keys": ["q"], **table} for part, table in keys.items()}
    unscaled = {"q": {"mean": [0.0], "std": [1.0]}}
    files = {
        **config.to_files("float32"),
        "tokenizer_config.json": {},
        "processor_config.json": {"processor_kwargs": {"modality_configs": {"arm": keys}}},
        "statistics.json": {"arm": {"state": unscaled, "action": unscaled}},
        "embodiment_id.json": {"arm": 2},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    key = {"start": 0, "end": 1, "normalization": None}
    modality = {"embodiment_tag": "arm", "video": {}, "state": {"q": {"group": "policy", **key}}, "action": {"q": key}}
    right = {"checkpoint": str(tmp_path), "modality": modality, "embodiment_id": 2, "n_action_steps": 4}
    check_agent(agent(actor=right))
    assert message in line_of(check_agent, agent(actor={**right, **settings}))


@pytest.mark.parametrize(("cfg", "key"), [(StateKeyCfg, StateKey), (ActionKeyCfg, ActionKey), (ModalityCfg, Modality)])
def test_a_cfg_can_say_all_that_a_key_can(cfg, key):
    assert [field.name for field in fields(cfg)] == [field.name for field in fields(key)]


def test_hub_ids_are_left_to_the_loader():
    check_agent(agent(actor={"checkpoint": "nvidia/GR00T-N1.5-3B"}))


MODALITY = {
    "embodiment_tag": "gr1",
    "video": {},
    "state": {"arm": {"group": "policy", "start": 0, "end": 2, "normalization": None}},
    "action": {"arm": {"start": 0, "end": 2, "normalization": "min_max"}},
}
METADATA = {"gr1": {"statistics": {"state": {}, "action": {"arm": {"min": [0, 0], "max": [1, 1]}}}}}


def write_metadata(folder, content: Any) -> None:
    (folder / "experiment_cfg").mkdir(exist_ok=True)
    (folder / "experiment_cfg" / "metadata.json").write_text(json.dumps(content))


def test_modality_that_fits_its_checkpoint(tmp_path):
    folder = write_config(tmp_path)
    write_metadata(tmp_path, METADATA)
    check_agent(agent(actor={"checkpoint": folder, "n_action_steps": 6, "modality": MODALITY}))
    check_agent(agent(actor={"checkpoint": "nvidia/GR00T-N1.5-3B", "modality": MODALITY}))


@pytest.mark.parametrize(
    ("change", "metadata", "message"),
    [
        ("franka", METADATA, "agent.actor.modality.embodiment_tag is missing: the modality is 'franka'"),
        ({"video": {"front": "front"}}, METADATA, "agent.actor.modality.video.front is 'front', but the actor's"),
        ({"embodiment_tag": "agibot"}, METADATA, "agent.actor.modality.embodiment_tag is 'agibot', but"),
        ({"action": {"arm": {"start": 1, "end": 2}}}, METADATA, "agent.actor.modality.action.arm starts at 1"),
        ({}, {"gr1": {"statistics": {"state": {}, "action": {}}}}, "agent.actor.modality.action.arm has no statistics"),
        ({}, None, "agent.actor.modality.action.arm.normalization is 'min_max', but the checkpoint has no experiment"),
    ],
)
def test_modality_that_does_not_fit(tmp_path, change, metadata, message):
    folder = write_config(tmp_path)
    if metadata is not None:
        write_metadata(tmp_path, metadata)
    modality = change if isinstance(change, str) else {**MODALITY, **change}
    line = line_of(check_agent, agent(actor={"checkpoint": folder, "n_action_steps": 6, "modality": modality}))
    assert message in line


def test_modality_that_the_policy_was_not_trained_with(tmp_path):
    """N1.5's files do not say how keys are scaled and pictures cropped; what `finetune` and `export` write does."""
    folder = write_config(tmp_path)
    write_metadata(tmp_path, METADATA)
    trained = PolicySettings(dataclasses.replace(Modality.from_dict(MODALITY), video_crop=0.95), 2)
    (tmp_path / SETTINGS_FILE).write_bytes(trained.to_bytes())
    settings = {"checkpoint": folder, "n_action_steps": 6}
    right = {**settings, "embodiment_id": 2, "modality": {**MODALITY, "video_crop": 0.95}}
    check_agent(agent(actor=right))
    line = line_of(check_agent, agent(actor={**right, "modality": MODALITY}))
    assert "agent.actor.modality.video_crop is 1.0, but the policy was trained with 0.95" in line
    for modality in (right["modality"], None):
        line = line_of(check_agent, agent(actor={**right, "modality": modality, "embodiment_id": 0}))
        assert "agent.actor.embodiment_id is 0, but the policy was trained with 2" in line
    (tmp_path / SETTINGS_FILE).write_text("[]")  # whoever needs it complains
    check_agent(agent(actor={**settings, "modality": MODALITY}))


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


def test_a_run_s_checkpoint_is_compared_before_the_simulator_starts(tmp_path):
    """Row and modality, which it remembers; an older one remembers neither."""
    path = tmp_path / "model_3.pt"
    plain = {"arm": {"start": 0, "end": 2, "normalization": None}}
    modality = {**MODALITY, "action": plain}
    base = {"modality": dataclasses.asdict(Modality.from_dict(modality)), "embodiment_id": 0}

    def save(base: Any) -> None:
        torch.save({"actor_state_dict": {"base": base}, "algorithm_state_dict": {"iteration": 3}, "iter": 3}, path)

    save(base)
    right = {"modality": modality, "embodiment_id": 0}
    check_agent(agent(load_checkpoint=str(path), actor=right))
    line = line_of(check_agent, agent(load_checkpoint=str(path), actor={**right, "embodiment_id": 1}))
    assert line.endswith("agent.actor.embodiment_id is 1, but the checkpoint was trained with 0; set that")
    line = line_of(check_agent, agent(load_checkpoint=str(path), actor={**right, "modality": None}))
    assert "agent.actor.modality is null, but the checkpoint was trained with one" in line
    for older in ({"fingerprint": "0"}, None, "what"):
        save(older)
        check_agent(agent(load_checkpoint=str(path), actor={**right, "embodiment_id": 1}))


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


def test_tiny_has_no_statistics():
    line = line_of(check_agent, agent(actor={"modality": MODALITY}))
    assert "agent.actor.modality.action.arm.normalization is 'min_max', but the checkpoint has no" in line


def test_demonstrations_are_collected_before_there_is_a_base_policy():
    """The files that a cfg names are not looked at then; everything else is."""
    cfg = agent(actor={"modality": MODALITY, "checkpoint": "./nosuch"})
    assert "agent.actor.checkpoint='./nosuch' is no folder" in line_of(check_agent, cfg)
    check_agent(cfg, reads_files=False)
    cfg.actor.head = "unknown"
    assert "agent.actor.head" in line_of(lambda cfg: check_agent(cfg, reads_files=False), cfg)


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


def test_final_observations_switched_off(remembered):
    line = line_of(check_run, env(compute_final_obs=False))
    assert "env.compute_final_obs is False" in line
    assert "set it to True" in line
    remembered.algorithm.class_name = "PPO"
    check_run(env(compute_final_obs=False))  # rsl_rl's own PPO bootstraps from the stored value


def test_wrong_agent_setting_ends_the_env_too(remembered):
    remembered.actor.head = "unknown"
    assert "agent.actor.head" in line_of(check_run, env())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_broken_checkpoint_on_the_command_line(content, tmp_path):
    """``--checkpoint FILE`` becomes agent.load_checkpoint; patterns and selectors are left to Isaac Lab."""
    path = tmp_path / "model_3.pt"
    if content is None:
        torch.save({"model": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    assert str(path) in line_of(check_agent, agent(load_checkpoint=str(path)))
    for other in ("model_.*.pt", "latest", str(tmp_path)):
        check_agent(agent(load_checkpoint=other))
    check_agent(agent(load_checkpoint=str(path), algorithm={"class_name": "PPO"}))


def test_resume_is_asked_for_where_it_is_heeded() -> None:
    """Isaac Lab's ``train`` ignores agent.resume: a run that is to go on must not start anew in silence."""
    assert "--checkpoint FILE, latest or best" in line_of(check_agent, agent(resume=True))
    check_agent(agent(resume=False))


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
