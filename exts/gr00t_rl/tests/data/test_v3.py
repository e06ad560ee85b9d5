# SPDX-License-Identifier: BSD-3-Clause
"""LeRobot v3.0: many episodes in a file, found by the index under ``meta/episodes``."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gr00t_rl.data import Demonstrations
from gr00t_rl.utils.errors import ConfigurationError

INDEX = "meta/episodes/chunk-000/file-000.parquet"


@pytest.mark.parametrize("images", ["mp4", "png"])
def test_every_bit_comes_back(write_v3, write, layout, episodes, images):
    """Three episodes in two tables; the cameras' videos are cut elsewhere. What is read is what v2.1 gives."""
    named = dataclasses.replace(layout, images=images)
    v3 = write_v3(episodes, videos={"front": ((0,), (1, 2)), "wrist": ((0, 1, 2),)}, layout=named)
    found, expected = Demonstrations.load([v3]), Demonstrations.load([write(episodes, layout=named)])
    for key in layout.cameras:
        assert torch.equal(found.pictures[key], torch.cat([episode.pictures[key] for episode in episodes]))
    assert torch.equal(found.state, expected.state) and torch.equal(found.action, expected.action)
    assert torch.equal(found.task, expected.task) and found.instructions == expected.instructions
    assert found.start.tolist() == [0, 4, 7, 12]
    assert found.layout == dataclasses.replace(named, task_column="task_index")
    first = Demonstrations.load([v3], episodes=2)
    assert torch.equal(first.pictures["wrist"], found.pictures["wrist"][:7])


def test_versions_can_be_trained_together(write_v3, write, episodes):
    both = Demonstrations.load([write_v3(episodes), write(episodes)])
    assert torch.equal(both.state[:12], both.state[12:])
    assert torch.equal(both.pictures["front"][:12], both.pictures["front"][12:])


def test_tasks_are_found_by_their_column(write_v3, episodes):
    """Newer writers name the text; the order of the rows means nothing."""
    root = write_v3(episodes)
    pq.write_table(
        pa.table({"task": ["push the cube", "reach the ball"], "task_index": [1, 0]}), root / "meta/tasks.parquet"
    )
    data = Demonstrations.load([root])
    assert [data.instructions[i] for i in data.task[[0, 4, 7]]] == ["reach the ball", "push the cube", "reach the ball"]


def change_row(root, **values):
    """Change the first row of the first index file."""
    rows = pq.read_table(root / INDEX).to_pylist()
    rows[0] |= {name.replace("__", "/"): value for name, value in values.items()}
    pq.write_table(pa.Table.from_pylist(rows), root / INDEX)


def drop_column(root, name):
    pq.write_table(pq.read_table(root / INDEX).drop_columns([name]), root / INDEX)


FRONT = "videos/observation.images.front"
BROKEN = {
    "no tasks": (lambda r: (r / "meta/tasks.parquet").unlink(), "tasks.parquet cannot be read"),
    "no index": (lambda r: [f.unlink() for f in r.glob("meta/episodes/*/*")], "episodes holds no parquet file"),
    "no text": (
        lambda r: pq.write_table(pa.table({"task_index": [0, 1]}), r / "meta/tasks.parquet"),
        r"has the columns \['task_index'\]; it needs task_index and a text",
    ),
    "half an index": (lambda r: (r / INDEX).write_bytes((r / INDEX).read_bytes()[:99]), "file-000.parquet cannot be r"),
    "no file number": (lambda r: drop_column(r, "data/file_index"), "has no column 'data/file_index'"),
    "no video number": (lambda r: drop_column(r, f"{FRONT}/file_index"), "has no column 'videos/.*front/file_index'"),
    "no such table": (lambda r: change_row(r, data__file_index=7), "episode 0 cannot be read .*file-007.parquet"),
    "negative": (lambda r: change_row(r, data__file_index=-1), "'data/file_index' is -1; set an integer"),
    "too long": (lambda r: change_row(r, length=5), "file-000.parquet holds 4 rows of it, its length is 5"),
    "in no table": (lambda r: change_row(r, data__file_index=1), "file-001.parquet holds 0 rows of it"),
    "beyond the video": (lambda r: change_row(r, **{f"{FRONT}/from_timestamp": 99.0}), "no picture at 99.000 s"),
    "between pictures": (lambda r: change_row(r, **{f"{FRONT}/from_timestamp": None}), "from_timestamp of .* is None"),
    "not enough follow": (lambda r: change_row(r, **{f"{FRONT}/from_timestamp": 0.25}), "no picture at 0.400 s"),
    "unknown task": (
        lambda r: pq.write_table(pa.table({"task_index": [0], "task": ["x"]}), r / "meta/tasks.parquet"),
        "'task_index' has the task 1, which has no text",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_does_not_fit_is_said_in_one_line(write_v3, episodes, what):
    change, said = BROKEN[what]
    root = write_v3(episodes)
    change(root)
    with pytest.raises(ConfigurationError, match=said) as error:
        Demonstrations.load([root])
    assert str(root) in str(error.value) and "\n" not in str(error.value)
