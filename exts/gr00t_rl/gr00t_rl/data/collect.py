# SPDX-License-Identifier: BSD-3-Clause
"""Let a task's scripted expert play, and record its episodes as a LeRobot dataset: what `gr00t-rl collect` runs."""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tqdm import tqdm

from ..gr00t import Modality
from ..utils.errors import ConfigurationError
from ..utils.simulators import simulator_of
from .buffer import EpisodeBuffer
from .layout import Layout
from .writer import DatasetWriter, Episode

EPISODES_PER_ENV = 4
"""Episodes that an env plays in a round: rounds have a seed each and are what an interruption can cost."""
HOPELESS = 128
"""Episodes, of rounds without any success, after which a collection gives up."""
NOISE_BLOCK = 100_003
"""Distance between the round seeds of two ``--seed``, a prime larger than any number of rounds."""
PRIVILEGED_GROUP = "critic"
"""Observation group whose terms ``--privileged`` names."""
INSTRUCTION = "instruction"
"""Observation group, int64 [N, 1], with the number of each env's instruction, where a task draws them."""


def quotas(episodes: int, num_envs: int) -> list[int]:
    """Episodes that each env plays in a round of at most ``num_envs * EPISODES_PER_ENV``, as even as can be.

    They are fixed beforehand: taking whichever episodes end first would prefer short ones.
    """
    share, rest = divmod(min(episodes, num_envs * EPISODES_PER_ENV), num_envs)
    return [share + (env < rest) for env in range(num_envs)]


