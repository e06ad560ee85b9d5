# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of rsl_rl's runner that are written whole or not at all, and refused in one line when broken.

rsl_rl's ``OnPolicyRunner`` writes straight to the final name: a run killed in the middle leaves a truncated
``model_N.pt``, which "latest" would then pick. A resumed run repeats the number of the last iteration. Isaac Lab
accepts no other runner class, so its two file methods and the first line of ``learn`` are wrapped here, for runners
whose algorithm is ours, and nothing else of it.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rsl_rl.runners import OnPolicyRunner

from .errors import ConfigurationError, NotWritten, first_line
from .finite import find_nonfinite
from .foreign_files import check_regular, is_count
from .kept_checkpoints import KeptCheckpoints, take_best_along
from .process_group import quiet_loss, refuse_different_starts
from .simulators import differences
from .stop import Stopped, StopRequest
from .whole_files import PARTIAL, remove_leftovers, whole_file


def install(algorithm_type: type) -> None:
    """Wrap ``OnPolicyRunner``'s methods for runners whose algorithm is an ``algorithm_type``; idempotent."""
    if hasattr(OnPolicyRunner.save, "__wrapped__"):
        return
    stock_save, stock_load, stock_learn = OnPolicyRunner.save, OnPolicyRunner.load, OnPolicyRunner.learn

    @functools.wraps(stock_save)
    def save(self: OnPolicyRunner, path: str, infos: dict | None = None) -> None:
        if not isinstance(self.alg, algorithm_type):
            return stock_save(self, path, infos)
        state = self.alg.save()
        state["iter"], state["infos"] = self.current_learning_iteration, infos
        bad = find_nonfinite(state)
        if bad is not None:  # sums and moments never become finite again: going on would be in vain
            raise ConfigurationError(
                f"the training state is not finite ({bad}), so {path} was not written; "
                f"{advise(self.alg.newest_checkpoint)}"  # type: ignore[attr-defined]
            )
        try:
            save_whole(state, path)
        except NotWritten as error:
            newest: str | None = self.alg.newest_checkpoint  # type: ignore[attr-defined]
            raise NotWritten(f"{str(error).removeprefix('[gr00t_rl] ')}; {advise(newest)}") from None
        self.alg.newest_checkpoint = path  # type: ignore[attr-defined]
        self.logger.save_model(path, self.current_learning_iteration)
        if not hasattr(self, "kept_checkpoints"):
            self.kept_checkpoints = KeptCheckpoints(self.cfg.get("keep_checkpoints"))  # type: ignore[attr-defined]
        self.kept_checkpoints.add(Path(path), self.alg.evaluator.is_best)  # type: ignore[attr-defined]

    @functools.wraps(stock_load)
    def load(
        self: OnPolicyRunner,
        path: str,
        load_cfg: dict | None = None,
        strict: bool = True,
        map_location: str | None = None,
    ) -> dict:
        if not isinstance(self.alg, algorithm_type):
            return stock_load(self, path, load_cfg, strict, map_location)
        # mapped into memory, not read into it: what is loaded is copied to its place, wherever that is
        content = check_readable(path)
        if self.alg.load(content, load_cfg, strict):
            self.current_learning_iteration = content["iter"]
            _take_best_along(self, Path(path))
        self.alg.newest_checkpoint = path  # type: ignore[attr-defined]
        return content.get("infos")  # type: ignore[return-value]

    @functools.wraps(stock_learn)
    def learn(self: OnPolicyRunner, num_learning_iterations: int, *args: Any, **kwargs: Any) -> None:
        if not isinstance(self.alg, algorithm_type):
            return stock_learn(self, num_learning_iterations, *args, **kwargs)
        # the runner's number is that of the last iteration that was done; stock would do it twice
        self.current_learning_iteration = self.alg.iteration  # type: ignore[attr-defined]
        with StopRequest() as self.alg.stop, _evaluating(self, num_learning_iterations):  # type: ignore[attr-defined]
            try:
                with quiet_loss():
                    start = _start(self.alg, num_learning_iterations)
                    refuse_different_starts(start, self.device, self.alg.gpu_world_size)
                    stock_learn(self, num_learning_iterations, *args, **kwargs)
            except Stopped as stopped:
                _close_log(self, stopped.message)
                raise
            except torch.OutOfMemoryError as error:
                raise ConfigurationError(_out_of_memory(self.alg, error)) from error
            finally:
                self.alg.stop = None  # type: ignore[attr-defined]

    for method in (save, load, learn):
        setattr(OnPolicyRunner, method.__name__, method)


def _start(algorithm: Any, iterations: int) -> dict[str, float]:
    """Return what ranks must have in common before they learn, besides the weights, which rank 0 sends."""
    optimizer = algorithm.optimizer
    steps = (float(state.get("step", 0)) for state in optimizer.state.values())
    return {
        "iterations done": algorithm.iteration,
        "iterations to do": iterations,
        "optimiser steps": sum(steps),  # over all parameters
        "sum of the learning rates": sum(float(group["lr"]) for group in optimizer.param_groups),
    }


