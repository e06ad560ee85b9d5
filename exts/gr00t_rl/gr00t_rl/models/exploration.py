# SPDX-License-Identifier: BSD-3-Clause
"""What exploration noise means in the units of a robot."""

from __future__ import annotations

import torch

from ..flow import FlowSde
from ..gr00t import Gr00tProcessor


@torch.no_grad()
def describe_noise(head: object, processor: Gr00tProcessor) -> str | None:
    """Return in a line how far the noise of the last denoising step moves each action key, in the env's units.

    What earlier steps add, the rest of the chain removes in part. That of the last reaches the robot:
    std = a / sqrt(K (K - 1)) of normalised actions for level a and K > 1 steps
    (:func:`~gr00t_rl.flow.flow_sde_weights`).

    Args:
        head: Of the policy.
        processor: Of its network.

    Returns:
        The line; None where the noise is learned, or the env takes normalised actions.
    """
    modality = processor.modality
    if not isinstance(head, FlowSde) or modality is None:
        return None
    unscaled = [name for name, key in modality.action.items() if key.normalization in (None, "binary")]
    shown = [name for name in modality.action if name not in (*unscaled, *processor.poses)]
    if not shown:
        return None
    std = float(head.std_summary()[-1])
    config = processor.config.action_head
    device = next(processor.buffers()).device
    zero = torch.zeros(1, config.action_horizon, config.action_dim, device=device)
    state = torch.zeros(1, modality.state_dim, device=device)
    still, moved = (processor.action(chunk, modality.action_dim, state)[0] for chunk in (zero, zero + std))
    parts = []
    for name in shown:
        key = modality.action[name]
        low, high = (float(f((moved - still)[:, key.start : key.end].abs())) for f in (torch.min, torch.max))
        parts.append(f"{name} {low:.2g}" + ("" if f"{low:.2g}" == f"{high:.2g}" else f" to {high:.2g}"))
    return (
        f"exploration noise of the last of {head.num_steps} denoising steps, in the env's units (std): "
        f"{', '.join(parts)}; agent.actor.noise_level scales it"
    )
