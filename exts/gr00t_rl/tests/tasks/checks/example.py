# SPDX-License-Identifier: BSD-3-Clause
"""The package that `gr00t-rl new` writes, from demonstrations by its expert to an iteration of PPO, in one process."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import gr00t_rl
from gr00t_rl.cli import new

folder = tempfile.TemporaryDirectory()
ROOT = Path(folder.name)
os.chdir(ROOT)
new.main(["two_links"])
sys.path.insert(0, str(ROOT / "two_links"))

import two_links  # noqa: E402, F401  # pyright: ignore[reportMissingImports]  # an entry point does it where installed
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper, handle_deprecated_rsl_rl_cfg  # noqa: E402
from isaaclab_tasks.utils import load_cfg_from_registry  # noqa: E402
from rsl_rl.runners import OnPolicyRunner  # noqa: E402
from simulated import simulated  # noqa: E402

from gr00t_rl.cli.finetune import build_parser  # noqa: E402
from gr00t_rl.data import DatasetWriter, Layout  # noqa: E402
from gr00t_rl.data.collect import Collector, privileged_columns  # noqa: E402
from gr00t_rl.data.task_modality import agent_cfg_of, modality_of  # noqa: E402
from gr00t_rl.gr00t import PolicySettings  # noqa: E402
from gr00t_rl.gr00t.checkpoint import SETTINGS_FILE  # noqa: E402
from gr00t_rl.memory.estimate import Subject  # noqa: E402
from gr00t_rl.preflight import remember_agent  # noqa: E402
from gr00t_rl.preflight.files import other_simulator  # noqa: E402
from gr00t_rl.sft.arguments import complete_arguments  # noqa: E402
from gr00t_rl.sft.program import run as finetune  # noqa: E402
from gr00t_rl.tasks.experts import make_expert  # noqa: E402
from gr00t_rl.utils.simulators import simulator_of  # noqa: E402

TASK, NUM_ENVS = "Two-Links-Reach", 8
assert Path(gr00t_rl.__file__).parent not in ROOT.parents


def collect(env) -> None:
    """Two episodes per env: the expert reaches every goal although it is disturbed."""
    modality = modality_of(agent_cfg_of(TASK), TASK)
    names, columns = privileged_columns(env, ["tip_to_goal"])
    layout = Layout.of(modality, {"scene": (64, 64), "wrist": (64, 64)}, 20.0, privileged=names)
    layout.simulator.update(simulator_of(env.cfg))  # type: ignore[attr-defined]
    writer = DatasetWriter(Path("dataset"), layout, {})
    for episode in Collector(env, make_expert(TASK, env), modality, 0.2, columns).play(0, [2] * NUM_ENVS):
        assert episode.success and episode.instruction == "reach the green ball"
        green = (episode.pictures["scene"][0].int() * torch.tensor([-1, 2, -1])).sum(-1) > 120
        assert 4 < green.sum() < 200, "the ball is seen whole"
        writer.add(episode)
    writer.commit(1)


def train(env) -> RslRlVecEnvWrapper:
    """A base policy from the demonstrations, an iteration of PPO on it; returns the env as a runner wants it."""
    options = "--dataset dataset --checkpoint tiny --out checkpoints/two_links --steps 3 --batch_size 4 --draws 1"
    args = build_parser().parse_args([*options.split(), "--task", TASK, "--patch_size", "32", "--device", "cpu"])
    complete_arguments(args)
    finetune(args)
    loaded = load_cfg_from_registry(TASK, "rsl_rl_cfg_entry_point")
    remember_agent(loaded)
    env.cfg.validate_config()  # what Isaac Lab does first, now that there is an agent
    assert Subject(env.cfg, loaded, "cpu").estimate(None).peak > 0
    cfg = handle_deprecated_rsl_rl_cfg(loaded, "5.5.1").to_dict() | {"device": "cpu", "num_steps_per_env": 16}
    env.cfg.log_dir = "logs"
    wrapped = RslRlVecEnvWrapper(env)
    runner = OnPolicyRunner(wrapped, cfg, "logs", "cpu")
    runner.learn(1)
    assert (Path("logs") / "model_0.pt").exists()
    return wrapped


def train_adapters(wrapped: RslRlVecEnvWrapper) -> None:
    """The agent for checkpoints of the released size, on the small one: an iteration moves nothing but adapters."""
    loaded = load_cfg_from_registry(TASK, "rsl_rl_lora_cfg_entry_point")
    cfg = handle_deprecated_rsl_rl_cfg(loaded, "5.5.1").to_dict() | {"device": "cpu", "num_steps_per_env": 16}
    cfg["algorithm"]["num_critic_warmup_iterations"] = 0
    runner = OnPolicyRunner(wrapped, cfg, None, "cpu")
    actor: Any = runner.alg.get_policy()
    before = {name: parameter.detach().clone() for name, parameter in actor.named_parameters()}
    runner.learn(1)
    moved = [name for name, parameter in actor.named_parameters() if not torch.equal(parameter, before[name])]
    assert moved and all("lora" in name for name in moved), moved
    assert actor.feature_dim > 0 and set(actor.trained_parts) == {"dit"}


def check_simulator(env) -> None:
    """The base policy knows its simulator, and a run under another one is told so."""
    settings = PolicySettings.read({SETTINGS_FILE: Path("checkpoints/two_links", SETTINGS_FILE).read_bytes()})
    assert settings is not None and settings.simulator == simulator_of(env.cfg)
    assert settings.simulator["physics"] == "newton" and settings.simulator["top.renderer_type"] == "newton_warp"
    actor = agent_cfg_of(TASK).actor
    assert other_simulator(env.cfg, actor) is None
    env.cfg.scene.top.renderer_cfg.enable_shadows = False
    warning = other_simulator(env.cfg, actor)
    assert warning is not None and "top.enable_shadows True, now False" in warning


with simulated(TASK, NUM_ENVS) as env:
    obs, _ = env.reset()
    shapes = {name: (tuple(group.shape), group.dtype) for name, group in obs.items()}
    picture = ((NUM_ENVS, 64, 64, 3), torch.uint8)
    assert shapes["policy"] == ((NUM_ENVS, 4), torch.float32) and shapes["top"] == shapes["forearm"] == picture, shapes
    collect(env)
    train_adapters(train(env))
    check_simulator(env)
