# SPDX-License-Identifier: BSD-3-Clause
"""What a command line can choose of a task: presets, weights, the curriculum, instructions; no simulator."""

import json
import re
from pathlib import Path

import gymnasium as gym
import pytest
from isaaclab_tasks.utils.hydra import resolve_task_config

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.assets import base_checkpoint
from gr00t_rl.data.task_modality import agent_cfg_of, modality_of
from gr00t_rl.gr00t import PolicySettings
from gr00t_rl.tasks.push.config.franka.push_env_cfg import PushCubeFrankaEnvCfg
from gr00t_rl.utils.errors import ConfigurationError

PUSH, REACH = "Gr00t-Push-Cube-Franka", "Gr00t-Reach-Franka"
TASKS = sorted(name for name in gym.registry if name.startswith("Gr00t-"))


def env_cfg(task: str, *overrides: str):
    cfg, _ = resolve_task_config(task, None, overrides=list(overrides))
    cfg.validate_config()
    return cfg


def paid(cfg) -> dict[str, float]:
    """What a unit of each term pays in one env step of 0.05 s, terms of weight 0 left out."""
    return {name: term.weight * 0.05 for name, term in vars(cfg.rewards).items() if term.weight}


DENSE = {
    REACH: {"progress": 2.0, "distance": -0.025, "success": 1.0, "action_rate": -5e-5},
    PUSH: {"progress": 2.0, "approach": 0.5, "success": 1.0, "action_rate": -5e-5},
}


@pytest.mark.parametrize("task", [REACH, PUSH, f"{REACH}-Camera", f"{PUSH}-Camera"])
def test_dense_is_the_default(task: str) -> None:
    dense = DENSE[task.removesuffix("-Camera")]
    assert paid(env_cfg(task)) == pytest.approx(dense)
    assert paid(env_cfg(task, "env.rewards=dense")) == pytest.approx(dense)


@pytest.mark.parametrize("task", TASKS)
def test_sparse_pays_success_only(task: str) -> None:
    assert paid(env_cfg(task, "env.rewards=sparse")) == pytest.approx({"success": 1.0})


def test_weights_compose_on_top_of_either_preset() -> None:
    overrides = ("env.rewards.distance.weight=-2.0", "env.rewards.joint_limits.weight=-1.0")
    extra = {"distance": -0.1, "joint_limits": -0.05}
    assert paid(env_cfg(PUSH, *overrides)) == pytest.approx(DENSE[PUSH] | extra)
    assert paid(env_cfg(PUSH, "env.rewards=sparse", *overrides)) == pytest.approx({"success": 1.0} | extra)
    assert paid(env_cfg(PUSH)) == pytest.approx(DENSE[PUSH]), "an override is gone with its cfg"


def test_cfg_made_in_python_has_the_defaults() -> None:
    cfg = PushCubeFrankaEnvCfg()
    cfg.validate_config()
    assert paid(cfg) == pytest.approx(DENSE[PUSH]) and cfg.curriculum is None


@pytest.mark.parametrize("task", TASKS)
def test_curriculum_is_an_option_for_training(task: str) -> None:
    assert env_cfg(task).curriculum is None
    cfg = env_cfg(task, "env.curriculum=on", "env.curriculum.difficulty.params.threshold=0.5")
    assert cfg.curriculum.difficulty.params["threshold"] == 0.5
    played, _ = resolve_task_config(task, None, play_mode=True, overrides=["env.curriculum=on"])
    assert played.curriculum is None, "play shows the full task"


