# SPDX-License-Identifier: BSD-3-Clause
"""Playing a policy in an env until all counted episodes have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .episode_recorder import EpisodeRecorder

POLL_EVERY = 8
"""Env steps between two looks at whether all episodes have ended: each makes a GPU wait."""


@torch.inference_mode()
def play_episodes(
    env: Any,
    policy: Any,
    make_recorder: Callable[[], EpisodeRecorder],
    on_step: Callable[[torch.Tensor], None] | None = None,
    on_poll: Callable[[int, EpisodeRecorder], bool] | None = None,
    poll_every: int = POLL_EVERY,
) -> tuple[EpisodeRecorder, int]:
    """Reset the env and play until every counted episode has ended.

    Actions are deterministic: the mean, or the ODE's chunk. Where a policy decides once per chunk, image terms learn by
    ``env.decision_due`` who will look, and pictures that nobody would see are not rendered. An env whose episodes have
    all been played rests, where the policy knows how: decisions of the others stay together in few batches.

    Args:
        env: The env as rsl_rl sees it (``RslRlVecEnvWrapper``).
        policy: An rsl_rl actor in evaluation mode on the env's device.
        make_recorder: Called after the reset.
        on_step: Called with dones [M] after the recorder has taken the step.
        on_poll: Called with the number of env steps and the recorder every ``poll_every`` steps; True ends the play
            early.
        poll_every: Env steps between two looks at whether all episodes have ended.

    Returns:
        The recorder and the number of env steps per env.
    """
    unwrapped = env.unwrapped
    obs = env.reset()[0]
    policy.reset()
    recorder = make_recorder()
    unwrapped.new_episodes_decide = not getattr(policy, "align_decisions", False)
    steps = 0
    while True:
        action = policy(obs)
        due = getattr(policy, "due", None)
        if due is not None:
            unwrapped.decision_due = due
        obs, rewards, dones, extras = env.step(action)
        policy.reset(dones)
        recorder.step(rewards, dones, extras.get("success"), extras.get("instruction"))
        if hasattr(policy, "rest"):
            policy.rest(recorder.finished)
        steps += 1
        if on_step is not None:
            on_step(dones)
        if steps % poll_every == 0:
            enough = on_poll is not None and on_poll(steps, recorder)
            if enough or int(recorder.ended) == recorder.num_episodes:
                return recorder, steps
