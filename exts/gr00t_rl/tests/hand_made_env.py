# SPDX-License-Identifier: BSD-3-Clause
"""Envs whose cubes and gripper are where a test says, without a simulator."""

from types import SimpleNamespace

import torch

DOWN = torch.tensor([1.0, 0.0, 0.0, 0.0])  # (x, y, z, w): half a turn about x
UPRIGHT = torch.tensor([0.0, 0.0, 0.0, 1.0])
TCP = torch.tensor([0.5, 0.0, 0.2])
SIZE = 0.045


def proxy(value: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(torch=value)


class Body:
    """A rigid object at ``position`` [N, 3], at rest, that keeps the poses written to it."""

    def __init__(self, position: torch.Tensor):
        count = len(position)
        self.data = SimpleNamespace(
            root_pos_w=proxy(position.clone()),
            root_quat_w=proxy(UPRIGHT.expand(count, 4)),
            root_lin_vel_w=proxy(torch.zeros(count, 3)),
        )

    def write_root_pose_to_sim_index(self, root_pose: torch.Tensor, env_ids: torch.Tensor) -> None:
        self.pose = root_pose

    def write_root_velocity_to_sim_index(self, root_velocity: torch.Tensor, env_ids: torch.Tensor) -> None:
        assert (root_velocity == 0).all()


class Scene(dict):
    rigid_objects: dict = {}
    env_origins: torch.Tensor


def make_env(cube: list[list[float]], base: list[list[float]] | None = None, width: float = SIZE) -> SimpleNamespace:
    """An env per cube position, the gripper ``width`` [m] open and its TCP at ``TCP``."""
    count = len(cube)
    robot = SimpleNamespace(
        root_pos_w=proxy(torch.zeros(count, 3)),
        body_link_pos_w=proxy((TCP + torch.tensor([0.0, 0.0, 0.1034])).expand(count, 1, 3)),
        body_link_quat_w=proxy(DOWN.expand(count, 1, 4)),
        joint_pos=proxy(torch.tensor([[0.0] * 7 + [width / 2] * 2] * count)),
    )
    scene = Scene(robot=SimpleNamespace(data=robot), cube=Body(torch.tensor(cube)))
    scene.env_origins = torch.zeros(count, 3)
    if base is not None:
        scene["base_cube"] = Body(torch.tensor(base))
    index = SimpleNamespace(arm=torch.arange(7), fingers=torch.tensor([7, 8]), hand=0)
    return SimpleNamespace(num_envs=count, device="cpu", scene=scene, cfg=SimpleNamespace(), _arm_index=index)
