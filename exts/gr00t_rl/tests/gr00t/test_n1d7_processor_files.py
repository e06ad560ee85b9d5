# SPDX-License-Identifier: BSD-3-Clause
"""What N1.7's processor reads from a checkpoint's files and writes into them, and every way in which they disagree."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from gr00t_rl.gr00t.checkpoint import read_assets
from gr00t_rl.gr00t.errors import CheckpointError
from gr00t_rl.gr00t.modality import ActionKey, Modality, StateKey, Statistics
from gr00t_rl.gr00t.n1d7.config import Gr00tN1d7Config
from gr00t_rl.gr00t.n1d7.model import LAYOUT
from gr00t_rl.gr00t.n1d7.processor import Gr00tN1d7Processor
from gr00t_rl.gr00t.n1d7.prompt import tiny_tokenizer
from gr00t_rl.gr00t.n1d7.recipe import Recipe
from gr00t_rl.gr00t.normalise import STATISTICS

FIXTURE = Path(__file__).parents[1] / "fixtures" / "gr00t_n1d7_processor" / "released"
CONFIG = Gr00tN1d7Config.tiny()
TAG = "new_embodiment"


def released(**kwargs: Any) -> dict[str, bytes]:
    """Files that the released processor wrote: relative poses, percentiles. Some entries of its switches changed."""
    names = ("processor_config.json", "statistics.json", "embodiment_id.json")
    files = {name: (FIXTURE / name).read_bytes() for name in names}
    table = json.loads(files["processor_config.json"])
    table["processor_kwargs"] |= kwargs
    return {**files, "processor_config.json": json.dumps(table).encode()}


def known() -> dict[str, Any]:
    """The keys of that embodiment, as a cfg declares them."""
    widths = {"arm": 4, "pose": 9, "pose_vector": 6, "gripper": 1}
    actions = {"eef": 9, "eef_vector": 6, "arm": 4, "gripper": 1}
    state, action, start = {}, {}, 0
    for name, width in widths.items():
        state[name] = {"group": "policy", "start": start, "end": start + width, "normalization": "q99"}
        start += width
    start = 0
    for name, width in actions.items():
        mode = "q99" if name == "gripper" else "min_max"
        action[name] = {"start": start, "end": start + width, "normalization": mode}
        start += width
    return {"embodiment_tag": TAG, "video": {"front": "camera"}, "state": state, "action": action}


def changed(path: str, value: Any) -> Modality:
    table = copy.deepcopy(known())
    *parents, leaf = path.split(".")
    part = table
    for parent in parents:
        part = part[parent]
    part[leaf] = value
    return Modality.from_dict(table)


def test_the_released_files() -> None:
    modality = Modality.from_dict(known())
    found = Gr00tN1d7Processor.read_statistics(released(), modality)
    assert found is not None
    numbers = json.loads((FIXTURE / "statistics.json").read_text())[TAG]
    assert list(found.relative_action) == ["eef", "eef_vector", "arm"]
    torch.testing.assert_close(
        found.relative_action["eef"]["max"], torch.tensor(numbers["relative_action"]["eef"]["max"])
    )
    torch.testing.assert_close(found.state["arm"]["q99"], torch.tensor(numbers["state"]["arm"]["q99"]))
    recipe = Recipe.read(released())
    assert recipe.image_target_size == (256, 256) and recipe.shortest_image_edge is None and recipe.written


def test_declaring_what_the_checkpoint_says() -> None:
    modality = changed("action.eef", {"start": 0, "end": 9, "relative_to": "pose", "pose": "xyz+rot6d"})
    assert Gr00tN1d7Processor.read_statistics(released(), modality) is not None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("state.arm.normalization", "min_max", "state.arm.normalization is 'min_max', but .*; set 'q99'"),
        ("state.arm.normalization", "scale", "is 'scale', which GR00T N1.7 has not; set one of min_max, q99, mean_std"),
        (
            "action.gripper.normalization",
            "binary",
            "action.gripper.normalization is 'binary', which GR00T N1.7 has not",
        ),
        ("action.arm.normalization", "q99", "relative, for which percentiles are not used; set 'min_max'"),
        ("action.gripper.normalization", None, "action.gripper.normalization is None, but .*; set 'q99'"),
        ("video", {"side": "camera"}, r"^video has the keys \['side'\], but .* has \['front'\]"),
        ("state", dict(reversed(known()["state"].items())), "^state has the keys .* in this order"),
        ("action.arm.relative_to", "arm", None),
        ("action.gripper.relative_to", "gripper", "action.gripper.relative_to is 'gripper' .* says None"),
    ],
)
def test_keys_that_differ(path: str, value: Any, message: str | None) -> None:
    modality = changed(path, value)
    if message is None:  # it says what the checkpoint says
        assert Gr00tN1d7Processor.read_statistics(released(), modality) is not None
        return
    with pytest.raises(ValueError, match=message) as caught:
        Gr00tN1d7Processor.read_statistics(released(), modality)
    assert "\n" not in str(caught.value)


def test_an_embodiment_that_the_checkpoint_does_not_know() -> None:
    with pytest.raises(
        ValueError, match=r"embodiment_tag is 'elsewhere', but statistics.json has \['new_embodiment'\]"
    ):
        Gr00tN1d7Processor.read_statistics(released(), robot("q99", "elsewhere"))


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("relative_action", "arm", None, "action.arm is relative to the state, but the relative_action keys with"),
        ("state", "arm", None, "state.arm has no statistics, the state keys are"),
        (
            "state",
            "arm",
            {"min": [0.0] * 4},
            "state.arm.normalization is 'q99', but its state statistics lack q01, q99",
        ),
        (
            "action",
            "gripper",
            {"q01": [0.0] * 2, "q99": [1.0] * 2},
            r"action.gripper is 1 wide .* statistics are \[2\]",
        ),
        ("action", "gripper", {"q01": "x", "q99": 1}, "not readable"),
    ],
)
def test_statistics_that_do_not_fit(part: str, key: str, value: Any, message: str) -> None:
    files = released()
    table = json.loads(files["statistics.json"])
    table[TAG][part].pop(key)
    if value is not None:
        table[TAG][part][key] = value
    files["statistics.json"] = json.dumps(table).encode()
    with pytest.raises(ValueError, match=message) as caught:
        Gr00tN1d7Processor.read_statistics(files, Modality.from_dict(known()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"processor_config.json": b"no"}, "processor_config.json is no JSON"),
        ({"processor_config.json": b"[]"}, "processor_config.json is no table"),
        ({"processor_config.json": b"{}"}, "has no processor_kwargs"),
        ({}, "but the checkpoint has no statistics.json; set normalization=None"),
        (released(use_tactile=True), "use_tactile is true: set false, all that is supported"),
        (released(image_target_size=[256]), r"image_target_size is \[256\]: set \[height, width\]"),
    ],
)
def test_files_that_are_wrong(files: dict[str, bytes], message: str) -> None:
    table = known()
    table["action"]["arm"]["normalization"] = "min_max"
    with pytest.raises(ValueError, match=message) as caught:
        Gr00tN1d7Processor.read_statistics(files, Modality.from_dict(table))
    assert "\n" not in str(caught.value)


def with_entry(path: tuple[str | int, ...], value: Any) -> dict[str, bytes]:
    """The released files with another value of an entry of ``modality_configs``; Ellipsis: without it."""
    table = json.loads(released()["processor_config.json"])
    *parents, leaf = ("modality_configs", *path)
    part = table["processor_kwargs"]
    for parent in parents:
        part = part[parent]
    part[leaf] = value
    if value is ...:
        del part[leaf]
    return {**released(), "processor_config.json": json.dumps(table).encode()}


@pytest.mark.parametrize("part", ["video", "state"])
@pytest.mark.parametrize("steps", [[-15, 0], [-1]])
def test_the_past_is_refused(part: str, steps: list[int]) -> None:
    message = rf"^embodiment_tag is 'new_embodiment', whose {part}.delta_indices in .* is {re.escape(str(steps))}"
    with pytest.raises(ValueError, match=message) as caught:
        Gr00tN1d7Processor.read_statistics(with_entry((TAG, part, "delta_indices"), steps), Modality.from_dict(known()))
    assert not isinstance(caught.value, CheckpointError) and "\n" not in str(caught.value)


@pytest.mark.parametrize("steps", [[1, 2, 3], [0, 2, 4], [0, 1, 3], [-1, 0, 1]])
def test_chunks_of_other_steps_are_refused(steps: list[int]) -> None:
    message = rf"^embodiment_tag is 'new_embodiment', whose action.delta_indices in .* is {re.escape(str(steps))}"
    files = with_entry((TAG, "action", "delta_indices"), steps)
    with pytest.raises(ValueError, match=message) as caught:
        Gr00tN1d7Processor.read_statistics(files, Modality.from_dict(known()))
    assert not isinstance(caught.value, CheckpointError) and "\n" not in str(caught.value)


def test_what_a_waiting_env_holds_is_what_the_checkpoint_says() -> None:
    """A cfg need not repeat which state an action is relative to, whatever that is called."""
    modality = Modality.from_dict(known())
    states = Gr00tN1d7Processor.relative_states(released(), modality)
    assert states and all(key.relative_to is None for key in modality.action.values())
    for name, state in states.items():
        assert modality.held_as(name, states) == state
    renamed = next(name for name, state in states.items() if state != name)
    assert modality.held_as(renamed) is None
    obs = {"policy": torch.arange(20.0).expand(2, -1)}
    held = modality.hold_action(obs, states)
    key, state = modality.action[renamed], modality.state[states[renamed]]
    assert held is not None and torch.equal(held[:, key.start : key.end], obs["policy"][:, state.start : state.end])


@pytest.mark.parametrize("beside", [False, True])
def test_files_as_nvidias_training_leaves_them(beside: bool, tmp_path: Path) -> None:
    """In ``processor/``, unless the folder itself has a ``processor_config.json``."""
    (tmp_path / "processor").mkdir()
    for name, content in released().items():
        (tmp_path / "processor" / name).write_bytes(content)
    (tmp_path / "preprocessor_config.json").write_bytes(b"{}")
    assert read_assets(tmp_path, LAYOUT) == {**released(), "preprocessor_config.json": b"{}"}
    if beside:
        (tmp_path / "processor_config.json").write_bytes(b"{}")
        assert read_assets(tmp_path, LAYOUT).keys() == {"processor_config.json", "preprocessor_config.json"}


KINDS: dict[str, Any] = {
    "null": None,
    "text": "256",
    "number": 7,
    "fraction": 1.5,
    "bool": True,
    "list": [None],
    "table": {},
}
"""A value of each kind that a JSON file can hold."""
SWITCHES: dict[str, set[str]] = {
    "use_percentiles": {"null", "bool"},
    "letter_box_transform": {"null", "bool"},
    "image_target_size": set(),  # null fits with a crop_fraction alone
    "image_crop_size": {"null"},
    "shortest_image_edge": {"null", "number"},
    "crop_fraction": {"null"},
    "use_tactile": set(),
    "modality_configs": {"null", "table"},
}
"""Entry of ``processor_kwargs`` -> the kinds that it may be of; others are refused."""
ENTRIES: dict[tuple[str | int, ...], set[str]] = {
    (TAG,): {"table"},
    (TAG, "video"): {"null"},
    (TAG, "state"): {"null"},
    (TAG, "action"): {"null"},
    (TAG, "language"): {"null", "table"},
    **{(TAG, part, "modality_keys"): set() for part in ("video", "state", "action")},
    **{(TAG, part, "delta_indices"): {"null"} for part in ("video", "state", "action")},
    (TAG, "state", "sin_cos_embedding_keys"): {"null"},
    (TAG, "action", "mean_std_embedding_keys"): {"null"},
    (TAG, "action", "action_configs"): {"null"},
    (TAG, "action", "action_configs", 2): set(),
    (TAG, "action", "action_configs", 2, "rep"): {"text"},
    (TAG, "action", "action_configs", 2, "state_key"): {"null", "text"},
}
"""The same below ``modality_configs``."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", [*SWITCHES, *ENTRIES], ids=str)
def test_entries_of_every_kind(entry: str | tuple[str | int, ...], kind: str) -> None:
    """Each is read, or refused in one line that names the file and the entry."""
    if isinstance(entry, str):
        files, allowed, name = released(**{entry: KINDS[kind]}), SWITCHES[entry], entry
    else:
        files, allowed, name = (
            with_entry(entry, KINDS[kind]),
            ENTRIES[entry],
            [part for part in entry if isinstance(part, str)][-1],
        )
    if kind in allowed:
        Recipe.read(files)
        return
    with pytest.raises(CheckpointError, match=r"^the checkpoint's processor_config.json says ") as caught:
        Recipe.read(files)
    assert name in str(caught.value) and ": set " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ((TAG, "action", "action_configs"), [{"rep": "ABSOLUTE"}]),  # fewer than keys
        ((TAG, "action", "modality_keys"), ...),
        ((TAG, "state", "modality_keys"), ["arm", 3]),
        ((TAG, "action", "delta_indices"), []),
        ((TAG, "action", "action_configs", 0, "rep"), ...),
    ],
)
def test_entries_that_are_too_short(entry: tuple[str | int, ...], value: Any) -> None:
    with pytest.raises(CheckpointError, match=f"says modality_configs.{TAG}.{entry[1]}.{entry[2]}") as caught:
        Recipe.read(with_entry(entry, value))
    assert "\n" not in str(caught.value)


