# SPDX-License-Identifier: BSD-3-Clause
"""Runner cfgs, env cfgs and checkpoint folders for the tests of what is checked before a run."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from gr00t_rl.gr00t import Gr00tN1d5Config
from gr00t_rl.utils.errors import ConfigurationError


class Cfg(SimpleNamespace):
    """A cfg object; unlike SimpleNamespace itself, it can be referred to weakly."""


def agent(**changes: Any) -> Cfg:
    """A runner cfg that works; ``changes`` are given by the name of the part: algorithm={...}, actor={...}."""
    actor = {
        "class_name": "gr00t_rl.models:Gr00tActor",
        "checkpoint": "tiny",
        "embodiment_id": 0,
        "head": "flow_sde",
        "stochastic_steps": "one",
        "dtype": "float32",
        "attn_implementation": "sdpa",
        "feature_cache": "device",
        "n_action_steps": 8,
        "num_inference_timesteps": 4,
        "noise_level": 0.5,
        "init_std": 0.3,
        "sigma_min": 0.05,
        "sigma_max": 0.2,
        "init_noise_scale": 1.0,
        "log_prob_over": "executed",
    }
    algorithm = {
        "class_name": "gr00t_rl.algorithms:PPO",
        "num_learning_epochs": 5,
        "num_mini_batches": 4,
        "gamma": 0.99,
        "lam": 0.95,
        "schedule": "linear",
    }
    runner = {
        "device": "cpu",
        "logger": "tensorboard",
        "num_steps_per_env": 24,
        "obs_groups": {"actor": ["policy"], "critic": ["critic"]},
    }
    actor |= changes.pop("actor", {})
    algorithm |= changes.pop("algorithm", {})
    return Cfg(**{**runner, **changes}, actor=Cfg(**actor), algorithm=Cfg(**algorithm))


def env(**changes: Any) -> Cfg:
    observations = changes.pop("observations", Cfg(policy=Cfg(), critic=Cfg()))
    return Cfg(**{"compute_final_obs": True, **changes}, observations=observations)


def line_of(check: Any, *args: Any) -> str:
    """The error's text, which must be one line."""
    with pytest.raises(ConfigurationError) as error:
        check(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def write_config(folder, embodiments: int = 4) -> str:
    config = Gr00tN1d5Config.tiny(action_horizon=6, max_num_embodiments=embodiments)
    for name, content in {**config.to_files("float32"), "tokenizer_config.json": {}}.items():
        (folder / name).write_text(json.dumps(content))
    return str(folder)


MODALITY = {
    "embodiment_tag": "gr1",
    "video": {},
    "state": {"arm": {"group": "policy", "start": 0, "end": 2, "normalization": None}},
    "action": {"arm": {"start": 0, "end": 2, "normalization": "min_max"}},
}


METADATA = {"gr1": {"statistics": {"state": {}, "action": {"arm": {"min": [0, 0], "max": [1, 1]}}}}}


def write_metadata(folder, content: Any) -> None:
    (folder / "experiment_cfg").mkdir(exist_ok=True)
    (folder / "experiment_cfg" / "metadata.json").write_text(json.dumps(content))
