# SPDX-License-Identifier: BSD-3-Clause
"""Reach, trained by rsl_rl's runner: the solver loses one arm in the middle of an iteration, and nothing else."""

import tempfile
from pathlib import Path

import torch
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper, handle_deprecated_rsl_rl_cfg
from isaaclab_tasks.utils import load_cfg_from_registry
from rsl_rl.runners import OnPolicyRunner
from simulated import simulated

TASK = "Gr00t-Reach-Franka"
BAD, WHEN = 3, 30  # the env that breaks, and the env step: the seventh of the second iteration of 24


def lose_arm(env) -> None:
    """Write NaN into the joints of one arm, just before a step."""
    robot, ids, nan = env.scene["robot"], torch.tensor([BAD], dtype=torch.int32), float("nan")
    shape = robot.data.joint_pos.torch[:1].shape
    robot.write_joint_position_to_sim_index(position=torch.full(shape, nan), env_ids=ids)
    robot.write_joint_velocity_to_sim_index(velocity=torch.full(shape, nan), env_ids=ids)


def watch(env, seen: list) -> None:
    """Let ``env`` lose an arm in its step ``WHEN``, and note what each step reports."""
    step = env.step

    def watched(actions):
        assert actions.isfinite().all()
        if len(seen) == WHEN:
            lose_arm(env)
        result = step(actions)
        obs, reward, _, time_outs, _ = result
        fine = torch.stack([group.isfinite().all(-1) for group in obs.values()]).all(0) & reward.isfinite()
        seen.append(((~fine).nonzero().flatten().tolist(), time_outs.nonzero().flatten().tolist()))
        return result

    env.step = watched


def check_replay(env, folder: Path) -> None:
    """The file puts the simulator into the state before the step."""
    (path,) = folder.glob("nonfinite_env_*.pt")
    assert path.name == "nonfinite_env_1_1.pt"
    dump = torch.load(path, weights_only=True)
    assert dump["env_ids"].tolist() == [BAD] and (dump["iteration"], dump["step"]) == (1, WHEN - 24)
    robot = dump["state"]["articulation"]["robot"]
    assert all(value.isfinite().all() for value in robot.values())
    assert not dump["state_after"]["articulation"]["robot"]["joint_position"].isfinite().all()
    with torch.inference_mode():
        env.reset_to(dump["state"], env_ids=torch.tensor([0], dtype=torch.int32), is_relative=True)
    assert torch.equal(env.scene["robot"].data.joint_pos.torch[:1], robot["joint_position"])


with simulated(TASK, 16) as env, tempfile.TemporaryDirectory() as folder:
    cfg = load_cfg_from_registry(TASK, "rsl_rl_mlp_cfg_entry_point")
    cfg = handle_deprecated_rsl_rl_cfg(cfg, "5.5.1").to_dict() | {"device": "cpu"}
    env.cfg.log_dir = folder
    seen: list = []
    watch(env, seen)
    runner = OnPolicyRunner(RslRlVecEnvWrapper(env), cfg, folder, "cpu")
    metrics: list = []
    update = runner.alg.update
    runner.alg.update = lambda: metrics.append(update()) or metrics[-1]
    runner.learn(4)
    print("SEEN", [(i, *s) for i, s in enumerate(seen) if s[0] or BAD in s[1]])
    assert seen[WHEN][0] == [BAD] and BAD in seen[WHEN + 1][1], "it breaks, and its clock ends the episode"
    assert not any(bad for bad, _ in seen[WHEN + 2 :]), "it has recovered"
    assert [m["nonfinite_envs"] for m in metrics] == [0, 1, 0, 0]
    assert all(torch.tensor(list(m.values())).isfinite().all() for m in metrics)
    assert [m["perf/decisions"] for m in metrics] == [16 * 24, 16 * 24 - 2, 16 * 24, 16 * 24]
    torch.load(Path(folder) / "model_3.pt", weights_only=True)
    check_replay(env, Path(folder))
