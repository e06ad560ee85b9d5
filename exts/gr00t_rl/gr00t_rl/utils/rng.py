# SPDX-License-Identifier: BSD-3-Clause
"""State of the random generators that a run draws from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def rng_state(device: str | torch.device) -> dict[str, Any]:
    """Return the state of Python's, NumPy's and torch's generators as tensors and plain numbers.

    Only types that ``torch.load(weights_only=True)`` accepts are used.

    Args:
        device: Device whose generator is saved besides the CPU's.
    """
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "python": (version, torch.tensor(internal), gauss),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)),
        "torch": torch.get_rng_state(),
    }
    if torch.device(device).type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: dict[str, Any], device: str | torch.device) -> None:
    """Restore what :func:`rng_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.device(device).type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators, those of all devices."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
