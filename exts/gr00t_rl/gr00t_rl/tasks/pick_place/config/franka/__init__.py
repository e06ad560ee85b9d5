# SPDX-License-Identifier: BSD-3-Clause
"""Gym registration of the Pick-Place tasks."""

import gymnasium as gym

_CFG = f"{__name__}.pick_place_env_cfg"
_AGENTS = f"{__name__}.agents"

gym.register(
    id="Gr00t-Pick-Place-Cube-Franka",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{_CFG}:PickPlaceCubeFrankaEnvCfg",
        "rsl_rl_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:PickPlaceCubeGr00tRunnerCfg",
        "rsl_rl_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:PickPlaceCubeGr00tPpoRunnerCfg",
        "rsl_rl_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:PickPlaceCubeGr00tGrpoRunnerCfg",
        "rsl_rl_flow_mlp_cfg_entry_point": f"{_AGENTS}.rsl_rl_flow_mlp_cfg:PickPlaceCubeFlowMlpRunnerCfg",
        "rsl_rl_flow_mlp_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:PickPlaceCubeFlowMlpGrpoRunnerCfg",
        "rsl_rl_mlp_cfg_entry_point": f"{_AGENTS}.rsl_rl_mlp_cfg:PickPlaceCubeMlpRunnerCfg",
        "rsl_rl_mlp_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_mlp_cfg:PickPlaceCubeMlpPpoRunnerCfg",
        "rsl_rl_mlp_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:PickPlaceCubeMlpGrpoRunnerCfg",
        "default_agent": "rsl_rl",
    },
)

gym.register(
    id="Gr00t-Pick-Place-Cube-Franka-Camera",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{_CFG}:PickPlaceCubeFrankaCameraEnvCfg",
        "rsl_rl_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:PickPlaceCubeCameraGr00tRunnerCfg",
        "rsl_rl_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:PickPlaceCubeCameraGr00tPpoRunnerCfg",
        "rsl_rl_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:PickPlaceCubeCameraGr00tGrpoRunnerCfg",
        "default_agent": "rsl_rl",
    },
)
