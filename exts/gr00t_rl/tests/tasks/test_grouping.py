# SPDX-License-Identifier: BSD-3-Clause
"""Reset terms and commands whose draws are shared, without a simulator."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from isaaclab.managers import CommandTerm, EventTermCfg, ManagerTermBase
from isaaclab_tasks.utils.hydra import resolve_task_config

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl import preflight
from gr00t_rl.preflight import remember_agent
from gr00t_rl.tasks.grouping import share_starts
from gr00t_rl.utils.errors import ConfigurationError

N, SIZE = 6, 3


def draw(env: Any, env_ids: torch.Tensor | slice, scale: float) -> None:
    """A reset term as Isaac Lab has many: torch's generator for one thing, NumPy's for another."""
    assert isinstance(env_ids, slice) or env_ids.is_contiguous(), "standalone PhysX refuses strided indices"
    rows = torch.arange(N)[env_ids]
    env.value[rows.long()] = scale * torch.rand(len(rows))
    env.other[rows.long()] = torch.from_numpy(np.random.rand(len(rows)))


class draw_by_class(ManagerTermBase):
    """The same as a class."""

    def __call__(self, env: Any, env_ids: torch.Tensor | slice, scale: float) -> None:
        draw(env, env_ids, scale)


class DrawnCommand(CommandTerm):
    """A command drawn at resampling; no simulator needed."""

    def __init__(self, cfg: Any, env: Any) -> None:
        self.cfg, self._env = cfg, env
        self.drawn = torch.zeros(N)

    def __del__(self) -> None: ...

    @property
    def command(self) -> torch.Tensor:
        return self.drawn

    def _resample(self, env_ids: Any) -> None:
        rows = torch.arange(N)[env_ids].long()
        self.drawn[rows] = torch.rand(len(rows))

    def _update_metrics(self) -> None: ...
    def _resample_command(self, env_ids: Any) -> None: ...
    def _update_command(self) -> None: ...


def make(func: Any = draw, mode: str = "reset", size: int | None = SIZE, num_envs: int = N) -> tuple[Any, Any]:
    """A cfg with one event term, shared, and an env that has it."""
    cfg = SimpleNamespace(
        scene=SimpleNamespace(num_envs=num_envs, env_spacing=2.5),
        sim=SimpleNamespace(physics=SimpleNamespace()),
        events=SimpleNamespace(start=EventTermCfg(func=func, mode=mode, params={"scale": 2.0}), none=None),
        commands={"pose": SimpleNamespace(class_type=DrawnCommand)},
    )
    share_starts(cfg, size)
    env = SimpleNamespace(num_envs=N, device="cpu", cfg=cfg, value=torch.zeros(N), other=torch.zeros(N).double())
    return cfg, env


def shared(values: torch.Tensor) -> bool:
    rows = values.view(-1, SIZE)
    return torch.equal(rows, rows[:, :1].expand_as(rows)) and len(rows[:, 0].unique()) == len(rows)


@pytest.mark.parametrize("everyone", [slice(None), torch.arange(N), torch.arange(N, dtype=torch.int32)], ids=str)
@pytest.mark.parametrize("func", [draw, draw_by_class])
def test_a_full_reset_is_shared(func, everyone):
    cfg, env = make(func)
    term: Any = cfg.events.start.func
    if inspect.isclass(func):
        term = term(cfg.events.start, env)
    term(env, everyone, scale=2.0)
    first = env.value.clone()
    assert shared(env.value) and shared(env.other)
    term(env, everyone, scale=2.0)
    assert shared(env.value) and not torch.equal(env.value, first), "the next reset draws anew"


def test_commands_are_shared():
    cfg, env = make()
    command = cfg.commands["pose"].class_type(None, env)
    command._resample(slice(None))
    assert shared(command.drawn)
    before = command.drawn.clone()
    command._resample(torch.tensor([0, 4]))
    assert (command.drawn != before).tolist() == [True, False, False, False, True, False]


def test_single_resets_draw_their_own():
    cfg, env = make()
    cfg.events.start.func(env, torch.tensor([0, 1, 2]), scale=1.0)
    assert len(env.value[:3].unique()) == 3 and not env.value[3:].any()


def test_what_is_drawn_after_a_reset_is_not_shared():
    """The policy's noise, above all."""
    cfg, env = make()
    cfg.events.start.func(env, slice(None), scale=1.0)
    noise = torch.rand(N)
    assert len(torch.cat((noise, env.value)).unique()) == N + N // SIZE


def test_terms_look_as_before_to_managers_and_dumps():
    """Isaac Lab checks a term's signature and writes its name; terms of other modes are left alone."""
    for func in (draw, draw_by_class):
        cfg, _ = make(func)
        term = cfg.events.start.func
        assert (term.__module__, term.__qualname__) == (func.__module__, func.__qualname__)
        call, plain = (f.__call__ if inspect.isclass(f) else f for f in (term, func))
        assert inspect.signature(call) == inspect.signature(plain)
        share_starts(cfg, SIZE)
        assert cfg.events.start.func is term, "once is enough"
    assert make(mode="startup")[0].events.start.func is draw
    assert make(size=1)[0].events.start.func is draw


def test_terms_named_by_string():
    cfg, env = make(f"{__name__}:draw")
    cfg.events.start.func(env, slice(None), scale=1.0)
    assert shared(env.value)


