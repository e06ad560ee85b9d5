# SPDX-License-Identifier: BSD-3-Clause
"""The declaration of an embodiment's keys, its statistics, and every way in which they can be wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from fake_gpu import CUDA, fake_gpu

from gr00t_rl.gr00t import ActionKey, Modality, StateKey, Statistics, make_metadata, read_statistics
from gr00t_rl.gr00t.normalise import STATISTICS

CONTENT: dict[str, Any] = {
    "embodiment_tag": "new_embodiment",
    "video": {"wrist": "hand_camera", "front": "front"},
    "state": {
        "gripper": {"group": "policy", "start": 7, "end": 8, "normalization": "binary"},
        "arm": {"group": "policy", "start": 0, "end": 2, "normalization": "min_max"},
        "yaw": {"group": "pose", "start": 3, "end": 4, "normalization": None, "sin_cos": True},
    },
    "action": {
        "gripper": {"start": 3, "end": 4, "normalization": "binary"},
        "delta": {"start": 0, "end": 3, "normalization": "q99"},
    },
}


SIZES = {"front": (480, 640), "wrist": (48, 64)}
"""Camera -> (height, width)."""


def content(**changes: Any) -> dict[str, Any]:
    """The declaration above with some leaves changed, each named by its path with __ for a dot."""
    changed = copy.deepcopy(CONTENT)
    for path, value in changes.items():
        *parents, leaf = path.split("__")
        table = changed
        for parent in parents:
            table = table[parent]
        table[leaf] = value
    return changed


def statistics(gripper: int = 1, arm: int = 2, delta: int = 3) -> Statistics:
    """Numbers that tell key, statistic and column apart."""

    def of(width: int, base: float) -> dict[str, torch.Tensor]:
        return {name: base + 10.0 * i + torch.arange(float(width)) for i, name in enumerate(STATISTICS)}

    state = {"gripper": of(gripper, 0.0), "arm": of(arm, 100.0), "yaw": of(1, 200.0)}
    return Statistics(state, {"gripper": of(gripper, 300.0), "delta": of(delta, 400.0)})


def test_what_holds_an_env_that_waits():
    """A change by 0, an absolute key by the state key of its name and width, or a number that is given for it."""
    obs = {"policy": torch.arange(16.0).view(2, 8), "pose": 100.0 + torch.arange(8.0).view(2, 4)}

    def held(modality: Modality) -> list[list[float]] | None:
        action = modality.hold_action(obs)
        return None if action is None else action.tolist()

    # no key is a change, and only the gripper's state is known: policy's column 7
    modality = Modality.from_dict(CONTENT)
    assert [modality.held_as(name) for name in modality.action] == ["gripper", None]
    assert held(modality) == [[0.0, 0.0, 0.0, 7.0], [0.0, 0.0, 0.0, 15.0]]
    modality = Modality.from_dict(content(action__delta__absolute=False, action__gripper__hold=0.5))
    assert [modality.held_as(name) for name in modality.action] == [0.5, 0.0]
    assert held(modality) == [[0.0, 0.0, 0.0, 0.5]] * 2
    relative = {"start": 0, "end": 3, "relative_to": "arm"}
    keys = content(action__delta=relative, state__arm__end=3, action__gripper__absolute=False)
    modality = Modality.from_dict(keys)
    assert [modality.held_as(name) for name in modality.action] == [0.0, "arm"]
    assert held(modality) == [[0.0, 1.0, 2.0, 0.0], [8.0, 9.0, 10.0, 0.0]]
    changes = Modality.from_dict(content(action__delta__absolute=False, action__gripper__absolute=False))
    assert held(changes) is None
    assert Modality.from_dict(content(state__gripper__start=6)).held_as("gripper") is None, "another width"


def test_nobody_waits_for_a_gpu_to_say_what_holds():
    modality = Modality.from_dict(content(action__delta__hold=0.5))
    with fake_gpu({}) as syncs:
        obs = {"policy": torch.zeros(2, 8, device=CUDA), "pose": torch.zeros(2, 4, device=CUDA)}
        action = modality.hold_action(obs)
        assert action is not None and action.device == CUDA and action.shape == (2, 4)
        assert syncs.take() == {}


@pytest.mark.parametrize("value", ["open", True, float("inf"), float("nan")])
def test_hold_that_is_no_number(value):
    with pytest.raises(ValueError, match=r"action.gripper.hold is .*; set a number in the unit of the env's action"):
        Modality.from_dict(content(action__gripper__hold=value))


def test_from_dict():
    modality = Modality.from_dict(CONTENT)
    assert modality.state["yaw"] == StateKey("pose", 3, 4, normalization=None, sin_cos=True)
    assert modality.action["delta"] == ActionKey(0, 3, "q99")
    assert list(modality.state) == ["gripper", "arm", "yaw"] and list(modality.video) == ["wrist", "front"]
    assert modality.groups == ["policy", "pose", "hand_camera", "front"]
    assert (modality.state_dim, modality.encoded_state_dim, modality.action_dim) == (4, 5, 4)


def test_default_is_min_max():
    modality = Modality.from_dict(content(state={"arm": {"group": "policy", "start": 0, "end": 2}}))
    assert modality.state["arm"].normalization == "min_max" and not modality.state["arm"].sin_cos


def test_select_state_and_views():
    modality = Modality.from_dict(CONTENT)
    obs = {
        "policy": torch.arange(16.0).view(2, 8),
        "pose": 100.0 + torch.arange(8.0).view(2, 4),
        "front": torch.zeros(2, 4, 4, 3, dtype=torch.uint8),
        "hand_camera": torch.ones(2, 4, 4, 3, dtype=torch.uint8),
    }
    assert modality.select_state(obs).tolist() == [[7.0, 0.0, 1.0, 103.0], [15.0, 8.0, 9.0, 107.0]]
    assert [int(view[0, 0, 0, 0]) for view in modality.views(obs)] == [1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embodiment_tag": ""}, "embodiment_tag is ''; set"),
        ({"robot": 1}, "robot is no field; set embodiment_tag, video, state, action"),
        ({"state__arm__normalisation": "q99"}, "state.arm.normalisation is no field; set group, start"),
        ({"state__arm": {"group": "policy", "start": 0}}, "state.arm.end is missing; set"),
        ({"state__arm": 3}, "state.arm is 3; set a table of group"),
        ({"state": {}}, "state is empty; declare"),
        ({"action": {}}, "action is empty; declare"),
        ({"state": None}, "state is None; set a table"),
        ({"video": ["front"]}, "video is ['front']; set a table"),
        ({"video__front": None}, "video.front is None; set the name"),
        ({"video__front": "hand_camera"}, "video.front reads the group 'hand_camera', as video.wrist does"),
        ({"state__arm__group": ""}, "state.arm.group is ''; set"),
        ({"state__arm__end": 0}, "state.arm is the slice 0:0; set 0 <= start < end"),
        ({"state__arm__start": -1}, "state.arm is the slice -1:2"),
        ({"state__arm__end": 2.0}, "state.arm is the slice 0:2.0"),
        ({"state__arm__normalization": "zscore"}, "state.arm.normalization is 'zscore'; set one of min_max, q99"),
        ({"state__yaw__normalization": "q99"}, "state.yaw.normalization is 'q99' with sin_cos=True"),
        ({"action__delta__normalization": "max"}, "action.delta.normalization is 'max'; set one of"),
        ({"action__gripper__start": 2}, "action.gripper starts at 2 and overlaps action.delta, which ends at 3"),
        (
            {"action__gripper__start": 4, "action__gripper__end": 5},
            "action.gripper starts at 4 and leaves a gap after action.delta, which ends at 3; set start=3",
        ),
        ({"action__delta__start": 1}, "action.delta starts at 1 and leaves a gap after the action's start at 0"),
    ],
)
def test_wrong_declaration(changes, message):
    with pytest.raises(ValueError) as error:
        Modality.from_dict(content(**changes))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_no_table_at_all():
    with pytest.raises(ValueError, match="the modality is 'franka'; set a table of embodiment_tag"):
        Modality.from_dict("franka")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pose": None}, "state.yaw.group is 'pose', but the actor's observation groups are ['policy', 'front', 'ha"),
        ({"front": None}, "video.front is 'front', but the actor's observation groups are"),
        ({"front": (19,)}, "video.front is 'front', a group of shape [19]; name images [H, W, 3]"),
        ({"policy": (4, 4, 3)}, "state.gripper.group is 'policy', a group of shape [4, 4, 3]; name a flat group [S]"),
        ({"policy": (7,)}, "state.gripper.end is 8, but the observation group 'policy' has 7 columns; set at most 7"),
    ],
)
def test_observations_that_do_not_fit(changes, message):
    shapes = {"policy": (8,), "pose": (4,), "front": (4, 4, 3), "hand_camera": (4, 4, 3), **changes}
    modality = Modality.from_dict(CONTENT)
    with pytest.raises(ValueError) as error:
        modality.check_observations({name: shape for name, shape in shapes.items() if shape is not None})
    assert str(error.value).startswith(message)


# -- statistics --------------------------------------------------------------------------------------------------------


def test_metadata_has_the_official_structure():
    modality = Modality.from_dict(content(action__delta__absolute=False))
    found = json.loads(json.dumps(make_metadata(modality, statistics(), SIZES, 20.0)))
    assert list(found) == ["new_embodiment"] and found["new_embodiment"]["embodiment_tag"] == "new_embodiment"
    tables, modalities = found["new_embodiment"]["statistics"], found["new_embodiment"]["modalities"]
    assert tables["state"]["arm"] == {
        "min": [100.0, 101.0],
        "max": [110.0, 111.0],
        "mean": [120.0, 121.0],
        "std": [130.0, 131.0],
        "q01": [140.0, 141.0],
        "q99": [150.0, 151.0],
    }
    assert list(tables["action"]) == ["gripper", "delta"] and len(tables["action"]["delta"]["q99"]) == 3
    assert modalities["video"]["front"]["resolution"] == [640, 480]
    assert modalities["video"]["wrist"] == {"resolution": [64, 48], "channels": 3, "fps": 20.0}
    expected = {"absolute": True, "rotation_type": None, "shape": [2], "continuous": True}
    assert modalities["state"]["arm"] == expected
    assert modalities["action"]["delta"] == expected | {"absolute": False, "shape": [3]}
    assert modalities["action"]["gripper"]["continuous"] is False


def test_metadata_reads_back():
    modality = Modality.from_dict(CONTENT)
    stats = statistics()
    found = read_statistics(json.dumps(make_metadata(modality, stats, SIZES, 20)).encode(), modality)
    assert found is not None
    for part in ("state", "action"):
        for key, table in getattr(stats, part).items():
            for name, values in table.items():
                assert torch.equal(getattr(found, part)[key][name], values)


def test_no_statistics_are_needed_where_nothing_is_normalised():
    keys = {"a": {"start": 0, "end": 2, "normalization": None}}
    modality = Modality.from_dict(content(state={"s": {"group": "policy", **keys["a"]}}, action=keys))
    assert read_statistics(None, modality) is None
    assert read_statistics(b"broken", modality) is None


def metadata(**changes: Any) -> bytes:
    """The metadata of the declaration above with entries of its statistics changed; None removes one."""
    table = make_metadata(Modality.from_dict(CONTENT), statistics(), SIZES, 20.0)
    for path, value in changes.items():
        *parents, leaf = path.split("__")
        parent = table["new_embodiment"]["statistics"]
        for name in parents:
            parent = parent[name]
        parent.pop(leaf)
        if value is not None:
            parent[leaf] = value
    return json.dumps(table).encode()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "state.gripper.normalization is 'binary', but the checkpoint has no experiment_cfg/metadata.json"),
        (b"{", "embodiment_tag is 'new_embodiment', but the checkpoint's experiment_cfg/metadata.json is 'no JSON"),
        (b"[1]", "embodiment_tag is 'new_embodiment', but the checkpoint's experiment_cfg/metadata.json is [1]"),
        (b'{"gr1": {}}', "embodiment_tag is 'new_embodiment', but the checkpoint's metadata has ['gr1']; set one"),
        (b'{"new_embodiment": {}}', "embodiment_tag is 'new_embodiment', whose statistics in the checkpoint's metada"),
        (metadata(action__delta=None), "action.delta has no statistics, the metadata's action keys are ['gripper']"),
        (metadata(action__delta__q01=None), "action.delta.normalization is 'q99', but its statistics lack q01; set"),
        (metadata(action__delta__q01=[1.0]), "the statistics of action.delta have shapes"),
        (
            metadata(state__arm={"min": [0.0], "max": [1.0]}),
            "state.arm is 2 wide (0:2), but its statistics have 1 numbers; set start and end",
        ),
    ],
)
def test_wrong_metadata(found, message):
    with pytest.raises(ValueError) as error:
        read_statistics(found, Modality.from_dict(CONTENT))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_old_checkpoints_may_lack_what_no_mode_reads():
    found = read_statistics(metadata(state__arm__q01=None, state__arm__q99=None), Modality.from_dict(CONTENT))
    assert found is not None and set(found.state["arm"]) == {"min", "max", "mean", "std"}


def test_metadata_of_incomplete_statistics_is_refused():
    stats = statistics(delta=2)
    with pytest.raises(ValueError, match=r"action.delta is 3 wide \(0:3\), but its statistics have 2 numbers"):
        make_metadata(Modality.from_dict(CONTENT), stats, SIZES, 20.0)
    with pytest.raises(ValueError, match=r"action\.gripper has no statistics"):
        make_metadata(Modality.from_dict(CONTENT), Statistics(stats.state, {}), SIZES, 20.0)
