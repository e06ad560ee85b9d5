# SPDX-License-Identifier: BSD-3-Clause
"""`gr00t-rl new`: what it writes, and what it refuses. That it works is tested in tasks/test_example.py."""

import ast
import importlib
import tomllib
from pathlib import Path

import gymnasium as gym
import pytest
import torch
from tensordict import TensorDict

from gr00t_rl.cli import new
from gr00t_rl.models import Gr00tActor
from gr00t_rl.preflight import check_agent
from gr00t_rl.preflight.files import unknown_hold
from gr00t_rl.utils.errors import ConfigurationError

LORA = "rsl_rl_lora_cfg_entry_point"


def test_the_package_has_its_new_name_everywhere(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    new.main(["two_links"])
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) == len(new.files()) and "two_links/two_links/arm.usda" in written
    project = tomllib.loads(Path("two_links/pyproject.toml").read_text())
    assert project["project"]["name"] == "two_links"
    assert project["project"]["entry-points"]["isaaclab.tasks"] == {"two_links": "two_links"}
    texts = {path: (tmp_path / path).read_text() for path in written}
    assert 'id="Two-Links-Reach"' in texts["two_links/two_links/__init__.py"]
    assert not [path for path, text in texts.items() if new.NAME in text or new.words(new.NAME) in text]


def test_it_imports_nothing_private() -> None:
    """A user copies these imports."""
    for file in new.files():
        if file.suffix == ".py":
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gr00t_rl"):
                    assert not [alias.name for alias in node.names if alias.name.startswith("_")], file


@pytest.mark.slow
def test_its_lora_agent_is_registered_and_builds(tmp_path: Path, monkeypatch) -> None:
    """On a small random network: random weights have no quantiles, and those of the released size are the same code."""
    monkeypatch.chdir(tmp_path)
    new.main(["three_links"])
    monkeypatch.syspath_prepend(str(tmp_path / "three_links"))
    importlib.import_module("three_links")
    kwargs = gym.spec("Three-Links-Reach").kwargs
    cfgs = []
    for name, trained in (("rsl_rl_cfg_entry_point", {"dit": "full", "projectors": "full"}), (LORA, {"dit": "lora"})):
        module, _, cls = kwargs[name].partition(":")
        cfgs.append(getattr(importlib.import_module(module), cls)())
        check_agent(cfgs[-1], reads_files=False)
        assert {part: how for part, how in cfgs[-1].actor.train.items() if how != "off"} == trained
        assert cfgs[-1].obs_groups["actor"] == ["policy", "top", "forearm"] and cfgs[-1].actor.align_decisions
        assert unknown_hold(cfgs[-1].actor) is None
    cfg = cfgs[-1]
    assert cfg.experiment_name == "three_links_reach_lora"
    assert cfg.algorithm.learning_rate == pytest.approx(5.0 * cfgs[0].algorithm.learning_rate)
    settings = cfg.actor.to_dict() | {"checkpoint": "tiny", "instruction": "reach the green ball"}
    for part in ("state", "action"):
        for key in settings["modality"][part].values():
            key["normalization"] = None
    obs = TensorDict({"policy": torch.zeros(2, 4)}, [2])
    obs["top"] = obs["forearm"] = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    del settings["class_name"], settings["stochastic"]
    actor = Gr00tActor(obs, {"actor": cfg.obs_groups["actor"]}, "actor", 2, **settings)
    learned = {name for name, parameter in actor.named_parameters() if parameter.requires_grad}
    assert learned and all("lora" in name for name in learned)
    assert actor.act_chunk(obs).shape == (2, 8, 2)


@pytest.mark.parametrize("name", ["My-Robot", "2links", "class", "a/b", ""])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="set lower-case letters, digits and _, such as my_robot"):
        new.main([name])


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("json", "torch"):
        with pytest.raises(ConfigurationError, match=f"name is '{name}', which is a package here already"):
            new.main([name])
    new.main(["two_links", "--out", "there"])
    with pytest.raises(ConfigurationError, match="there exists and is not empty; give another name, or --out"):
        new.main(["two_links", "--out", "there"])
