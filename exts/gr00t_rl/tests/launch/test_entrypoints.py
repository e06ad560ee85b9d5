# SPDX-License-Identifier: BSD-3-Clause
"""Isaac Lab's own train and play: which checkpoint they load, and how they film without Isaac Sim."""

import argparse
import importlib.util
import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gr00t_rl.launch import entrypoints
from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.simulators import simulator_of

pytestmark = pytest.mark.slow  # imports Isaac Lab

TASK, AGENT = "Gr00t-Reach-Franka", "rsl_rl_mlp_cfg_entry_point"


@pytest.fixture
def programs():
    """Isaac Lab's two programs after one of our runner cfgs was made, as each does before it looks for a checkpoint."""
    from isaaclab_rl.entrypoints.backends import play_rsl_rl, train_rsl_rl

    from gr00t_rl.tasks.reach.config.franka.agents.rsl_rl_mlp_cfg import ReachMlpRunnerCfg

    cfg = ReachMlpRunnerCfg()

    def find(program: str, checkpoint: str | None, cfg=cfg):
        args = argparse.Namespace(checkpoint=checkpoint, task=TASK, agent=AGENT)
        root = os.path.abspath("logs/rsl_rl/mlp_reach_franka")
        if program == "train":
            return train_rsl_rl._resolve_checkpoint(args, cfg, root)
        return play_rsl_rl._resolve_checkpoint(args, cfg, None, root)

    return SimpleNamespace(find=find, cfg=cfg, play=play_rsl_rl, train=train_rsl_rl)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run's folder with two models, in the working directory's logs."""
    from isaaclab_rl.entrypoints.common import write_run_manifest

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "logs" / "rsl_rl" / "mlp_reach_franka" / "2026-11-28_10-00-00"
    write_run_manifest(str(folder), library="rsl_rl", task=TASK, metadata={"agent": AGENT})
    for number in (9, 10):
        (folder / f"model_{number}.pt").touch()
    return folder


@pytest.mark.parametrize("program", ["train", "play"])
def test_both_find_what_evaluate_finds(programs, run, program) -> None:
    last = str(run / "model_10.pt")
    for checkpoint in ("latest", str(run), f"{run}/", last):
        assert programs.find(program, checkpoint) == last == programs.cfg.load_checkpoint
    assert programs.find(program, f"{run}/model_9.pt") == f"{run}/model_9.pt"
    for checkpoint in ("best", "pretrained", str(run.parent), "missing.pt", "wandb:run"):
        with pytest.raises(ConfigurationError, match=f"--checkpoint {checkpoint}"):
            programs.find(program, checkpoint)


def test_without_a_checkpoint(programs, run) -> None:
    """Training begins anew; play takes the newest run that has a model, or the one that Isaac Lab's settings name."""
    assert programs.find("train", None) is None
    newer = run.with_name("2026-11-28_11-00-00")
    newer.mkdir()
    assert programs.find("play", None) == str(run / "model_10.pt")
    cfg = type(programs.cfg)(load_run=".*10-00-00", load_checkpoint="model_9.pt")
    assert programs.find("play", None, cfg) == str(run / "model_9.pt")
    cfg = type(programs.cfg)(load_run="no such run")
    with pytest.raises(ConfigurationError, match="no such run"):
        programs.find("play", None, cfg)


def write_model(file, iteration: int) -> None:
    state = {"actor_state_dict": {}, "algorithm_state_dict": {"iteration": iteration}, "iter": iteration - 1}
    torch.save(state, file)


