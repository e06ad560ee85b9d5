# SPDX-License-Identifier: BSD-3-Clause
"""Make our classes resolvable by bare name in rsl_rl configurations."""

from __future__ import annotations

import importlib
import importlib.util

# rsl_rl looks a bare name up as an attribute of its sub-packages (``rsl_rl.utils.resolve_callable``). Names that
# rsl_rl has itself, such as ``PPO``, keep their meaning there: ours is "gr00t_rl.algorithms:PPO".
_EXPORTS = {
    "rsl_rl.models": dict.fromkeys(
        ("FlowMlpActor", "Gr00tActor", "Gr00tFeatureCritic", "OrthogonalMLPModel", "OrthogonalRNNModel"),
        "gr00t_rl.models",
    ),
    "rsl_rl.storage": {"DecisionStorage": "gr00t_rl.storage"},
}


def register_with_rsl_rl() -> None:
    """Add our class names to rsl_rl's packages, resolved on first use; does nothing without rsl_rl.

    A module-level ``__getattr__`` (PEP 562) keeps ``import gr00t_rl`` free of transformers and Isaac Lab.
    """
    if importlib.util.find_spec("rsl_rl") is None:
        return
    for package_name, exports in _EXPORTS.items():
        package = importlib.import_module(package_name)
        package.__getattr__ = _lazy_attributes(package_name, exports, getattr(package, "__getattr__", None))


def _lazy_attributes(package_name: str, exports: dict[str, str], fallback):
    """Return a module ``__getattr__`` that imports the named classes on first access."""

    def __getattr__(name: str):
        if name in exports:
            return getattr(importlib.import_module(exports[name]), name)
        if fallback is not None:
            return fallback(name)
        raise AttributeError(f"module {package_name!r} has no attribute {name!r}")

    return __getattr__
