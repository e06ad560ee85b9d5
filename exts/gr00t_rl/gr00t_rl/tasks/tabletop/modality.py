# SPDX-License-Identifier: BSD-3-Clause
"""The names under which datasets and checkpoints of the tabletop tasks keep state, pictures and actions.

Observation terms and actions are scaled to about [-1, 1] already, so no key is normalised again: the statistics in a
dataset's or checkpoint's metadata describe them and change nothing.
"""

from gr00t_rl.cfg import ActionKeyCfg, ModalityCfg, StateKeyCfg

PROPRIOCEPTION = {"joint_positions": 9, "tcp": 6, "set_point_offset": 4}
"""Name and width of the terms in ``ProprioceptionCfg``, with which every ``policy`` group begins."""

CAMERAS = ("front", "wrist")


def tabletop_modality(task_state: dict[str, int] | None = None) -> ModalityCfg:
    """The modality of a tabletop task.

    Args:
        task_state: Name and width of the terms that follow proprioception in the ``policy`` group of a state variant,
            in their order; None for a camera variant, whose policy sees pictures instead.
    """
    widths, start, state = PROPRIOCEPTION | (task_state or {}), 0, {}
    for name, width in widths.items():
        state[name] = StateKeyCfg(group="policy", start=start, end=start + width, normalization=None)
        start += width
    return ModalityCfg(
        embodiment_tag="new_embodiment",
        video={camera: camera for camera in CAMERAS} if task_state is None else {},
        state=state,
        action={
            "end_effector_delta": ActionKeyCfg(start=0, end=4, normalization=None, absolute=False),
            "gripper": ActionKeyCfg(start=4, end=5, normalization=None, hold=0.0),  # open, as after a reset
        },
    )
