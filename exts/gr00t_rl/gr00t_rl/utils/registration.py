# SPDX-License-Identifier: BSD-3-Clause
"""Make our classes resolvable by bare name in rsl_rl configurations."""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from collections.abc import Sequence
from types import ModuleType

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
    """Add our class names to rsl_rl's packages, resolved on first use.

    A package that is not loaded yet gets them when it is, by an import hook (PEP 302): rsl_rl brings torch, and
    ``import gr00t_rl`` is what every command of ours begins with. A module-level ``__getattr__`` (PEP 562) keeps our
    own classes from loading before one is asked for.
    """
    for name in _EXPORTS.keys() & sys.modules.keys():
        _add_exports(sys.modules[name])
    if not any(isinstance(finder, _ExportsFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ExportsFinder())


class _ExportsFinder(importlib.abc.MetaPathFinder):
    """Finds rsl_rl's packages as the other finders do, and adds our names when one of them has loaded."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None):
        if fullname not in _EXPORTS:
            return None
        finders = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in finders)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_add(module: ModuleType) -> None:
            load(module)
            _add_exports(module)

        spec.loader.exec_module = load_and_add  # the loader is this module's own
        return spec


def _add_exports(package: ModuleType) -> None:
    exports = _EXPORTS[package.__name__]
    package.__getattr__ = _lazy_attributes(package.__name__, exports, getattr(package, "__getattr__", None))


def _lazy_attributes(package_name: str, exports: dict[str, str], fallback):
    """Return a module ``__getattr__`` that imports the named classes on first access."""

    def __getattr__(name: str):
        if name in exports:
            return getattr(importlib.import_module(exports[name]), name)
        if fallback is not None:
            return fallback(name)
        raise AttributeError(f"module {package_name!r} has no attribute {name!r}")

    return __getattr__
