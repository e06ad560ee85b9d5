# SPDX-License-Identifier: BSD-3-Clause
"""What an env cfg, or what a run wrote of it, says of physics and renderers."""

from types import SimpleNamespace

from gr00t_rl.utils.simulators import differences, simulator_of


class OvPhysxManager:
    """A physics manager, by its name."""


def test_a_cfg_and_its_tables_say_the_same():
    renderer = {"renderer_type": "newton_warp", "enable_shadows": True, "max_distance": 9.0}
    physics = "isaaclab_newton.physics.mjwarp_manager:NewtonMJWarpManager"
    tables = {"sim": {"physics": {"class_type": physics}}, "scene": {"front": {"renderer_cfg": renderer}, "robot": {}}}
    cfg = SimpleNamespace(
        sim=SimpleNamespace(physics=SimpleNamespace(class_type=physics)),
        scene=SimpleNamespace(
            front=SimpleNamespace(renderer_cfg=SimpleNamespace(**renderer)), robot=None, env_spacing=2.5
        ),
    )
    expected = {"physics": "newton", "front.renderer_type": "newton_warp", "front.enable_shadows": True}
    assert simulator_of(cfg) == simulator_of(tables) == expected


def test_engines_are_told_apart_by_their_managers():
    for manager, engine in ((OvPhysxManager, "ovphysx"), ("a.b:PhysxManager", "physx"), ("a.b:Own", "Own")):
        assert simulator_of({"sim": {"physics": {"class_type": manager}}}) == {"physics": engine}
    assert simulator_of(SimpleNamespace()) == simulator_of({}) == {}


def test_only_what_both_tell_of_can_differ():
    recorded = {"physics": "newton", "front.renderer_type": "newton_warp", "wrist.renderer_type": "newton_warp"}
    present = {"physics": "newton", "front.renderer_type": "isaac_rtx", "film.renderer_type": "isaac_rtx"}
    assert differences(recorded, present) == ["front.renderer_type newton_warp, now isaac_rtx"]
    assert differences({}, present) == []