@pytest.mark.parametrize("task", TASKS)
def test_instructions_are_sampled_on_demand(task: str) -> None:
    cfg = env_cfg(task)
    assert cfg.instructions[0] == cfg.instruction and len(set(cfg.instructions)) >= 3
    always = bool(cfg.instruction_names())  # the instruction is the task
    assert (cfg.observations.instruction is not None) == (cfg.events.reset_instruction is not None) == always
    cfg = env_cfg(task, "env.sample_instructions=true")
    assert cfg.observations.instruction is not None and cfg.events.reset_instruction is not None


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("env.sample_instructions=false", "env.sample_instructions is False, but only its instruction says what"),
        (
            "env.instructions=['push','stack']",
            "env.instructions has 2 texts; set 3, one each for push, pick_place, stack",
        ),
    ],
)
def test_a_task_of_several_instructions_needs_them_all(override: str, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line):
        env_cfg("Gr00t-Tabletop-Cubes-Franka", override)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["env.sample_instruction=true"], "env.sample_instruction is True, .* did you mean env.sample_instructions?"),
        (["env.rewards.progress.wieght=1"], "did you mean env.rewards.progress.weight?"),
        (["env.rewards.progress.weight=lots"], "env.rewards.progress.weight is 'lots'; set a finite number"),
        (["env.terminations=off"], "env.terminations is 'off', but this task has one terminations cfg only"),
        (["env.instructions=push"], "env.instructions is 'push'; set a list of texts"),
        (["env.instructions=['push', '']"], "set a list of texts"),
        (["env.instructions=[]", "env.sample_instructions=true"], "env.instructions is \\[\\]; set some to draw from"),
        (["env.camera_size=0"], "env.camera_size is 0; set an integer of at least 1"),
        (
            ["env.curriculum=on", "env.curriculum.difficulty.params.step=0"],
            r"step is 0; set a number in \(0, 1\]",
        ),
        (["env.curriculum=on", "env.curriculum.difficulty.params.threshold=1.5"], "params.threshold is 1.5; set"),
        (["env.curriculum=on", "env.curriculum.difficulty.params.start=-1"], "params.start is -1; set"),
        (["env.curriculum=on", "env.curriculum.difficulty.params.episodes=0.5"], "params.episodes is 0.5; set"),
    ],
)
def test_wrong_settings_end_in_one_line(overrides: list[str], line: str) -> None:
    with pytest.raises(ConfigurationError, match=line) as error:
        env_cfg(PUSH, *overrides)
    assert "\n" not in str(error.value)


GR00T_AGENT, MLP_AGENT = "rsl_rl_cfg_entry_point", "rsl_rl_mlp_cfg_entry_point"


@pytest.mark.parametrize(
    ("agent", "override"),
    [
        *((GR00T_AGENT, f"agent.algorithm.clip_param={value}") for value in ("-0.2", "nan", "abc", "true")),
        *((GR00T_AGENT, f"agent.algorithm.learning_rate={value}") for value in ("-1", "nan", "inf", ".nan", ".inf")),
        (GR00T_AGENT, "agent.algorithm.micro_batch_size=0"),
        (GR00T_AGENT, "agent.algorithm.critic_schedule=foo"),
        (GR00T_AGENT, "agent.algorithm.desired_kl=nan"),
        (GR00T_AGENT, "agent.algorithm.dual_clip=0.5"),
        (GR00T_AGENT, "agent.algorithm.nosuch=1"),
        (GR00T_AGENT, "agent.algorithm.class_name=foo"),
        (GR00T_AGENT, "agent.actor.nosuch=1"),
        (GR00T_AGENT, "agent.actor.modality.nosuch=1"),
        (GR00T_AGENT, "agent.actor.align_decisions=maybe"),
        (GR00T_AGENT, "agent.actor.tokenizer=/nope"),
        (GR00T_AGENT, "agent.actor.instruction=''"),
        (GR00T_AGENT, "agent.actor.attn_implementation=flash_attention_2"),
        (GR00T_AGENT, "agent.actor.train.dit=maybe"),
        (GR00T_AGENT, "agent.actor.train.mlp1=lora"),
        (GR00T_AGENT, "agent.actor.unfreeze.projectors=-1"),
        (GR00T_AGENT, "agent.actor.unfreeze.llm=3"),
        (GR00T_AGENT, "agent.actor.lora_rank=0"),
        (GR00T_AGENT, "agent.critic.hidden_dims=[0]"),
        (GR00T_AGENT, "agent.max_iterations=-1"),
        (GR00T_AGENT, "agent.save_interval=0"),
        (GR00T_AGENT, "agent.device=tpu"),
        (GR00T_AGENT, "agent.seed=abc"),
        (GR00T_AGENT, "agent.logger=foo"),
        (GR00T_AGENT, "agent.nosuch=1"),
        (GR00T_AGENT, "env.scene.num_envs=0"),
        (GR00T_AGENT, "env.decimation=0"),
        (GR00T_AGENT, "env.episode_length_s=nan"),
        (GR00T_AGENT, "env.sample_instructions=maybe"),
        *((MLP_AGENT, f"agent.{part}.hidden_dims={v}") for part in ("actor", "critic") for v in ("abc", "[]", "[1.5]")),
        *((MLP_AGENT, f"agent.{part}.activation=foo") for part in ("actor", "critic")),
        *((MLP_AGENT, f"agent.actor.distribution_cfg.init_std={value}") for value in ("0", "-1", "abc")),
        (MLP_AGENT, "agent.actor.distribution_cfg.std_type=foo"),
        (MLP_AGENT, "agent.actor.distribution_cfg.nosuch=foo"),
    ],
)
def test_wrong_overrides_are_refused_through_isaac_labs_own_mechanism(agent: str, override: str) -> None:
    cfg, agent_cfg = resolve_task_config(PUSH, agent, overrides=[override])
    assert agent_cfg is not None  # the check knows it by a weak reference
    name = override.split("=")[0]
    name = re.sub(r"\.(train|unfreeze)\.\w+", r".\1", name)  # entries of a mapping
    with pytest.raises(ConfigurationError, match=re.escape(name)) as error:
        cfg.validate_config()
    assert "\n" not in str(error.value)


