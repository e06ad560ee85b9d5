# SPDX-License-Identifier: BSD-3-Clause
"""What orthogonal weights leave of a distribution's own initialisation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict

from gr00t_rl.models import OrthogonalMLPModel, OrthogonalRNNModel

ACTIONS = 3
RNN = {"rnn_type": "gru", "rnn_hidden_dim": 8, "rnn_num_layers": 1}


@pytest.mark.parametrize(("model_type", "more"), [(OrthogonalMLPModel, {}), (OrthogonalRNNModel, RNN)])
@pytest.mark.parametrize("kind", ["GaussianDistribution", "HeteroscedasticGaussianDistribution"])
@pytest.mark.parametrize("std_type", ["scalar", "log"])
def test_exploration_begins_with_init_std(model_type: Any, more: dict[str, Any], kind: str, std_type: str) -> None:
    """Whatever is observed; the mean's weights are orthogonal, times ``output_gain``."""
    torch.manual_seed(0)
    obs = TensorDict({"policy": torch.randn(6, 5)}, [6])
    distribution = {"class_name": kind, "init_std": 0.3, "std_type": std_type}
    settings: dict[str, Any] = {"hidden_dims": [16], "activation": "elu", "output_gain": 0.01, **more}
    model = model_type(obs, {"actor": ["policy"]}, "actor", ACTIONS, distribution_cfg=distribution, **settings)
    model(obs, stochastic_output=True)
    torch.testing.assert_close(model.output_std, torch.full((6, ACTIONS), 0.3), atol=1e-5, rtol=0)
    last = [module for module in model.mlp if isinstance(module, torch.nn.Linear)][-1]
    mean = last.weight[:ACTIONS] / 0.01
    torch.testing.assert_close(mean @ mean.T, torch.eye(ACTIONS), atol=1e-5, rtol=0)
