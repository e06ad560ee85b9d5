# SPDX-License-Identifier: BSD-3-Clause
"""The table of a run's memory, and the refusal of what cannot fit."""

from __future__ import annotations

import copy
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from isaaclab_tasks.utils.hydra import resolve_task_config

import gr00t_rl.tasks  # noqa: F401
from gr00t_rl.gr00t import Gr00tN1d5Config, Gr00tN1d7Config
from gr00t_rl.memory import before_run
from gr00t_rl.memory import estimate as estimate_module
from gr00t_rl.memory.devices import BESIDE, GIB, MIB, free_bytes, own_bytes, parse_bytes
from gr00t_rl.memory.devices import _room_in_container as room_in_container
from gr00t_rl.memory.estimate import Estimate, Subject, check_fit, estimate_of, show
from gr00t_rl.memory.rehearsal import Rehearsal
from gr00t_rl.memory.shapes import num_actions, observed_shapes
from gr00t_rl.preflight import announce_training, training_agent
from gr00t_rl.utils.episodes import episode_steps
from gr00t_rl.utils.errors import ConfigurationError

TASK = "Gr00t-Push-Cube-Franka-Camera"
FULL = Gr00tN1d5Config.full_size()


@pytest.fixture(scope="module")
def cfgs() -> tuple[Any, Any]:
    """Cfgs of a camera task and its agent."""
    return resolve_task_config(TASK, "rsl_rl_cfg_entry_point", overrides=["env.camera_size=224"])


def subject(cfgs: Any, config: Any = None, device: str = "cuda", **settings: Any) -> Subject:
    env_cfg, agent_cfg = copy.deepcopy(cfgs)
    return Subject(env_cfg, agent_cfg, device, config).with_settings(
        {name.replace("__", "."): value for name, value in settings.items()}
    )


def test_shapes_are_read_off_the_cfgs(cfgs):
    env_cfg, agent_cfg = cfgs
    shapes = observed_shapes(env_cfg, agent_cfg)
    assert shapes["front"] == shapes["wrist"] == ((224, 224, 3), torch.uint8)
    assert shapes["policy"] == ((19,), torch.float32)
    assert num_actions(agent_cfg) == 5


def test_pictures_of_other_tasks_have_the_size_of_their_camera():
    """Such a cfg has no camera_size: the term of the group names a camera of the scene."""
    term = SimpleNamespace(params={"camera": "top"})
    env_cfg = SimpleNamespace(
        observations=SimpleNamespace(policy=SimpleNamespace(), above=SimpleNamespace(image=term)),
        scene=SimpleNamespace(top=SimpleNamespace(height=48, width=64)),
    )
    agent_cfg = SimpleNamespace(actor=SimpleNamespace(), obs_groups={"actor": ["policy", "above"]})
    assert observed_shapes(env_cfg, agent_cfg)["above"] == ((48, 64, 3), torch.uint8)


@pytest.fixture(scope="module")
def full(cfgs: Any) -> Rehearsal:
    """The released network, two cameras, 64 envs, 48 env steps in chunks of 8, four minibatches."""
    return subject(cfgs, FULL, env__scene__num_envs=64, agent__actor__dtype="bfloat16").rehearsal()


def test_full_size_by_hand(full):
    found = estimate_of(full, "cuda", "auto", None, [])
    decisions = 64 * 48 // 8
    tokens = found.standing["feature cache"] / decisions / (2048 * 2)
    assert tokens == int(tokens)
    assert 512 < tokens < 600  # 256 for each picture, and the words
    trained = 561.9e6
    assert found.standing["gradients"] == pytest.approx(4 * trained, rel=0.01)
    assert found.standing["optimiser"] == 2 * found.standing["gradients"]
    assert found.standing["weights"] == pytest.approx(4 * trained + 2 * (2108.0e6 - trained), rel=0.01)
    assert "96 of 96 decisions at a time (micro_batch_size=auto)" in found.table()
    # a decision in bf16: keys and values of 8 cross-attention blocks, and of 16 blocks of 1 + 32 + 16 tokens of width
    # 1536 what the ~20 widths of each keep
    each = (full.step(16).activations - full.step(8).activations) / 8
    kept = 8 * 2 * tokens * 1536 * 2 + 16 * 20 * 49 * 1536 * 2
    assert each == pytest.approx(kept, rel=0.15)


