# SPDX-License-Identifier: BSD-3-Clause
"""Requests become observations; each kind of mistake, in each entry, ends in one line that names the entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gr00t_rl.gr00t import ActionKey, Modality, PolicySettings, StateKey
from gr00t_rl.serving.observation import ObservationError, read_observation

MODALITY = Modality(
    "robot",
    {"front": "a", "wrist": "b"},
    {"arm": StateKey("policy", 0, 2, None), "hand": StateKey("policy", 2, 3, None)},
    {"arm": ActionKey(0, 2, None)},
)
SETTINGS = PolicySettings(MODALITY, 0, image_sizes={"front": (4, 6)})
TEXT = "annotation.human.action.task_description"
ENTRIES = ("video.front", "video.wrist", "state.arm", "state.hand")


def one() -> dict[str, Any]:
    """Of one robot."""
    return {
        "video.front": np.full((1, 4, 6, 3), 7, np.uint8),
        "video.wrist": np.zeros((1, 8, 8, 3), np.uint8),
        "state.arm": np.array([[1.0, 2.0]], np.float32),
        "state.hand": np.array([[3.0]]),  # many clients send float64
        TEXT: ["go"],
    }


def several(count: int = 2) -> dict[str, Any]:
    """Of several robots."""
    arrays = {name: np.stack([value] * count) for name, value in one().items() if name != TEXT}
    return arrays | {TEXT: [f"go {number}" for number in range(count)]}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Of several robots, as N1.7's clients send it."""
    parts: dict[str, dict[str, Any]] = {"video": {}, "state": {}}
    for name, value in flat.items():
        part, _, key = name.partition(".")
        if part in parts:
            parts[part][key] = value
    return {"observation": {**parts, "language": {"task": [[text] for text in flat[TEXT]]}}, "options": None}


@pytest.mark.parametrize("form", ["one", "several", "nested"])
def test_an_observation_is_read(form):
    data = {"one": one(), "several": several(), "nested": nested(several())}[form]
    found, count = read_observation(data, SETTINGS), 1 if form == "one" else 2
    np.testing.assert_array_equal(found.state, [[1.0, 2.0, 3.0]] * count)
    assert found.state.dtype == np.float32
    assert [image.shape for image in found.images] == [(count, 4, 6, 3), (count, 8, 8, 3)]
    assert found.instructions == (["go"] if form == "one" else ["go 0", "go 1"])
    assert (found.batched, found.nested) == (form != "one", form == "nested")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("go", "go"), (["go"], "go"), ([["go"]], "go"), (np.array(["go"]), "go"), (np.array([["go"]]), "go")],
    ids=["text", "list", "list of lists", "array", "array of arrays"],
)
def test_an_instruction_has_many_forms(text, expected):
    """A single one is for all robots."""
    assert read_observation(one() | {TEXT: text}, SETTINGS).instructions == [expected]
    assert read_observation(several() | {TEXT: text}, SETTINGS).instructions == [expected] * 2


# -- mistakes ---------------------------------------------------------------------------------------------------------

ANY: dict[str, Callable[[np.ndarray], Any]] = {
    "a list": lambda x: x.tolist(),
    "nothing": lambda x: None,
    "a dimension less": lambda x: x[0],
    "a dimension more": lambda x: x[None, None],
    "two steps": lambda x: np.concatenate([x, x]),
    "no step": lambda x: x[:0],
    "texts": lambda x: np.full(x.shape, "1"),
    "integers": lambda x: x.astype(np.int64),
}
STATE = ANY | {
    "a number more": lambda x: np.concatenate([x, x[..., :1]], axis=-1),
    "a number less": lambda x: x[..., 1:],
    "nan": lambda x: np.full_like(x, np.nan),
    "infinity": lambda x: np.full_like(x, -np.inf),
    "more than float32 holds": lambda x: np.full(x.shape, 1e300),
    "complex numbers": lambda x: x.astype(np.complex128),
    "truth values": lambda x: x > 0,
}
VIDEO = ANY | {
    "floats": lambda x: x.astype(np.float32),
    "grey": lambda x: x[..., :1],
    "an alpha channel": lambda x: np.concatenate([x, x[..., :1]], axis=-1),
    "channels first": lambda x: np.moveaxis(x, -1, -3),
    "no pixel": lambda x: x[..., :0, :, :],
}


