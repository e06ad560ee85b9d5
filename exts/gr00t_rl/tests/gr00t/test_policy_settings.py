# SPDX-License-Identifier: BSD-3-Clause
"""How a policy was trained is compared with how it is run, field by field."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import fields

import pytest

from gr00t_rl.gr00t import ActionKey, Modality, PolicySettings, StateKey
from gr00t_rl.gr00t.checkpoint import SETTINGS_FILE

TRAINED = Modality(
    "robot",
    {"front": "front", "wrist": "wrist"},
    {"arm": StateKey("policy", 0, 7), "yaw": StateKey("pose", 2, 3, None, sin_cos=True)},
    {"arm": ActionKey(0, 7), "hand": ActionKey(7, 8, "binary")},
    video_crop=0.95,
)
PLACES = {"group", "start", "end", "hold"}
"""Fields that say where the env keeps a key, and what it is given while nothing is decided."""
OTHER = {"normalization": "q99", "sin_cos": True, "absolute": False}
FROM_FILES = {"relative_to", "pose"}
"""Fields that N1.7's own files decide and are compared with there."""


def changed(part: str, name: str, **values) -> Modality:
    keys = getattr(TRAINED, part)
    others = {"normalization": None} if values.get("sin_cos") else {}
    return dataclasses.replace(TRAINED, **{part: {**keys, name: dataclasses.replace(keys[name], **values, **others)}})


@pytest.mark.parametrize("part", ["state", "action"])
def test_how_a_key_is_treated_is_compared_whatever_the_field(part):
    for field in fields(type(getattr(TRAINED, part)["arm"])):
        if field.name in PLACES | FROM_FILES:
            continue
        given = changed(part, "arm", **{field.name: OTHER[field.name]})
        says = rf"^modality\.{part}\.arm\.\w+ is .*, but the policy was trained with .*; set that"
        with pytest.raises(ValueError, match=says):
            PolicySettings(TRAINED, 0).check(given, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (dataclasses.replace(TRAINED, video={"wrist": "a", "front": "b"}), "video is ['wrist', 'front'], but"),
        (dataclasses.replace(TRAINED, state=dict(reversed(TRAINED.state.items()))), "state is ['yaw', 'arm'], but"),
        (dataclasses.replace(TRAINED, action=dict(reversed(TRAINED.action.items()))), "action is ['hand', 'arm'], but"),
        (changed("state", "arm", end=6), "state.arm.columns is 6, but the policy was trained with 7"),
        (dataclasses.replace(TRAINED, video_crop=1.0), "video_crop is 1.0, but the policy was trained with 0.95"),
    ],
)
def test_order_width_and_crop_are_compared(given, said):
    with pytest.raises(ValueError) as error:
        PolicySettings(TRAINED, 0).check(given, 0)
    assert str(error.value).startswith(f"modality.{said}")


def test_the_row_is_compared_with_and_without_a_modality():
    settings = PolicySettings(TRAINED, 31)
    for modality in (TRAINED, None):
        settings.check(modality, 31)
        with pytest.raises(ValueError, match=r"^embodiment_id is 0, but the policy was trained with 31 \(.*; set that"):
            settings.check(modality, 0)


def test_a_camera_may_be_left_out_but_none_added():
    fewer = dataclasses.replace(TRAINED, video={"wrist": "wrist"})
    PolicySettings(TRAINED, 0).check(fewer, 0)
    with pytest.raises(ValueError, match=r"^modality\.video is \['front', 'wrist'\], but the policy was trained with"):
        PolicySettings(fewer, 0).check(TRAINED, 0)


def test_where_an_env_keeps_the_keys_is_its_own_business():
    elsewhere = dataclasses.replace(
        TRAINED,
        video={"front": "camera_1", "wrist": "camera_2"},
        state={"arm": StateKey("joints", 3, 10), "yaw": StateKey("joints", 0, 1, None, sin_cos=True)},
        action={"arm": ActionKey(1, 8), "hand": ActionKey(0, 1, "binary", hold=1.0)},
    )
    PolicySettings(TRAINED, 0).check(elsewhere, 0)


def test_a_file_from_before_crops_says_that_nothing_is_cut_off():
    content = json.loads(PolicySettings(TRAINED, 0).to_bytes())
    del content["modality"]["video_crop"]
    settings = PolicySettings.read({SETTINGS_FILE: json.dumps(content).encode()})
    assert settings is not None and settings.modality == dataclasses.replace(TRAINED, video_crop=1.0)