def test_full_size_of_n1d7_by_hand(cfgs):
    """What stands, of the same run: twice as many blocks in the DiT, of a picture a quarter of the tokens."""
    settings = {
        "env__scene__num_envs": 64,
        "agent__actor__dtype": "bfloat16",
        "agent__actor__num_inference_timesteps": 1,
    }
    run = subject(cfgs, Gr00tN1d7Config.full_size(), **settings).rehearsal()
    tokens = run.features / (64 * 48 // 8) / (2048 * 2)
    assert tokens == int(tokens)
    assert 2 * 64 < tokens < 2 * 64 + 60  # pictures become 256 x 256 pixels, a token is 32 x 32
    width, features, inner = 1536, 2048, 4 * 1536
    square, norm, feed_forward = width * (width + 1), 2 * width * (width + 1), 2 * width * inner + inner + width
    block = 2 * square + norm + feed_forward  # besides keys and values, of the tokens or of the features
    dit = 16 * (block + 2 * square) + 16 * (block + 2 * width * (features + 1))
    trained = dit + 9.05e6 + 11.75e6  # its time embedding and outputs; one row of the projectors, and the positions
    assert run.gradients == pytest.approx(4 * trained, rel=0.002)
    assert run.optimizer == 2 * run.gradients
    whole = 3144.02e6 - 31 * 10.18e6  # without the other embodiments' rows
    assert run.weights == pytest.approx(4 * trained + 2 * (whole - trained), rel=0.002)


def test_auto_fits_into_what_is_free(full, cfgs):
    found = estimate_of(full, "cuda", "auto", 19 * GIB, [])
    assert found.updating["activations"] < 5 * GIB
    assert found.peak <= 19 * GIB
    assert check_fit(subject(cfgs, FULL), found, 24 * GIB, "free") is None


def test_what_cannot_fit_is_refused_with_what_would(cfgs, monkeypatch):
    """Settings are tried one after another, until it fits; those that save nothing are left out."""

    def estimate(run: Subject, free: float) -> Estimate:
        actor, envs = run.agent_cfg.actor, run.env_cfg.scene.num_envs
        size = 20 + envs / 16 - 10 * (actor.dtype == "bfloat16") - 4 * (actor.feature_cache == "host")
        return Estimate(run.device, {"weights": int(size * GIB)}, 0, {}, 0)

    monkeypatch.setattr(Subject, "estimate", estimate)
    run = subject(cfgs, env__scene__num_envs=256)  # 36 GiB
    for free, remedies in (
        (30, "agent.actor.dtype=bfloat16 (saves 10.0 GiB)"),
        (25, "agent.actor.dtype=bfloat16 (saves 10.0 GiB) and agent.actor.feature_cache=host (saves 4.0 GiB)"),
        (
            12,
            "agent.actor.dtype=bfloat16 (saves 10.0 GiB) and agent.actor.feature_cache=host (saves 4.0 GiB) and "
            "--num_envs 64 (saves 12.0 GiB)",
        ),
    ):
        with pytest.raises(ConfigurationError) as error:
            check_fit(run, run.estimate(free * GIB), free * GIB, "free")
        assert str(error.value) == (
            f"[gr00t_rl] this run needs about 36.0 GiB, but {free}.0 GiB are free; set {remedies}"
        )


@pytest.mark.parametrize(("peak", "outcome"), [(89, "fits"), (91, "warns"), (117, "warns"), (118, "refused")])
def test_margins(peak, outcome, cfgs, monkeypatch):
    """Nothing is refused that an estimate 15 % too high could have condemned."""
    monkeypatch.setattr(Subject, "remedies", lambda self, free: [("a=1", GIB)])
    found = Estimate("cpu", {"weights": peak * MIB}, 0, {}, 0)
    run = subject(cfgs)
    if outcome == "refused":
        with pytest.raises(ConfigurationError, match=r"set a=1 \(saves 1.0 GiB\)"):
            check_fit(run, found, 100 * MIB, "free")
    else:
        warning = check_fit(run, found, 100 * MIB, "free")
        assert (warning is not None) == (outcome == "warns")


@pytest.mark.parametrize(("free", "outcome"), [(13, "fits"), (11, "warns"), (4, "warns"), (3.9, "refused")])
def test_features_in_main_memory_are_compared_with_what_is_free_there(free, outcome, cfgs, monkeypatch, capsys):
    """The device has room enough; with `--memory`, of another machine, nothing is known of its main memory."""
    found = Estimate("cuda", {"weights": MIB}, 0, {}, 0, {}, int(4 * GIB))
    run = subject(cfgs)
    monkeypatch.setattr(Subject, "estimate", lambda self, free: found)
    monkeypatch.setattr(estimate_module, "own_bytes", lambda device: 0)
    monkeypatch.setattr(estimate_module, "free_bytes", lambda device: int(free * GIB) if device == "cpu" else 80 * GIB)
    run.device = "cuda:0"
    show(run, 80 * GIB)
    assert "main memory" not in capsys.readouterr().out
    if outcome == "refused":
        with pytest.raises(ConfigurationError, match=r"puts 4\.0 GiB per process into main memory, but 3\.9 GiB of it"):
            show(run)
    else:
        show(run)
        assert ("may not fit" in capsys.readouterr().out) == (outcome == "warns")


def test_phases_are_not_added_up():
    found = Estimate("cpu", {"weights": 10 * GIB}, 2 * GIB, {"activations": 1 * GIB, "copy": 1 * GIB}, 5 * GIB)
    slack = 1 + BESIDE["cpu"].slack
    expected = {"loading": 5 * GIB, "rollout": 10 * GIB + slack * 2 * GIB, "update": 10 * GIB + slack * 2 * GIB}
    assert found.phases == {name: pytest.approx(size) for name, size in expected.items()}
    assert found.peak == max(found.phases.values())


@pytest.mark.parametrize(
    ("text", "size"), [("80GB", 80e9), ("24 GiB", 24 * 2**30), ("1.5g", 1.5e9), ("512MiB", 2**29), ("1000", 1000)]
)
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "1 GB 2", "80PB"])
def test_sizes_that_are_none_are_refused(text):
    with pytest.raises(ConfigurationError, match="set a size such as 80GB"):
        parse_bytes(text)


