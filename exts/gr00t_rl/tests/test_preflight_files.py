# SPDX-License-Identifier: BSD-3-Clause
"""What a run reads from disk is compared with its settings before the simulator starts; what differs is one line."""

from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import fields
from typing import Any

import pytest
import torch
from preflight_helpers import METADATA, MODALITY, Cfg, agent, line_of, write_config, write_metadata

from gr00t_rl.cfg import ActionKeyCfg, ModalityCfg, StateKeyCfg
from gr00t_rl.gr00t import ActionKey, CheckpointError, Gr00tN1d7Config, Modality, PolicySettings, StateKey, checkpoint
from gr00t_rl.gr00t.checkpoint import SETTINGS_FILE, resolve_folder
from gr00t_rl.preflight import check_agent, check_foreign
from gr00t_rl.preflight.agent import cut_chunks
from gr00t_rl.preflight.files import other_actions, other_views, warnings_of
from gr00t_rl.utils.errors import ConfigurationError


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


@pytest.mark.parametrize("setting", ["checkpoint", "tokenizer"])
def test_a_mistyped_folder_is_no_hub_id(setting, tmp_path, monkeypatch):
    """Where the first part is a folder here, the second was meant to be one, too: nothing is asked for in the net."""
    (tmp_path / "checkpoints" / "push").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"agent.actor.{setting}.*checkpoints/pussh.* hub id"):
        check_agent(agent(actor={"checkpoint": "some/model", setting: "checkpoints/pussh"}))
    monkeypatch.setattr(checkpoint, "snapshot_download", None)
    with pytest.raises(CheckpointError, match="no such folder: checkpoints/pussh"):
        resolve_folder("checkpoints/pussh")


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


@pytest.mark.parametrize(
    ("control_hz", "before", "now", "expected"),
    [
        (20.0, (48, 64), (48, 64), []),
        (20.1, (480, 640), (48, 64), []),  # rounding, and the same shape
        (None, None, (48, 64), []),
        (30.0, (48, 64), (48, 64), ["actions at 30 per second, and the env acts 20 times: its chunks play 0.67 times"]),
        (
            20.0,
            (480, 640),
            (224, 224),
            ["pictures 'front' of 480 x 640 (height x width), and the env's have 224 x 224"],
        ),
    ],
)
def test_rate_and_pictures_are_compared_with_the_demonstrations(tmp_path, control_hz, before, now, expected):
    """A policy that is run faster than it was taught, or sees squeezed pictures, only succeeds less often."""
    folder, modality = write_config(tmp_path), {**MODALITY, "video": {"front": "camera"}}
    sizes = {} if before is None else {"front": before}
    trained = PolicySettings(Modality.from_dict(modality), 0, image_sizes=sizes, control_hz=control_hz)
    (tmp_path / SETTINGS_FILE).parent.mkdir(exist_ok=True)
    (tmp_path / SETTINGS_FILE).write_bytes(trained.to_bytes())
    height, width = now
    env_cfg = Cfg(
        decimation=4,
        sim=Cfg(dt=1 / 80),
        scene=Cfg(eye=Cfg(height=height, width=width)),
        observations=Cfg(camera=Cfg(picture=Cfg(params={"camera": "eye"}))),
    )
    actor = agent(actor={"checkpoint": folder, "modality": modality}).actor
    lines = warnings_of(env_cfg, actor)
    assert len(lines) == len(expected) and all(text in line for text, line in zip(expected, lines, strict=True))


