# SPDX-License-Identifier: BSD-3-Clause
"""Steps of Isaac Lab's ``train`` and ``play`` that our runs do differently: checkpoint, film, export, processes.

Isaac Lab 3.0 looks for a folder's checkpoint under the folder's own name, loads ``model_*.pt`` alike for "best" and
"latest", and ends with a traceback where there is none; ``--video`` always wants Isaac Sim; ``play`` exports policies
of any size; several processes have to have a GPU each, and every one of them writes the run's settings. Its programs
offer no hook for any of it. So these functions are replaced in its two modules, for runners with our cfg, and nothing
else of them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..preflight import announce_training, check_foreign
from ..utils import process_group
from ..utils.errors import ConfigurationError, said_at_once
from ..utils.extras import how_to_get
from .checkpoints import NoRunYet, apply_checkpoint, count_down
from .film_camera import SENSOR, add_film_camera

VIDEO_SIZE = 320
"""Height and width of the pictures of ``--video`` [px]."""
VIDEO_INTERVAL = 2000
"""Env steps from the start of one clip to that of the next, as in Isaac Lab."""
MAX_EXPORTED = 10**9
"""Bytes of weights up to which ``play`` exports a policy: a trace holds a float32 copy or two beside it."""


def install(runner_type: type, agent: Callable[[], Any] = lambda: None) -> None:
    """Replace the functions in Isaac Lab's programs, as far as they are loaded; idempotent.

    Args:
        runner_type: Cfg class of the runners that are meant.
        agent: Returns the runner cfg of the run that is about to start.
    """
    process_group.install()
    for program in ("train", "play"):
        module: Any = sys.modules.get(f"isaaclab_rl.entrypoints.backends.{program}_rsl_rl")
        if module is not None and not hasattr(module._resolve_checkpoint, "__wrapped__"):
            module._resolve_checkpoint = _resolver(module._resolve_checkpoint, program, runner_type)
            module.pre_launch_video_config = _video_config(module.pre_launch_video_config)
            module.create_rsl_rl_runner = _runner_maker(module.create_rsl_rl_runner, program, runner_type)

            def is_ours() -> bool:
                return isinstance(agent(), runner_type)

            module.create_isaaclab_env = _env_maker(module.create_isaaclab_env, is_ours)
            if program == "play":
                module.launch_simulation = _launcher(module.launch_simulation, lambda args_cli: False)
            else:

                def on_cores(args_cli: Any) -> bool:
                    several = args_cli.distributed and (args_cli.device or "").startswith("cpu")
                    return several and is_ours()

                module.launch_simulation = _launcher(module.launch_simulation, on_cores)
                module.validate_distributed_device = _validator(module.validate_distributed_device, on_cores)
                module.dump_train_configs = _writer(module.dump_train_configs, runner_type)


def _resolver(stock: Any, program: str, runner_type: type) -> Any:
    """Return what finds the checkpoint of our runners by our rules, and that of others as before."""

    @functools.wraps(stock)
    def resolve(args_cli: Any, agent_cfg: Any, *others: Any) -> str | None:
        if not isinstance(agent_cfg, runner_type):
            return stock(args_cli, agent_cfg, *others)
        refuse_sweeps(sys.argv)
        if program == "train":
            announce_training(agent_cfg)
        try:
            path = find(args_cli, agent_cfg, *others)
        except NoRunYet:
            if program != "train" or agent_cfg.total_iterations is None or args_cli.checkpoint != "latest":
                raise
            path = None
        if program == "train":
            count_down(agent_cfg, path)
        return path

    def find(args_cli: Any, agent_cfg: Any, *others: Any) -> str | None:
        checkpoint = args_cli.checkpoint
        if checkpoint is None and program == "train":
            return None
        if checkpoint is None and (agent_cfg.load_run, agent_cfg.load_checkpoint) != (".*", "model_.*.pt"):
            try:
                return stock(args_cli, agent_cfg, *others)
            except ValueError as error:
                raise ConfigurationError(
                    f"agent.load_run and agent.load_checkpoint: {error} Set --checkpoint"
                ) from None
        return apply_checkpoint(checkpoint or "latest", program, agent_cfg, args_cli.task, args_cli.agent)

    return resolve


def refuse_sweeps(argv: Sequence[str]) -> None:
    """Refuse Hydra's sweeps: Isaac Lab sets env and agent itself, so that one run would begin with a list as a value.

    Raises:
        ConfigurationError: The command line asks for one.
    """
    if "--multirun" in argv:
        raise ConfigurationError(
            "--multirun: Isaac Lab starts one run, whatever Hydra would sweep; start a run for each value, such as "
            "`for seed in 1 2 3; do gr00t-rl train ... --seed $seed; done`"
        )


def _env_maker(stock: Any, is_ours: Callable[[], bool]) -> Any:
    """Return what makes the env: all settings are known by then, and a cfg that does not check itself is checked."""

    @functools.wraps(stock)
    def make(task: str, env_cfg: Any, *others: Any, **named: Any) -> Any:
        if is_ours():
            check_foreign(env_cfg)
        return stock(task, env_cfg, *others, **named)

    return make


def _launcher(stock: Any, on_cores: Callable[[Any], bool]) -> Any:
    """Return what starts the simulation, of several processes on CPU cores too: stock would give each a GPU.

    Errors of ours are said inside it, before Isaac Sim ends the process.
    """

    @functools.wraps(stock)
    @contextlib.contextmanager
    def launch(env_cfg: Any, args_cli: Any) -> Iterator[Any]:
        several = on_cores(args_cli)
        if several:
            env_cfg.sim.device, args_cli.distributed = args_cli.device, False
        with stock(env_cfg, args_cli) as physics_cfg, said_at_once():
            if several:
                args_cli.distributed = True
            yield physics_cfg

    return launch


def _validator(stock: Any, on_cores: Callable[[Any], bool]) -> Any:
    """Return what refuses several processes on the CPU, except for our runners."""

    @functools.wraps(stock)
    def validate(args_cli: Any) -> None:
        if not on_cores(args_cli):
            stock(args_cli)

    return validate


def _writer(stock: Any, runner_type: type) -> Any:
    """Return what writes the run's settings, once for all processes."""

    @functools.wraps(stock)
    def write(folder: str, env_cfg: Any, agent_cfg: Any) -> None:
        if process_group.rank() == 0 or not isinstance(agent_cfg, runner_type):
            stock(folder, env_cfg, agent_cfg)

    return write