def test_a_kind_of_relative_action_that_there_is_not() -> None:
    files = with_entry((TAG, "action", "action_configs", 0, "format"), "XYZ_QUATERNION")
    with pytest.raises(CheckpointError, match=r"^the checkpoint's processor_config.json says action eef is relative"):
        Gr00tN1d7Processor.read_statistics(files, Modality.from_dict(known()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", [(), ("state",), ("state", "arm"), ("state", "arm", "q01")], ids=len)
def test_statistics_of_every_kind(path: tuple[str, ...], kind: str) -> None:
    """One line whatever the file holds, also where keys are not scaled; it is the file's fault or the key's."""
    files = released()
    table = json.loads(files["statistics.json"])
    *parents, leaf = (TAG, *path)
    part = table
    for parent in parents:
        part = part[parent]
    part[leaf] = KINDS[kind]
    files["statistics.json"] = json.dumps(table).encode()
    for mode in ("q99", None):
        with pytest.raises(ValueError, match=r"^(the checkpoint's statistics.json is not|state.arm)") as caught:
            Gr00tN1d7Processor.read_statistics(files, changed("state.arm.normalization", mode))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"null", "table"}))
def test_limits_of_every_kind(kind: str) -> None:
    """Of a picture's area, in the image processor's file."""
    tables: list[Any] = [{"size": KINDS[kind]}, {"size": {"shortest_edge": 4, "longest_edge": 2}}]
    tables += [{"min_pixels": KINDS[kind]}] if kind != "number" else []
    for table in tables:
        files = {**released(), "preprocessor_config.json": json.dumps(table).encode()}
        with pytest.raises(
            CheckpointError, match=r"^the checkpoint's preprocessor_config.json says size is "
        ) as caught:
            Recipe.read(files)
        assert "\n" not in str(caught.value)


