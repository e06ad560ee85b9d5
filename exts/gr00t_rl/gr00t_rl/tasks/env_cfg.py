# SPDX-License-Identifier: BSD-3-Clause
"""The env cfg that a task of your own starts from: an instruction, and checks before the simulator starts."""

from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, ObservationGroupCfg, ObservationTermCfg
from isaaclab.utils import configclass
from isaaclab_tasks.utils import resolve_presets

from gr00t_rl.memory.before_run import check_memory
from gr00t_rl.options import TaskOptions
from gr00t_rl.preflight import check_env, check_run, training_agent

from .grouping import share_starts
from .tabletop.mdp import instruction_index, reset_instruction


@configclass
class InstructionGroupCfg(ObservationGroupCfg):
    """Which of the task's instructions each env has, int64 [N, 1]."""

    index = ObservationTermCfg(func=instruction_index)


@configclass
class Gr00tEnvCfg(TaskOptions, ManagerBasedRLEnvCfg):
    """A manager-based task that GR00T agents learn.

    Over Isaac Lab's own it has an ``instruction``, reports the true last observation of an episode, lets GRPO's groups
    start alike, and ends mistakes in env and agent in one line before the simulator starts.

    Observation groups: ``policy`` and one per camera, which the policy reads, and ``critic``. A field ``instruction``
    of the observations and ``reset_instruction`` of the events, both None, are needed for ``sample_instructions``.
    """

    def __post_init__(self):
        # The critic bootstraps a time-out from the state it happened in.
        self.compute_final_obs = True
        # Isaac Sim's renderer would give the first decision of an episode the last picture of the one before.
        self.num_rerenders_on_reset = 1

    def instruction_names(self) -> list[str]:
        """Short names of what ``instructions`` ask for, in their order, where each is a task of its own.

        None, the default, where they are ways to say the same. Where there are some, an instruction is always drawn.
        """
        return []

    def complete(self):
        """Change settings that depend on others which the command line has set; presets are chosen by then."""

    def validate_config(self):
        """Complete the settings and check them, alone and against those of the agent.

        Isaac Lab calls it as the first thing an env does.

        Raises:
            ConfigurationError: At the first setting that cannot work.
        """
        resolve_presets(self)  # those of a cfg made in Python; on a command line they have been chosen before
        check_env(self)
        if self.sample_instructions:
            self.observations.instruction = InstructionGroupCfg()
            self.events.reset_instruction = EventTermCfg(func=reset_instruction, mode="reset")
        self.complete()
        check_run(self)
        share_starts(self, self.start_group_size)
        check_memory(self, training_agent())
