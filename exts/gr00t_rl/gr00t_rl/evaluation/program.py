# SPDX-License-Identifier: BSD-3-Clause
"""What `gr00t-rl evaluate` runs: env and policy as Isaac Lab's ``play`` builds them, result and report."""

from __future__ import annotations

import argparse
import contextlib
import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..launch.agent_cfg import for_installed_rsl_rl
from ..launch.checkpoints import BASE, apply_checkpoint
from ..preflight import check_foreign
from ..utils.episode_recorder import EpisodeRecorder, Episodes
from ..utils.errors import ConfigurationError, said_at_once
from ..utils.instructions import instruction_labels
from ..utils.play import play_episodes
from .regions import start_points_of
from .result import RESULT_FILE, as_text, summarise, write_result
from .runs import Comparison, Entry, load_entries


def run_compare(args: argparse.Namespace) -> int:
    """Write a report that compares earlier results and runs; nothing is simulated. Returns the exit status."""
    if args.report in (None, "none"):
        raise ConfigurationError("--compare without --task writes a report only; set --report FOLDER")
    from .report import comparison_html, write_report

    comparison = Comparison([entry for path in args.compare for entry in load_entries(path)])
    print(f"report: {write_report(Path(args.report), 'Comparison', [comparison_html(comparison)])}")
    return 0


@dataclass
class _Evaluation:
    """What one evaluation found."""

    episodes: Episodes
    result: dict[str, Any]
    step_dt: float


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Evaluate one policy; returns the exit status.

    Args:
        args: Options of ``gr00t-rl evaluate`` and of Isaac Lab's launcher.
        overrides: Hydra overrides of env and agent.
    """
    from isaaclab.app import launch_simulation
    from isaaclab_rl.entrypoints.common import apply_env_overrides, show_run_summary, startup_screen
    from isaaclab_tasks.utils import resolve_task_config

    comparison = Comparison([entry for path in args.compare for entry in load_entries(path)])

    env_cfg, resolved = _configs(resolve_task_config(args.task, args.agent, overrides=overrides))
    agent_cfg: Any = for_installed_rsl_rl(resolved)
    checkpoint = apply_checkpoint(args.checkpoint, "evaluate", agent_cfg, args.task, args.agent)
    if checkpoint is None and args.checkpoint != BASE:
        checkpoint = agent_cfg.actor.checkpoint  # nothing is loaded over it, but result and report name it
    args.num_envs = min(args.num_envs or env_cfg.scene.num_envs, args.num_episodes)
    apply_env_overrides(args, env_cfg)
    env_cfg.seed = agent_cfg.seed = args.seed
    if args.device is not None:
        agent_cfg.device = args.device
    # the full task from independent starts, whatever the training did
    env_cfg.curriculum = None
    env_cfg.start_group_size = 1
    folder = None if args.report == "none" else _report_folder(args, checkpoint, agent_cfg)
    wants_film = folder is not None and (args.video or _has_camera(env_cfg))
    args.enable_cameras = getattr(args, "enable_cameras", False) or wants_film

    with startup_screen(args, num_stages=2) as screen, launch_simulation(env_cfg, args), said_at_once():
        show_run_summary(screen, args, env_cfg, library="rsl_rl", action="evaluate")
        filmed, why_not = _film_cfg(env_cfg) if wants_film else (None, "--video films tasks without a camera")
        check_foreign(env_cfg)
        screen.stage("Creating environment")
        with _made(args.task, env_cfg, agent_cfg) as env:
            screen.stage("Loading policy")
            policy, noise = _load_policy(env, agent_cfg, checkpoint)
            screen.close()
            found = _evaluate(env, policy, args)
        about = {"task": args.task, "agent": args.agent, "checkpoint": checkpoint or "base", "overrides": overrides}
        found.result |= about | {"seed": args.seed, "num_envs": args.num_envs, "init_noise_scale": noise}
        try:
            for path in [args.json, folder and folder / RESULT_FILE]:
                if path is not None:
                    write_result(path, found.result)
            if folder is not None:
                clips = _film(args, filmed, agent_cfg, policy, found.episodes) if filmed is not None else []
                _report(args, folder, found, clips, comparison)
        finally:
            # last, below all that Isaac Lab prints; the figures of an hour, even where no file can be written
            print(f"\n{as_text(found.result)}", flush=True)
        if folder is not None:
            print(f"report: {folder / 'report.html'}{f' (no film: {why_not})' if why_not else ''}")
    return 0


def _report_folder(args: argparse.Namespace, checkpoint: str | None, agent_cfg: Any) -> Path:
    """Return the folder of the report: what was asked for, or one that names what makes the result what it is."""
    if args.report:
        return Path(args.report)
    noise = getattr(agent_cfg.actor, "init_noise_scale", None)
    suffix = f"{'' if noise is None else f'_noise{noise:g}'}_seed{args.seed}"
    path = Path(checkpoint) if checkpoint else None
    if path is not None and path.is_file():
        return path.parent / "evaluation" / f"{path.stem}{suffix}"
    return Path("logs") / "evaluation" / args.task / f"{path.name if path else 'base'}{suffix}"


def _configs(resolved: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return Isaac Lab's pair of cfgs, whose declared type says nothing about them."""
    return resolved


