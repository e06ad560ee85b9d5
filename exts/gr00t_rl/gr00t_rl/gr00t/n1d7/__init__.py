# SPDX-License-Identifier: BSD-3-Clause
"""GR00T N1.7 (Qwen3-VL): a generation as ``gr00t_rl.gr00t.generations`` describes it.

Names are loaded on first use (PEP 562), as in :mod:`gr00t_rl.gr00t`.
"""

import importlib
from typing import Any

from .config import MODEL_TYPE
from .config import Gr00tN1d7Config as Config

__all__ = ["EMBODIMENTS", "LAYOUT", "MODEL_TYPE", "Config", "Network", "Processor", "count_flops", "tiny_tokenizer"]

EMBODIMENTS = {
    "new_embodiment": 10,
    "simpler_env_google": 0,
    "simpler_env_widowx": 1,
    "libero_sim": 2,
    "robocasa_panda_omron": 10,
    "robocasa_gr1_tabletop": 10,
    "unitree_g1_sonic": 11,
    "oxe_droid_relative_eef_relative_joint": 24,
    "real_g1_relative_eef_relative_joints": 25,
    "unitree_g1_full_body_with_waist_height_nav_cmd": 25,
    "real_r1_pro_sharpa_relative_eef": 26,
    "xdof_relative_eef_relative_joint": 27,
}

_LAZY = {
    "LAYOUT": ("model", "LAYOUT"),
    "Network": ("model", "Gr00tN1d7"),
    "Processor": ("processor", "Gr00tN1d7Processor"),
    "count_flops": ("flops", "count_flops"),
    "tiny_tokenizer": ("prompt", "tiny_tokenizer"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    globals()[name] = getattr(importlib.import_module(f".{module}", __name__), attribute)
    return globals()[name]
