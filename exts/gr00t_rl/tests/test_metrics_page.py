# SPDX-License-Identifier: BSD-3-Clause
"""docs/metrics.md has every tag that is written, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from helpers import grpo_cfg, make_runner, runner_cfg
from planned_env import PlannedEnv
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "metrics.md"
SOURCES = ROOT / "exts" / "gr00t_rl" / "gr00t_rl"
TAG = r"(?:train|charts|perf|grpo)/\w+(?:/\w+)?"
ENV_ONLY = {"charts/success_rate/NAME"}
"""Written by the success term of our tasks, which wants Isaac Lab."""
GPU_ONLY = {"perf/peak_memory_gb"}
RND = {"num_outputs": 4, "predictor_hidden_dims": [8], "target_hidden_dims": [8], "weight": 1.0}


def tags_of_page() -> set[str]:
    found = re.findall(rf"^\| `({TAG})` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(found) == len(set(found))
    return set(found)


def written(cfg: dict[str, Any], folder: Path, group_size: int = 0) -> set[str]:
    """Tags that two iterations write, with PART for the name of a part of the network."""
    runner = make_runner(cfg | {"evaluation_interval": 1}, PlannedEnv((2,), group_size=group_size), log_dir=folder)
    runner.learn(2)
    tags = EventAccumulator(str(folder)).Reload().Tags()["scalars"]
    tags = {tag for tag in tags if re.fullmatch(TAG, tag)}
    return {re.sub(r"^(train/(?:grad_norm|learning_rate))_\w+", r"\1_PART", tag) for tag in tags}


def test_the_page_has_the_tags_that_are_written_and_no_other(tmp_path):
    adaptive = {"schedule": "adaptive", "target_kl": 100.0}
    parts = {"dit": {"learning_rate": 1e-4, "max_grad_norm": 1.0}}
    ppo = written(runner_cfg("flow_sde_one", parts=parts, **adaptive), tmp_path / "ppo")
    curious = runner_cfg(rnd_cfg=RND)
    curious["obs_groups"]["rnd_state"] = ["critic"]
    curious = written(curious, tmp_path / "curious")
    grpo = written(grpo_cfg(kl_coef=0.1, **adaptive), tmp_path / "grpo", group_size=4)
    assert ppo | curious | grpo == tags_of_page() - ENV_ONLY - GPU_ONLY


def test_the_page_has_every_tag_that_the_sources_spell_out():
    spelt = {
        tag for file in SOURCES.rglob("*.py") for tag in re.findall(rf"[\"'`]({TAG})[\"'`]", file.read_text("utf-8"))
    }
    assert spelt >= {"charts/failure_rate", "charts/time_out_rate", "perf/peak_memory_gb", "grpo/mean_reward"}
    assert spelt <= tags_of_page()
