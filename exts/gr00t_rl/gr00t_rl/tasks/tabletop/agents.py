# SPDX-License-Identifier: BSD-3-Clause
"""How GR00T agents read a tabletop task."""

from gr00t_rl.assets import base_checkpoint
from gr00t_rl.cfg import ModalityCfg, RunnerCfg
from gr00t_rl.gr00t.part_names import PARTS

LORA_LEARNING_RATE = 4e-4
"""Five times the rate with which a base policy's weights are trained in full."""


def act_on(runner: RunnerCfg, modality: ModalityCfg, base: str | None = None) -> None:
    """Make a runner's GR00T actor read what ``modality`` names.

    With cameras, all envs decide at the same steps, so that pictures are taken once per chunk.

    Args:
        runner: Changed in place.
        modality: Of the task's state or camera variant.
        base: Name of the shipped checkpoint to start from; "tiny" random weights where None.
    """
    runner.actor.modality = modality.copy()  # type: ignore[attr-defined]
    if modality.video:
        runner.obs_groups = {**runner.obs_groups, "actor": ["policy", *modality.video.values()]}
        runner.actor.align_decisions = True  # type: ignore[attr-defined]
    if base is not None:
        runner.actor.checkpoint = base_checkpoint(base)  # type: ignore[attr-defined]


def train_adapters(runner: RunnerCfg) -> None:
    """Make a runner train LoRA adapters in the DiT, and nothing else of the network."""
    runner.experiment_name += "_lora"
    runner.actor.train = {**dict.fromkeys(PARTS, "off"), "dit": "lora"}  # type: ignore[attr-defined]
    # the product of two matrices that begins at 0 needs larger steps than the weights themselves
    runner.algorithm.learning_rate = LORA_LEARNING_RATE  # type: ignore[attr-defined]
