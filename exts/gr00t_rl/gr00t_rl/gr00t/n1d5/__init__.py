# SPDX-License-Identifier: BSD-3-Clause
"""GR00T N1.5 (SigLIP2 and Qwen3): a generation as ``gr00t_rl.gr00t.generations`` describes it.

Names are loaded on first use (PEP 562), as in :mod:`gr00t_rl.gr00t`.
"""

from ..lazy import lazy_names
from .config import MODEL_TYPE
from .config import Gr00tN1d5Config as Config

__all__ = ["LAYOUT", "MODEL_TYPE", "Config", "Network", "Processor", "count_flops", "tiny_tokenizer"]

__getattr__ = lazy_names(
    __name__,
    {
        "LAYOUT": ("model", "LAYOUT"),
        "Network": ("model", "Gr00tN1d5"),
        "Processor": ("processor", "Gr00tN1d5Processor"),
        "count_flops": ("flops", "count_flops"),
        "tiny_tokenizer": ("prompt", "tiny_tokenizer"),
    },
)