def test_total_iterations_are_counted_over_resumed_runs(programs, run, capsys) -> None:
    """One command that is started again and again: it begins, goes on, and has nothing left to do."""
    write_model(run / "model_10.pt", 11)
    cfg = type(programs.cfg)(total_iterations=30, max_iterations=7)
    assert programs.find("train", "latest", cfg) == str(run / "model_10.pt") and cfg.max_iterations == 19
    assert programs.find("train", None, cfg) is None and cfg.max_iterations == 30
    empty = type(programs.cfg)(total_iterations=30, experiment_name="another")
    assert programs.find("train", "latest", empty) is None and empty.max_iterations == 30
    with pytest.raises(ConfigurationError, match="--checkpoint best"):
        programs.find("train", "best", empty)
    done = type(programs.cfg)(total_iterations=11)
    with pytest.raises(SystemExit) as end:
        programs.find("train", "latest", done)
    assert end.value.code == 0 and "11 of agent.total_iterations=11" in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match="total_iterations is 0"):
        programs.find("train", "latest", type(programs.cfg)(total_iterations=0))


def several(monkeypatch, rank: int) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("LOCAL_RANK", str(rank))


def test_several_processes_on_cores(programs, monkeypatch) -> None:
    """Stock refuses the CPU, and would give each process a GPU."""
    several(monkeypatch, 1)
    env_cfg = video_env("Gr00t-Reach-Franka")
    args = argparse.Namespace(distributed=True, device="cpu", visualizer=None)
    programs.train.validate_distributed_device(args)
    with programs.train.launch_simulation(env_cfg, args):
        assert env_cfg.sim.device == "cpu" and args.distributed and args.device == "cpu"
    monkeypatch.setattr("gr00t_rl.preflight._agent", None)  # another runner's cfg is about to be used
    with pytest.raises(ValueError, match="not supported when using CPU"):
        programs.train.validate_distributed_device(args)


@pytest.mark.parametrize("program", ["train", "play"])
def test_errors_are_said_inside_the_simulation(programs, monkeypatch, capsys, program) -> None:
    """Isaac Sim ends the process as its launcher closes, before Python prints them."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    args = getattr(programs, program)._parse_args(["--device", "cpu"])
    launch = getattr(programs, program).launch_simulation
    with pytest.raises(ConfigurationError) as caught, launch(video_env("Gr00t-Reach-Franka"), args):
        try:
            raise ConfigurationError("num_envs is 0; set 1")
        finally:
            assert capsys.readouterr().err == ""
    assert caught.value.code == 1 and "[gr00t_rl] num_envs is 0; set 1" in capsys.readouterr().err


def test_a_cfg_of_another_make_is_checked_when_its_env_is_made(programs, monkeypatch) -> None:
    """By then all of the command line is applied, checkpoint included; ours are checked by the env itself."""
    for program in (programs.train, programs.play):
        assert hasattr(program.create_isaaclab_env, "__wrapped__")
    order: list[Any] = []
    monkeypatch.setattr("gr00t_rl.preflight.check_run", order.append)
    foreign, ours = SimpleNamespace(observations=SimpleNamespace()), video_env("Gr00t-Reach-Franka")
    for is_ours in (True, False):
        make = entrypoints._env_maker(lambda *_, **__: order.append("made"), lambda is_ours=is_ours: is_ours)
        for env_cfg in (foreign, ours):
            make("Task", env_cfg, None, convert_marl_to_single_agent=False)
    assert order == [foreign, "made", "made", "made", "made"]


def test_sweeps_are_refused(programs, run, monkeypatch) -> None:
    """Hydra would compose once, with a list where a number belongs, and nothing would be swept."""
    monkeypatch.setattr("sys.argv", ["train", "agent.seed=1,2", "--multirun"])
    for program in ("train", "play"):
        with pytest.raises(ConfigurationError, match=r"--multirun: Isaac Lab starts one run.* a run for each value"):
            programs.find(program, None)


def test_settings_are_written_once(programs, monkeypatch, tmp_path) -> None:
    for rank, expected in ((0, ["params"]), (1, [])):
        several(monkeypatch, rank)
        folder = tmp_path / str(rank)
        folder.mkdir()
        programs.train.dump_train_configs(str(folder), SimpleNamespace(to_dict=dict), programs.cfg)
        assert [entry.name for entry in folder.iterdir()] == expected


def test_other_runners_keep_isaac_labs_rules(programs, run) -> None:
    from isaaclab_rl.rsl_rl import RslRlOnPolicyRunnerCfg

    algorithm: Any = SimpleNamespace(class_name="PPO")
    other = RslRlOnPolicyRunnerCfg(experiment_name="mlp_reach_franka", algorithm=algorithm)
    assert programs.find("train", None, other) is None
    with pytest.raises(FileNotFoundError):
        programs.find("train", "missing.pt", other)


@pytest.mark.parametrize("program", ["train", "play"])
def test_the_policy_is_where_its_env_is(programs, monkeypatch, program) -> None:
    """Isaac Lab gives ``--device`` to the env alone, and our runners' own default is a GPU where there is one."""
    from isaaclab_rl.rsl_rl import RslRlOnPolicyRunnerCfg

    devices: list[str] = []

    class Runner:
        alg = SimpleNamespace(get_policy=lambda: torch.nn.Linear(1, 1))

        def __init__(self, *_: Any, device: str, **__: Any) -> None:
            devices.append(device)

    monkeypatch.setattr("isaaclab_rl.rsl_rl.utils.OnPolicyRunner", Runner)
    monkeypatch.setattr("isaaclab_rl.rsl_rl.utils.to_dict", lambda cfg: {})
    env, algorithm = SimpleNamespace(unwrapped=SimpleNamespace(device="cpu")), SimpleNamespace(class_name="PPO")
    for cfg in (programs.cfg, RslRlOnPolicyRunnerCfg(algorithm=algorithm)):  # type: ignore[arg-type]
        cfg.device = "cuda:0"
        getattr(programs, program).create_rsl_rl_runner(env, cfg)
    assert devices == ["cpu", "cuda:0"]  # another's runner is left as it is


