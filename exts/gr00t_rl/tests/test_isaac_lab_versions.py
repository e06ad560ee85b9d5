# SPDX-License-Identifier: BSD-3-Clause
"""Nothing depends on what Isaac Lab 3.1 removes: rsl_rl's compatibility shims, and its JIT and ONNX exporters."""

from __future__ import annotations

import ast
import copy
from pathlib import Path

import isaaclab_rl.rsl_rl as isaac
import pytest
import torch
from helpers import PointMassEnv, make_runner, runner_cfg

from gr00t_rl import cfg as cfgs
from gr00t_rl.launch.agent_cfg import for_installed_rsl_rl

ROOT = Path(__file__).parents[3]
SHIMS_OF = "exts/gr00t_rl/gr00t_rl/launch/agent_cfg.py"
GONE = {
    *("handle_deprecated_rsl_rl_cfg", "export_policy_as_jit", "export_policy_as_onnx"),
    *("RslRlPpoActorCriticCfg", "RslRlPpoActorCriticRecurrentCfg"),
    *("RslRlDistillationStudentTeacherCfg", "RslRlDistillationStudentTeacherRecurrentCfg"),
    *("init_noise_std", "noise_std_type", "state_dependent_std", "empirical_normalization"),
}
"""Names of functions, classes and settings that Isaac Lab 3.0 has for older versions of rsl_rl."""
LEGACY = ("stochastic", "init_noise_std", "noise_std_type", "state_dependent_std")


def names_in(file: Path) -> set[str]:
    """All names, attributes, keywords and imports of a file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.keyword):
            found.add(node.arg or "")
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {part for alias in node.names for part in (alias.name.split(".")[-1], alias.asname or "")}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def test_the_shims_are_named_in_one_place():
    folders = ("exts/gr00t_rl/gr00t_rl", "source", "scripts")
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    users = {str(file.relative_to(ROOT)): sorted(names_in(file) & GONE) for file in files}
    assert {file: names for file, names in users.items() if names} == {SHIMS_OF: ["handle_deprecated_rsl_rl_cfg"]}


RUNNERS = sorted(
    name
    for name, cls in vars(cfgs).items()
    if name.endswith("RunnerCfg") and issubclass(cls, cfgs.RunnerCfg) and cls is not cfgs.RunnerCfg
)


@pytest.mark.parametrize("name", RUNNERS)
def test_the_shims_change_none_of_our_agents(name, capsys):
    """They take out their own fields, and infer nothing."""
    agent_cfg = getattr(cfgs, name)()

    def models() -> dict:
        found = {part: getattr(agent_cfg, part) for part in ("actor", "critic")}
        return {
            part: {field: copy.deepcopy(value) for field, value in vars(model).items() if field not in LEGACY}
            for part, model in found.items()
        }

    before = models()
    assert for_installed_rsl_rl(agent_cfg) is agent_cfg
    assert models() == before and "WARNING" not in capsys.readouterr().out


def test_without_the_shims_a_cfg_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(isaac, "handle_deprecated_rsl_rl_cfg", None)
    agent_cfg = cfgs.MlpRunnerCfg()
    assert for_installed_rsl_rl(agent_cfg) is agent_cfg and agent_cfg.actor.stochastic is False


def test_models_are_made_of_settings_that_nobody_cleaned():
    cfg = runner_cfg("mlp")
    for part in ("actor", "critic"):
        cfg[part]["stochastic"] = False
    torch.manual_seed(0)
    expected = dict(make_runner(runner_cfg("mlp"), PointMassEnv()).alg.actor.named_parameters())
    torch.manual_seed(0)
    found = dict(make_runner(cfg, PointMassEnv()).alg.actor.named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