def test_groups_that_do_not_divide_the_envs():
    with pytest.raises(ConfigurationError, match="start_group_size is 3, which does not divide --num_envs 7; set a"):
        make(num_envs=7)


@pytest.fixture
def agent():
    """The GRPO agent of Reach, remembered as the one that is about to use the env."""
    _, cfg = resolve_task_config("Gr00t-Reach-Franka", "rsl_rl_grpo_cfg_entry_point", overrides=[])
    remember_agent(cfg)
    cfg.device = "cpu"
    yield cfg
    preflight._agent = None


class Cfg(SimpleNamespace):
    """A cfg object; unlike SimpleNamespace itself, it can be referred to weakly."""


def test_an_evaluation_shares_no_starts_whatever_the_agent(agent):
    """A task that calls ``share_starts(self)`` alone: `evaluate` sets the size to 1, and has 12 envs for its films."""
    cfg = Cfg(
        scene=SimpleNamespace(num_envs=12, env_spacing=2.5),
        sim=SimpleNamespace(physics=SimpleNamespace(), dt=0.05),
        decimation=1,
        episode_length_s=1.0,
        events=SimpleNamespace(start=EventTermCfg(func=draw, mode="reset", params={"scale": 2.0})),
        commands={},
        start_group_size=1,
    )
    share_starts(cfg)
    assert cfg.start_group_size == 1 and cfg.events.start.func is draw
    del cfg.start_group_size
    cfg.scene.num_envs = 16
    share_starts(cfg)
    assert cfg.start_group_size == 8 and cfg.events.start.func is not draw
    agent.algorithm.group_size = 4  # another agent on the same cfg
    share_starts(cfg)
    assert cfg.start_group_size == 4


def test_the_agent_tells_the_env_its_groups(agent):
    """Before anything is built; and one episode is one iteration."""
    env_cfg, _ = resolve_task_config("Gr00t-Reach-Franka", None, overrides=[])
    remember_agent(agent)
    env_cfg.validate_config()
    assert env_cfg.start_group_size == agent.algorithm.group_size == 8
    assert agent.num_steps_per_env == 60
    assert env_cfg.scene.env_spacing == 0.0  # Newton


def test_playing_shares_nothing(agent):
    env_cfg, _ = resolve_task_config("Gr00t-Reach-Franka", None, play_mode=True, overrides=["env.scene.num_envs=3"])
    remember_agent(agent)
    env_cfg.validate_config()
    assert env_cfg.start_group_size == 1


@pytest.mark.parametrize(
    ("overrides", "change", "message"),
    [
        (["env.scene.num_envs=20"], {}, "--num_envs is 20 (per process), which agent.algorithm.group_size=8"),
        (["env.start_group_size=4"], {}, "env.start_group_size is 4, but agent.algorithm.group_size is 8"),
        (
            ["env.episode_length_s=4.0"],
            {"num_steps_per_env": 60},
            "num_steps_per_env is 60, but an episode may last 80",
        ),
        ([], {"init_at_random_ep_len": True}, "init_at_random_ep_len is True"),
        ([], {"algorithm.group_size": 1}, "agent.algorithm.group_size is 1; set an integer of at least 2"),
        ([], {"algorithm.reward": "sucess"}, "agent.algorithm.reward is 'sucess'; set one of return, success"),
        ([], {"algorithm.credit": "step"}, "agent.algorithm.credit is 'step'; set one of episode, reward_to_go"),
        ([], {"algorithm.advantage": "ppo"}, "agent.algorithm.advantage is 'ppo'; set one of grpo, dr_grpo, rloo"),
        ([], {"algorithm.zero_std_groups": True}, "agent.algorithm.zero_std_groups is True; set one of drop"),
        ([], {"algorithm.loss_average": "token"}, "agent.algorithm.loss_average is 'token'; set one of decision"),
        ([], {"algorithm.kl_coef": -1.0}, "agent.algorithm.kl_coef is -1.0; set a number of at least 0"),
    ],
)
def test_what_cannot_work_ends_in_one_line(agent, overrides, change, message):
    env_cfg, _ = resolve_task_config("Gr00t-Reach-Franka", None, overrides=overrides)
    remember_agent(agent)
    for name, value in change.items():
        *path, last = name.split(".")
        setattr(getattr(agent, path[0]) if path else agent, last, value)
    with pytest.raises(ConfigurationError) as error:
        env_cfg.validate_config()
    assert message in str(error.value) and "\n" not in str(error.value)


def test_success_as_the_reward_needs_a_success_term(agent):
    env_cfg, _ = resolve_task_config("Gr00t-Reach-Franka", None, overrides=[])
    remember_agent(agent)
    agent.algorithm.reward = "success"
    env_cfg.validate_config()
    env_cfg.terminations.success = None
    with pytest.raises(ConfigurationError, match=r"has no term terminations\.success; set it to 'return'"):
        env_cfg.validate_config()


@pytest.mark.parametrize("agent_name", ["grpo", "flow_mlp_grpo", "mlp_grpo"])
@pytest.mark.parametrize("task", ["Gr00t-Reach-Franka", "Gr00t-Push-Cube-Franka"])
def test_agents_are_registered_without_a_critic(task, agent_name):
    _, cfg = resolve_task_config(task, f"rsl_rl_{agent_name}_cfg_entry_point", overrides=[])
    assert cfg.algorithm.class_name == "gr00t_rl.algorithms:GRPO"
    assert cfg.obs_groups == {"actor": ["policy"]} and not cfg.init_at_random_ep_len
