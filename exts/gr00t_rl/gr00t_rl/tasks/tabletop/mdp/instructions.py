# SPDX-License-Identifier: BSD-3-Clause
"""Which of the instructions each env has in its present episode: a way to say its task, or its task itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .sampling import env_index, start_rand

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedEnv


def instruction_index(env: ManagerBasedEnv) -> torch.Tensor:
    """Place of each env's instruction in ``env.cfg.instructions`` [N, 1], int64: the buffer itself."""
    if not hasattr(env, "_instruction_index"):
        env._instruction_index = torch.zeros(env.num_envs, 1, dtype=torch.long, device=env.device)
    return env._instruction_index


def reset_instruction(env: ManagerBasedEnv, env_ids: torch.Tensor | slice) -> None:
    """Draw one of ``env.cfg.instructions`` per episode, each as likely as the others.

    Envs that are reset together are dealt them evenly, so that no instruction is rare by chance in a batch of starts.
    """
    ids, count = env_index(env, env_ids), len(env.cfg.instructions)
    # In float32 a draw just below 1 times the count may round up to the count.
    first = (start_rand(env, ids[:1]) * count).long().clamp_max(count - 1)
    order = start_rand(env, ids).argsort()
    instruction_index(env)[ids.long()] = ((order + first) % count)[:, None]