def test_rate_and_pictures_of_nvidias_own_metadata(tmp_path):
    """A folder that NVIDIA's N1.5 training left: no file of ours, resolutions as [width, height]."""
    modality = {**MODALITY, "video": {"front": "camera"}}
    folder = write_config(tmp_path)
    video = {"front": {"resolution": [640, 480], "channels": 3, "fps": 30.0}}
    table = copy.deepcopy(METADATA)
    table[modality["embodiment_tag"]]["modalities"] = {"video": video}
    write_metadata(tmp_path, table)
    env_cfg = Cfg(
        decimation=2,
        sim=Cfg(dt=0.01),
        scene=Cfg(eye=Cfg(height=224, width=224)),
        observations=Cfg(camera=Cfg(picture=Cfg(params={"camera": "eye"}))),
    )
    rate, shape = other_views(env_cfg, agent(actor={"checkpoint": folder, "modality": modality}).actor)
    assert "actions at 30 per second, and the env acts 50 times: its chunks play 1.7 times" in rate
    assert "pictures 'front' of 480 x 640 (height x width), and the env's have 224 x 224" in shape
    write_metadata(tmp_path, {modality["embodiment_tag"]: {"modalities": {"video": {"front": {"resolution": [3]}}}}})
    assert other_views(env_cfg, agent(actor={"checkpoint": folder, "modality": modality}).actor) == []


class JointPositionActionCfg(Cfg):
    pass


class BinaryJointPositionActionCfg(Cfg):
    pass


@pytest.mark.parametrize(
    ("arm", "mode", "said"),
    [
        ({}, "min_max", None),
        ({"scale": 1.0, "use_default_offset": False}, "min_max", None),
        ({"use_default_offset": True}, "min_max", "env.actions.arm has use_default_offset=True: the env executes"),
        ({"scale": 0.5, "use_default_offset": True}, "q99", "has use_default_offset=True, scale=0.5"),
        ({"use_default_offset": True}, None, None),
        ({}, "binary", "env.actions.gripper is a BinaryJointPositionActionCfg, which closes below 0"),
    ],
)
def test_actions_that_mean_something_else_in_the_env(tmp_path, arm, mode, said):
    """Isaac Lab adds the default pose to joint targets unless it is told not to, and closes a gripper below 0."""
    folder = write_config(tmp_path)
    action = {"arm": {"start": 0, "end": 2, "normalization": mode}}
    actor = agent(actor={"checkpoint": folder, "modality": {**MODALITY, "action": action}}).actor
    env_cfg = Cfg(actions=Cfg(arm=JointPositionActionCfg(**arm), gripper=BinaryJointPositionActionCfg()))
    lines = other_actions(env_cfg, actor)
    assert [said in line for line in lines] == [True] * (said is not None)
    trained = PolicySettings(Modality.from_dict({**MODALITY, "action": action}), 0, simulator={"physics": "newton"})
    (tmp_path / SETTINGS_FILE).parent.mkdir(exist_ok=True)
    (tmp_path / SETTINGS_FILE).write_bytes(trained.to_bytes())
    assert other_actions(env_cfg, actor) == []  # it learned from the env's own demonstrations


@pytest.mark.parametrize(
    ("algorithm", "steps", "chunk", "cut"), [("PPO", 48, 8, 0), ("PPO", 48, 40, 8), ("GRPO", 50, 40, 0)]
)
def test_a_chunk_that_an_iteration_cuts_is_told(algorithm, steps, chunk, cut):
    cfg = agent(num_steps_per_env=steps, algorithm={"class_name": f"gr00t_rl.algorithms:{algorithm}"})
    cfg.actor.n_action_steps = chunk
    assert [f"is cut after {cut} steps" in line for line in cut_chunks(cfg)] == [True] * bool(cut)


def test_env_cfgs_that_do_not_check_themselves_are_checked(monkeypatch):
    from gr00t_rl.tasks.env_cfg import Gr00tEnvCfg

    checked = []
    monkeypatch.setattr("gr00t_rl.preflight.check_run", checked.append)
    foreign, direct = Cfg(observations=Cfg()), Cfg()
    for env_cfg in (foreign, direct, Gr00tEnvCfg.__new__(Gr00tEnvCfg)):
        check_foreign(env_cfg)
    assert checked == [foreign]


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
