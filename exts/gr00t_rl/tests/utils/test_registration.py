# SPDX-License-Identifier: BSD-3-Clause
"""Bare class names, and what importing the package may pull in."""

from __future__ import annotations

import subprocess
import sys

import pytest
import rsl_rl.algorithms
import rsl_rl.models
from rsl_rl.utils import resolve_callable

import gr00t_rl.models
import gr00t_rl.storage


def test_our_classes_resolve_by_bare_name():
    assert resolve_callable("Gr00tActor") is gr00t_rl.models.Gr00tActor
    assert resolve_callable("Gr00tFeatureCritic") is gr00t_rl.models.Gr00tFeatureCritic


def test_names_of_rsl_rl_keep_their_meaning():
    assert resolve_callable("PPO") is rsl_rl.algorithms.PPO
    assert resolve_callable("MLPModel") is rsl_rl.models.MLPModel


def test_unknown_names_stay_unknown():
    with pytest.raises(ValueError, match="NoSuchModel"):
        resolve_callable("NoSuchModel")
    with pytest.raises(AttributeError, match="NoSuchModel"):
        _ = rsl_rl.models.NoSuchModel  # type: ignore[attr-defined]


_IMPORTS = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith("isaac"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import gr00t_rl
assert not {"torch", "rsl_rl", "transformers"} & sys.modules.keys(), "import gr00t_rl is slow"
import gr00t_rl.gr00t.n1d5.config, gr00t_rl.gr00t.n1d7.config, gr00t_rl.gr00t.generations
assert not {"torch", "rsl_rl", "transformers"} & sys.modules.keys(), "sizes are slow"
from gr00t_rl.gr00t import Gr00tN1d5
assert "transformers" in sys.modules and "rsl_rl" not in sys.modules
assert not [name for name in sys.modules if name.startswith("isaac")]
import gr00t_rl.algorithms, gr00t_rl.flow, gr00t_rl.models, gr00t_rl.storage
"""

_LATER = """
import gr00t_rl, sys
import rsl_rl.algorithms
from rsl_rl.utils import resolve_callable
assert "gr00t_rl.models" not in sys.modules
assert resolve_callable("Gr00tActor").__module__ == "gr00t_rl.models.gr00t_actor"
assert resolve_callable("DecisionStorage").__module__.startswith("gr00t_rl.storage")
import gr00t_rl.utils.registration as registration
registration.register_with_rsl_rl()  # again, with rsl_rl loaded: nothing changes
assert resolve_callable("Gr00tActor").__module__ == "gr00t_rl.models.gr00t_actor"
"""


def test_names_are_added_when_rsl_rl_loads_later():
    done = subprocess.run([sys.executable, "-c", _LATER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_imports_need_neither_transformers_nor_isaac_lab():
    """The package loads no transformers; the network, and all of the learning, works where Isaac Lab is missing."""
    done = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
