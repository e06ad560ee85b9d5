# SPDX-License-Identifier: BSD-3-Clause
"""Documented metric names, and that a training run writes them to its event file."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import PointMassEnv, make_runner, runner_cfg
from rsl_rl.utils import wandb_log_writer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.log_writer import metric_logger, metric_tag

DOCUMENTED = {
    "train/policy_loss",
    "train/value_loss",
    "train/entropy_loss",
    "train/approx_kl",
    "train/clipfrac",
    "train/explained_variance",
    "train/grad_norm",
    "train/learning_rate",
    "charts/episodic_return",
    "charts/episodic_length",
    "charts/success_rate",
    "charts/SPS",
}


@pytest.mark.parametrize(
    ("tag", "ours"),
    [
        ("Loss/policy", "train/policy_loss"),
        ("Loss/approx_kl", "train/approx_kl"),
        ("Loss/perf/update", "perf/update"),
        ("Train/mean_reward", "charts/episodic_return"),
        ("Train/mean_reward/time", None),
        ("charts/success_rate", None),  # already named so by the env
        ("Episode/anything", None),
    ],
)
def test_tag_of(tag, ours):
    assert metric_tag(tag) == ours


def test_stock_loggers_are_replaced_and_others_kept():
    assert metric_logger("tensorboard", {}) == {"class_name": "gr00t_rl.utils.log_writer:TensorboardWriter"}
    wandb = metric_logger("wandb", {"wandb_project": "reach"})
    assert wandb == {"class_name": "gr00t_rl.utils.log_writer:WandbWriter", "project_name": "reach"}
    custom = {"class_name": "mine:Writer"}
    assert metric_logger(custom, {}) is custom


@pytest.mark.parametrize("actor", ["mlp", "flow_sde_one"])
def test_documented_metrics_are_in_the_event_file(actor, tmp_path):
    runner = make_runner(runner_cfg(actor, schedule="linear"), PointMassEnv(), log_dir=tmp_path)
    runner.learn(2)
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = set(events.Tags()["scalars"])
    perf = {"perf/collect", "perf/decide", "perf/update", "perf/env", "perf/render", "perf/decisions_per_s"}
    parts = {"perf/encode", "perf/denoise", "perf/store"}  # of deciding in chunks
    assert tags >= DOCUMENTED | perf
    assert tags & parts == (set() if actor == "mlp" else parts)
    for tag in DOCUMENTED | perf:
        values = [event.value for event in events.Scalars(tag)]
        assert len(values) == 2, tag
        assert all(map(math.isfinite, values)), tag
    rates = [event.value for event in events.Scalars("train/learning_rate")]
    assert rates == pytest.approx([1e-3, 0.9e-3])
    assert [event.value for event in events.Scalars("charts/success_rate")] == [0.25, 0.25]
    assert (tmp_path / "model_1.pt").is_file()


def wandb_records(file: Path) -> Iterator[bytes]:
    """Read the records of a run's file: LevelDB's log format (blocks of 32 KiB) after a header of 7 bytes."""
    data, position, record = file.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left  # a block's end too short for a record's header
            continue
        _, length, part = struct.unpack_from("<IHB", data, position)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if part in (1, 4):  # the whole record, or its last part
            yield record
            record = b""


def offline_history(folder: Path) -> dict[str, list[float]]:
    """What the one offline run under ``folder`` logged, by tag, from the file that ``wandb sync`` would send."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore  # an extra

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    logged: dict[str, list[float]] = {}
    for data in wandb_records(file):
        for item in Record.FromString(data).history.item:
            name = item.key or ".".join(item.nested_key)
            logged.setdefault(name, []).append(json.loads(item.value_json))
    return logged


def test_weights_and_biases_gets_the_documented_metrics(tmp_path, monkeypatch):
    """An offline run of the runner alone."""
    wandb = pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true", "CONSOLE": "off"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    cfg = {**runner_cfg(), "logger": "wandb", "wandb_project": "gr00t_rl_test"}
    make_runner(cfg, PointMassEnv(), log_dir=tmp_path / "run").learn(2)
    wandb.teardown()  # the file is written by another process, which is done with it when it has ended
    logged = offline_history(tmp_path)
    assert logged.keys() >= DOCUMENTED
    for tag in DOCUMENTED:
        assert len(logged[tag]) == 2 and all(map(math.isfinite, logged[tag])), tag
    assert logged["train/learning_rate"] == pytest.approx([1e-3, 1e-3])
    assert any((tmp_path / "run").glob("events.out.tfevents.*"))  # TensorBoard's file is written as well


class Outage:
    """Weights & Biases, whose calls fail from the ``first``-th on, the start being the first of them."""

    def __init__(self, first: int) -> None:
        self.config, self.calls, self._first = self, [], first

    def __getattr__(self, name: str):
        def call(*_: object, **__: object) -> None:
            self.calls.append(name)
            if len(self.calls) >= self._first:
                raise ConnectionError("the service is gone\nand so on")

        return call


@pytest.mark.parametrize("first", [2, 4, 12])
def test_an_outage_of_weights_and_biases_stops_no_run(first, tmp_path, monkeypatch, caplog):
    """It is told once, nothing is tried again, and the event file goes on."""
    fake = Outage(first)
    monkeypatch.setattr(wandb_log_writer, "wandb", fake)
    runner = make_runner({**runner_cfg("mlp"), "logger": "wandb"}, PointMassEnv(), log_dir=tmp_path)
    runner.learn(3)
    assert len(fake.calls) == first and fake.calls[0] == "init"
    told = [record.getMessage() for record in caplog.records if "Weights & Biases" in record.getMessage()]
    assert len(told) == 1 and "takes no more metrics (the service is gone); the run goes on" in told[0]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert len(events.Scalars("train/policy_loss")) == 3
    assert (tmp_path / "model_2.pt").is_file()


def test_weights_and_biases_that_does_not_start_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb_log_writer, "wandb", Outage(1))
    runner = make_runner({**runner_cfg("mlp"), "logger": "wandb"}, PointMassEnv(), log_dir=tmp_path)
    with pytest.raises(ConfigurationError, match=r"cannot be used \(the service is gone\); see `wandb login`"):
        runner.learn(1)


def test_an_event_file_that_cannot_be_written_stops_no_run(tmp_path, monkeypatch, caplog):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    make_runner(runner_cfg("mlp"), PointMassEnv(), log_dir=tmp_path).learn(2)
    told = [record.getMessage() for record in caplog.records if "takes no more metrics" in record.getMessage()]
    assert len(told) == 1 and "No space left on device" in told[0] and str(tmp_path) in told[0]


@pytest.mark.sim
def test_isaac_labs_command_logs_to_weights_and_biases(tmp_path):
    """Isaac Lab calls wandb by itself before the runner does, so that the version must suit it too."""
    pytest.importorskip("wandb")
    command = [
        *(sys.executable, "-m", "isaaclab", "train", "--rl_library", "rsl_rl", "--task", "Gr00t-Reach-Franka"),
        *("--agent", "rsl_rl_mlp_cfg_entry_point", "--num_envs", "4", "--device", "cpu", "--logger", "wandb"),
        # episodes of six steps, so that some have ended and every metric is there
        *("agent.max_iterations=1", "agent.num_steps_per_env=16", "env.episode_length_s=0.3"),
    ]
    env = {**os.environ, "WANDB_MODE": "offline", "CUDA_VISIBLE_DEVICES": ""}
    env.pop("WANDB_RUN_ID", None)
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    logged = offline_history(tmp_path)
    assert logged.keys() >= DOCUMENTED
    assert len(logged["train/policy_loss"]) == 1
