# SPDX-License-Identifier: BSD-3-Clause
"""Gym registration of the Stack tasks."""

import gymnasium as gym

_CFG = f"{__name__}.stack_env_cfg"
_AGENTS = f"{__name__}.agents"

gym.register(
    id="Gr00t-Stack-Cube-Franka",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{_CFG}:StackCubeFrankaEnvCfg",
        "rsl_rl_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:StackCubeGr00tRunnerCfg",
        "rsl_rl_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:StackCubeGr00tPpoRunnerCfg",
        "rsl_rl_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:StackCubeGr00tGrpoRunnerCfg",
        "rsl_rl_flow_mlp_cfg_entry_point": f"{_AGENTS}.rsl_rl_flow_mlp_cfg:StackCubeFlowMlpRunnerCfg",
        "rsl_rl_flow_mlp_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:StackCubeFlowMlpGrpoRunnerCfg",
        "rsl_rl_mlp_cfg_entry_point": f"{_AGENTS}.rsl_rl_mlp_cfg:StackCubeMlpRunnerCfg",
        "rsl_rl_mlp_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_mlp_cfg:StackCubeMlpPpoRunnerCfg",
        "rsl_rl_mlp_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:StackCubeMlpGrpoRunnerCfg",
        "default_agent": "rsl_rl",
    },
)

gym.register(
    id="Gr00t-Stack-Cube-Franka-Camera",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{_CFG}:StackCubeFrankaCameraEnvCfg",
        "rsl_rl_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:StackCubeCameraGr00tRunnerCfg",
        "rsl_rl_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:StackCubeCameraGr00tPpoRunnerCfg",
        "rsl_rl_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:StackCubeCameraGr00tGrpoRunnerCfg",
        "default_agent": "rsl_rl",
    },
)
