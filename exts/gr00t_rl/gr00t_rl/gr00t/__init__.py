# SPDX-License-Identifier: BSD-3-Clause
"""The GR00T N1.5 network: sizes, weights, inputs. Knows no reinforcement learning and no simulator."""

from .action_head import ActionHead, HeadContext
from .config import Gr00tN1d5Config
from .errors import CheckpointError
from .modality import METADATA_FILE, ActionKey, Modality, StateKey, Statistics, make_metadata, read_statistics
from .model import Gr00tN1d5
from .normalise import denormalise, normalise
from .processor import Gr00tProcessor
from .tokenizer import load_tokenizer, tiny_tokenizer, tokenizer_assets

__all__ = [
    "METADATA_FILE",
    "ActionHead",
    "ActionKey",
    "CheckpointError",
    "Gr00tN1d5",
    "Gr00tN1d5Config",
    "Gr00tProcessor",
    "HeadContext",
    "Modality",
    "StateKey",
    "Statistics",
    "denormalise",
    "load_tokenizer",
    "make_metadata",
    "normalise",
    "read_statistics",
    "tiny_tokenizer",
    "tokenizer_assets",
]