def test_play_exports_no_policy_of_many_weights(programs, monkeypatch, capsys) -> None:
    """Isaac Lab exports before it plays: of the released size that would take a GPU's and a host's memory for a copy.

    A policy up to the bound is exported, and one of another runner's whatever its size.
    """
    from isaaclab_rl.rsl_rl import RslRlOnPolicyRunnerCfg

    exported: list[str] = []
    policy = torch.nn.Linear(50, 4, bias=False)  # 800 bytes

    class Runner:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.alg = SimpleNamespace(get_policy=lambda: policy)

        def export_policy_to_jit(self, path: str, filename: str) -> None:
            exported.append(filename)

        def export_policy_to_onnx(self, path: str, filename: str) -> None:
            exported.append(filename)

    monkeypatch.setattr("isaaclab_rl.rsl_rl.utils.OnPolicyRunner", Runner)
    monkeypatch.setattr("isaaclab_rl.rsl_rl.utils.to_dict", lambda cfg: {})
    algorithm: Any = SimpleNamespace(class_name="PPO")
    env = SimpleNamespace(unwrapped=SimpleNamespace(device="cpu"))
    other = RslRlOnPolicyRunnerCfg(algorithm=algorithm)
    for bound, cfg, written in ((800, programs.cfg, True), (799, programs.cfg, False), (799, other, True)):
        monkeypatch.setattr("gr00t_rl.launch.entrypoints.MAX_EXPORTED", bound)
        runner = programs.play.create_rsl_rl_runner(env, cfg)
        runner.export_policy_to_jit(path="run/exported", filename="policy.pt")
        runner.export_policy_to_onnx(path="run/exported", filename="policy.onnx")
        assert exported == (["policy.pt", "policy.onnx"] if written else [])
        lines = [line for line in capsys.readouterr().out.splitlines() if "[gr00t_rl]" in line]
        assert len(lines) == (not written)
        if lines:
            assert "no TorchScript and no ONNX in run/exported" in lines[0] and "gr00t-rl export writes it" in lines[0]
        exported.clear()


