# SPDX-License-Identifier: BSD-3-Clause
"""Options of rsl_rl's own PPO that ours does not have are refused by name, and dropped where they are off."""

from __future__ import annotations

import pytest
from helpers import PointMassEnv, make_runner, runner_cfg

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


@pytest.mark.parametrize("model", ["actor", "critic"])
def test_recurrent_models_are_refused(model):
    """Their hidden state would have to be stored; scoring without it would silently be another policy."""
    cfg = runner_cfg("mlp")
    cfg[model]["class_name"] = "RNNModel"
    with pytest.raises(ConfigurationError, match=f"{model}.class_name='RNNModel' is recurrent"):
        make_runner(cfg, PointMassEnv())
