# SPDX-License-Identifier: BSD-3-Clause
"""Options of rsl_rl's own PPO that ours does not have are refused by name, and dropped where they are off."""

from __future__ import annotations

import pytest
import torch
from helpers import PointMassEnv, make_runner, runner_cfg
from rsl_rl.models import MLPModel
from rsl_rl.modules import EmpiricalNormalization

from gr00t_rl.utils import rsl_rl_versions
from gr00t_rl.utils.errors import ConfigurationError

OFF = {
    "symmetry_cfg": None,
    "share_cnn_encoders": False,
    "use_mixed_precision": False,
    "optimizer": "adam",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("symmetry_cfg", {"use_data_augmentation": True}),
        ("use_mixed_precision", True),
        ("optimizer", "sgd"),
    ],
)
def test_unsupported_option_is_refused_by_name(name, value):
    with pytest.raises(ConfigurationError, match=rf"algorithm\.{name}=.*; set it to {OFF[name]!r}") as error:
        make_runner(runner_cfg("mlp", **{name: value}), PointMassEnv())
    assert "\n" not in str(error.value)


def test_options_that_are_off_are_accepted():
    make_runner(runner_cfg("mlp", **OFF), PointMassEnv()).learn(1)


class OtherRecurrentModel(torch.nn.Module):
    is_recurrent = True


@pytest.mark.parametrize("model", ["actor", "critic"])
def test_recurrent_models_of_other_kinds_are_refused(model):
    """Nobody knows where their hidden state is; scoring without it would silently be another policy."""
    cfg = runner_cfg("mlp")
    cfg[model]["class_name"] = OtherRecurrentModel
    with pytest.raises(ConfigurationError, match=f"{model}.class_name='OtherRecurrentModel' is recurrent, but no RNN"):
        make_runner(cfg, PointMassEnv())


def test_without_max_iterations_rates_do_not_anneal():
    """A runner's cfg need not say how long it will learn."""
    cfg = runner_cfg("mlp", schedule="linear")
    del cfg["max_iterations"]
    runner = make_runner(cfg, PointMassEnv())
    runner.learn(2)
    assert runner.alg.learning_rate == 1e-3


def test_what_older_rsl_rl_lacks_is_the_same():
    """rsl_rl 5.4 has no ``resolve_class``."""
    cfg = {"class_name": "MLPModel", "hidden_dims": [8]}
    model_class, arguments = rsl_rl_versions._resolve_class(cfg)
    assert model_class is MLPModel and arguments == {"hidden_dims": [8]}
    assert cfg == {"class_name": "MLPModel", "hidden_dims": [8]}
    arguments["hidden_dims"].append(4)
    assert cfg["hidden_dims"] == [8]


def test_processes_that_would_normalise_apart_are_refused(monkeypatch):
    """Before rsl_rl 5.5.1 a normaliser learns from its own rank's observations."""
    plain, normalised = torch.nn.Linear(1, 1), torch.nn.ModuleList([EmpiricalNormalization(1)])
    rsl_rl_versions.check_ranks(8, [plain, normalised])
    monkeypatch.setattr(rsl_rl_versions.metadata, "version", lambda name: "5.4.2")
    rsl_rl_versions.check_ranks(1, [plain, normalised])
    rsl_rl_versions.check_ranks(8, [plain])
    with pytest.raises(ConfigurationError, match=r"8 processes that normalise .* need rsl-rl-lib 5\.5\.1 .*5\.4\.2"):
        rsl_rl_versions.check_ranks(8, [plain, normalised])