def _has_camera(env_cfg: Any) -> bool:
    from isaaclab.sensors import CameraCfg

    return any(isinstance(value, CameraCfg) for value in vars(env_cfg.scene).values())


def _film_cfg(env_cfg: Any) -> tuple[Any, str | None]:
    """Return the cfg of the env to film, or None and why it cannot be filmed."""
    from .film import film_cfg

    filmed = copy.deepcopy(env_cfg)  # its own copy() would build it anew and lose what was resolved
    why_not = film_cfg(filmed)
    return (filmed, None) if why_not is None else (None, why_not)


@contextlib.contextmanager
def _made(task: str, env_cfg: Any, agent_cfg: Any):
    """The env as rsl_rl sees it; closed at the end, so that another one can be made."""
    import gymnasium as gym
    from isaaclab_rl.entrypoints.common import close_env
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper

    env = gym.make(task, cfg=env_cfg)
    try:
        yield RslRlVecEnvWrapper(env, clip_actions=agent_cfg.clip_actions)  # type: ignore[arg-type]
    finally:
        close_env(env)


def _load_policy(env: Any, agent_cfg: Any, checkpoint: str | None) -> tuple[Any, float | None]:
    """Return the actor in evaluation mode, normalisers frozen, and the scale of its initial noise where it has one."""
    from isaaclab_rl.rsl_rl import create_rsl_rl_runner

    runner = create_rsl_rl_runner(env, agent_cfg)
    if checkpoint is not None and Path(checkpoint).is_file():
        runner.load(checkpoint, load_cfg={"actor": True})
    policy = runner.get_inference_policy(device=env.unwrapped.device)
    return policy, getattr(policy, "init_noise_scale", None)


def _evaluate(env: Any, policy: Any, args: argparse.Namespace) -> _Evaluation:
    """Play the counted episodes, with a progress bar whose end is the latest possible one."""
    from tqdm import tqdm

    unwrapped = env.unwrapped
    # here and not only when the env was made: whatever the policy's construction drew, the starts are the same
    env.seed(args.seed)
    rounds = -(-args.num_episodes // args.num_envs)
    with tqdm(total=rounds * int(env.max_episode_length), desc="env steps, at most", disable=None) as bar:

        def show(steps: int, recorder: EpisodeRecorder) -> bool:
            bar.set_postfix_str(f"{int(recorder.ended)} of {args.num_episodes} episodes", refresh=False)
            bar.update(steps - bar.n)
            return False

        def recorder() -> EpisodeRecorder:
            points = start_points_of(unwrapped)
            return EpisodeRecorder(args.num_envs, args.num_episodes, unwrapped.device, points)

        began = time.perf_counter()
        played, steps = play_episodes(env, policy, recorder, on_poll=show)
        wall = time.perf_counter() - began
    episodes = played.episodes()
    result = summarise(episodes, unwrapped.step_dt, instruction_labels(unwrapped.cfg))
    result["timing"] = {"wall_s": wall, "env_steps_per_s": steps * args.num_envs / wall}
    return _Evaluation(episodes, result, unwrapped.step_dt)


def _film(args: argparse.Namespace, filmed_cfg: Any, agent_cfg: Any, policy: Any, counted: Episodes) -> list[Any]:
    """Play a few envs again with a camera and return the clips; few, because every env would be rendered."""
    from .film import NUM_ENVS, ROUNDS, Film

    outcomes: set[bool | None] = {None} if counted.success is None else {bool(success) for success in counted.success}
    with _made(args.task, filmed_cfg, agent_cfg) as env:
        env.seed(args.seed)
        films: list[Film] = []

        def recorder() -> EpisodeRecorder:
            films.append(Film(env.unwrapped, outcomes))
            return EpisodeRecorder(NUM_ENVS, NUM_ENVS * ROUNDS, env.unwrapped.device)

        play_episodes(
            env, policy, recorder, on_step=lambda dones: films[0].step(dones), on_poll=lambda *_: films[0].complete()
        )
    return films[0].clips()


def _report(
    args: argparse.Namespace, folder: Path, found: _Evaluation, clips: list[Any], comparison: Comparison
) -> None:
    """Write the report of one evaluation, and its comparison with others if asked for."""
    from .report import comparison_html, evaluation_html, write_report

    parts = [evaluation_html(found.result, found.episodes, found.step_dt, clips)]
    if comparison.entries:
        this = Entry("this evaluation", found.result)
        parts.append(comparison_html(Comparison([this, *comparison.entries])))
    write_report(folder, f"{args.task}: evaluation", parts)
