# SPDX-License-Identifier: BSD-3-Clause
"""Render film strips of a task while its scripted expert plays it: the pictures of the README.

    python source/standalone/tools/render_tasks.py --task Gr00t-Push-Cube-Franka-Camera --out docs/images/push.png

Upper rows: the front camera at ``--size`` pixels in a few envs; last two rows: what a 64 x 64 policy sees of the first
env, with the front and with the wrist camera. A row stays at its last picture when the episode has ended. Where each
env has an instruction of its own, its row says it.
"""

from __future__ import annotations

import argparse
import os
import sys

import gymnasium as gym
import matplotlib
import torch
from isaaclab.app import launch_simulation
from isaaclab_tasks.utils.hydra import resolve_task_config

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.tasks.experts import ENTRY_POINT, make_expert

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CAMERAS = ("front", "wrist")


def film(
    task: str, num_envs: int, frames: int, every: int, size: int, seed: int
) -> tuple[torch.Tensor, list[str | None]]:
    """Play the expert; return both cameras' pictures, uint8 [frames, 2, num_envs, size, size, 3], and instructions."""
    cfg, _ = resolve_task_config(task, None, overrides=[f"env.scene.num_envs={num_envs}", f"env.camera_size={size}"])
    cfg.sim.device, cfg.seed = "cpu", seed  # type: ignore[attr-defined]
    with launch_simulation(cfg, argparse.Namespace(device="cpu", headless=True)):
        env = gym.make(task, cfg=cfg).unwrapped
        obs, _ = env.reset()
        expert = make_expert(task, env)  # type: ignore[arg-type]

        def look() -> torch.Tensor:
            return torch.stack([obs[camera] for camera in CAMERAS])

        texts: list[str | None] = [None] * num_envs
        if "instruction" in obs:
            texts = [env.cfg.instructions[number] for number in obs["instruction"].flatten().tolist()]  # type: ignore
        pictures, ended = [look()], torch.zeros(num_envs, dtype=torch.bool)
        for _ in range(frames - 1):
            for _ in range(every):
                obs, _, terminated, timed_out, _ = env.step(expert())
                expert.reset(terminated | timed_out)  # type: ignore[operator]
                ended |= terminated | timed_out  # type: ignore[operator]
            pictures.append(torch.where(ended[:, None, None, None], pictures[-1], look()))
    return torch.stack(pictures), texts


def as_seen(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [F, H, W, 3] as a policy gets them, uint8 [F, 64, 64, 3]."""
    small = torch.nn.functional.interpolate(
        pictures.permute(0, 3, 1, 2).float(), (64, 64), mode="bicubic", antialias=True
    )
    return small.clamp(0, 255).byte().permute(0, 2, 3, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--task",
        default="Gr00t-Push-Cube-Franka-Camera",
        choices=[name for name, spec in gym.registry.items() if ENTRY_POINT in spec.kwargs and "-Camera" in name],
    )
    parser.add_argument("--out", required=True, help="PNG to write")
    parser.add_argument("--num_envs", type=int, default=2)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--every", type=int, default=9, help="env steps between pictures")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    pictures, texts = film(args.task, args.num_envs, args.frames, args.every, args.size, args.seed)
    front, wrist = pictures.unbind(1)
    rows = [*front.unbind(1), as_seen(front[:, 0]), as_seen(wrist[:, 0])]
    figure, axes = plt.subplots(len(rows), args.frames, figsize=(1.7 * args.frames, 1.7 * len(rows)))
    for row, strip in zip(axes, rows, strict=True):
        for axis, picture in zip(row, strip, strict=True):
            axis.imshow(picture.numpy(), interpolation="nearest")
            axis.axis("off")
    figure.subplots_adjust(0, 0, 1, 1, 0.02, 0.02)
    for row, text in zip(axes, texts, strict=False):  # those of the front camera
        place = row[0].get_position()
        figure.text(place.x0 + 0.005, place.y1 - 0.005, text or "", va="top", fontsize=10)
    figure.savefig(args.out, dpi=100)
    print(f"wrote {args.out}")
    sys.stdout.flush()
    os._exit(0)  # an orderly shutdown of the simulation takes longer than the film


if __name__ == "__main__":
    main()