# -- writing -----------------------------------------------------------------------------------------------------------


def robot(mode: str | None = "min_max", tag: str = "robot", relative_to: str | None = None) -> Modality:
    state = {"arm": StateKey("policy", 0, 2, mode), "yaw": StateKey("policy", 2, 3, None, sin_cos=True)}
    return Modality(tag, {"front": "camera"}, state, {"arm": ActionKey(0, 2, mode, relative_to=relative_to)})


def statistics() -> Statistics:
    def of(width: int) -> dict[str, torch.Tensor]:
        return {name: 1.0 + i + torch.arange(float(width)) for i, name in enumerate(STATISTICS)}

    return Statistics({"arm": of(2), "yaw": of(1)}, {"arm": of(2)}, {"arm": of(2)})


def write(files: dict[str, bytes], modality: Modality, known: Statistics | None = None, row: int | None = 3) -> Any:
    sizes = {key: (60, 80) for key in modality.video}
    found = Gr00tN1d7Processor.with_statistics(files, CONFIG, modality, known or statistics(), sizes, 20.0, row)
    return found, {name: json.loads(content) for name, content in found.items()}


@pytest.mark.parametrize("mode", ["min_max", "q99", "mean_std", None])
@pytest.mark.parametrize("relative_to", [None, "arm"])
def test_what_is_written_is_read_again(mode: str | None, relative_to: str | None) -> None:
    modality = robot(mode, relative_to=None if mode in ("q99", None) else relative_to)
    files, tables = write({}, modality)
    found = Gr00tN1d7Processor.read_statistics(files, modality)
    needed = {"min_max": ("min", "max"), "q99": ("q01", "q99"), "mean_std": ("mean", "std"), None: ()}[mode]
    for name in needed:
        assert found is not None and torch.equal(found.state["arm"][name], statistics().state["arm"][name])
    kwargs = tables["processor_config.json"]["processor_kwargs"]
    assert kwargs["apply_sincos_state_encoding"] and kwargs["use_percentiles"] == (mode != "min_max")
    assert tables["embodiment_id.json"] == {"robot": 3}
    assert kwargs["modality_configs"]["robot"]["action"]["delta_indices"] == list(range(16))
    processor = Gr00tN1d7Processor(
        CONFIG, tiny_tokenizer(CONFIG), modality=modality, statistics=found, image_sizes=[(60, 80)], assets=files
    )
    # the tiny network's pictures are of 64 x 64 pixels, which the file with the limits of their area keeps so
    assert processor.grids == ((1, 8, 8),)
    state, actions = torch.rand(2, 3) + 1, torch.rand(2, 16, 2) + 1
    back = processor.action(processor.pad_action(actions, state), 2, state)
    assert back.shape == actions.shape
    if mode is None:
        torch.testing.assert_close(back, actions)


