# SPDX-License-Identifier: BSD-3-Clause
"""The GR00T N1.5 network: sizes, weights, inputs. Knows no reinforcement learning and no simulator.

Names are loaded on first use (PEP 562): the sizes in :mod:`.config` need neither torch nor transformers, and command
lines that offer them as options should not wait for these.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .action_head import ActionHead, HeadContext
    from .config import Gr00tN1d5Config
    from .errors import CheckpointError
    from .modality import METADATA_FILE, ActionKey, Modality, StateKey, Statistics, make_metadata, read_statistics
    from .model import Gr00tN1d5
    from .processor import Gr00tProcessor
    from .tokenizer import load_tokenizer, tiny_tokenizer, tokenizer_assets

_MODULES = {
    "action_head": ("ActionHead", "HeadContext"),
    "config": ("Gr00tN1d5Config",),
    "errors": ("CheckpointError",),
    "modality": (
        *("METADATA_FILE", "ActionKey", "Modality", "StateKey", "Statistics"),
        *("make_metadata", "read_statistics"),
    ),
    "model": ("Gr00tN1d5",),
    "processor": ("Gr00tProcessor",),
    "tokenizer": ("load_tokenizer", "tiny_tokenizer", "tokenizer_assets"),
}

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
    "load_tokenizer",
    "make_metadata",
    "read_statistics",
    "tiny_tokenizer",
    "tokenizer_assets",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(importlib.import_module(f".{module}", __name__), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
