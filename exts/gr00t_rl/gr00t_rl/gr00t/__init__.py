# SPDX-License-Identifier: BSD-3-Clause
"""The GR00T networks: sizes, weights, inputs. Knows no reinforcement learning and no simulator.

Each generation is a folder, see :mod:`.generations`; :func:`from_pretrained` looks at a checkpoint and gives the right
one. Names are loaded on first use (PEP 562): sizes need neither torch nor transformers, and command lines that offer
them as options should not wait for these.
"""

from typing import TYPE_CHECKING

from .lazy import lazy_names

if TYPE_CHECKING:
    from .action_head import ActionHead, HeadContext
    from .errors import CheckpointError
    from .generations import GENERATIONS, TINY, NetworkConfig, generation
    from .head_config import ActionHeadConfig
    from .loading import (
        files_of,
        from_pretrained,
        generation_of_folder,
        settings_of_checkpoint,
        statistics_of,
        without_weights,
    )
    from .metadata import make_metadata
    from .modality import METADATA_FILE, ActionKey, Modality, StateKey, Statistics, read_statistics
    from .n1d5.config import Gr00tN1d5Config
    from .n1d5.model import Gr00tN1d5
    from .n1d5.processor import Gr00tN1d5Processor
    from .n1d7.config import Gr00tN1d7Config
    from .n1d7.model import Gr00tN1d7
    from .n1d7.processor import Gr00tN1d7Processor
    from .network import Gr00tNetwork
    from .processor import Gr00tProcessor
    from .settings import PolicySettings
    from .tokenizer import load_tokenizer, tokenizer_assets

_MODULES = {
    "action_head": ("ActionHead", "HeadContext"),
    "errors": ("CheckpointError",),
    "generations": ("GENERATIONS", "TINY", "NetworkConfig", "generation"),
    "head_config": ("ActionHeadConfig",),
    "loading": (
        *("files_of", "from_pretrained", "generation_of_folder"),
        *("settings_of_checkpoint", "statistics_of", "without_weights"),
    ),
    "metadata": ("make_metadata",),
    "modality": (
        *("METADATA_FILE", "ActionKey", "Modality", "StateKey", "Statistics"),
        "read_statistics",
    ),
    "n1d5.config": ("Gr00tN1d5Config",),
    "n1d5.model": ("Gr00tN1d5",),
    "n1d5.processor": ("Gr00tN1d5Processor",),
    "n1d7.config": ("Gr00tN1d7Config",),
    "n1d7.model": ("Gr00tN1d7",),
    "n1d7.processor": ("Gr00tN1d7Processor",),
    "network": ("Gr00tNetwork",),
    "processor": ("Gr00tProcessor",),
    "settings": ("PolicySettings",),
    "tokenizer": ("load_tokenizer", "tokenizer_assets"),
}

__all__ = [
    "GENERATIONS",
    "METADATA_FILE",
    "TINY",
    "ActionHead",
    "ActionHeadConfig",
    "ActionKey",
    "CheckpointError",
    "Gr00tN1d5",
    "Gr00tN1d5Config",
    "Gr00tN1d5Processor",
    "Gr00tN1d7",
    "Gr00tN1d7Config",
    "Gr00tN1d7Processor",
    "Gr00tNetwork",
    "Gr00tProcessor",
    "HeadContext",
    "Modality",
    "NetworkConfig",
    "PolicySettings",
    "StateKey",
    "Statistics",
    "files_of",
    "from_pretrained",
    "generation",
    "generation_of_folder",
    "load_tokenizer",
    "make_metadata",
    "read_statistics",
    "settings_of_checkpoint",
    "statistics_of",
    "tokenizer_assets",
    "without_weights",
]

__getattr__ = lazy_names(__name__, {name: (module, name) for module, names in _MODULES.items() for name in names})
