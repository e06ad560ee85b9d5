# SPDX-License-Identifier: BSD-3-Clause
"""Whatever lies in a dataset's folder, reading and continuing it ends well or in one line."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damaged import (
    ESCAPES,
    ODD,
    PLACES,
    PROPERTY,
    damaged_bytes,
    damaged_json,
    damaged_table,
    ends_in_one_line,
    listing,
    put_in_place,
)
from data_episodes import make_episode
from hypothesis import assume, given
from hypothesis import strategies as st

from gr00t_rl.data import DatasetWriter, Demonstrations, Layout, Slice
from gr00t_rl.data.inspection import as_text, inspect_dataset
from gr00t_rl.data.modality_file import modality_of_dataset
from gr00t_rl.utils.errors import ConfigurationError

META = ("info.json", "modality.json", "tasks.jsonl", "episodes.jsonl")
PROGRESS = ("collection.json", "tasks.jsonl", "episodes.jsonl", "episodes_stats.jsonl")
SMALL = {"front": (8, 8)}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> dict[str, Path]:
    """A dataset with videos and one with pictures in its tables."""
    found = {}
    for images in ("mp4", "png"):
        root = tmp_path_factory.mktemp(images) / "dataset"
        layout = layout_of(images)
        writer = DatasetWriter(root, layout, {"seed": 0})
        for number, length in enumerate((2, 3)):
            writer.add(make_episode(layout, length, number, f"task {number}"))
        writer.commit(1)
        found[images] = root
    return found


@pytest.fixture
def v3(write_v3) -> Path:
    """The same as LeRobot v3.0, with videos."""
    layout = layout_of("mp4")
    episodes = [make_episode(layout, length, number, f"task {number}") for number, length in enumerate((2, 3))]
    return write_v3(episodes, tables=((0, 1),), layout=layout, name="v3/dataset")


def layout_of(images: str) -> Layout:
    return Layout(SMALL, {"joints": Slice(0, 2)}, {"arm": Slice(0, 2, absolute=False)}, 20.0, images=images)


@contextmanager
def changed(source: Path, name: str, content: bytes | None = None, place: str = "") -> Iterator[Path]:
    """A copy of a dataset with one file replaced."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "dataset"
        shutil.copytree(source, root)
        if content is None:
            put_in_place(root / name, place)
        else:
            (root / name).write_bytes(content)
        yield root


def load(root: Path) -> None:
    """Read a dataset all the way to a chunk of actions; nothing is written."""
    before = listing(root.parent)
    try:
        found = Demonstrations.load([root])
        found.chunks(found.start[:1], 4)
    finally:
        assert listing(root.parent) == before


def damaged_lines(content: bytes) -> st.SearchStrategy[bytes]:
    """A file of a JSON table per line, one of them damaged."""
    first, *others = content.splitlines(keepends=True)
    return damaged_json(first).map(lambda line: line + b"\n" + b"".join(others))


@st.composite
def damaged_columns(draw: st.DrawFn, path: Path) -> bytes:
    """A parquet file of which one column is missing, renamed, there twice, or full of something odd."""
    table = pq.read_table(path)
    place = draw(st.integers(0, table.num_columns - 1))
    name, how = table.column_names[place], draw(st.sampled_from(("replace", "replace", "remove", "rename", "twice")))
    try:
        if how == "replace":
            table = table.set_column(place, name, pa.array([draw(st.sampled_from(ODD))] * len(table)))
        elif how == "remove":
            table = table.remove_column(place)
        elif how == "rename":
            table = table.rename_columns({name: draw(st.sampled_from(("odd", *ESCAPES)))})
        else:
            table = table.append_column(name, table[name])
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer)
    except (pa.ArrowException, OverflowError, UnicodeError):
        assume(False)  # no parquet file holds that
        raise
    return buffer.getvalue().to_pybytes()


def damage(path: Path) -> st.SearchStrategy[bytes]:
    content = path.read_bytes()
    if path.suffix == ".parquet":
        return st.one_of(damaged_columns(path), damaged_columns(path), damaged_bytes(content))
    return damaged_lines(content) if path.suffix == ".jsonl" else damaged_json(content)


