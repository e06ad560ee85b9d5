# SPDX-License-Identifier: BSD-3-Clause
"""Whatever lies in a checkpoint's folder, reading it ends well or in one line."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from damaged import (
    ESCAPES,
    PLACES,
    PROPERTY,
    damaged_bytes,
    damaged_json,
    damaged_table,
    ends_in_one_line,
    linked_copy,
    listing,
    put_in_place,
)
from hypothesis import given
from hypothesis import strategies as st

from gr00t_rl.gr00t import ActionKey, CheckpointError, Modality, StateKey, from_pretrained, load_tokenizer
from gr00t_rl.gr00t.checkpoint import read_assets
from gr00t_rl.gr00t.loading import generation_of_folder, without_weights
from gr00t_rl.utils.foreign_files import is_inside

INDEX = "model.safetensors.index.json"
FIXTURES = Path(__file__).parents[1] / "fixtures"
SHIPPED = Path(__file__).parents[2] / "gr00t_rl" / "assets" / "checkpoints"
NETWORKS = {"n1.5": FIXTURES / "gr00t_n1d5_tiny", "n1.7": FIXTURES / "gr00t_n1d7_tiny"}
WHOLE = {"n1.5": SHIPPED / "push_cube_camera", "n1.7": SHIPPED / "push_cube_camera_n1d7"}
"""With tokenizer, statistics and the processor's files."""
MODES = {"n1.5": "min_max", "n1.7": "mean_std"}


@contextmanager
def changed(source: Path, name: str, content: bytes | None = None, place: str = "") -> Iterator[Path]:
    """A folder that differs from ``source`` in one file."""
    with tempfile.TemporaryDirectory() as folder:
        target = linked_copy(source, Path(folder) / "checkpoint")
        (target / name).unlink()
        if content is not None:
            (target / name).write_bytes(content)
        else:
            put_in_place(target / name, place)
        before = listing(Path(folder))
        yield target
        assert listing(Path(folder)) == before  # nothing is written


def json_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.json"))


def modality_of(generation: str) -> Modality:
    """Some of the keys of the shipped checkpoint of a generation, all of them of N1.7."""
    folder = WHOLE[generation]
    name = "statistics.json" if generation == "n1.7" else "experiment_cfg/metadata.json"
    tables = json.loads((folder / name).read_text())["new_embodiment"]
    tables = tables.get("statistics", tables)
    widths = {part: {key: len(table["min"]) for key, table in tables[part].items()} for part in ("state", "action")}
    state = {key: StateKey(key, 0, width, MODES[generation]) for key, width in widths["state"].items()}
    action, start = {}, 0
    for key, width in widths["action"].items():
        action[key] = ActionKey(start, start + width, MODES[generation])
        start += width
    return Modality("new_embodiment", {"front": "front", "wrist": "wrist"}, state, action)


def read_processor(folder: Path, modality: Modality) -> None:
    """What is read of a folder besides the network: the statistics, and what the processor is told to do."""
    of = generation_of_folder(folder)
    assets = read_assets(folder, of.LAYOUT)
    of.Processor.read_statistics(assets, modality)
    of.Processor.known_embodiment(assets, modality.embodiment_tag).check("new_embodiment", 0, 8)


def test_the_files_themselves_are_read_well():
    for generation, folder in WHOLE.items():
        read_processor(folder, modality_of(generation))
        load_tokenizer(folder)


@pytest.mark.parametrize("generation", NETWORKS)
@PROPERTY
@given(data=st.data())
def test_sizes_and_index_of_any_content(generation, data):
    source = NETWORKS[generation]
    name = data.draw(st.sampled_from(json_files(source)))
    with changed(source, name, data.draw(damaged_json((source / name).read_bytes()))) as folder:
        ends_in_one_line(lambda: from_pretrained(folder), CheckpointError)
        ends_in_one_line(lambda: without_weights(folder, None, "sdpa"), CheckpointError)


@PROPERTY
@given(data=st.data())
def test_weights_of_any_content(data):
    """Bytes of a shard's header and tensors, and entries of the header that the bytes then do not fit."""
    source = NETWORKS["n1.5"]
    name = "model-00001-of-00002.safetensors"
    content = (source / name).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])

    def with_header(table: Any) -> bytes:
        header = json.dumps(table).encode()
        return struct.pack("<Q", len(header)) + header + content[8 + length :]

    headers = damaged_table(json.loads(content[8 : 8 + length])).map(with_header)
    front = damaged_bytes(content[: 8 + length]).map(lambda head: head + content[8 + length :])
    with changed(source, name, data.draw(st.one_of(headers, front, damaged_bytes(content)))) as folder:
        ends_in_one_line(lambda: from_pretrained(folder), CheckpointError)


@pytest.mark.parametrize("generation", WHOLE)
@PROPERTY
@given(data=st.data())
def test_statistics_and_processor_files_of_any_content(generation, data):
    source, modality = WHOLE[generation], modality_of(generation)
    files = [name for name in json_files(source) if name != INDEX and not name.startswith(("token", "chat"))]
    name = data.draw(st.sampled_from(files))
    with changed(source, name, data.draw(damaged_json((source / name).read_bytes()))) as folder:
        # what does not fit the keys is a ValueError, which the actor's loading turns into its own line
        ends_in_one_line(lambda: read_processor(folder, modality), ValueError)


@PROPERTY
@given(data=st.data())
def test_tokenizer_files_of_any_content(data):
    source = WHOLE["n1.5"]
    name = data.draw(st.sampled_from(("tokenizer_config.json", "tokenizer.json", "chat_template.json")))
    with changed(source, name, data.draw(damaged_json((source / name).read_bytes()))) as folder:
        ends_in_one_line(lambda: load_tokenizer(folder), CheckpointError)


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file(place):
    """A pipe would be waited for, a device has no end."""
    for generation, source in WHOLE.items():
        modality = modality_of(generation)
        for name in (*json_files(source), "model-00001-of-00001.safetensors"):
            with changed(source, name, place=place) as folder:
                if name.startswith(("token", "chat")):
                    ends_in_one_line(lambda f=folder: load_tokenizer(f), CheckpointError)
                elif name == "config.json" or name.endswith("safetensors"):
                    assert ends_in_one_line(lambda f=folder: from_pretrained(f), CheckpointError), (name, place)
                else:
                    ends_in_one_line(lambda f=folder, m=modality: read_processor(f, m), ValueError)


@pytest.mark.parametrize("error", [OSError("no route\nto host"), ValueError("401"), RuntimeError("timed out")])
def test_a_hub_that_cannot_be_reached(error, monkeypatch):
    """It is asked at the start only, and ends in one line."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("gr00t_rl.gr00t.checkpoint.snapshot_download", fail)
    for read in (from_pretrained, load_tokenizer):
        line = ends_in_one_line(lambda r=read: r("some/model"), CheckpointError)
        assert line and "as a hub id it cannot be fetched" in line and "check the name and the connection" in line


@pytest.mark.parametrize("name", ESCAPES)
def test_the_index_does_not_leave_its_folder(name, tmp_path):
    assert not is_inside(name) or name.startswith("~")
    source = NETWORKS["n1.5"]
    index = json.loads((source / INDEX).read_text())
    key = next(iter(index["weight_map"]))
    index["weight_map"][key] = name
    with changed(source, INDEX, json.dumps(index).encode()) as folder:
        line = ends_in_one_line(lambda: from_pretrained(folder), CheckpointError)
    assert line and ("outside its folder" in line or name.startswith("~"))
