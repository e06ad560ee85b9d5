# SPDX-License-Identifier: BSD-3-Clause
"""Envs whose observations or rewards are not finite are left out, one by one, until they have been reset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from ..options import SurrogateOptions
from ..storage import DecisionStorage
from ..utils.errors import ConfigurationError
from ..utils.finite import all_fine, fine_rows
from .dumps import EnvDumps


class Quarantine:
    """Stands between the env and everything that learns, and lets nothing through that is not finite.

    An env step is bad if its reward is not finite or what it led to is not: the observation, or the true final one
    where the episode ended. The decision under way in that env leaves the batch, and the one before it is cut where
    the bad one began, which is finite: it is bootstrapped with the value there. The env then *rests*: the policy sees
    another env's observation in its place, what it decides from that leaves the batch too, and rewards count as 0. Its
    episode clock is put to the end, so that it times out and resets itself in its next step: the one way to reset an
    env that every vectorised env has, and that leaves managers, recorders and the histories of other envs as they
    should be. An env whose episodes no clock ends rests until whatever else ends them. From its first finite
    observation after a reset on it takes part again.

    "Not finite" includes what is larger than :data:`~gr00t_rl.utils.finite.LIMIT`. Integer groups are not looked at,
    nor are those that neither actor, critic nor curiosity read.

    A good step costs the minimum and maximum of what is read and one host synchronisation, a bool that says whether
    any env is bad; everything else happens only where it says so.

    Args:
        env: The vectorised env; its ``episode_length_buf`` is written.
        groups: Names of the observation groups that are read.
        options: ``max_nonfinite_envs`` and ``max_nonfinite_iterations`` are used.
        device: Device of the observations.
        rescue: Saves the present state where possible and says which file to go on from.
        dump_dir: Folder of the dumps, see :class:`~gr00t_rl.algorithms.dumps.EnvDumps`; None to write none.
        rank: This process among ``world_size``.
        world_size: Number of processes, whose envs are counted together.
    """

    def __init__(
        self,
        env: VecEnv,
        groups: list[str],
        options: SurrogateOptions,
        device: str | torch.device,
        rescue: Callable[[], str],
        dump_dir: str | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.env, self.groups, self.options, self.rescue, self.world_size = env, groups, options, rescue, world_size
        self.resting = torch.zeros(env.num_envs, dtype=torch.bool, device=device)
        """Envs that wait for their reset, bool [N]."""
        self.caught = torch.zeros_like(self.resting)
        """Envs that were bad or rested in this iteration, bool [N]."""
        self.in_row = torch.zeros(env.num_envs, dtype=torch.long, device=device)
        """Iterations in a row, up to the last one, in which each env was caught, int64 [N]."""
        self.count = 0
        """Envs that were caught in the last iteration, over all ranks."""
        self.dumps = EnvDumps(env, dump_dir, f"_rank{rank}" if world_size > 1 else "")
        self._active = False  # whether any env rests, as the host knows it

    # -- at the door -----------------------------------------------------------------------------------------------

    def admit(self, obs: TensorDict, iteration: int) -> None:
        """Look at the observations that an iteration begins with; those of bad envs are replaced in ``obs``.

        Args:
            obs: Observations [N].
            iteration: Number of the iteration, for the dumps.
        """
        self.dumps.begin(iteration)
        broken = ~self._fine(obs)
        if broken.any():
            new = broken & ~self.resting
            self.resting |= broken
            nothing = torch.zeros(len(broken), device=broken.device)
            self._isolate(obs, broken, new, new, nothing, nothing.bool(), {})

    def inspect(
        self,
        obs: TensorDict,
        rewards: torch.Tensor,
        dones: torch.Tensor,
        extras: dict[str, Any],
        watched: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, dict[str, Any], torch.Tensor | None]:
        """Look at one env step. What is bad in ``obs`` and ``rewards`` is replaced in place: the runner logs them.

        Args:
            obs: Observations after the step [N].
            rewards: Rewards, float32 [N].
            dones: Episode ends, [N].
            extras: What else the env reports; numbers of its "log" that are not finite are removed.
            watched: Envs that are counted, bool [N]; None for all.

        Returns:
            Episode ends with those that are cut here; the extras without the time-outs of envs that are left out; and
            the envs whose running decision is left out, bool [N], or None if there are none.
        """
        final = extras.get("final_obs", {})
        if not self._active and all_fine((rewards, *self._read(obs), *self._read(final)), rewards.device):
            return dones, extras, None
        ended = dones.bool()
        broken = ~self._fine(obs)  # no decision can start from it
        led_to = broken & ~ended
        led_to |= ended & ~self._fine(final)  # rows of other envs may be old
        bad = ~fine_rows(rewards) | led_to
        found = bad | broken
        if not self._active and not found.any():
            return dones, extras, None
        left_out = bad | self.resting
        new = found & ~self.resting
        self.resting = broken | (left_out & ~ended)
        watched = torch.ones_like(found) if watched is None else watched
        caught = (found | self.resting) & watched
        self._isolate(obs, broken, new & watched, caught, rewards, ended, extras)
        rewards.masked_fill_(left_out, 0.0)
        if "time_outs" in extras:
            extras = {**extras, "time_outs": extras["time_outs"].to(left_out.device) * ~left_out}
        return ended | bad, extras, left_out

    def release(self) -> None:
        """Let all envs take part again: they have been reset."""
        self.resting.zero_()
        self._active = False

    def _fine(self, obs: Mapping[str, torch.Tensor] | TensorDict) -> torch.Tensor:
        """Return whose observations are finite in all groups that are read and there, bool [N]."""
        fine = torch.ones_like(self.resting)
        for value in self._read(obs):
            fine &= fine_rows(value).to(fine.device)
        return fine

    def _read(self, obs: Mapping[str, torch.Tensor] | TensorDict) -> list[torch.Tensor]:
        """Return the floating-point groups that are read, of those that are there."""
        there = obs.keys()  # a TensorDict itself iterates over its rows
        return [obs[group] for group in self.groups if group in there and obs[group].is_floating_point()]

    # -- what is done about it ---------------------------------------------------------------------------------------

    def _isolate(
        self,
        obs: TensorDict,
        broken: torch.Tensor,
        new: torch.Tensor,
        caught: torch.Tensor,
        rewards: torch.Tensor,
        ended: torch.Tensor,
        extras: dict[str, Any],
    ) -> None:
        """Count the ``caught``, keep evidence of ``new`` cases, and put observations in place of ``broken`` ones."""
        self._active = bool(self.resting.any())
        self.caught |= caught
        final = extras.get("final_obs") if ended[new].any() else None
        self.dumps.write(new, {name: obs[name] for name in self.groups}, rewards, final or {})
        self._stand_in(obs, broken)
        clock = getattr(self.env, "episode_length_buf", None)
        if clock is not None:
            end = torch.as_tensor(self.env.max_episode_length, device=clock.device).to(clock.dtype)
            clock.copy_(torch.where(self.resting.to(clock.device), end, clock))
        log = extras.get("log", {})  # sums over an episode of a bad env are not finite when it ends
        for name in [name for name, value in log.items() if not torch.as_tensor(value).isfinite().all()]:
            del log[name]

    def _stand_in(self, obs: TensorDict, broken: torch.Tensor) -> None:
        """Put a good env's observation in the place of each broken one: networks and curiosity see nothing odd."""
        donor = (~broken).int().argmax()
        for group in self.groups:
            value = obs[group]
            if value.is_floating_point():
                shown = torch.where(broken[donor], torch.zeros_like(value[donor]), value[donor])  # none may be good
                obs[group] = torch.where(broken.view(-1, *[1] * (value.dim() - 1)), shown, value)

    # -- once an iteration -------------------------------------------------------------------------------------------

    def settle(self, iteration: int, storage: DecisionStorage) -> None:
        """Count the iteration's cases, and stop the run where there are too many.

        Args:
            iteration: For the message.
            storage: The iteration's decisions.

        Raises:
            ConfigurationError: If more than the share ``max_nonfinite_envs`` of all envs was caught, one of them
                ``max_nonfinite_iterations`` times in a row, or a rank is left without any decision.
        """
        o = self.options
        self.in_row = torch.where(self.caught, self.in_row + 1, 0)
        lasting = self.in_row >= o.max_nonfinite_iterations
        none_left = ~(storage.valid & ~storage.discarded).any()
        figures = torch.stack((self.caught.sum(), torch.tensor(len(lasting), device=lasting.device)))
        figures = torch.cat((figures, torch.stack((lasting.any(), none_left)).long()))
        if self.world_size > 1:
            dist.all_reduce(figures)
        self.count, number, is_lasting, is_empty = figures.tolist()
        self.caught.zero_()
        if self.count > o.max_nonfinite_envs * number:
            reason = (
                f"{self.count} of {number} envs were not finite in iteration {iteration}, more than the share "
                f"agent.algorithm.max_nonfinite_envs={o.max_nonfinite_envs:g}"
            )
        elif is_lasting:
            which = ", ".join(map(str, lasting.nonzero().flatten().tolist()[:5])) or "of another rank"
            reason = (
                f"env {which} was not finite in {o.max_nonfinite_iterations} iterations in a row "
                "(agent.algorithm.max_nonfinite_iterations), whatever its resets did"
            )
        elif is_empty:
            reason = f"no finite decision is left of iteration {iteration}"
        else:
            return
        seen = f"; replay {self.dumps.last} (docs/resume.md)" if self.dumps.last else ""
        raise ConfigurationError(f"{reason}: the task or its physics is at fault{seen}; then {self.rescue()}")
