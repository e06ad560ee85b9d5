# SPDX-License-Identifier: BSD-3-Clause
"""SIGTERM in one process: the state from before the iteration is saved, and the exit code says "start me again"."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import torch
from helpers import GroupedPointMassEnv, PointMassEnv, grpo_cfg, make_runner, runner_cfg

from gr00t_rl.utils.stop import Stopped, StopRequest, restart_on_sigterm

ASKED_AT = 10
"""Env step, the third of the second iteration of 7."""


class CountingEnv(PointMassEnv):
    """An env that counts its steps, as Isaac Lab's do."""

    common_step_counter = 0

    def step(self, actions: torch.Tensor) -> Any:
        self.common_step_counter += 1
        return super().step(actions)


class AskedEnv(CountingEnv):
    """An env whose process is asked to stop."""

    by = signal.SIGTERM

    def step(self, actions: torch.Tensor) -> Any:
        result = super().step(actions)
        if len(self.history) == ASKED_AT:
            os.kill(os.getpid(), self.by)
        return result


class AskedGroups(GroupedPointMassEnv):
    """An env with groups whose process is asked to stop in its first step, and that draws its starts from torch."""

    def reset(self) -> Any:
        torch.rand(1)
        return super().reset()

    def step(self, actions: torch.Tensor) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return super().step(actions)


def curious_cfg() -> dict[str, Any]:
    """Settings with all that a rollout changes."""
    networks = {"num_outputs": 3, "predictor_hidden_dims": [8], "target_hidden_dims": [8]}
    return runner_cfg(reward_scaling=True, rnd_cfg={**networks, "weight": 1.0, "reward_normalization": True})


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """Return all that is in a checkpoint, by its path."""
    if not isinstance(state, dict | list | tuple):
        return {name: state}
    items = state.items() if isinstance(state, dict) else enumerate(state)
    return {k: v for key, part in items for k, v in flat(part, f"{name}/{key}").items()}


def test_a_run_saves_and_leaves_at_the_next_step(tmp_path, capsys):
    env, handler = AskedEnv(), signal.getsignal(signal.SIGTERM)
    env.cfg.log_dir = str(tmp_path)  # type: ignore[attr-defined]
    runner = make_runner(curious_cfg(), env, tmp_path)
    with pytest.raises(Stopped) as stopped:
        runner.learn(5)
    assert stopped.value.code == 75 and len(env.history) == ASKED_AT
    assert signal.getsignal(signal.SIGTERM) is handler
    assert f"in iteration 1; resume from {tmp_path}/model_1.pt" in capsys.readouterr().err

    undisturbed = make_runner(curious_cfg(), CountingEnv())
    undisturbed.learn(1)
    undisturbed.save(str(tmp_path / "expected.pt"))
    expected, found = (flat(torch.load(tmp_path / name, weights_only=True)) for name in ("expected.pt", "model_1.pt"))
    assert expected.pop("/iter") == 0 and found.pop("/iter") == 1  # the runner counts what is done
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value, name
    state = "/algorithm_state_dict/"
    assert (found[f"{state}rnd_steps"], found[f"{state}env_steps"]) == (7, 7)
    assert found[f"{state}reward_scaler/moments.count"] == 7 * env.num_envs
    later = make_runner(curious_cfg(), PointMassEnv(), seed=7)
    later.load(str(tmp_path / "model_1.pt"))
    assert later.alg.iteration == 1
    later.learn(1)


@pytest.fixture
def _interruptible():
    """A job that a shell starts in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_saves_too_and_asks_for_no_restart(tmp_path, capsys):
    env = AskedEnv()
    env.by, env.cfg.log_dir = signal.SIGINT, str(tmp_path)  # type: ignore[attr-defined]
    with pytest.raises(Stopped) as stopped:
        make_runner(runner_cfg(), env, tmp_path).learn(5)
    assert stopped.value.code == 130 and (tmp_path / "model_1.pt").is_file()
    assert "Ctrl-C again: at once" in (told := capsys.readouterr().err) and "stopped by SIGINT in iteration 1" in told
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        os.kill(os.getpid(), signal.SIGINT)
    with StopRequest() as stop:  # a worker of several ignores it, and hears of it from its launcher
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        with StopRequest() as inner:
            os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, before)
    assert not inner.asked and not stop.asked


def test_grpo_gives_up_the_rollout_with_the_reset_that_began_it(tmp_path):
    """The generators are those from before the starts were drawn."""
    torch.manual_seed(3)
    env = AskedGroups()
    env.cfg.log_dir = str(tmp_path)  # type: ignore[attr-defined]
    runner = make_runner(grpo_cfg(), env, tmp_path)
    before = torch.get_rng_state()
    with pytest.raises(Stopped):
        runner.learn(1)
    assert not torch.equal(torch.get_rng_state(), before)
    saved = torch.load(tmp_path / "model_0.pt", weights_only=True)["algorithm_state_dict"]
    assert torch.equal(saved["rng"]["torch"], before)


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
