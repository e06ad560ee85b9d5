# SPDX-License-Identifier: BSD-3-Clause
"""``micro_batch_size=auto``: the largest piece that fits, and the gradients of the whole minibatch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import (
    GroupedPointMassEnv,
    PointMassEnv,
    collect,
    gradients_of,
    grpo_cfg,
    in_float64,
    make_runner,
    runner_cfg,
    velocity_in_float64,
)

from gr00t_rl.memory import micro_batches
from gr00t_rl.memory.micro_batches import choose
from gr00t_rl.memory.update import StepBytes


def planned(minibatch: int, each: int = 10, always: int = 100, parameters: int = 10**9) -> Any:
    """A rehearsal of a run whose decisions need ``each`` bytes and whose steps ``always`` ones."""

    def step(size: int | None) -> StepBytes:
        return StepBytes(always // 2, (size or minibatch) * each, always - always // 2)

    return SimpleNamespace(minibatch=minibatch, parameters=parameters, step=step)


@pytest.mark.parametrize(
    ("minibatch", "room", "expected"),
    [
        (96, 10**6, None),  # all of it, and a tenth more
        (96, 100 + 96 * 10, 48),  # all of it, but not a tenth more: two pieces
        (96, 100 + 50 * 10, 48),  # 50 fit: two alike
        (96, 100 + 40 * 10, 32),  # 40 fit: three alike
        (97, 100 + 40 * 10, 33),  # 33, 33 and 31
        (96, 100 + 10, 1),
        (96, 0, 1),  # not even one fits: a refusal is another's business
        (3, 100 + 2 * 10, 2),
        (1, 0, 1),
    ],
)
def test_the_largest_piece_that_fits_is_chosen(minibatch, room, expected):
    assert choose(planned(minibatch), room) == expected


def test_a_small_network_takes_the_whole_minibatch_unseen():
    assert choose(planned(96, parameters=micro_batches.SMALL), room=0) is None


def test_activations_that_grow_in_steps_are_tried():
    """An estimate by a straight line would take 60; what is chosen is tried."""
    rehearsal = planned(120)
    line = rehearsal.step
    rehearsal.step = lambda size: line(size) if (size or 120) < 50 else StepBytes(50, 10**6, 50)
    assert choose(rehearsal, room=100 + 60 * 10) == 40


@pytest.mark.parametrize(("others", "expected"), [(None, None), (micro_batches.WHOLE, None), (3, 3)])
def test_a_rehearsal_that_fails_ends_no_run(others, expected, monkeypatch, capsys):
    """The whole minibatch is taken, or what the other ranks need, who are not left waiting."""

    def fail(*args: Any, **settings: Any) -> None:
        raise AttributeError("no such\nattribute")

    asked: list[int] = []

    def all_reduce(size: torch.Tensor, op: Any) -> None:
        asked.append(int(size))
        assert op is torch.distributed.ReduceOp.MIN
        size.clamp_(max=others)

    runner = make_runner(runner_cfg("gaussian"), PointMassEnv())
    runner.alg.gpu_world_size = 1 if others is None else 2
    monkeypatch.setattr(micro_batches, "SMALL", 0)
    monkeypatch.setattr(micro_batches, "Rehearsal", fail)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    obs = runner.env.get_observations()
    capsys.readouterr()
    assert micro_batches.micro_batch_of_run(runner.alg, obs, runner.env, runner.cfg) == expected
    assert asked == ([] if others is None else [micro_batches.WHOLE])
    taken = "the whole minibatch" if expected is None else "3 decisions at a time"
    assert capsys.readouterr().out == (
        f"[gr00t_rl] agent.algorithm.micro_batch_size=auto: {taken}; its memory could not be estimated: "
        "AttributeError: no such attribute\n"
    )


@pytest.mark.parametrize("algorithm", ["PPO", "GRPO"])
def test_gradients_of_auto_are_those_of_the_whole_minibatch(algorithm, monkeypatch, capsys):
    """In float64, on a machine with so little memory that the minibatch must be cut."""
    gradients = {}
    for free in (None, 2_500_000):
        if free is not None:
            monkeypatch.setattr(micro_batches, "SMALL", 0)
            monkeypatch.setattr(micro_batches, "free_bytes", lambda device, free=free: free)
        options = {"num_learning_epochs": 1, "num_mini_batches": 1, "max_grad_norm": 1e9}
        if algorithm == "PPO":
            runner = make_runner(runner_cfg("gaussian", num_steps=6, **options), PointMassEnv(num_envs=16))
        else:
            cfg = grpo_cfg("gaussian", zero_std_groups="keep", **options)
            runner = make_runner(cfg, GroupedPointMassEnv(16))
        size = runner.alg.micro_batch_size
        assert (size is None) == (free is None)
        assert free is None or 1 <= size < 32
        assert (f"micro_batch_size=auto: {size} of 32 decisions" in capsys.readouterr().out) == (free is not None)
        collect(runner)
        in_float64(runner)
        runner.alg.actor.velocity_of = velocity_in_float64(runner.alg.actor)
        pieces, loss_terms = [], runner.alg._loss_terms
        runner.alg._loss_terms = lambda micro, seen=pieces, real=loss_terms: seen.append(len(micro)) or real(micro)
        runner.alg.optimizer.step = lambda *_: None
        runner.alg.update()
        assert max(pieces) == (size or sum(pieces))
        gradients[free] = gradients_of(runner) if algorithm == "PPO" else [p.grad for p in runner.alg.parameters()]
    for a, b in zip(*gradients.values(), strict=True):
        assert a.dtype == torch.float64
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-12)
