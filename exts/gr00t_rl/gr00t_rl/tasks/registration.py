# SPDX-License-Identifier: BSD-3-Clause
"""Gym registration of a task family: nothing is imported before a task is asked for."""

from collections.abc import Mapping

import gymnasium as gym

AGENT = "rsl_rl_cfg_entry_point"
"""Name of a task's first agent, whose modality says what demonstrations of the task hold."""


def register_family(task: str, package: str, name: str, prefix: str, camera_agents: Mapping[str, str] = {}) -> None:
    """Register the gym IDs ``task`` and ``task``-Camera with their agents.

    Args:
        task: Gym ID of the state variant.
        package: Package with the module of env cfgs and the sub-package ``agents``.
        name: Name of the task in its modules: ``package.<name>_env_cfg``; that of its expert, ``<Name>Expert``.
        prefix: Name of the task in its classes: ``<prefix>MlpRunnerCfg``.
        camera_agents: Further agents of the camera variant: entry point -> module and class in ``agents``.
    """
    env_cfg, agents = f"{package}.{name}_env_cfg", f"{package}.agents"
    mlp = {
        "rsl_rl_flow_mlp_cfg_entry_point": f"{agents}.rsl_rl_flow_mlp_cfg:{prefix}FlowMlpRunnerCfg",
        "rsl_rl_flow_mlp_grpo_cfg_entry_point": f"{agents}.rsl_rl_grpo_cfg:{prefix}FlowMlpGrpoRunnerCfg",
        "rsl_rl_mlp_cfg_entry_point": f"{agents}.rsl_rl_mlp_cfg:{prefix}MlpRunnerCfg",
        "rsl_rl_mlp_ppo_cfg_entry_point": f"{agents}.rsl_rl_mlp_cfg:{prefix}MlpPpoRunnerCfg",
        "rsl_rl_mlp_grpo_cfg_entry_point": f"{agents}.rsl_rl_grpo_cfg:{prefix}MlpGrpoRunnerCfg",
    }
    further = {entry_point: f"{agents}.{cfg}" for entry_point, cfg in camera_agents.items()}
    for suffix, variant, others in (("", "", mlp), ("-Camera", "Camera", further)):
        gr00t = {
            AGENT: f"{agents}.rsl_rl_gr00t_cfg:{prefix}{variant}Gr00tRunnerCfg",
            "rsl_rl_lora_cfg_entry_point": f"{agents}.rsl_rl_lora_cfg:{prefix}{variant}Gr00tLoraRunnerCfg",
            "rsl_rl_ppo_cfg_entry_point": f"{agents}.rsl_rl_gr00t_cfg:{prefix}{variant}Gr00tPpoRunnerCfg",
            "rsl_rl_grpo_cfg_entry_point": f"{agents}.rsl_rl_grpo_cfg:{prefix}{variant}Gr00tGrpoRunnerCfg",
        }
        gym.register(
            id=f"{task}{suffix}",
            entry_point="isaaclab.envs:ManagerBasedRLEnv",
            disable_env_checker=True,
            kwargs={
                "env_cfg_entry_point": f"{env_cfg}:{prefix}Franka{variant}EnvCfg",
                **gr00t,
                **others,
                "default_agent": "rsl_rl",
                "expert_entry_point": f"gr00t_rl.tasks.tabletop.experts:{name.title().replace('_', '')}Expert",
            },
        )
