# SPDX-License-Identifier: BSD-3-Clause
"""What makes a flow-matching policy a distribution: schedules, and sampling and scoring of a denoising chain."""

from .correlation import NoiseCorrelation
from .factory import make_head
from .gaussian import chain_entropy, chain_kl, chain_log_prob
from .heads import FlowHead, FlowSample, FlowSde, GaussianHead, Transitions, VelocityField, VelocityFn
from .matching import flow_matching_loss, sample_time, time_bucket, time_of
from .noise import FlowNoise, NoiseNet
from .schedule import flow_sde_std, flow_sde_weights, step_time

__all__ = [
    "FlowHead",
    "FlowNoise",
    "FlowSample",
    "FlowSde",
    "GaussianHead",
    "NoiseCorrelation",
    "NoiseNet",
    "Transitions",
    "VelocityField",
    "VelocityFn",
    "chain_entropy",
    "chain_kl",
    "chain_log_prob",
    "flow_matching_loss",
    "flow_sde_std",
    "flow_sde_weights",
    "make_head",
    "sample_time",
    "step_time",
    "time_bucket",
    "time_of",
]
