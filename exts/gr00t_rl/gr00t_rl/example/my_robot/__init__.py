"""The task My-Robot-Reach. Importing this registers it and loads nothing else."""

import gymnasium as gym

gym.register(
    id="My-Robot-Reach",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{__name__}.env_cfg:ReachEnvCfg",
        "rsl_rl_cfg_entry_point": f"{__name__}.agent_cfg:ReachRunnerCfg",
        "rsl_rl_lora_cfg_entry_point": f"{__name__}.agent_cfg:ReachLoraRunnerCfg",  # gr00t-rl train --agent NAME
        "default_agent": "rsl_rl",
        "expert_entry_point": f"{__name__}.expert:ReachExpert",  # for gr00t-rl collect
    },
)
