# SPDX-License-Identifier: BSD-3-Clause
"""How GR00T agents read a task, and what they train: for the ``__post_init__`` of runner cfgs."""

from gr00t_rl.assets import base_checkpoint
from gr00t_rl.cfg import LORA_RATE, ModalityCfg, RunnerCfg
from gr00t_rl.gr00t.part_names import PARTS


def act_on(runner: RunnerCfg, modality: ModalityCfg, base: str | None = None) -> None:
    """Make a runner's GR00T actor read what ``modality`` names.

    With cameras, all envs decide at the same steps (``align_decisions``), so that pictures are taken once per chunk.

    Args:
        runner: Changed in place.
        modality: Of the task.
        base: Name of the shipped checkpoint to start from; None leaves the runner's own.
    """
    runner.actor.modality = modality.copy()  # type: ignore[attr-defined]
    groups = dict.fromkeys([*(key.group for key in modality.state.values()), *modality.video.values()])
    runner.obs_groups = {**runner.obs_groups, "actor": list(groups)}
    if modality.video:
        runner.actor.align_decisions = True  # type: ignore[attr-defined]
    if base is not None:
        runner.actor.checkpoint = base_checkpoint(base)  # type: ignore[attr-defined]


def train_adapters(runner: RunnerCfg) -> None:
    """Make a runner train LoRA adapters in the DiT, and nothing else of the network: for checkpoints of full size.

    The run's ``experiment_name`` ends in ``_lora`` then.

    Args:
        runner: Of a GR00T actor; changed in place.
    """
    runner.experiment_name += "_lora"
    runner.actor.train = {**dict.fromkeys(PARTS, "off"), "dit": "lora"}  # type: ignore[attr-defined]
    runner.algorithm.learning_rate *= LORA_RATE  # type: ignore[attr-defined]