def test_others_stay() -> None:
    before = released()
    files, tables = write(before, robot("q99"))
    old = {name: json.loads(content) for name, content in before.items()}
    assert tables["statistics.json"][TAG] == old["statistics.json"][TAG]
    kwargs, old_kwargs = (t["processor_config.json"]["processor_kwargs"] for t in (tables, old))
    assert kwargs["modality_configs"][TAG] == old_kwargs["modality_configs"][TAG]
    changed = {name for name in kwargs if kwargs[name] != old_kwargs[name]}
    assert changed == {"modality_configs", "apply_sincos_state_encoding"}
    assert tables["embodiment_id.json"] == old["embodiment_id.json"] | {"robot": 3}
    assert Gr00tN1d7Processor.read_statistics(files, Modality.from_dict(known())) is not None


def test_the_same_keys_again_stay_relative() -> None:
    """Fine-tuning an embodiment that the checkpoint knows, declared without saying what is relative."""
    modality = Modality.from_dict(known())
    before = Gr00tN1d7Processor.read_statistics(released(), modality)
    _, tables = write(released(), modality, before, None)
    old = json.loads(released()["processor_config.json"])["processor_kwargs"]["modality_configs"][TAG]
    new = tables["processor_config.json"]["processor_kwargs"]["modality_configs"][TAG]
    rebased = [
        {**config, "state_key": config["state_key"] or name}
        for name, config in zip(old["action"]["modality_keys"], old["action"]["action_configs"], strict=True)
    ]
    rebased[-1]["state_key"] = None  # the absolute one
    assert new["action"]["action_configs"] == rebased


