# SPDX-License-Identifier: BSD-3-Clause
"""The action of every tabletop task: (dx, dy, dz, dyaw, gripper), so that one embodiment and checkpoint serve all."""

from __future__ import annotations

from collections.abc import Sequence

import isaaclab.envs.mdp as base_mdp
import torch
from isaaclab.envs import ManagerBasedEnv
from isaaclab.managers import ActionTerm, ActionTermCfg
from isaaclab.utils import configclass
from isaaclab.utils.math import compute_pose_error

from .robot import ARM_JOINTS, FINGER_STROKE, arm_index, down_quat, down_yaw, tcp_jacobian, tcp_pose


def speed_bound_lead(speed: torch.Tensor, stiffness: torch.Tensor, damping: torch.Tensor) -> torch.Tensor:
    """How far a joint's target may be ahead of it so that its drive never makes it faster than ``speed``.

    A drive pulls by stiffness * lead - damping * velocity, which is zero at velocity = stiffness * lead / damping: a
    joint that trails its target by at most damping * speed / stiffness is braked before it exceeds the speed.

    Args:
        speed: Speed limits [..., J] [rad/s].
        stiffness: Gains of the position error [..., J] [N m/rad].
        damping: Gains of the velocity [..., J] [N m s/rad].

    Returns:
        Largest leads [..., J] [rad].
    """
    return speed * damping / stiffness


def limited_target(
    joint_pos: torch.Tensor, step: torch.Tensor, lead: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor
) -> torch.Tensor:
    """Joint targets that respect speed and position limits.

    Args:
        joint_pos: Measured joints [N, J] [rad].
        step: Wanted displacements [N, J] [rad].
        lead: Largest displacements [N, J] [rad].
        lower: Lower position limits [N, J] [rad].
        upper: Upper position limits [N, J] [rad].

    Returns:
        Targets [N, J] [rad].
    """
    return (joint_pos + step.clamp(-lead, lead)).clamp(lower, upper)


