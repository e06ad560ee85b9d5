# SPDX-License-Identifier: BSD-3-Clause
"""What makes a flow-matching policy a distribution: schedules, and sampling and scoring of a denoising chain."""

from .gaussian import chain_entropy, chain_kl, chain_log_prob
from .heads import FlowHead, FlowSample, FlowSde, GaussianHead, Transitions, VelocityFn, make_head
from .schedule import flow_sde_std, flow_sde_weights, step_time

__all__ = [
    "FlowHead",
    "FlowSample",
    "FlowSde",
    "GaussianHead",
    "Transitions",
    "VelocityFn",
    "chain_entropy",
    "chain_kl",
    "chain_log_prob",
    "flow_sde_std",
    "flow_sde_weights",
    "make_head",
    "step_time",
]
