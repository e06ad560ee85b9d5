# SPDX-License-Identifier: BSD-3-Clause
"""What a policy was trained with, by its files or a run's checkpoint, and what it is run with."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gr00t_rl.gr00t import ActionKey, Gr00tN1d5Processor, Gr00tN1d7Processor, Modality, PolicySettings, StateKey
from gr00t_rl.gr00t.as_trained import check_base, check_remembered, other_settings, remembered, unusual
from gr00t_rl.gr00t.checkpoint import SETTINGS_FILE

TRAINED = Modality(
    "new_embodiment", {"front": "front"}, {"arm": StateKey("policy", 0, 7)}, {"arm": ActionKey(0, 7)}, video_crop=0.95
)
UNCUT = dataclasses.replace(TRAINED, video_crop=1.0)
COUNTS = {"n_action_steps": 8, "num_inference_timesteps": 4}
ROWS = 32
"""Of the per-embodiment weights of a released network."""


def tagged(tag: str, **changes: Any) -> Modality:
    return dataclasses.replace(TRAINED, embodiment_tag=tag, **changes)


# -- base weights ------------------------------------------------------------------------------------------------------


def test_the_file_beside_the_weights_speaks_of_its_own_embodiment_alone():
    assets = {SETTINGS_FILE: PolicySettings(TRAINED, 31).to_bytes()}
    for modality in (TRAINED, None):
        check_base(assets, modality, 31)
        with pytest.raises(ValueError, match=r"^embodiment_id is 0, but the policy was trained with 31"):
            check_base(assets, modality, 0)
    with pytest.raises(ValueError, match=r"^modality\.video_crop is 1.0, but the policy was trained with 0.95"):
        check_base(assets, UNCUT, 31)
    check_base(assets, tagged("other", video_crop=1.0), 0)
    for nothing in ({}, {SETTINGS_FILE: b"[]"}):
        check_base(nothing, UNCUT, 0)


@pytest.mark.parametrize(
    ("tag", "row"), [("new_embodiment", 31), ("gr1", 24), ("oxe_droid", 17), ("agibot_genie1", 26)]
)
def test_an_unusual_row_of_released_weights_is_told(tag, row):
    assert unusual(Gr00tN1d5Processor, {}, ROWS, tagged(tag), row) == []
    (line,) = unusual(Gr00tN1d5Processor, {}, ROWS, tagged(tag), 0)
    assert line.startswith(f"agent.actor.embodiment_id is 0, but NVIDIA's programs train and run {tag!r} with {row}")
    assert "\n" not in line


def test_pictures_of_released_weights_that_are_not_cut_are_told():
    (line,) = unusual(Gr00tN1d5Processor, {}, ROWS, UNCUT, 31)
    assert "set agent.actor.modality.video_crop=0.95" in line and "\n" not in line
    assert len(unusual(Gr00tN1d5Processor, {}, ROWS, UNCUT, 0)) == 2
    assert unusual(Gr00tN1d5Processor, {}, ROWS, dataclasses.replace(UNCUT, video={}), 31) == []


def test_nothing_is_unusual_where_a_file_or_nobody_says_what_is_usual():
    """Files of ours, networks of other sizes, unknown embodiments, and N1.7, whose own files say rows and crops."""
    assert unusual(Gr00tN1d5Processor, {SETTINGS_FILE: b""}, ROWS, UNCUT, 0) == []
    assert unusual(Gr00tN1d5Processor, {}, 4, UNCUT, 0) == []
    assert unusual(Gr00tN1d5Processor, {}, ROWS, tagged("mine"), 0) == []
    assert unusual(Gr00tN1d7Processor, {}, ROWS, UNCUT, 0) == []


# -- a run's checkpoint ------------------------------------------------------------------------------------------------


def kept(modality: Modality | None = TRAINED, row: int = 31, texts: tuple[str, ...] = ("Push.",), **counts: int) -> Any:
    return remembered(modality, row, list(texts), {**COUNTS, **counts})


def test_a_policy_that_is_run_as_it_was_trained_passes():
    for modality in (TRAINED, None):
        check_remembered(kept(modality), modality, 31)
        assert other_settings(kept(modality), kept(modality)) is None
    elsewhere = dataclasses.replace(TRAINED, video={"front": "camera"}, state={"arm": StateKey("joints", 2, 9)})
    check_remembered(kept(), elsewhere, 31)


@pytest.mark.parametrize(
    ("modality", "row", "said"),
    [
        (TRAINED, 0, "embodiment_id is 0, but the checkpoint was trained with 31; set that"),
        (UNCUT, 0, "embodiment_id is 0"),  # first: by another row the base weights look like others
        (UNCUT, 31, "modality.video_crop is 1.0, but the checkpoint was trained with 0.95; set that"),
        (tagged("gr1"), 31, "modality.embodiment_tag is 'gr1', but the checkpoint was trained with 'new_embodiment'"),
        (tagged("new_embodiment", video={}), 31, "modality.video is [], but the checkpoint was trained with ['front']"),
        (None, 31, "modality is null, but the checkpoint was trained with one"),
    ],
)
def test_what_no_policy_survives_is_refused(modality, row, said):
    with pytest.raises(ValueError) as error:
        check_remembered(kept(), modality, row)
    assert str(error.value).startswith(said)


def test_a_modality_where_there_was_none_is_refused():
    with pytest.raises(ValueError, match=r"^modality is given, but the checkpoint was trained without one"):
        check_remembered(kept(None), TRAINED, 31)


def test_a_checkpoint_that_remembers_nothing_is_not_compared():
    check_remembered({}, TRAINED, 0)
    assert other_settings({}, kept()) is None


@pytest.mark.parametrize("damage", [3, [], {"state": {}}, {"embodiment_tag": "a", "video": 1, "state": 2, "action": 3}])
def test_a_damaged_memory_ends_in_one_line(damage):
    with pytest.raises(ValueError, match=r"^modality cannot be compared with the checkpoint's own \(") as error:
        check_remembered({"modality": damage}, TRAINED, 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (kept(n_action_steps=4), "agent.actor.n_action_steps is 4, in training 8"),
        (kept(num_inference_timesteps=2), "agent.actor.num_inference_timesteps is 2, in training 4"),
        (kept(texts=("Push.", "Pull.")), "it is told 'Pull.', in training 'Push.'"),
    ],
)
def test_what_a_policy_survives_is_told_in_one_line(now, said):
    line = other_settings(kept(), now)
    assert line is not None and said in line and "\n" not in line
    assert other_settings(now, now) is None


def test_one_of_several_instructions_is_as_in_training():
    assert other_settings(kept(texts=("Push.", "Pull.")), kept(texts=("Pull.",))) is None