def video_env(task: str, *overrides: str) -> Any:
    from isaaclab_tasks.utils import resolve_task_config

    import gr00t_rl.tasks  # noqa: F401

    env_cfg: Any = resolve_task_config(task, None, overrides=[*overrides])[0]
    return env_cfg


def video_args(**given) -> argparse.Namespace:
    return argparse.Namespace(**{"video": True, "visualizer": None} | given)


@pytest.fixture
def without_isaac_sim(monkeypatch):
    """A machine with moviepy and without Isaac Sim; returns the set of what is installed in addition."""
    find_spec, found = importlib.util.find_spec, {"moviepy"}

    def find(name: str, *args):
        if name in ("isaacsim", "moviepy"):
            return object() if name in found else None
        return find_spec(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    return found


@pytest.mark.parametrize("task", ["Gr00t-Reach-Franka", "Gr00t-Push-Cube-Franka-Camera"])
def test_video_is_filmed_by_a_camera_of_the_scene(programs, without_isaac_sim, task) -> None:
    """No Kit visualizer is asked for, and the cfg still passes its checks."""
    env_cfg = video_env(task)
    before = env_cfg.scene.num_envs
    programs.play.pre_launch_video_config(env_cfg, video_args())
    (recorder,) = env_cfg.video_recorders
    camera = getattr(env_cfg.scene, recorder.source.removeprefix("sensor:"))
    assert camera.width == camera.height >= 200 and camera.width % 2 == 0  # H.264 wants even sides
    assert not env_cfg.sim.visualizer_cfgs and env_cfg.scene.num_envs == before
    env_cfg.validate_config()


def test_nothing_changes_without_need(programs, without_isaac_sim) -> None:
    without_isaac_sim.add("isaacsim")
    env_cfg = video_env("Gr00t-Reach-Franka", "physics=isaacsim_physx")
    programs.train.pre_launch_video_config(env_cfg, video_args())
    assert [cfg.visualizer_type for cfg in env_cfg.sim.visualizer_cfgs] == ["kit"] and not env_cfg.video_recorders
    without_isaac_sim.discard("isaacsim")
    for args in (video_args(video=False), video_args(visualizer=["newton_gl"])):
        env_cfg = video_env("Gr00t-Reach-Franka")
        programs.train.pre_launch_video_config(env_cfg, args)
        assert not env_cfg.video_recorders


@pytest.mark.parametrize(
    ("physics", "engine"), [("newton_mjwarp", "newton"), ("ovphysx", "ovphysx"), ("physx", "ovphysx")]
)
def test_a_film_starts_no_isaac_sim_and_changes_no_engine(programs, without_isaac_sim, physics, engine) -> None:
    """Isaac Sim is installed, and nothing else of the run needs it."""
    without_isaac_sim.add("isaacsim")
    env_cfg = video_env("Gr00t-Reach-Franka", f"physics={physics}")
    programs.train.pre_launch_video_config(env_cfg, video_args())
    assert env_cfg.video_recorders and not env_cfg.sim.visualizer_cfgs
    assert simulator_of(env_cfg)["physics"] == engine


def test_video_that_cannot_be_made_is_refused(programs, without_isaac_sim) -> None:
    from isaaclab.scene import InteractiveSceneCfg

    blind = SimpleNamespace(scene=InteractiveSceneCfg(num_envs=1, env_spacing=1.0), video_recorders=[])
    with pytest.raises(ConfigurationError, match="no camera"):
        programs.play.pre_launch_video_config(blind, video_args())
    without_isaac_sim.discard("moviepy")
    with pytest.raises(ConfigurationError, match=r"pip install 'gr00t_rl\[video\]'.*gr00t-rl evaluate --video"):
        programs.play.pre_launch_video_config(video_env("Gr00t-Reach-Franka"), video_args())
