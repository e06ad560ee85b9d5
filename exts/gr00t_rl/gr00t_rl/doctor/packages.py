# SPDX-License-Identifier: BSD-3-Clause
"""Are the packages there that training needs, in versions that fit?"""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path

from ..utils.extras import how_to_get
from .finding import Finding, importing, is_there, version_of

ISAACLAB = how_to_get("isaaclab")
OF_ISAACLAB = ("newton", "warp-lang", "mujoco-warp", "hydra-core", "gymnasium")
"""What Isaac Lab brings and pins."""
OURS = ("torch", "transformers", "rsl-rl-lib", "tensordict", "peft", "safetensors", "huggingface_hub", "numpy")
"""What this package requires, in ranges."""


def base() -> list[Finding]:
    """Python, this package, and what the README's first command loads."""
    python_fits = sys.version_info[:2] == (3, 12)
    return [
        Finding("python", python_fits, platform.python_version(), "use Python 3.12, as Isaac Lab 3.0 does", True),
        Finding("gr00t_rl", True, version_of("gr00t_rl") or "on the path, not installed"),
        _installed("isaaclab", None, ISAACLAB),
        *(_installed(name, _range_of(name), f"pip install '{name}{_range_of(name) or ''}'") for name in OURS),
        *(_installed(name, None, ISAACLAB) for name in OF_ISAACLAB),
        *(_imports(name) for name in ("torch", "warp")),
    ]


def tasks() -> list[Finding]:
    """Does Isaac Lab find the tasks, and are the base policies there that training starts from?"""
    entries = metadata.entry_points(group="isaaclab.tasks", name="gr00t_rl")
    findings = [
        Finding(
            "found by Isaac Lab",
            bool(entries),
            ", ".join(sorted({entry.value for entry in entries})) or "no entry point",
            "install the package instead of putting it on the path: pip install -e exts/gr00t_rl, in a clone",
            needed=True,
        )
    ]
    folder = Path(__file__).parents[1] / "assets" / "checkpoints"
    policies = sorted(file.parent.name for file in folder.glob("*/model*.safetensors"))
    findings.append(
        Finding(
            "base policies",
            "pick_place_cube" in policies,
            ", ".join(policies) or f"none in {folder}",
            "copy the folder from a clone: exts/gr00t_rl/gr00t_rl/assets/checkpoints",
            needed=True,
        )
    )
    return findings


def _installed(name: str, allowed: str | None, get: str) -> Finding:
    found = version_of(name)
    if found is None:
        return Finding(name, False, "not installed", get, True)
    if allowed:
        from packaging.specifiers import SpecifierSet

        if not SpecifierSet(allowed).contains(found, prereleases=True):
            return Finding(name, False, f"{found}, outside {allowed}", get, True)
    return Finding(name, True, found, needed=True)


def _range_of(name: str) -> str | None:
    """Versions of ``name`` that this package's metadata allows; None where it says nothing."""
    try:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        lines = metadata.requires("gr00t_rl") or []
    except (ImportError, metadata.PackageNotFoundError):
        return None
    requirements = [requirement for requirement in map(Requirement, lines) if not requirement.marker]
    found = [r for r in requirements if canonicalize_name(r.name) == canonicalize_name(name)]
    return str(found[0].specifier) or None if found else None


def _imports(module: str) -> Finding:
    """Whether a package with compiled libraries loads; nothing to add where it is missing."""
    if not is_there(module):
        return Finding(f"import {module}", False, "not installed", ISAACLAB, True)
    problem = importing(module)
    return Finding(f"import {module}", problem is None, problem or "loads", f"reinstall it: {ISAACLAB}", True)
