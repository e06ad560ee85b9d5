# SPDX-License-Identifier: BSD-3-Clause
"""What a run needs, besides its weights and optimiser, to continue where it stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
import torch.distributed as dist
from torch import nn

from ..models.recurrent import RecurrentMemory
from ..utils.errors import NotWritten
from ..utils.finite import find_nonfinite
from ..utils.moments import RewardScaler
from ..utils.rng import rng_state, seed_all, set_rng_state
from ..utils.runner_files import advise, save_whole
from ..utils.stop import Stopped, StopRequest
from .evaluator import Evaluator


class Resumable(Protocol):
    """What is read of an algorithm here; see :class:`~gr00t_rl.algorithms.base.DecisionAlgorithm`."""

    iteration: int
    reward_scaler: RewardScaler | None
    device: str
    env: Any
    gpu_world_size: int
    memory: RecurrentMemory | None
    newest_checkpoint: str | None
    rnd: Any
    evaluator: Evaluator
    before_rollout: dict[str, dict[str, Any]] | None

    def save(self) -> dict[str, Any]:
        """Return the training state."""
        ...


def run_state(algorithm: Resumable) -> dict[str, Any]:
    """Return counters, reward moments and generators, in types that ``torch.load(weights_only=True)`` accepts.

    Nothing of it changes when the algorithm goes on.
    """
    scaler = algorithm.reward_scaler
    state = {
        "iteration": algorithm.iteration,
        "reward_scaler": None if scaler is None else _copies(scaler),
        "memory": None if algorithm.memory is None else algorithm.memory.state_dict(),
        "rng": rng_state(algorithm.device),
        # Isaac Lab's curricula count env steps; an env does not save its own state
        "env_steps": getattr(_unwrapped(algorithm), "common_step_counter", None),
        "best": algorithm.evaluator.state(),
    }
    if algorithm.rnd is not None:
        state["rnd_steps"] = algorithm.rnd.update_counter
    return state


def state_before_rollout(algorithm: Resumable) -> dict[str, dict[str, Any]]:
    """Return what a rollout changes of a checkpoint, by its sections; no wait for a GPU.

    Weights, optimisers and the normalisers of observations change in the update only.
    """
    state = {"algorithm_state_dict": run_state(algorithm)}
    if algorithm.rnd is not None:
        moments = _copies(algorithm.rnd.reward_normalizer)
        state["rnd_state_dict"] = {f"reward_normalizer.{name}": value for name, value in moments.items()}
    return state


def _copies(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def restore_run_state(algorithm: Resumable, state: dict[str, Any]) -> None:
    """Restore what :func:`run_state` returned."""
    algorithm.iteration = state["iteration"]
    algorithm.evaluator.restore(state.get("best"))
    if algorithm.reward_scaler is not None and state["reward_scaler"] is not None:
        _restore_reward_scaler(algorithm, state["reward_scaler"])
    if algorithm.memory is not None:
        _restore_memory(algorithm, state.get("memory") or {})
    env = _unwrapped(algorithm)
    if state.get("env_steps") is not None and hasattr(env, "common_step_counter"):
        env.common_step_counter = state["env_steps"]
    set_rng_state(state["rng"], algorithm.device)
    if algorithm.gpu_world_size > 1:
        _draw_own_stream(algorithm.gpu_world_size)


def _draw_own_stream(world_size: int) -> None:
    """Seed this rank's generators from the checkpoint's.

    The file is rank 0's: restored everywhere, all ranks would draw the same noise. Left as the run's seed made them,
    they would draw that of the first iterations once more after every resume.
    """
    seed_all(int(torch.randint(2**31, (world_size,))[dist.get_rank()]))


def _restore_reward_scaler(algorithm: Resumable, state: dict[str, torch.Tensor]) -> None:
    """Restore the moments; the running returns only of envs that are still in the same episode.

    An env that starts an episode has earned nothing in it. After a restart of the simulator this is all of them; the
    returns of the episodes that were under way would be added to others.
    """
    scaler = algorithm.reward_scaler
    assert scaler is not None
    returns = state["returns"].to(scaler.returns.device)
    if returns.shape != scaler.returns.shape or algorithm.gpu_world_size > 1:
        returns = torch.zeros_like(scaler.returns)
    started = algorithm.env.episode_length_buf.to(returns.device) == 0
    scaler.load_state_dict({**state, "returns": returns.masked_fill(started, 0.0)})


def _restore_memory(algorithm: Resumable, state: dict[str, list[torch.Tensor]]) -> None:
    """Restore the hidden states only of envs that are still in the same episode, as with the running returns."""
    assert algorithm.memory is not None
    started = algorithm.env.episode_length_buf.to(algorithm.device) == 0
    algorithm.memory.load_state_dict({} if algorithm.gpu_world_size > 1 else state, started)


def write_checkpoint(algorithm: Resumable, folder: Path) -> Path | None:
    """Write the state from before the iteration that is not finished, named after it, as rsl_rl's runner would.

    An update under way is in it as far as it went.

    Returns:
        The file, or None if something in it would not be finite, so that nothing was written.
    """
    state = algorithm.save()
    for section, part in (algorithm.before_rollout or {}).items():  # the rollout will be done again
        state[section] = {**state[section], **part}
    if find_nonfinite(state) is not None:
        return None
    path = folder / f"model_{algorithm.iteration}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_whole({**state, "iter": algorithm.iteration, "infos": None}, str(path))
    algorithm.newest_checkpoint = str(path)
    return path


def rescue(algorithm: Resumable, folder: str | None, writes: bool) -> str:
    """Write the present state if it is finite; return which file to go on from, as the end of a sentence.

    Args:
        algorithm: The algorithm, about to stop.
        folder: Folder of the run; None for runs without one.
        writes: Whether this process is the one that writes checkpoints.
    """
    path = None
    try:
        if writes and folder is not None:
            with contextlib.suppress(OSError, NotWritten):
                path = write_checkpoint(algorithm, Path(folder))
    finally:
        if algorithm.gpu_world_size > 1:  # a rank that leaves first would have the writing one ended by the launcher
            dist.barrier()
    if writes:
        if path is not None:
            return f"resume from {path}, the state from before that"
        return advise(algorithm.newest_checkpoint)
    return "resume from the newest model_*.pt of the run"


def leave(rescue: Callable[[], str], iteration: int, stop: StopRequest) -> NoReturn:
    """Save by ``rescue``, see :func:`rescue`, and end the run as one that was asked to."""
    raise Stopped(f"stopped by {stop.by.name} in iteration {iteration}; {rescue()}", stop.code)


def _unwrapped(algorithm: Resumable) -> Any:
    return getattr(algorithm.env, "unwrapped", algorithm.env)
