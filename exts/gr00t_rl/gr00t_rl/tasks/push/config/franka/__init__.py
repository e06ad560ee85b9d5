# SPDX-License-Identifier: BSD-3-Clause
"""Gym registration of the Push tasks."""

import gymnasium as gym

_CFG = f"{__name__}.push_env_cfg"
_AGENTS = f"{__name__}.agents"

gym.register(
    id="Gr00t-Push-Cube-Franka",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{_CFG}:PushCubeFrankaEnvCfg",
        "rsl_rl_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:PushCubeGr00tRunnerCfg",
        "rsl_rl_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:PushCubeGr00tPpoRunnerCfg",
        "rsl_rl_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:PushCubeGr00tGrpoRunnerCfg",
        "rsl_rl_flow_mlp_cfg_entry_point": f"{_AGENTS}.rsl_rl_flow_mlp_cfg:PushCubeFlowMlpRunnerCfg",
        "rsl_rl_flow_mlp_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:PushCubeFlowMlpGrpoRunnerCfg",
        "rsl_rl_mlp_cfg_entry_point": f"{_AGENTS}.rsl_rl_mlp_cfg:PushCubeMlpRunnerCfg",
        "rsl_rl_mlp_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_mlp_cfg:PushCubeMlpPpoRunnerCfg",
        "rsl_rl_mlp_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:PushCubeMlpGrpoRunnerCfg",
        "default_agent": "rsl_rl",
    },
)

gym.register(
    id="Gr00t-Push-Cube-Franka-Camera",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{_CFG}:PushCubeFrankaCameraEnvCfg",
        "rsl_rl_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:PushCubeCameraGr00tRunnerCfg",
        "rsl_rl_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:PushCubeCameraGr00tPpoRunnerCfg",
        "rsl_rl_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:PushCubeCameraGr00tGrpoRunnerCfg",
        "default_agent": "rsl_rl",
    },
)
