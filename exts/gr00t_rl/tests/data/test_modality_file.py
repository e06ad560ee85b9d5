# SPDX-License-Identifier: BSD-3-Clause
"""A modality from a file, in the two forms that exist."""

from __future__ import annotations

import dataclasses
import functools
import json

import pytest
import yaml

from gr00t_rl.data.modality_file import read_modality_file
from gr00t_rl.gr00t import ActionKey, Modality, StateKey, generation
from gr00t_rl.utils.errors import ConfigurationError

OURS = Modality(
    "robot",
    {"front": "rgb"},
    {"arm": StateKey("policy", 3, 5, normalization="q99"), "angle": StateKey("policy", 0, 1, None, sin_cos=True)},
    {"arm": ActionKey(1, 3, absolute=False), "gripper": ActionKey(0, 1, normalization="binary")},
)
RECORDED = {
    "state": {"arm": {"start": 0, "end": 5}, "hand": {"start": 0, "end": 1, "original_key": "hand"}},
    "action": {"gripper": {"start": 5, "end": 6}, "arm": {"start": 0, "end": 5, "absolute": False}},
    "video": {"front": {"original_key": "observation.images.cam0"}},
    "annotation": {"human.task_description": {"original_key": "task_index"}},
}


@pytest.mark.parametrize(
    "dump",
    [json.dumps, functools.partial(json.dumps, indent="\t"), functools.partial(yaml.safe_dump, sort_keys=False)],
    ids=["json", "json with tabs", "yaml"],
)
def test_both_forms_in_both_languages(tmp_path, dump):
    (tmp_path / "ours").write_text(dump(dataclasses.asdict(OURS)))
    assert read_modality_file(tmp_path / "ours") == (OURS, None)
    assert read_modality_file(tmp_path / "ours", "robot").modality == OURS
    (tmp_path / "recorded").write_text(dump(RECORDED))
    modality, dataset = read_modality_file(tmp_path / "recorded", "new_embodiment")
    assert dataset == RECORDED
    assert modality == Modality(
        "new_embodiment",
        {"front": "observation.images.cam0"},
        {"arm": StateKey("observation.state", 0, 5), "hand": StateKey("hand", 0, 1)},
        {"gripper": ActionKey(0, 1), "arm": ActionKey(1, 6, absolute=False)},
    )


@pytest.mark.parametrize(
    ("text", "tag", "said"),
    [
        ("{", None, "cannot be read"),
        ("- a\n- b", None, "holds a list; give a table of keys"),
        (json.dumps(RECORDED), None, "names no embodiment; set --embodiment_tag"),
        (json.dumps(dataclasses.asdict(OURS)), "other", "--embodiment_tag is 'other', but .* says 'robot'"),
        (json.dumps(dataclasses.asdict(OURS) | {"state": {}}), None, "state is empty; declare at least one key"),
        (json.dumps(RECORDED | {"state": {"arm": {"start": 0}}}), "x", "a key has no 'end'; set start and end"),
        (json.dumps(RECORDED | {"action": {}}), "x", "action is empty"),
        (json.dumps(RECORDED | {"video": ["front"]}), "x", "'list' object has no attribute 'items'"),
        (json.dumps(RECORDED | {"state": {"arm": {"start": 5, "end": 5}}}), "x", "state.arm is the slice 5:5"),
    ],
)
def test_what_is_no_modality_is_refused_in_one_line(tmp_path, text, tag, said):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ConfigurationError, match=said) as error:
        read_modality_file(tmp_path / "file", tag)
    assert str(tmp_path / "file") in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ConfigurationError, match="nowhere cannot be read"):
        read_modality_file(tmp_path / "nowhere", tag)


def test_a_checkpoint_orders_and_scales_the_keys_it_knows():
    """N1.7's processor_config.json names keys and modes; N1.5's files do not."""
    plain = Modality(
        "robot",
        {"wrist": "w", "front": "f", "rear": "r"},
        {"hand": StateKey("s", 5, 6), "arm": StateKey("s", 0, 5), "angle": StateKey("s", 6, 7)},
        {"hand": ActionKey(0, 1), "arm": ActionKey(1, 6), "base": ActionKey(6, 8)},
    )
    known = {
        "video": {"modality_keys": ["front", "wrist"], "delta_indices": [0]},
        "state": {"modality_keys": ["arm", "angle"], "delta_indices": [0], "sin_cos_embedding_keys": ["angle"]},
        "action": {"modality_keys": ["arm", "hand"], "delta_indices": [0, 1], "mean_std_embedding_keys": ["hand"]},
    }
    switches = {"use_percentiles": True, "apply_sincos_state_encoding": True}
    content = {"processor_kwargs": {"modality_configs": {"robot": known}, **switches}}
    assets = {"processor_config.json": json.dumps(content).encode()}
    found = generation("n1.7").Processor.as_trained(assets, plain)
    assert list(found.video) == ["front", "wrist"]
    assert found.state == {
        "arm": StateKey("s", 0, 5, "q99"),
        "angle": StateKey("s", 6, 7, None, sin_cos=True),
    } and list(found.state) == ["arm", "angle"]
    assert found.action == {"arm": ActionKey(0, 5, "q99"), "hand": ActionKey(5, 6, "mean_std")}
    other = dataclasses.replace(plain, embodiment_tag="unknown")
    assert list(generation("n1.7").Processor.as_trained(assets, other).state) == ["hand", "arm", "angle"]
    assert generation("n1.5").Processor.as_trained({}, plain) is plain