def _runner_maker(stock: Any, program: str, runner_type: type) -> Any:
    """Return what makes a runner: of ours, one on the device of its env, and one that exports no large policies.

    Isaac Lab gives ``--device`` to the env alone: on a machine with a GPU, ``--device cpu`` would put the policy on it.
    """

    @functools.wraps(stock)
    def make(env: Any, agent_cfg: Any, *others: Any, **named: Any) -> Any:
        ours = isinstance(agent_cfg, runner_type)
        if ours:
            agent_cfg.device = str(env.unwrapped.device)
        runner = stock(env, agent_cfg, *others, **named)
        if ours and program == "play":
            without_large_exports(runner)
        return runner

    return make


def without_large_exports(runner: Any) -> None:
    """Let a runner export nothing, with one line, if its policy has more than ``MAX_EXPORTED`` bytes of weights."""
    weights = sum(parameter.nbytes for parameter in runner.alg.get_policy().parameters())
    if weights <= MAX_EXPORTED:
        return

    def say(path: str, *_: Any, **__: Any) -> None:
        print(
            f"[gr00t_rl] no TorchScript and no ONNX in {path}: the policy has {weights / 1e9:.1f} GB of weights; "
            "gr00t-rl export writes it as a checkpoint",
            flush=True,
        )

    runner.export_policy_to_jit = say
    runner.export_policy_to_onnx = lambda *_, **__: None


def _video_config(stock: Any) -> Any:
    """Return what prepares ``--video``: a camera in the scene where Isaac Sim is not there, or not wanted, to film.

    Stock would start it for the film alone, and with it another engine than the one that the run was trained in.
    """

    @functools.wraps(stock)
    def prepare(env_cfg: Any, args_cli: Any) -> None:
        chosen = getattr(env_cfg, "video_recorders", None) or getattr(args_cli, "visualizer", None)
        if args_cli.video and not chosen and not _runs_isaac_sim(env_cfg, args_cli):
            film_without_isaac_sim(env_cfg)
        stock(env_cfg, args_cli)

    return prepare


def _runs_isaac_sim(env_cfg: Any, args_cli: Any) -> bool:
    """Whether a run needs Isaac Sim for anything but a film, and has it."""
    if importlib.util.find_spec("isaacsim") is None:
        return False
    from isaaclab.app.sim_launcher import validate_launch

    return bool(validate_launch(env_cfg, args_cli)[1])


def film_without_isaac_sim(env_cfg: Any) -> None:
    """Let a camera of the scene record what ``--video`` asks for, rendered as the task's own cameras are.

    Args:
        env_cfg: The env's cfg; changed in place.

    Raises:
        ConfigurationError: Nothing can be filmed.
    """
    from isaaclab.envs.utils.video_recorder_cfg import VideoRecorderCfg

    if importlib.util.find_spec("moviepy") is None:
        raise ConfigurationError(
            f"--video writes its film with moviepy, which is not installed; {how_to_get('video')}, or film with "
            "gr00t-rl evaluate --video, which does not need it"
        )
    why_not = add_film_camera(env_cfg, VIDEO_SIZE)
    if why_not is not None:
        raise ConfigurationError(
            f"--video films by a camera of the scene without Isaac Sim, and {why_not}; add a CameraCfg to env.scene"
        )
    env_cfg.video_recorders = [VideoRecorderCfg(source=f"sensor:{SENSOR}", video_interval=VIDEO_INTERVAL)]
