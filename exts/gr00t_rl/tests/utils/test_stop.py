# SPDX-License-Identifier: BSD-3-Clause
"""SIGTERM in one process: the state from before the iteration is saved, and the exit code says "start me again"."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import torch
from helpers import PointMassEnv, make_runner, runner_cfg

from gr00t_rl.utils.stop import Stopped, StopRequest, restart_on_sigterm

ASKED_AT = 10
"""Env step, the third of the second iteration of 7."""


class AskedEnv(PointMassEnv):
    """An env whose process is asked to stop."""

    def step(self, actions: torch.Tensor) -> Any:
        result = super().step(actions)
        if len(self.history) == ASKED_AT:
            os.kill(os.getpid(), signal.SIGTERM)
        return result


def test_a_run_saves_and_leaves_at_the_next_step(tmp_path, capsys):
    env, handler = AskedEnv(), signal.getsignal(signal.SIGTERM)
    env.cfg.log_dir = str(tmp_path)  # type: ignore[attr-defined]
    runner = make_runner(runner_cfg(), env, tmp_path)
    with pytest.raises(Stopped) as stopped:
        runner.learn(5)
    assert stopped.value.code == 75 and len(env.history) == ASKED_AT
    assert signal.getsignal(signal.SIGTERM) is handler
    assert f"in iteration 1; resume from {tmp_path}/model_1.pt" in capsys.readouterr().err

    undisturbed = make_runner(runner_cfg(), PointMassEnv())
    undisturbed.learn(1)
    later = make_runner(runner_cfg(), PointMassEnv(), seed=7)
    later.load(str(tmp_path / "model_1.pt"))
    assert later.alg.iteration == 1
    for name, tensor in undisturbed.alg.actor.state_dict().items():
        assert torch.equal(later.alg.actor.state_dict()[name], tensor), name
    later.learn(1)


def test_a_request_is_noted_inside_the_block_only(monkeypatch):
    noted = []
    previous = signal.signal(signal.SIGTERM, lambda *_: noted.append("outside"))
    try:
        with StopRequest() as stop:
            assert not stop.asked
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.asked and not noted
        os.kill(os.getpid(), signal.SIGTERM)
        assert noted == ["outside"]
        restart_on_sigterm()
        os.kill(os.getpid(), signal.SIGTERM)  # after the training: nothing
        monkeypatch.setattr(StopRequest, "begun", False)
        with pytest.raises(SystemExit) as end:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([], 1.0)
        assert end.value.code == 75
    finally:
        signal.signal(signal.SIGTERM, previous)