class EndEffectorServo(ActionTerm):
    """Moves a set-point of the downward-pointing TCP and servos the arm to it.

    The set-point moves by the scaled action and is kept within a leash of the measured TCP: it neither winds up against
    a contact nor drifts. (Isaac Lab's relative mode starts from the measured pose every time, tilt included.)

    Actions [N, 4] in [-1, 1] (clamped): (dx, dy, dz) in the env frame and dyaw about the vertical. Joint targets stay
    within the joint limits, and so near to the joints that their drives keep to the velocity limits of the asset's cfg.
    """

    cfg: EndEffectorServoCfg

    def __init__(self, cfg: EndEffectorServoCfg, env: ManagerBasedEnv):
        super().__init__(cfg, env)
        self._raw_actions = torch.zeros(self.num_envs, 4, device=self.device)
        self.set_position = torch.zeros(self.num_envs, 3, device=self.device)
        """Set-point of the TCP [N, 3] [m], env frame."""
        self.set_yaw = torch.zeros(self.num_envs, device=self.device)
        """Set-point of the yaw [N] [rad]."""
        self._joint_target = torch.zeros(self.num_envs, len(ARM_JOINTS), device=self.device)
        self._lower, self._upper = (torch.tensor(corner, device=self.device) for corner in cfg.workspace)
        self._damping = cfg.damping**2 * torch.eye(6, device=self.device)

    @property
    def action_dim(self) -> int:
        return 4

    @property
    def raw_actions(self) -> torch.Tensor:
        return self._raw_actions

    @property
    def processed_actions(self) -> torch.Tensor:
        """Set-point (x, y, z, yaw) [N, 4] [m, rad], env frame."""
        return torch.cat((self.set_position, self.set_yaw[:, None]), dim=-1)

    def process_actions(self, actions: torch.Tensor) -> None:
        self._raw_actions[:] = actions
        delta = actions.clamp(-1.0, 1.0)
        tcp, quat = tcp_pose(self._env)
        gap = self.set_position + delta[:, :3] * self.cfg.position_step - tcp
        gap *= (self.cfg.leash / gap.norm(dim=-1, keepdim=True).clamp_min(1e-6)).clamp_max(1.0)
        self.set_position[:] = (tcp + gap).clamp(self._lower, self._upper)
        yaw = self.set_yaw + delta[:, 3] * self.cfg.yaw_step
        self.set_yaw[:] = yaw.clamp(-self.cfg.max_yaw, self.cfg.max_yaw)
        self._joint_target[:] = self._solve(tcp, quat)

    def _solve(self, tcp: torch.Tensor, quat: torch.Tensor) -> torch.Tensor:
        """Joint targets [N, 7] [rad] one damped least-squares step towards the set-point.

        Solved once per env step: while the joints follow, (joints + step that is left) hardly changes.
        """
        data, arm = self._asset.data, arm_index(self._env).arm
        position_error, rotation_error = compute_pose_error(
            tcp, quat, self.set_position, down_quat(self.set_yaw), rot_error_type="axis_angle"
        )
        error = torch.cat((position_error, rotation_error), dim=-1)
        jacobian = tcp_jacobian(self._env, tcp)
        joint_pos = data.joint_pos.torch[:, arm]
        # The null-space part of a pull to the default posture keeps the redundant elbow from wandering off.
        posture = self.cfg.posture_gain * (data.default_joint_pos.torch[:, arm] - joint_pos)
        rhs = error - (jacobian @ posture[:, :, None]).squeeze(-1)
        gram = jacobian @ jacobian.mT + self._damping
        # solve_ex does not wait for the device to ask for errors: the damped matrix has an inverse
        step = posture + (jacobian.mT @ torch.linalg.solve_ex(gram, rhs[:, :, None])[0]).squeeze(-1)
        # Read each time: not all of it is filled in when terms are made, and events may randomise gains.
        drive = (data.soft_joint_vel_limits, data.joint_stiffness, data.joint_damping)
        lead = speed_bound_lead(*(value.torch[:, arm] for value in drive))
        return limited_target(joint_pos, step, lead, *data.soft_joint_pos_limits.torch[:, arm].unbind(dim=-1))

    def apply_actions(self) -> None:
        self._asset.set_joint_position_target_index(target=self._joint_target, joint_ids=arm_index(self._env).arm)

    def reset(self, env_ids: Sequence[int] | None = None) -> None:
        ids = slice(None) if env_ids is None else env_ids
        self._raw_actions[ids] = 0.0
        tcp, quat = tcp_pose(self._env)
        self.set_position[ids] = tcp[ids]
        self.set_yaw[ids] = down_yaw(quat)[ids]


@configclass
class EndEffectorServoCfg(ActionTermCfg):
    """Configuration of :class:`EndEffectorServo`."""

    class_type: type = EndEffectorServo
    asset_name: str = "robot"

    position_step: float = 0.02
    """Set-point travel of an action of 1 along one axis [m]."""

    yaw_step: float = 0.12
    """Set-point turn of an action of 1 [rad]."""

    max_yaw: float = 1.7
    """Limit of the set-point's yaw either way [rad]: a little more than a quarter turn reaches every cube face."""

    leash: float = 0.05
    """Largest distance between set-point and measured TCP [m]."""

    workspace: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.25, -0.4, 0.012), (0.75, 0.4, 0.5))
    """Box for the set-point, lower and upper corner [m], env frame."""

    damping: float = 0.05
    """Damping of the least-squares inverse."""

    posture_gain: float = 0.1
    """Share of the distance to the default posture pulled back per env step, in the null space."""


@configclass
class TabletopActionsCfg:
    """(dx, dy, dz, dyaw, gripper) in [-1, 1]; a gripper action ≥ 0 opens, < 0 closes."""

    arm: EndEffectorServoCfg = EndEffectorServoCfg()
    gripper: base_mdp.BinaryJointPositionActionCfg = base_mdp.BinaryJointPositionActionCfg(
        asset_name="robot",
        joint_names=["panda_finger_joint.*"],
        open_command_expr={"panda_finger_joint.*": FINGER_STROKE},
        close_command_expr={"panda_finger_joint.*": 0.0},
    )
