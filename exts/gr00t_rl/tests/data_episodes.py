# SPDX-License-Identifier: BSD-3-Clause
"""Episodes of random numbers and pictures."""

from __future__ import annotations

import torch

from gr00t_rl.data import Episode, Layout


def make_episode(layout: Layout, length: int, seed: int, instruction: str = "reach", success: bool = True) -> Episode:
    """An episode whose numbers are random and whose state starts with the seed and counts the frames."""
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(length, layout.state_dim, generator=generator)
    state[:, 0] = seed
    state[:, 1] = torch.arange(length)
    return Episode(
        {
            key: torch.randint(0, 256, (length, *size, 3), dtype=torch.uint8, generator=generator)
            for key, size in layout.cameras.items()
        },
        state,
        torch.randn(length, layout.action_dim, generator=generator),
        torch.rand(length, generator=generator),
        instruction,
        success,
        {"seed": seed},
    )