class Collector:
    """Plays an expert in an env and cuts out episodes.

    Args:
        env: The unwrapped env.
        expert: The task's expert, without noise.
        modality: What is recorded.
        noise: Standard deviation of the noise on the arm's action.
        privileged: Where the privileged terms lie in their group, int64 [P]; P may be 0.
    """

    def __init__(self, env: Any, expert: Any, modality: Modality, noise: float, privileged: torch.Tensor):
        self.env, self.expert, self.modality, self.noise = env, expert, modality, noise
        self._privileged = privileged.to(env.device)
        self._buffer = EpisodeBuffer(env.num_envs, int(env.max_episode_length))
        cfg = env.cfg
        self._instructions = list(cfg.instructions) if getattr(cfg, "sample_instructions", False) else [cfg.instruction]

    @torch.no_grad()
    def play(self, seed: int, counts: Sequence[int]) -> Iterator[Episode]:
        """Reset everything with ``seed`` and yield the first ``counts[n]`` episodes of each env n, as they end."""
        env = self.env
        generator = torch.Generator(env.device).manual_seed(seed)
        obs, _ = env.reset(seed=seed)
        self._buffer.clear()
        self.expert.reset(torch.ones(env.num_envs, dtype=torch.bool, device=env.device))
        left = list(counts)
        while any(left):
            action = self.expert()
            self._record(obs, action)
            obs, reward, terminated, timed_out, extras = env.step(self._perturbed(action, generator))
            self._buffer.amend("reward", reward)
            done = terminated | timed_out
            self.expert.reset(done)
            if "success" not in extras:
                raise ConfigurationError(
                    "the env does not say which episodes succeed; set terminations.success to the term "
                    'gr00t_rl.tasks.mdp.held_success, or extras["success"], bool [N], in every step'
                )
            success = extras["success"]
            for index, values in self._buffer.cut(done):
                if left[index]:
                    left[index] -= 1
                    yield self._episode(values, bool(success[index]), {"seed": seed, "env": index})

    def _record(self, obs: dict[str, torch.Tensor], action: torch.Tensor) -> None:
        values = {f"video.{key}": obs[group] for key, group in self.modality.video.items()}
        values |= {"state": self.modality.select_state(obs), "action": action}
        if len(self._privileged):
            values["privileged"] = obs[PRIVILEGED_GROUP].index_select(-1, self._privileged)
        if INSTRUCTION in obs:
            values[INSTRUCTION] = obs[INSTRUCTION][:, 0]
        self._buffer.record(values)

    def _perturbed(self, action: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The action [N, A] with noise on its first numbers, those that the expert lets disturb."""
        executed = action.clone()
        arm = executed[:, : self.expert.noisy_actions]
        arm += self.noise * torch.randn(arm.shape, generator=generator, device=arm.device)
        return executed

    def _episode(self, values: dict[str, torch.Tensor], success: bool, info: dict[str, Any]) -> Episode:
        number = int(values[INSTRUCTION][0]) if INSTRUCTION in values else 0
        pictures = {key: values[f"video.{key}"] for key in self.modality.video}
        return Episode(
            pictures,
            values["state"],
            values["action"],
            values["reward"],
            self._instructions[number],
            success,
            info,
            values.get("privileged"),
        )


def check_env_tells(env_cfg: Any) -> None:
    """Make sure that the env cfg has an instruction. Raises ConfigurationError."""
    if not getattr(env_cfg, "instruction", None):
        raise ConfigurationError(
            'env.instruction is not there, which says what the robot is told; add `instruction: str = "..."` to the '
            "env cfg, or derive it from gr00t_rl.tasks.env_cfg.Gr00tEnvCfg"
        )


def privileged_columns(env: Any, terms: Sequence[str]) -> tuple[tuple[str, ...], torch.Tensor]:
    """A name for each dimension of privileged ``terms``, and where they lie in their observation group, int64 [P].

    Raises:
        ConfigurationError: A term that the group does not have.
    """
    manager = env.observation_manager
    known = manager.active_terms.get(PRIVILEGED_GROUP, [])
    shapes = manager.group_obs_term_dim.get(PRIVILEGED_GROUP, [])
    names: list[str] = []
    columns: list[int] = []
    for wanted in terms:
        if wanted not in known:
            raise ConfigurationError(
                f"--privileged {wanted}: the observation group {PRIVILEGED_GROUP!r} of this task has "
                f"{', '.join(known) or 'no terms'}; name some of these"
            )
        place = known.index(wanted)
        start, width = sum(math.prod(shape) for shape in shapes[:place]), math.prod(shapes[place])
        names += [f"{wanted}_{index}" for index in range(width)]
        columns += range(start, start + width)
    return tuple(names), torch.tensor(columns, dtype=torch.long)


def collect(args: argparse.Namespace, collector: Collector, writer: DatasetWriter) -> None:
    """Play rounds until the dataset has its episodes.

    Raises:
        ConfigurationError: If rounds of :data:`HOPELESS` episodes bring no success: the collection would hardly end.
    """
    played = failed = 0
    began, frames = time.monotonic(), writer.num_frames
    with tqdm(total=args.episodes, initial=writer.num_episodes, desc=args.task, unit="episode") as bar:
        while writer.num_episodes < args.episodes:
            counts, succeeded = quotas(args.episodes - writer.num_episodes, args.num_envs), False
            for episode in collector.play(args.seed * NOISE_BLOCK + writer.rounds, counts):
                played += 1
                succeeded |= episode.success
                if episode.success or args.keep_failures:
                    writer.add(episode)
                    bar.update()
            writer.commit(writer.rounds + 1)
            failed = 0 if succeeded else failed + sum(counts)  # within a round, those that fail end last
            if failed >= HOPELESS and not args.keep_failures:
                raise ConfigurationError(
                    f"none of the last {failed} episodes succeeded; set a smaller --noise, or --keep_failures"
                )
    rate = (writer.num_frames - frames) / max(time.monotonic() - began, 1e-9)
    print(
        f"{args.out}: {writer.num_episodes} episodes, {writer.num_frames} frames; {played} played now, "
        f"{rate:.0f} frames per second"
    )


def run(args: argparse.Namespace, env_cfg: Any, modality: Modality, overrides: list[str]) -> None:
    """Build env, expert and writer, and collect.

    Args:
        args: Options of ``gr00t-rl collect``.
        env_cfg: Of the task, complete.
        modality: What is recorded.
        overrides: What the command line set, for the dataset's record.

    Raises:
        ConfigurationError: The env has other observations than the modality names, or does not say what succeeds.
    """
    import gymnasium as gym

    from ..tasks.experts import make_expert

    env: Any = gym.make(args.task, cfg=env_cfg).unwrapped
    expert = make_expert(args.task, env)
    obs, _ = env.reset(seed=args.seed)
    try:
        modality.check_observations({name: tuple(value.shape[1:]) for name, value in obs.items()})
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.modality.{error}") from None
    cameras = {key: (obs[group].shape[1], obs[group].shape[2]) for key, group in modality.video.items()}
    privileged, columns = privileged_columns(env, args.privileged)
    names = ("task", "episodes", "num_envs", "noise", "seed", "keep_failures", "privileged", "images", "device")
    settings = {name: getattr(args, name) for name in names} | {"overrides": overrides}
    robot = getattr(env_cfg, "robot_type", "robot")
    layout = Layout.of(modality, cameras, round(1 / env.step_dt, 6), args.images, privileged, robot)
    layout = dataclasses.replace(layout, simulator=simulator_of(env_cfg))
    writer = DatasetWriter(args.out, layout, settings)
    if writer.num_episodes:
        print(f"{args.out}: continuing after {writer.num_episodes} episodes")
    collect(args, Collector(env, expert, modality, args.noise, columns), writer)
