# SPDX-License-Identifier: BSD-3-Clause
"""rsl_rl models: GR00T actors and critics, and what algorithms need of a policy."""

from .chunk_queue import ChunkQueue
from .critics import Gr00tFeatureCritic
from .flow_actor import FlowActor
from .flow_mlp_actor import FlowMlpActor
from .gr00t_actor import Gr00tActor
from .mlp import OrthogonalMLPModel, OrthogonalRNNModel
from .policy import DecisionPolicy, PolicyEvaluation, StepPolicy
from .recurrent import RecurrentMemory, RecurrentStepPolicy

__all__ = [
    "ChunkQueue",
    "DecisionPolicy",
    "FlowActor",
    "FlowMlpActor",
    "Gr00tActor",
    "Gr00tFeatureCritic",
    "OrthogonalMLPModel",
    "OrthogonalRNNModel",
    "PolicyEvaluation",
    "RecurrentMemory",
    "RecurrentStepPolicy",
    "StepPolicy",
]