@pytest.mark.parametrize("images", ["mp4", "png"])
@PROPERTY
@given(data=st.data())
def test_tables_of_any_content(datasets, images, data):
    source, name = datasets[images], data.draw(st.sampled_from(META))
    with changed(source, f"meta/{name}", data.draw(damage(source / "meta" / name))) as root:
        ends_in_one_line(lambda: load(root), ConfigurationError)


@PROPERTY
@given(data=st.data())
def test_episodes_of_any_content(datasets, data):
    source = datasets["mp4"]
    files = sorted(str(p.relative_to(source)) for p in source.rglob("episode_*"))
    name = data.draw(st.sampled_from(files))
    with changed(source, name, data.draw(damaged_bytes((source / name).read_bytes()))) as root:
        ends_in_one_line(lambda: load(root), ConfigurationError)


@PROPERTY
@given(data=st.data())
def test_files_of_v3_of_any_content(v3, data):
    name = data.draw(st.sampled_from(sorted(str(p.relative_to(v3)) for p in v3.rglob("*") if p.is_file())))
    strategy = damaged_bytes((v3 / name).read_bytes()) if name.endswith("mp4") else damage(v3 / name)
    with changed(v3, name, data.draw(strategy)) as root:
        ends_in_one_line(lambda: load(root), ConfigurationError)


@PROPERTY
@given(data=st.data())
def test_features_of_any_content_are_drafted(datasets, data):
    """Where there is no modality.json."""
    source = datasets["png"]
    with changed(source, "meta/info.json", data.draw(damage(source / "meta" / "info.json"))) as root:
        (root / "meta" / "modality.json").unlink()
        ends_in_one_line(lambda: as_text(inspect_dataset(root)), ConfigurationError)


@PROPERTY
@given(content=damaged_table(layout_of("mp4").modality_json()))
def test_keys_of_any_content(content):
    ends_in_one_line(lambda: modality_of_dataset(content, "robot", Path("file")), ConfigurationError)


@PROPERTY
@given(data=st.data())
def test_a_collection_of_any_content(datasets, data):
    source, name = datasets["png"], data.draw(st.sampled_from(PROGRESS))
    with changed(source, f"meta/{name}", data.draw(damage(source / "meta" / name))) as root:
        before = listing(root)
        ends_in_one_line(lambda: DatasetWriter(root, layout_of("png"), {"seed": 0}), ConfigurationError)
        assert listing(root) == before


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file(datasets, place):
    source = datasets["mp4"]
    for name in (*(f"meta/{name}" for name in META), *(str(p.relative_to(source)) for p in source.rglob("episode_*"))):
        with changed(source, name, place=place) as root:
            assert ends_in_one_line(lambda r=root: load(r), ConfigurationError), name


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_of_v3(v3, place):
    for name in sorted(str(p.relative_to(v3)) for p in v3.rglob("*") if p.is_file()):
        if place == "missing" and "meta/episodes" in name:
            continue  # the other index file may be all that there is
        with changed(v3, name, place=place) as root:
            assert ends_in_one_line(lambda r=root: load(r), ConfigurationError), name


@pytest.mark.parametrize("entry", ["data_path", "video_path"])
@pytest.mark.parametrize("name", [*ESCAPES, "{episode_index.__class__}", "{episode_index:>99999999}", "{0}", "{x}"])
def test_paths_do_not_leave_the_dataset(datasets, entry, name, tmp_path):
    """Nor do they format anything but numbers; what lies outside is not even looked at."""
    source = datasets["mp4"]
    info = json.loads((source / "meta" / "info.json").read_text())
    outside = source.parent / "outside"
    shutil.copyfile(next(source.rglob("*.parquet")), outside)
    info[entry] = name
    with changed(source, "meta/info.json", json.dumps(info).encode()) as root:
        shutil.copyfile(outside, root.parent / "outside")
        line = ends_in_one_line(lambda: load(root), ConfigurationError)
    assert line and (f"{entry!r} is" in line or name.startswith("~")), line
