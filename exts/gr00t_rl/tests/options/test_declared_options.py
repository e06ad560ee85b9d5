# SPDX-License-Identifier: BSD-3-Clause
"""Every declared option refuses what it cannot be: the cases are made from the declarations."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from isaaclab_rl.rsl_rl import RslRlRNNModelCfg

from gr00t_rl import cfg as cfgs
from gr00t_rl.options import (
    BY_CLASS_NAME,
    CurriculumOptions,
    Declared,
    EnvOptions,
    Options,
    PartOptions,
    RewardOptions,
    RunnerOptions,
    SceneOptions,
    SimulationOptions,
    TabletopOptions,
    TaskOptions,
    check_values,
    declared,
    options_of,
)
from gr00t_rl.preflight import check_agent
from gr00t_rl.utils.errors import ConfigurationError

RECURRENT = RslRlRNNModelCfg(
    hidden_dims=[8], activation="elu", stochastic=False, rnn_type="lstm", rnn_hidden_dim=8, rnn_num_layers=1
)
RUNNERS = {
    "gr00t": cfgs.Gr00tRunnerCfg,
    "flow_mlp": cfgs.FlowMlpRunnerCfg,
    "mlp": cfgs.MlpRunnerCfg,
    "plain": cfgs.MlpPpoRunnerCfg,
    "grpo": cfgs.Gr00tGrpoRunnerCfg,
    "recurrent": cfgs.RnnRunnerCfg,
    "stock_recurrent": functools.partial(cfgs.MlpPpoRunnerCfg, actor=RECURRENT),
    "feature_critic": functools.partial(cfgs.Gr00tRunnerCfg, critic=cfgs.Gr00tFeatureCriticCfg()),  # pyright: ignore[reportArgumentType]
}
ENV = {
    "env": (TaskOptions, TabletopOptions, EnvOptions),
    "env.scene": (SceneOptions,),
    "env.sim": (SimulationOptions,),
    "env.rewards.success": (RewardOptions,),
    "env.curriculum.difficulty.params": (CurriculumOptions,),
}


class Case(NamedTuple):
    """A wrong value of an option."""

    where: str
    """Name of a runner cfg, or path of a section of the env."""
    part: str
    """Part of the runner cfg; "" for itself."""
    options: type[Options]
    name: str
    value: Any


def runner(name: str) -> Any:
    """A runner cfg that passes."""
    cfg = RUNNERS[name](experiment_name="test", device="cpu")
    cfg.num_steps_per_env = cfg.num_steps_per_env or 48
    return cfg


def wrong_values(item: Declared) -> Iterator[Any]:
    """Values that an option must not have: of another type, outside its range, not a number, of unknown name."""
    kind, option = item.type, item.option
    parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if Any in parts:
        return
    if type(None) not in parts:
        yield None
    kinds = {typing.get_origin(part) or part for part in parts}
    yield types.SimpleNamespace()
    if kinds & {int, float}:
        yield from ("abc", "1", True, math.nan, [1], -math.inf)
        yield from () if option.infinite else (math.inf,)
        yield from (2.5, 1e3) if int in kinds else ()
        yield from [bound for bound in (option.above, option.below) if bound is not None]
        yield from [bound - 1 for bound in (option.low, option.above) if bound is not None]
        yield from [bound + 1 for bound in (option.high, option.below) if bound is not None]
    if bool in kinds:
        yield from ("maybe", "true", 1, 0.0)
    if str in kinds:
        yield from (2.5, *(() if bool in kinds else (True,)), *(() if int in kinds else (1,)))
        yield from ("nosuch", "") if option.choices else ()
        yield from ("", "  ") if option.least and not option.choices else ()
    if list in kinds or tuple in kinds:
        yield from (7, [None], [[1]], *(() if str in kinds else ("abc",)))
        yield from ([],) if option.least else ()
        yield from ([0], [1.5, 2]) if option.low == 1 else ()
    if dict in kinds:
        yield from ("abc", 7, [1])
        inner = next((typing.get_args(part)[1] for part in parts if typing.get_origin(part) is dict), Any)
        for value in wrong_values(item._replace(type=inner, option=dataclasses.replace(option, least=0))):
            yield {"dit": value}


def cases() -> Iterator[Case]:
    """Each option of each part of each runner, once per options class, and those of the env."""
    seen = set()
    for where in RUNNERS:
        cfg = runner(where)
        parts: dict[str, type[Options]] = {"": RunnerOptions}
        for part in ("algorithm", "actor", "critic", "actor.distribution_cfg"):
            value: Any = cfg
            for name in part.split("."):
                value = getattr(value, name, None)
            found = None if value is None else options_of(getattr(value, "class_name", ""))
            if found is not None:
                parts[part] = found
        for part, options in parts.items():
            if (part, options) not in seen:
                seen.add((part, options))
                yield from (
                    Case(where, part, options, n, v) for n, i in declared(options).items() for v in wrong_values(i)
                )
    where, part = "gr00t", "algorithm.parts.dit"
    yield from (Case(where, part, PartOptions, n, v) for n, i in declared(PartOptions).items() for v in wrong_values(i))
    for where, groups in ENV.items():
        for options in groups:
            yield from (Case(where, "", options, n, v) for n, i in declared(options).items() for v in wrong_values(i))


CASES = list(cases())


def check(case: Case) -> None:
    """Set the wrong value and check as before a run."""
    option = declared(case.options)[case.name].option
    if case.where in ENV:
        section = types.SimpleNamespace(**{name: item.default for name, item in declared(case.options).items()})
        section.instruction = "reach"
        setattr(section, case.name, case.value)
        return check_values(case.options, section, case.where)
    cfg = runner(case.where)
    target = cfg
    for name in filter(None, case.part.split(".")):
        target = target[name] if isinstance(target, dict) else getattr(target, name)
    if option.only_with is not None:
        setattr(target, option.only_with[0], option.only_with[1][0])
    if isinstance(target, dict):
        target[case.name] = case.value
    else:
        setattr(target, case.name, case.value)
    check_agent(cfg)


@pytest.mark.parametrize("where", RUNNERS)
def test_the_runners_themselves_pass(where):
    check_agent(runner(where))


def test_wrong_values_are_refused_in_one_line_that_names_the_option():
    """Hundreds of cases in one test: each alone takes a millisecond, and none may be silently accepted."""
    assert len(CASES) >= 250
    accepted = []
    for case in CASES:
        try:
            check(case)
        except ConfigurationError as error:
            path = case.where if case.where in ENV else ".".join(filter(None, ("agent", case.part)))
            assert f"{path}.{case.name} is " in str(error) and "\n" not in str(error), (case, error)
        else:
            accepted.append(case)
    assert accepted == []


def test_every_option_of_every_class_is_among_the_cases():
    assert set(BY_CLASS_NAME.values()) <= {case.options for case in CASES}
    covered = {(case.options, case.name) for case in CASES}
    free = {"modality", "func"}  # of any type: checked by what they are made into
    for options in {case.options for case in CASES}:
        assert {name for name in declared(options) if name not in free} == {n for o, n in covered if o is options}


@pytest.mark.parametrize("where", RUNNERS)
def test_misspelt_names_are_refused_with_the_right_one(where):
    for part in ("", "algorithm", "actor", "critic"):
        target = getattr(runner(where), part) if part else runner(where)
        options = RunnerOptions if not part else options_of(getattr(target, "class_name", ""))
        for name in declared(options) if options else ():
            cfg = runner(where)
            wrong = name[:-1]
            setattr(getattr(cfg, part) if part else cfg, wrong, 1)
            path = ".".join(filter(None, ("agent", part)))
            with pytest.raises(ConfigurationError, match=rf"{path}\.{wrong} is 1, but .*did you mean {path}\.{name}\?"):
                check_agent(cfg)


def test_values_at_the_bounds_are_accepted():
    """The check refuses what is wrong, not everything."""
    for options in {case.options for case in CASES}:
        for item in declared(options).values():
            for bound in (item.option.low, item.option.high):
                if bound is not None and item.type in (int, float) and item.option.only_with is None:
                    values = types.SimpleNamespace(**{n: copy.copy(i.default) for n, i in declared(options).items()})
                    values.experiment_name = values.instruction = "test"
                    setattr(values, item.name, item.type(bound))
                    if all(relation.holds(values) for relation in options.relations()):
                        check_values(options, values, "")


def test_settings_of_a_choice_that_is_not_taken_need_only_be_of_their_type():
    cfg = runner("gr00t")
    cfg.actor.head, cfg.actor.noise_level = "gaussian", 0.0
    check_agent(cfg)
    cfg.actor.noise_level = "much"
    with pytest.raises(ConfigurationError, match=r"agent\.actor\.noise_level is 'much'"):
        check_agent(cfg)


@pytest.mark.parametrize(
    ("where", "part", "changes", "message"),
    [
        ("gr00t", "algorithm", {"clip_param_high": 0.1}, "at least agent.algorithm.clip_param=0.2"),
        ("flow_mlp", "actor", {"n_action_steps": 9}, "at most agent.actor.action_horizon=8"),
        ("gr00t", "actor", {"head": "flow_noise", "sigma_max": 0.01}, "at least agent.actor.sigma_min=0.05"),
        ("gr00t", "actor", {"n_action_steps": 49}, "from 1 to agent.num_steps_per_env=48"),
        ("gr00t", "algorithm", {"class_name": "nosuch:PPO"}, "agent.algorithm.class_name is 'nosuch:PPO', which"),
        ("gr00t", "critic", {"class_name": "RNNModel"}, "agent.critic.class_name is 'RNNModel', which is recurrent"),
        ("gr00t", "critic", {"class_name": "NoSuchModel"}, "agent.critic.class_name is 'NoSuchModel', which"),
        ("gr00t", "algorithm", {"share_cnn_encoders": True}, "has no CNN encoders"),
        ("feature_critic", "actor", {"class_name": "MLPModel"}, "reads GR00T's features, but the actor is 'MLPModel'"),
        ("gr00t", "algorithm", {"rnd_cfg": {"weigth": 1.0}}, "did you mean agent.algorithm.rnd_cfg.weight?"),
        ("gr00t", "algorithm", {"parts": {"dot": {}}}, "did you mean agent.algorithm.parts.dit?"),
        ("gr00t", "algorithm", {"parts": {"dit": {"rate": 1.0}}}, "agent.algorithm.parts.dit.rate is 1.0, but"),
        ("gr00t", "algorithm", {"parts": {"dit": 1e-5}}, "agent.algorithm.parts is {'dit': 1e-05}; set a mapping"),
        ("gr00t", "algorithm", {"parts": {"critic": {"learning_rate": 1e-3}}}, "by critic_learning_rate"),
        ("mlp", "algorithm", {"parts": {"dit": {"weight_decay": 1e-3}}}, "is one part"),
        ("grpo", "algorithm", {"parts": {"critic": {"weight_decay": 1e-3}}}, "has no critic"),
        ("gr00t", "algorithm", {"adam_betas": [0.9, 0.99, 0.999]}, "set a list of two numbers"),
        ("gr00t", "", {"obs_groups": {"actor": ["policy"], "critics": []}}, "did you mean agent.obs_groups.critic?"),
        ("gr00t", "", {"obs_groups": {"actor": [], "critic": ["critic"]}}, "agent.obs_groups.actor is empty"),
        ("gr00t", "", {"num_steps_per_env": None}, "agent.num_steps_per_env is null, which only GRPO takes"),
    ],
)
def test_what_must_hold_between_options(where, part, changes, message):
    cfg = runner(where)
    for name, value in changes.items():
        setattr(getattr(cfg, part) if part else cfg, name, value)
    with pytest.raises(ConfigurationError) as error:
        check_agent(cfg)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_constructors_check_their_settings_too():
    """Programs that build a model or an algorithm without a run's check are told the same."""
    with pytest.raises(ConfigurationError, match=r"agent\.actor\.nosuch is 1"):
        options_of("Gr00tActor").parse({"nosuch": 1}, "agent.actor")  # pyright: ignore[reportOptionalMemberAccess]
    with pytest.raises(ConfigurationError, match=r"agent\.algorithm\.gamma is 2"):
        options_of("gr00t_rl.algorithms:PPO").parse({"gamma": 2}, "agent.algorithm")  # pyright: ignore


def test_cfg_classes_have_the_declared_options_and_defaults():
    for options, cfg_class in (
        ("gr00t_rl.algorithms:PPO", cfgs.PpoCfg),
        ("gr00t_rl.algorithms:GRPO", cfgs.GrpoCfg),
        ("gr00t_rl.models:Gr00tActor", cfgs.Gr00tActorCfg),
        ("gr00t_rl.models:FlowMlpActor", cfgs.FlowMlpActorCfg),
        ("gr00t_rl.models:OrthogonalMLPModel", cfgs.OrthogonalMlpCfg),
        ("gr00t_rl.models:OrthogonalRNNModel", cfgs.OrthogonalRnnCfg),
        ("gr00t_rl.models:Gr00tFeatureCritic", cfgs.Gr00tFeatureCriticCfg),
    ):
        cfg = cfg_class()
        assert cfg.class_name == options
        for name, item in declared(options_of(options)).items():  # pyright: ignore[reportArgumentType]
            assert getattr(cfg, name) == item.default, name