def test_a_container_may_allow_less_than_the_machine_has(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    assert room_in_container(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert room_in_container(tmp_path) > 2**60
    assert room_in_container(tmp_path / "none") > 2**60
    assert 0 < free_bytes("cpu") < 2**60
    assert own_bytes("cpu") > 10 * MIB
    monkeypatch.setattr("gr00t_rl.memory.devices._kib_of", lambda file, name: 2**30)
    monkeypatch.setattr("gr00t_rl.memory.devices._room_in_container", lambda: 2**31)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_bytes("cpu") == 2**28


def test_only_the_device_that_is_meant_is_asked(cfgs, monkeypatch, capsys):
    """Asking the current one would take memory of a GPU that the run does not use."""
    asked: list[str] = []

    def answer(size: Any) -> Any:
        return lambda device=None: asked.append(str(device)) or size

    monkeypatch.setattr(torch.cuda, "mem_get_info", answer((3 * GIB, 8 * GIB)))
    monkeypatch.setattr(torch.cuda, "memory_reserved", answer(2 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_allocated", answer(GIB))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    env_cfg, agent_cfg = copy.deepcopy(cfgs)
    env_cfg.sim.device, agent_cfg.actor.checkpoint = "cuda:1", "tiny"
    before_run.check_memory(env_cfg, agent_cfg)
    said = capsys.readouterr().out
    assert set(asked) == {"cuda:1"}
    assert said.startswith("[gr00t_rl] memory on cuda:1\n")
    assert re.search(r"^process .* context and libraries", said, re.MULTILINE)
    assert re.search(r"^free +5\.00 GiB$", said, re.MULTILINE)  # 3 free, 1 of its own, 1 cached


@pytest.mark.parametrize(("seconds", "steps"), [(1.0, 10), (1.04, 11), (0.96, 10)])
def test_the_longest_episode_is_isaac_labs(seconds, steps):
    """An env step that begins before the time is out is played."""
    from isaaclab.envs import ManagerBasedRLEnv

    cfg = SimpleNamespace(episode_length_s=seconds, decimation=4, sim=SimpleNamespace(dt=0.025))
    env = SimpleNamespace(max_episode_length_s=seconds, step_dt=cfg.sim.dt * cfg.decimation)
    isaac_labs: Any = ManagerBasedRLEnv.max_episode_length
    assert episode_steps(cfg) == isaac_labs.fget(env) == steps


def test_only_training_is_estimated_and_once(cfgs, monkeypatch, capsys):
    env_cfg, agent_cfg = copy.deepcopy(cfgs)
    shown = []
    monkeypatch.setattr("gr00t_rl.memory.estimate.show", lambda run, *_: shown.append(run.device))
    announce_training(agent_cfg)
    before_run.check_memory(env_cfg, training_agent())
    before_run.check_memory(env_cfg, training_agent())  # the next env is built to play
    assert len(shown) == 1
    monkeypatch.setattr("gr00t_rl.memory.estimate.show", lambda run, *_: {}["no such key"])
    before_run.check_memory(env_cfg, agent_cfg)  # it says so, and the run goes on
    assert "could not be estimated: KeyError: 'no such key'" in capsys.readouterr().out
    monkeypatch.setenv("RANK", "1")  # left over, in a process that is alone
    before_run.check_memory(env_cfg, agent_cfg)
    assert "could not be estimated" in capsys.readouterr().out
    monkeypatch.setenv("WORLD_SIZE", "2")
    before_run.check_memory(env_cfg, agent_cfg)
    assert len(shown) == 1 and capsys.readouterr().out == ""