@pytest.mark.parametrize(
    ("files", "modality", "row", "message"),
    [
        (released(), robot("min_max"), 3, "use_percentiles=True for new_embodiment too; set 'q99'"),
        (released(), robot("q99", TAG), 3, "embodiment_id is 3, but embodiment_id.json says 10 for 'new_embodiment'"),
        (
            released(use_relative_action=False),
            robot("mean_std", relative_to="arm"),
            3,
            "the keys need use_relative_action",
        ),
    ],
)
def test_what_cannot_stand_beside_others(files: dict[str, bytes], modality: Modality, row: int, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        write(files, modality, row=row)
    assert "\n" not in str(caught.value)


def test_statistics_that_are_missing() -> None:
    plain = Statistics(statistics().state, statistics().action)
    with pytest.raises(ValueError, match="give statistics of what relative_chunks returns"):
        write({}, robot(relative_to="arm"), plain)
    mixed = robot("q99")
    mixed = Modality("robot", {}, mixed.state, {"arm": ActionKey(0, 2, "min_max")})
    with pytest.raises(ValueError, match="both 'min_max' and 'q99'"):
        write({}, mixed)


def test_excluded_states() -> None:
    config, tokenizer = Gr00tN1d7Config.tiny(), tiny_tokenizer(CONFIG)
    processor = Gr00tN1d7Processor(config, tokenizer, num_views=0, assets=released(exclude_state=True))
    assert not processor.state(torch.ones(2, 5)).any()
