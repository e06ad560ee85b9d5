# SPDX-License-Identifier: BSD-3-Clause
"""The GR00T N1.5 network: sizes, weights, inputs. Knows no reinforcement learning and no simulator."""

from .action_head import ActionHead, HeadContext
from .config import Gr00tN1d5Config
from .errors import CheckpointError
from .model import Gr00tN1d5
from .normalise import denormalise, normalise
from .processor import Gr00tProcessor
from .tokenizer import load_tokenizer, tiny_tokenizer, tokenizer_assets

__all__ = [
    "ActionHead",
    "CheckpointError",
    "Gr00tN1d5",
    "Gr00tN1d5Config",
    "Gr00tProcessor",
    "HeadContext",
    "denormalise",
    "load_tokenizer",
    "normalise",
    "tiny_tokenizer",
    "tokenizer_assets",
]
