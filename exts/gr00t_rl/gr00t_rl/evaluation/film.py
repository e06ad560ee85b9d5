# SPDX-License-Identifier: BSD-3-Clause
"""Films of a few episodes: which camera, which episodes, and the files that a report shows."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..launch.film_camera import SENSOR, add_film_camera

NUM_ENVS = 12
"""Envs that are filmed."""
ROUNDS = 2
"""Episodes per env, at most."""
CLIPS = 3
"""Clips of each outcome, at most."""
SIZE = 160
"""Height and width of the pictures [px]."""
EVERY = 2
"""Env steps per picture."""
STRIP = 8
"""Pictures of a film strip."""


@dataclass(frozen=True)
class Clip:
    """One filmed episode."""

    title: str
    success: bool | None
    """Whether it succeeded; None if the env does not say."""
    frames: np.ndarray
    """uint8 [F, H, W, 3]."""


def film_cfg(env_cfg: Any, size: int = SIZE) -> str | None:
    """Add a camera for the film to an env cfg, and the goal's marker where the task has one.

    Args:
        env_cfg: Cfg of the env that will be filmed; changed in place.
        size: Height and width of the pictures [px].

    Returns:
        None, or why nothing can be filmed.
    """
    why_not = add_film_camera(env_cfg, size)
    if why_not is not None:
        return why_not
    scene = env_cfg.scene
    show_goal = getattr(env_cfg, "show_goal", None)
    if show_goal is not None and getattr(scene, "goal_marker", None) is None:
        show_goal()
    scene.num_envs = NUM_ENVS
    return None


class Film:
    """Takes a picture of every env every few steps and cuts out the episodes that are wanted.

    Args:
        env: The unwrapped env, at the start of its episodes, with a camera named :data:`SENSOR`.
        outcomes: The outcomes to wait for, those of the counted episodes: True, False, or None where it is not known.
    """

    def __init__(self, env: Any, outcomes: set[bool | None]) -> None:
        self._env, self._outcomes, self._steps = env, outcomes, 0
        self._frames: list[list[np.ndarray]] = [[] for _ in range(env.num_envs)]
        self._ended: list[list[Clip]] = [[] for _ in range(env.num_envs)]
        self._shoot(range(env.num_envs))

    def _shoot(self, envs: Any) -> None:
        pictures = self._env.scene[SENSOR].data.output["rgb"].torch[..., :3].cpu().numpy()
        for index in envs:
            self._frames[index].append(pictures[index].copy())

    def step(self, dones: torch.Tensor) -> None:
        """Take the pictures that are due after an env step; ``dones`` [M] says where an episode ended.

        The last picture of an episode is that of the last regular shot: the env is reset when this is called.
        """
        self._steps += 1
        ended = dones.nonzero().flatten().tolist()
        success = self._env.extras.get("success")
        for index in ended:
            self._end(index, None if success is None else bool(success[index]))
            self._frames[index] = []
        shot = range(len(self._frames)) if self._steps % EVERY == 0 else ended
        if shot:
            self._shoot(shot)

    def _end(self, index: int, success: bool | None) -> None:
        seconds = len(self._frames[index]) * EVERY * self._env.step_dt
        outcome = {True: "success after", False: "failure after", None: "episode of"}[success]
        self._ended[index].append(Clip(f"{outcome} {seconds:.1f} s", success, np.stack(self._frames[index])))

    def clips(self) -> list[Clip]:
        """Return the first clips of each outcome, by round and env, not by time: that would show the shortest."""
        rounds = min(len(clips) for clips in self._ended)
        in_order = [clips[i] for i in range(rounds) for clips in self._ended]
        return [
            clip for outcome in (True, False, None) for clip in [c for c in in_order if c.success is outcome][:CLIPS]
        ]

    def complete(self) -> bool:
        """Whether there are as many clips of each outcome as are wanted."""
        found = [clip.success for clip in self.clips()]
        return all(found.count(outcome) == CLIPS for outcome in self._outcomes)


def strip_png(clip: Clip) -> bytes:
    """Return a clip's first, last and evenly spaced pictures between them, side by side, as PNG."""
    last = len(clip.frames) - 1
    chosen = sorted({round(i * last / (STRIP - 1)) for i in range(STRIP)})
    return _encoded(Image.fromarray(np.concatenate([clip.frames[i] for i in chosen], axis=1)), "PNG")


def movie_webp(clip: Clip, step_dt: float) -> bytes:
    """Return a clip as an animated WebP in real time, which browsers show like a picture; the last one stays 1 s.

    Args:
        clip: The clip.
        step_dt: Seconds per env step.
    """
    first, *rest = [Image.fromarray(frame) for frame in clip.frames]
    duration = [round(1000 * EVERY * step_dt)] * len(rest) + [1000]
    return _encoded(first, "WEBP", save_all=True, append_images=rest, duration=duration, loop=0, quality=80, method=4)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
