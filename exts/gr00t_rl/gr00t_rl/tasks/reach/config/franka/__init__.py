# SPDX-License-Identifier: BSD-3-Clause
"""Gym registration of the Reach tasks."""

import gymnasium as gym

_CFG = f"{__name__}.reach_env_cfg"
_AGENTS = f"{__name__}.agents"

gym.register(
    id="Gr00t-Reach-Franka",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{_CFG}:ReachFrankaEnvCfg",
        "rsl_rl_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:ReachGr00tRunnerCfg",
        "rsl_rl_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:ReachGr00tPpoRunnerCfg",
        "rsl_rl_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:ReachGr00tGrpoRunnerCfg",
        "rsl_rl_flow_mlp_cfg_entry_point": f"{_AGENTS}.rsl_rl_flow_mlp_cfg:ReachFlowMlpRunnerCfg",
        "rsl_rl_flow_mlp_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:ReachFlowMlpGrpoRunnerCfg",
        "rsl_rl_mlp_cfg_entry_point": f"{_AGENTS}.rsl_rl_mlp_cfg:ReachMlpRunnerCfg",
        "rsl_rl_mlp_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_mlp_cfg:ReachMlpPpoRunnerCfg",
        "rsl_rl_mlp_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:ReachMlpGrpoRunnerCfg",
        "default_agent": "rsl_rl",
    },
)

gym.register(
    id="Gr00t-Reach-Franka-Camera",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{_CFG}:ReachFrankaCameraEnvCfg",
        "rsl_rl_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:ReachCameraGr00tRunnerCfg",
        "rsl_rl_ppo_cfg_entry_point": f"{_AGENTS}.rsl_rl_gr00t_cfg:ReachCameraGr00tPpoRunnerCfg",
        "rsl_rl_grpo_cfg_entry_point": f"{_AGENTS}.rsl_rl_grpo_cfg:ReachCameraGr00tGrpoRunnerCfg",
        "default_agent": "rsl_rl",
    },
)