def test_parts_are_chosen_by_isaac_labs_own_overrides() -> None:
    """One part by itself, the others as they were; and the agents of the released size train adapters alone."""
    overrides = ["agent.actor.train.dit=lora", "agent.actor.train.llm=lora", "agent.actor.unfreeze.llm=5"]
    cfg, agent = resolve_task_config(PUSH, GR00T_AGENT, overrides=overrides)
    cfg.validate_config()
    assert agent.actor.train["dit"] == agent.actor.train["llm"] == "lora"
    assert (agent.actor.train["projectors"], agent.actor.train["vision"]) == ("full", "off")
    assert agent.actor.unfreeze["llm"] == 5
    cfg, agent = resolve_task_config(f"{PUSH}-Camera", "rsl_rl_lora_cfg_entry_point", overrides=[])
    cfg.validate_config()
    assert {part for part, how in agent.actor.train.items() if how != "off"} == {"dit"}


@pytest.mark.parametrize("task", TASKS)
def test_envs_that_wait_hold_still(task: str) -> None:
    """Steps of the hand are changes, and an open gripper is what a reset brings: both are 0, and nobody is warned."""
    modality = modality_of(agent_cfg_of(task), task)
    assert [modality.held_as(name) for name in modality.action] == [0.0, 0.0]


@pytest.mark.parametrize(("section", "names"), [("rewards", "dense.*sparse"), ("curriculum", "on.*off")])
def test_unknown_presets_are_refused_with_the_known_ones(section: str, names: str) -> None:
    with pytest.raises(ValueError, match=f"'mystery' for env.{section}. Available: .*{names}"):
        env_cfg(PUSH, f"env.{section}=mystery")


@pytest.mark.parametrize(
    ("base", "task"),
    [
        ("push_cube", PUSH),
        ("push_cube_camera", f"{PUSH}-Camera"),
        ("push_cube_camera_n1d7", f"{PUSH}-Camera"),
        ("pick_place_cube", "Gr00t-Pick-Place-Cube-Franka"),
        ("stack_cube", "Gr00t-Stack-Cube-Franka"),
        ("cubes", "Gr00t-Tabletop-Cubes-Franka"),
        ("tabletop_camera", "Gr00t-Stack-Cube-Franka-Camera"),
    ],
)
def test_shipped_bases_are_served_as_their_task_plays_them(base: str, task: str) -> None:
    """Keys, row, text and pictures beside the weights are the task's."""
    content = json.loads((Path(base_checkpoint(base)) / "experiment_cfg" / "gr00t_rl.json").read_text())
    settings, agent, env = PolicySettings.from_dict(content), agent_cfg_of(task), env_cfg(task)
    assert settings.modality == modality_of(agent, task) and settings.embodiment_id == agent.actor.embodiment_id
    assert env.instruction in settings.instructions
    assert set(settings.image_sizes.values()) <= {(env.camera_size, env.camera_size)}
    assert settings.image_sizes.keys() == settings.modality.video.keys()
    assert settings.control_hz == pytest.approx(1 / (env.sim.dt * env.decimation))
