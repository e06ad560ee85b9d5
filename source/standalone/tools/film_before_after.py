# SPDX-License-Identifier: BSD-3-Clause
"""Film policies before and after RL from the same starts: the moving picture of the README.

    python source/standalone/tools/film_before_after.py --out docs/images/before_after.webp \
        --task Gr00t-Push-Cube-Franka --checkpoint logs/rsl_rl/gr00t_push_cube_franka/RUN/model_79.pt \
        --task Gr00t-Stack-Cube-Franka --checkpoint logs/rsl_rl/gr00t_stack_cube_franka/RUN/model_79.pt

A row per task: on the left its base policy, on the right the run's. The starts are the first ones of the seed, none is
chosen. Every env plays one episode, without exploration noise; a success is framed green, another end red, and the
picture stays as it was then.
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from gr00t_rl.evaluation.film import EVERY

GREEN, RED, WHITE = (46, 160, 67), (207, 34, 46), (255, 255, 255)
FRAME, GAP, TITLE = 3, 12, 22
"""Width of a frame, between the halves, and height of a title [px]."""
Pictures = np.ndarray
"""uint8 [F, H, W, 3]"""


class Shots:
    """Pictures of the first episode of every env.

    Args:
        look: Returns the envs' pictures, uint8 [N, H, W, 3].
        success: Returns whether an episode that has just ended succeeded, bool [N].
    """

    def __init__(self, look: Callable[[], Pictures], success: Callable[[], torch.Tensor]):
        self._look, self._success, self._steps = look, success, 0
        first = look()
        self.frames, self.outcomes = [first], [np.full(len(first), -1)]

    def step(self, dones: torch.Tensor) -> None:
        """After an env step; ``dones`` [N] says where an episode ended, which has been reset since."""
        self._steps += 1
        outcome = self.outcomes[-1].copy()
        ended = dones.bool().cpu().numpy() & (outcome < 0)
        outcome[ended] = self._success().cpu().numpy()[ended]
        if self._steps % EVERY == 0:
            self.frames.append(np.where((outcome < 0)[:, None, None, None], self._look(), self.frames[-1]))
            self.outcomes.append(outcome)
        else:
            self.outcomes[-1] = outcome


def framed(pictures: Pictures, outcomes: np.ndarray, columns: int) -> Image.Image:
    """A grid of the envs' pictures [N, H, W, 3], framed by how their episodes ended [N]: -1 not yet, 0 or 1."""
    count, height, width = pictures.shape[:3]
    step_x, step_y = width + 2 * FRAME, height + 2 * FRAME
    grid = Image.new("RGB", (columns * step_x, -(-count // columns) * step_y), WHITE)
    for number, (picture, outcome) in enumerate(zip(pictures, outcomes, strict=True)):
        x, y = number % columns * step_x, number // columns * step_y
        if outcome >= 0:
            grid.paste((RED, GREEN)[outcome], (x, y, x + step_x, y + step_y))
        grid.paste(Image.fromarray(picture), (x + FRAME, y + FRAME))
    return grid


def halves(titles: tuple[str, str], films: tuple[Any, Any], columns: int) -> list[Image.Image]:
    """One row of the film: before and after side by side, with the count of successes so far."""
    rows, font = [], ImageFont.load_default(15)
    for number in range(max(len(film["frames"]) for film in films)):
        parts = []
        for title, film in zip(titles, films, strict=True):
            at = min(number, len(film["frames"]) - 1)
            outcomes = film["outcomes"][at]
            grid = framed(film["frames"][at], outcomes, columns)
            part = Image.new("RGB", (grid.width, grid.height + TITLE), WHITE)
            part.paste(grid, (0, TITLE))
            text = f"{title}: {int((outcomes == 1).sum())} of {len(outcomes)}"
            ImageDraw.Draw(part).text((FRAME, 2), text, fill=(31, 35, 40), font=font)
            parts.append(part)
        row = Image.new("RGB", (sum(part.width for part in parts) + GAP, parts[0].height), WHITE)
        row.paste(parts[0], (0, 0))
        row.paste(parts[1], (parts[0].width + GAP, 0))
        rows.append(row)
    return rows


def stacked(rows: list[list[Image.Image]]) -> list[Image.Image]:
    """The rows of all tasks, one below the other; a row that is over stays as it is."""
    pictures = []
    for number in range(max(len(row) for row in rows)):
        parts = [row[min(number, len(row) - 1)] for row in rows]
        picture = Image.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), WHITE)
        for index, part in enumerate(parts):
            picture.paste(part, (0, sum(p.height for p in parts[:index])))
        pictures.append(picture)
    return pictures


def film(task: str, checkpoint: str, num_envs: int, size: int, seed: int, out: Path) -> None:
    """Play base and trained policy from the same starts; ``out`` gets the pictures and how the episodes ended."""
    import gymnasium as gym
    from isaaclab.app import launch_simulation
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper, create_rsl_rl_runner
    from isaaclab_tasks.utils import resolve_task_config

    import gr00t_rl.tasks  # noqa: F401
    from gr00t_rl.evaluation.film import film_cfg
    from gr00t_rl.launch.agent_cfg import for_installed_rsl_rl
    from gr00t_rl.launch.film_camera import SENSOR
    from gr00t_rl.utils.episode_recorder import EpisodeRecorder
    from gr00t_rl.utils.play import play_episodes

    resolved: tuple[Any, Any] = resolve_task_config(task, "rsl_rl_cfg_entry_point", overrides=[])
    env_cfg, agent_cfg = copy.deepcopy(resolved[0]), for_installed_rsl_rl(resolved[1])
    if (why_not := film_cfg(env_cfg, size)) is not None:
        raise SystemExit(f"error: {task} cannot be filmed: {why_not}")
    env_cfg.scene.num_envs, env_cfg.sim.device = num_envs, "cpu"
    env_cfg.seed = agent_cfg.seed = seed
    env_cfg.curriculum, env_cfg.start_group_size, agent_cfg.device = None, 1, "cpu"
    launcher = argparse.Namespace(device="cpu", headless=True, enable_cameras=True)
    with launch_simulation(env_cfg, launcher):
        made: Any = gym.make(task, cfg=env_cfg)
        env: Any = RslRlVecEnvWrapper(made, clip_actions=agent_cfg.clip_actions)
        runner = create_rsl_rl_runner(env, agent_cfg)
        films: dict[str, np.ndarray] = {}
        for name in ("before", "after"):
            if name == "after":
                runner.load(checkpoint, load_cfg={"actor": True})
            env.seed(seed)
            shots: list[Shots] = []

            def recorder(shots: list[Shots] = shots) -> EpisodeRecorder:
                scene, extras = env.unwrapped.scene, env.unwrapped.extras

                def look() -> Pictures:  # .data renders: asked for anew every time
                    return scene[SENSOR].data.output["rgb"].torch[..., :3].cpu().numpy().copy()

                shots.append(Shots(look, lambda: extras["success"]))
                return EpisodeRecorder(num_envs, num_envs, "cpu")

            policy = runner.get_inference_policy(device="cpu")
            play_episodes(env, policy, recorder, on_step=lambda dones, shots=shots: shots[0].step(dones))
            films |= {f"{name}_frames": np.stack(shots[0].frames), f"{name}_outcomes": np.stack(shots[0].outcomes)}
        np.savez(out, **films)  # type: ignore[arg-type]
    sys.stdout.flush()
    os._exit(0)  # an orderly shutdown of the simulation takes longer than the film


def row_of(task: str, checkpoint: str, args: argparse.Namespace, folder: Path) -> list[Image.Image]:
    """One task's row, filmed in a process of its own: there is one simulation per process."""
    file = folder / f"{task}.npz"
    command = [sys.executable, __file__, "--task", task, "--checkpoint", checkpoint, "--out", str(file)]
    command += ["--num_envs", str(args.num_envs), "--size", str(args.size), "--seed", str(args.seed)]
    subprocess.run(command, check=True)
    with np.load(file) as found:
        films = [{part: found[f"{name}_{part}"] for part in ("frames", "outcomes")} for name in ("before", "after")]
    short = task.removeprefix("Gr00t-").removesuffix("-Camera").removesuffix("-Franka").removesuffix("-Cube")
    return halves((f"{short}, before RL", "after RL"), (films[0], films[1]), args.columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", required=True, help="may be given several times, a row each")
    parser.add_argument("--checkpoint", action="append", required=True, help="model_N.pt of a run, one per --task")
    parser.add_argument("--out", type=Path, required=True, help="WebP to write (.npz: the pictures of one task)")
    parser.add_argument("--num_envs", type=int, default=8, help="episodes of each policy")
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--size", type=int, default=112, help="pixels")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if len(args.task) != len(args.checkpoint):
        raise SystemExit(f"error: {len(args.task)} --task and {len(args.checkpoint)} --checkpoint; give one for each")
    if args.out.suffix == ".npz":
        return film(args.task[0], args.checkpoint[0], args.num_envs, args.size, args.seed, args.out)
    with tempfile.TemporaryDirectory() as name:
        rows = [row_of(task, file, args, Path(name)) for task, file in zip(args.task, args.checkpoint, strict=True)]
    first, *rest = stacked(rows)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"duration": [1000 * EVERY // 20] * len(rest) + [3000], "loop": 0}
    first.save(args.out, "WEBP", save_all=True, append_images=rest, quality=55, method=6, **options)
    print(f"wrote {args.out}: {len(rest) + 1} pictures, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
