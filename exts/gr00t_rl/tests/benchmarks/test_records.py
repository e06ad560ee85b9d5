# SPDX-License-Identifier: BSD-3-Clause
"""Study files: whole, strict JSON, and with the runs of all who write them at once."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import records
from records import add_run, append_line, read_study

RESULTS = Path(__file__).resolve().parents[4] / "docs" / "results"


def test_a_run_comes_back_as_it_was_put_in(tmp_path):
    """Unknown numbers are null in the file, and nan in a series; what is unknown by itself stays None."""
    file = tmp_path / "made" / "study.json"
    record = {"seed": 1, "peak": None, "share": math.nan, "curve": {"success": [math.nan, 0.25], "steps": (10, 20)}}
    add_run(file, "b_seed1", record)
    add_run(file, "a_seed1", {"words": ["x"]})
    assert file.read_text() == (
        '{\n"a_seed1": {"words":["x"]},\n'
        '"b_seed1": {"seed":1,"peak":null,"share":null,"curve":{"success":[null,0.25],"steps":[10,20]}}\n}\n'
    )
    study = read_study(file)
    assert list(study) == ["a_seed1", "b_seed1"]
    back = study["b_seed1"]
    assert (back["peak"], back["share"], back["curve"]["steps"]) == (None, None, [10, 20])
    assert math.isnan(back["curve"]["success"][0]) and back["curve"]["success"][1] == 0.25
    assert [entry.name for entry in file.parent.iterdir()] == ["study.json"]  # neither lock nor partial file


def test_a_run_replaces_the_one_of_its_name_and_no_other(tmp_path):
    file = tmp_path / "study.json"
    add_run(file, "a", {"n": 1, "series": [math.nan]})
    line = file.read_text().splitlines()[1]
    add_run(file, "b", {"n": 2})
    add_run(file, "b", {"n": 3})
    assert read_study(file)["b"] == {"n": 3}
    assert file.read_text().splitlines()[1].rstrip(",") == line


def test_runs_that_end_at_the_same_time_all_stay(tmp_path):
    file = tmp_path / "study.json"
    program = (
        "import sys; from pathlib import Path; from records import add_run; writer = int(sys.argv[2])\n"
        "for run in range(10): add_run(Path(sys.argv[1]), f'writer{writer}_run{run}', {'values': [writer] * 500})"
    )
    folder = Path(records.__file__).parent
    commands = [[sys.executable, "-c", program, str(file), str(writer)] for writer in range(4)]
    writers = [subprocess.Popen(command, cwd=folder) for command in commands]
    assert [writer.wait() for writer in writers] == [0] * 4
    study = read_study(file)
    assert len(study) == 40
    assert all(record["values"] == [int(name[6])] * 500 for name, record in study.items())


@pytest.mark.parametrize("record", [{"x": math.inf}, {"x": [1.0, -math.inf]}, {"x": Path("/")}])
def test_what_json_does_not_know_is_refused_and_the_file_stays(tmp_path, record):
    file = tmp_path / "study.json"
    add_run(file, "a", {"n": 1})
    before = file.read_bytes()
    with pytest.raises((ValueError, TypeError)):
        add_run(file, "b", record)
    assert file.read_bytes() == before


def test_a_writer_that_dies_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "study.json"
    add_run(file, "a", {"n": 1})

    def die(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            add_run(file, "b", {"n": 2})
    assert read_study(file) == {"a": {"n": 1}}
    add_run(file, "c", {"n": 3})  # and neither the lock nor the partial file is in the way
    assert list(read_study(file)) == ["a", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": {"x": NaN}}', "NaN is not JSON"),
        ('{"a": {"x": 1', "not readable as a study"),
        ('[{"x": 1}]', "is no study"),
        ('{"seed": 1}', "is no study"),
    ],
)
def test_a_file_that_is_no_study_is_refused_in_one_line(tmp_path, content, message):
    file = tmp_path / "study.json"
    file.write_text(content)
    with pytest.raises(SystemExit, match=message) as error:
        read_study(file)
    assert "\n" not in str(error.value)


def test_a_folder_is_refused_with_the_name_of_a_file(tmp_path):
    with pytest.raises(SystemExit, match=r"name one, such as .*lift\.json"):
        read_study(tmp_path / "lift")
    assert read_study(tmp_path / "lift.json") == {}


@pytest.mark.parametrize("file", sorted(RESULTS.iterdir()), ids=lambda file: file.name)
def test_every_record_of_the_documents_is_a_study(file):
    """Each file loads, and is what the writer would write: sorted, a line per run."""
    study = read_study(file)
    lines = file.read_text().splitlines()
    assert len(study) > 0 and len(lines) == len(study) + 2
    assert [json.loads(f"{{{line.rstrip(',')}}}").popitem()[0] for line in lines[1:-1]] == sorted(study)


def test_lines_are_whole_and_strict(tmp_path):
    file = tmp_path / "lines.jsonl"
    append_line(file, {"a": 1.0})
    append_line(file, {"b": [math.nan]})
    append_line(None, {"c": 2})
    assert file.read_text() == '{"a": 1.0}\n{"b": [null]}\n'