def message_of(data: Any) -> str:
    with pytest.raises(ObservationError) as error:
        read_observation(data, SETTINGS)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300 and "; " in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("entry", ENTRIES)
def test_each_mistake_in_each_entry_is_told_with_its_name(entry):
    """Missing, of another kind, shape, type or size; in each form."""
    for mistake, change in (STATE if entry.startswith("state") else VIDEO).items():
        wrong = one()
        wrong[entry] = change(wrong[entry])
        assert entry in message_of(wrong), mistake
    for form in (one(), several()):
        del form[entry]
        assert message_of(form).startswith(f"{entry} is missing; the policy reads {entry.split('.')[0]}.")
    for mistake in ("texts", "integers", "a list", "nothing"):
        wrong = several()
        wrong[entry] = ANY[mistake](wrong[entry])
        assert entry in message_of(nested(wrong)), mistake


def test_pictures_are_as_large_as_in_training():
    """Where the sizes are known; height and width are not the same."""
    wrong = one() | {"video.front": np.zeros((1, 6, 4, 3), np.uint8)}
    assert message_of(wrong).startswith("video.front is 6 x 4 pixels (height x width); send 4 x 6, as in training")
    assert "send 1 to 4096 a side" in message_of(one() | {"video.wrist": np.zeros((1, 4097, 1, 3), np.uint8)})


@pytest.mark.parametrize("entry", ["video.back", "state.leg", "state", "state.", "action.arm", "", "observation.x"])
def test_entries_that_are_not_known(entry):
    assert repr(entry) in (message := message_of(one() | {entry: np.zeros(1)})) or f"{entry} is unknown" in message


@pytest.mark.parametrize("entry", ENTRIES[:-1])
def test_batches_of_another_size(entry):
    message = message_of(several() | {entry: several(3)[entry]})
    assert " robots and state.arm of " in message and "3" in message


def test_one_robot_s_state_among_several():
    assert "state.arm" in message_of(one() | {"state.arm": several()["state.arm"]})
    assert "the batch is empty" in message_of({n: v if n == TEXT else v[:0] for n, v in several().items()})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is a null; send a list"),
        (3, "is a int; send a list"),
        ([3], "holds a int; send one text"),
        ([["go", "back"]], "holds a list; send one text"),
        ([], "has 0 texts for 1 robots"),
        (["go", "back"], "has 2 texts for 1 robots"),
        ([""], "has 0 characters"),
        (["x" * 3000], "has 3000 characters"),
        (np.zeros(1), "holds a float; send one text"),
    ],
)
def test_instructions_that_are_none(text, message):
    assert message in message_of(one() | {TEXT: text})


def test_the_instruction_is_given_once():
    without = {name: value for name, value in one().items() if name != TEXT}
    assert message_of(without).startswith("the instruction is missing; send annotation.")
    assert "there are 2 instructions" in message_of(one() | {"annotation.other": ["go"]})
    assert "the instruction is missing" in message_of(
        {"observation": nested(several())["observation"] | {"language": {}}}
    )


@pytest.mark.parametrize("data", [None, [], "x", np.zeros(2), {"observation": []}, {"observation": {"video": []}}])
def test_data_that_is_no_observation(data):
    assert "; send a table" in message_of(data)


def test_nested_entries_that_are_not_known():
    wrong = nested(several())
    wrong["observation"]["tactile"] = {}
    assert message_of(wrong) == "observation has an entry 'tactile'; send video, state, language"
