# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints are whole or absent, hold plain data, and are refused in one line when broken."""

from __future__ import annotations

import pickle
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ACTORS, PointMassEnv, make_runner, runner_cfg
from rsl_rl.runners import OnPolicyRunner

from gr00t_rl.utils.errors import ConfigurationError, NotWritten
from gr00t_rl.utils.rng import rng_state, set_rng_state
from gr00t_rl.utils.runner_files import check_readable
from gr00t_rl.utils.whole_files import PARTIAL


@pytest.mark.parametrize("actor", ACTORS)
def test_runner_writes_plain_data(actor, tmp_path):
    runner = make_runner(runner_cfg(actor, reward_scaling=True), PointMassEnv())
    assert isinstance(runner, OnPolicyRunner)
    runner.learn(1)
    runner.save(str(tmp_path / "model.pt"), infos={"note": 1})
    content = check_readable(str(tmp_path / "model.pt"))
    assert content["iter"] == 0
    assert content["infos"] == {"note": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]
    assert runner.load(str(tmp_path / "model.pt")) == {"note": 1}


def test_interrupted_write_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    runner, path = make_runner(runner_cfg(), PointMassEnv()), tmp_path / "model.pt"
    runner.save(str(path))
    before = path.read_bytes()

    def fail(state: dict, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(NotWritten, match=rf"{path} cannot be written \(disk full\).*; resume from {path}"):
        runner.save(str(path))
    assert path.read_bytes() == before


KILLED = """
import os, sys, torch
from pathlib import Path
from gr00t_rl.utils.runner_files import save_whole

class DiesHalfway:
    def __reduce__(self):
        os.kill(os.getpid(), 9)

path = Path(sys.argv[1])
save_whole({"iter": 1}, str(path))
save_whole({"weights": torch.zeros(100_000), "last": DiesHalfway()}, str(path))
"""


@pytest.mark.parametrize("where", ["act", "update"])
@pytest.mark.parametrize(("size", "said"), [(6, "micro_batch_size=3,"), (None, "micro_batch_size to a part of")])
def test_memory_that_runs_out_ends_in_one_line(where, size, said, tmp_path, monkeypatch):
    runner = make_runner(runner_cfg(micro_batch_size=size), PointMassEnv())
    runner.learn(1)
    runner.save(str(tmp_path / "model_0.pt"))

    def fail(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")

    monkeypatch.setattr(runner.alg, where, fail)
    with pytest.raises(ConfigurationError) as error:
        runner.learn(1)
    line = str(error.value)
    assert "ran out in iteration 1 (CUDA out of memory. Tried to allocate 2.00 GiB.); set agent.algorithm." in line
    assert said in line and f"resume from {tmp_path / 'model_0.pt'}" in line


def test_killed_while_writing(tmp_path):
    """The file of before stays, and Isaac Lab's ways to find the latest checkpoint do not see the half one."""
    from isaaclab_rl.entrypoints.common import resolve_checkpoint_selector, write_run_manifest
    from isaaclab_tasks.utils import get_checkpoint_path

    run = tmp_path / "run"
    write_run_manifest(str(run), library="rsl_rl", task="T", metadata={})
    path = run / "model_3.pt"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert torch.load(path, weights_only=True) == {"iter": 1}
    assert [file.name for file in run.iterdir() if file.name.endswith(PARTIAL)] == [f".model_3.pt{PARTIAL}"]
    pattern = r"model_.*\.pt"
    assert get_checkpoint_path(str(tmp_path), "run", pattern) == str(path)
    found = resolve_checkpoint_selector(
        str(tmp_path), "latest", library="rsl_rl", task="T", checkpoint_pattern=pattern, metadata={}
    )
    assert found == str(path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "bytes", "pickle", "missing", "foreign", "stock"])
def test_broken_checkpoint_is_explained(damage, tmp_path):
    runner, path = make_runner(runner_cfg(), PointMassEnv()), tmp_path / "model.pt"
    runner.save(str(path))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-5000])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "bytes":
        path.write_bytes(random.Random(0).randbytes(4096))
    elif damage == "pickle":
        path.write_bytes(pickle.dumps({"actor_state_dict": {}, "iter": 0}))
    elif damage == "stock":
        cfg = runner_cfg()
        cfg["algorithm"] = {"class_name": "PPO", "rnd_cfg": None, "symmetry_cfg": None}
        make_runner(cfg, PointMassEnv()).save(str(path))
    elif damage == "foreign":
        torch.save({"model": torch.zeros(1)}, path)
    else:
        path.unlink()
    with pytest.raises(ConfigurationError, match=str(path)) as error:
        runner.load(str(path))
    assert "\n" not in str(error.value)


class Malicious:
    """Its pickle writes a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_not_run(zipped, tmp_path):
    """A whole checkpoint of ours with one entry more, in torch's present and in its old file format."""
    runner, path, proof = make_runner(runner_cfg(), PointMassEnv()), tmp_path / "model.pt", tmp_path / "executed"
    content = {**runner.alg.save(), "iter": 0, "infos": Malicious(proof)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ConfigurationError, match="cannot be read") as error:
        runner.load(str(path))
    assert not proof.exists() and "\n" not in str(error.value)
    torch.load(path, weights_only=False)
    assert proof.exists()


def test_generators_continue_where_they_were_saved():
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()

    state = rng_state("cpu")
    first = draw()
    assert draw() != first
    set_rng_state(state, "cpu")
    assert draw() == first


def test_ranks_do_not_share_a_generator_after_a_resume(tmp_path, monkeypatch):
    """One process continues its own stream; of several each has its own, or all would draw rank 0's noise."""
    runner = make_runner(runner_cfg(), PointMassEnv())
    runner.save(str(tmp_path / "model.pt"))
    expected = torch.rand(3)

    def resumed(world_size: int, rank: int = 0) -> torch.Tensor:
        monkeypatch.setattr("torch.distributed.get_rank", lambda: rank)
        runner.alg.gpu_world_size = world_size
        runner.load(str(tmp_path / "model.pt"))
        return torch.rand(3)

    assert torch.equal(resumed(1), expected)
    first, second = resumed(2, 0), resumed(2, 1)
    assert not torch.equal(first, second) and not torch.equal(first, expected) and not torch.equal(second, expected)
    assert torch.equal(resumed(2, 1), second)