def _out_of_memory(algorithm: Any, error: torch.OutOfMemoryError) -> str:
    """Say what needs less memory, and which file to go on from."""
    size = getattr(algorithm, "micro_batch_size", None)
    smaller = f"={max(size // 2, 1)}" if size else " to a part of the minibatch"
    return (
        f"the device's memory ran out in iteration {algorithm.iteration} ({first_line(error, 120)}); set "
        f"agent.algorithm.micro_batch_size{smaller}, agent.actor.gradient_checkpointing=True, "
        "agent.actor.feature_cache=host or fewer --num_envs (`gr00t-rl estimate` shows what each saves), and "
        f"{advise(algorithm.newest_checkpoint)}"
    )


def _close_log(runner: OnPolicyRunner, message: str) -> None:
    """Bring the log of a run that was asked to stop to its end, on the rank that writes it."""
    newest: str | None = runner.alg.newest_checkpoint  # type: ignore[attr-defined]
    if runner.logger.writer is not None:
        if newest is not None:
            runner.logger.save_model(newest, runner.alg.iteration)  # type: ignore[attr-defined]
        runner.logger.stop_logging_writer()
    if not runner.is_distributed or runner.gpu_global_rank == 0:
        print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _evaluating(runner: Any, iterations: int) -> Iterator[None]:
    """Let the algorithm evaluate its policy while the runner trains, and write the checkpoints that were evaluated."""
    evaluator, logger = runner.alg.evaluator, runner.logger
    if evaluator.interval is None:
        yield
        return
    stock_log = logger.log

    def log(*args: Any, **kwargs: Any) -> None:
        """Log an iteration; the runner saves next, if its own interval says so or the iteration is the last."""
        stock_log(*args, **kwargs)
        iteration = runner.current_learning_iteration
        saves = iteration % runner.cfg["save_interval"] == 0 or iteration == evaluator.last
        if evaluator.made_now and logger.writer is not None and not saves:
            runner.save(str(Path(logger.log_dir) / f"model_{iteration}.pt"))

    def broken_off() -> None:
        for name in ("cur_reward_sum", "cur_episode_length", "cur_ereward_sum", "cur_ireward_sum"):
            if hasattr(logger, name):
                getattr(logger, name).zero_()

    logger.log = log
    try:
        with evaluator.training(iterations, broken_off):
            yield
    finally:
        del logger.log


def _take_best_along(runner: Any, source: Path) -> None:
    """Let the folder of a resumed run begin with the best of the run that it goes on from, if that is still there."""
    evaluator, folder = runner.alg.evaluator, runner.logger.log_dir
    if evaluator.interval is None or evaluator.best is None or folder is None or runner.logger.disable_logs:
        return
    if others := differences(evaluator.best.conditions, evaluator.conditions()):
        print(f"[gr00t_rl] the best of {source.parent} is not that of this run: {'; '.join(others)}", flush=True)
        evaluator.best = None
        return
    found = take_best_along(source, evaluator.best.iteration, Path(folder))
    if found is None:
        evaluator.best = None
    else:
        print(f"[gr00t_rl] {found} (iteration {evaluator.best.iteration}) is the best of the run so far", flush=True)


def advise(newest: str | None) -> str:
    """Return which file to go on from after a stop, as the end of a sentence.

    Args:
        newest: The newest checkpoint that was checked to be finite, None if there is none.
    """
    if newest is None:
        return "start anew: this run has no finite checkpoint"
    return f"resume from {newest}, the newest that was checked to be finite"


def save_whole(state: dict[str, Any], path: str) -> None:
    """Write ``state`` with torch.save, whole or not at all, and remove what killed runs beside this one left behind.

    Isaac Lab gives every run a folder of its own beside the others of its experiment. The half-written checkpoint of a
    killed run is found there by the next one, in its first iteration.
    """
    with whole_file(Path(path)) as file:
        torch.save(state, file)
    for left in remove_leftovers(Path(path).absolute().parent.parent, f"*/.*.pt{PARTIAL}"):
        print(f"[gr00t_rl] removed {left}, which a killed run left half written")


def check_readable(path: str) -> dict[str, Any]:
    """Return a checkpoint's content, read without running any code of it.

    Raises:
        ConfigurationError: If the file is no checkpoint of ours, or incomplete.
    """
    try:
        check_regular(Path(path))
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        bad = find_nonfinite(content)
    except FileNotFoundError:
        raise ConfigurationError(f"checkpoint {path} does not exist; pass --checkpoint with a model_*.pt") from None
    except Exception as error:  # whatever the unpickler makes of foreign bytes
        reason = first_line(error, 120)
        raise ConfigurationError(
            f"checkpoint {path} cannot be read ({reason}); it is truncated or not a checkpoint of this package: pass "
            "--checkpoint with an earlier model_*.pt of the run"
        ) from None
    # rsl_rl's own PPO writes no algorithm_state_dict
    missing = {"actor_state_dict", "algorithm_state_dict", "iter"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise ConfigurationError(
            f"checkpoint {path} is not one of this package: it has no {' and no '.join(sorted(missing))}; pass a "
            "model_*.pt that a run with this --agent wrote"
        )
    run = content["algorithm_state_dict"]
    if not isinstance(run, dict) or not all(is_count(n) for n in (content["iter"], run.get("iteration"))):
        raise ConfigurationError(f"checkpoint {path} does not say how many iterations were done; pass an earlier one")
    if bad is not None:
        raise ConfigurationError(f"checkpoint {path} is not finite ({bad}); pass --checkpoint with an earlier one")
    return content
