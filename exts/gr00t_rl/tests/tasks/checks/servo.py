# SPDX-License-Identifier: BSD-3-Clause
"""The action term moves the TCP to its set-point and keeps the hand upright. Argument: the physics preset."""

import sys

import torch
from simulated import simulated

from gr00t_rl.tasks.tabletop.robot import arm_index, down_yaw, tcp_jacobian, tcp_pose

NUM_ENVS = 16


def check_jacobian(env) -> None:
    """Against finite differences of the TCP position over the joints, with the joints set by hand."""
    robot, eps = env.scene["robot"], 1e-3
    env.reset()
    base = robot.data.joint_pos.torch.clone()
    jacobian = tcp_jacobian(env, tcp_pose(env)[0]).clone()
    for joint in range(7):
        ends = []
        for sign in (1.0, -1.0):
            moved = base.clone()
            moved[:, joint] += sign * eps
            robot.write_joint_position_to_sim_index(position=moved)
            ends.append(tcp_pose(env)[0].clone())
        slope = (ends[0] - ends[1]) / (2 * eps)
        assert (slope - jacobian[:, :3, joint]).abs().max() < 2e-3, (joint, slope[0], jacobian[0, :3, joint])


def check_tracking(env) -> None:
    env.reset()
    servo = env.action_manager.get_term("arm")
    generator = torch.Generator().manual_seed(1)
    low, span = torch.tensor([0.35, -0.25, 0.1, -1.0]), torch.tensor([0.3, 0.5, 0.3, 2.0])
    for _ in range(2):
        target = low + span * torch.rand(NUM_ENVS, 4, generator=generator)
        for _ in range(50):
            move = (target[:, :3] - servo.set_position) / servo.cfg.position_step
            turn = (target[:, 3] - servo.set_yaw) / servo.cfg.yaw_step
            env.step(torch.cat((move.clamp(-1, 1), turn.clamp(-1, 1)[:, None], torch.ones(NUM_ENVS, 1)), -1))
        position, quat = tcp_pose(env)
        tilt = 2 * torch.asin(quat[:, 2:].norm(dim=-1))
        assert (servo.set_position - target[:, :3]).norm(dim=-1).max() < 1e-3, "the set-point arrives"
        assert (position - servo.set_position).norm(dim=-1).max() < 5e-3, "the TCP is within 5 mm of it"
        assert (down_yaw(quat) - servo.set_yaw).abs().max() < 0.01
        assert tilt.max() < 0.01


def check_joint_limits(env) -> None:
    """Actions held at their bounds drive no joint faster than the real arm's, nor beyond where it can go."""
    data, arm = env.scene["robot"].data, arm_index(env).arm
    speed = torch.tensor([2.175] * 4 + [2.61] * 3)  # what Franka publishes [rad/s]
    lower, upper = data.soft_joint_pos_limits.torch[:, arm].unbind(-1)
    generator = torch.Generator().manual_seed(0)
    env.reset()
    for _ in range(10):
        action = torch.rand(NUM_ENVS, 5, generator=generator).round() * 2 - 1
        for _ in range(10):
            env.step(action)
            assert (data.joint_vel.torch[:, arm].abs() <= speed).all(), data.joint_vel.torch[:, arm].abs().amax(0)
            joints = data.joint_pos.torch[:, arm]
            assert ((joints >= lower - 1e-3) & (joints <= upper + 1e-3)).all()


physics = sys.argv[1]
with simulated(
    "Gr00t-Reach-Franka",
    NUM_ENVS,
    f"physics={physics}",
    "env.episode_length_s=60.0",
    "env.terminations.success=null",
    "env.rewards.success=null",
) as env:
    check_jacobian(env)
    check_tracking(env)
    check_joint_limits(env)
