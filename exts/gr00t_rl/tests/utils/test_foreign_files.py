# SPDX-License-Identifier: BSD-3-Clause
"""Model files, results and settings of any content: reading ends well or in one line."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damaged import ODD, PLACES, PROPERTY, TREE, damaged_bytes, damaged_json, ends_in_one_line, put_in_place
from helpers import PointMassEnv, make_runner, runner_cfg
from hypothesis import given
from hypothesis import strategies as st

from gr00t_rl.evaluation import Episodes
from gr00t_rl.evaluation.report import comparison_html
from gr00t_rl.evaluation.result import read_result, summarise, write_result
from gr00t_rl.evaluation.runs import Comparison, Entry
from gr00t_rl.launch.checkpoints import count_down, last_model
from gr00t_rl.models.trained import trained_network
from gr00t_rl.options import BY_CLASS_NAME, declared
from gr00t_rl.options.check import check_value
from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.foreign_files import MAX_DEPTH, is_count, is_finite, is_inside, parse_json
from gr00t_rl.utils.kept_checkpoints import take_best_along
from gr00t_rl.utils.runner_files import check_readable


@pytest.fixture(scope="module")
def runner() -> Any:
    return make_runner(runner_cfg("mlp", reward_scaling=True), PointMassEnv())


@pytest.fixture(scope="module")
def model_file(runner, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "model_0.pt"
    runner.save(str(path))
    return path


def read_all(path: Path, runner: Any) -> str | None:
    """Every way in which a model_N.pt is read; returns the line of the one that trains."""
    line = ends_in_one_line(lambda: runner.load(str(path)), ConfigurationError)
    cfg = types.SimpleNamespace(total_iterations=10**6)
    for read in (
        lambda: check_readable(str(path)),
        lambda: count_down(cfg, str(path)),
        lambda: trained_network(path),
        lambda: take_best_along(path, -1, path.parent / "other"),
        lambda: last_model(path.parent),
    ):
        ends_in_one_line(read, ConfigurationError)
    return line


@PROPERTY
@given(data=st.data())
def test_model_files_of_any_bytes(runner, model_file, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "model_1.pt"
    path.write_bytes(data.draw(damaged_bytes(model_file.read_bytes())))
    read_all(path, runner)
    assert [file.name for file in path.parent.iterdir()] == ["model_1.pt"]


@PROPERTY
@given(data=st.data())
def test_model_files_of_any_entries(runner, model_file, data, tmp_path_factory):
    state = torch.load(model_file, weights_only=True)
    odd = st.sampled_from([*(value for value in ODD if value is not TREE), torch.zeros(3), torch.full((2,), torch.nan)])
    path = tmp_path_factory.mktemp("damaged") / "model_1.pt"
    inner = [(name, key) for name, part in state.items() if isinstance(part, dict) for key in part]
    section = data.draw(st.sampled_from([*state, *inner]))
    keys = section if isinstance(section, tuple) else (section,)
    table = state
    for key in keys[:-1]:
        table = table[key]
    if data.draw(st.booleans()):
        table[keys[-1]] = data.draw(odd)
    else:
        del table[keys[-1]]
    torch.save(state, path)
    read_all(path, runner)


@pytest.mark.parametrize("place", PLACES)
def test_model_files_that_are_none(runner, place, tmp_path):
    put_in_place(tmp_path / "model_1.pt", place)
    assert read_all(tmp_path / "model_1.pt", runner)


def result_file(path: Path) -> dict[str, Any]:
    episodes = Episodes(np.ones(4), np.array([3, 4, 5, 6]), np.array([True, False, True, True]), {}, np.arange(4) % 2)
    result = {**summarise(episodes, 0.05, ["push", "slide"]), "task": "T", "checkpoint": "C"}
    write_result(path, result)
    return result


@PROPERTY
@given(data=st.data())
def test_results_of_any_content(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("result") / "result.json"
    result_file(path)
    path.write_bytes(data.draw(damaged_json(path.read_bytes())))

    def read() -> None:
        result = read_result(path)
        comparison_html(Comparison([Entry("label", result)]))

    ends_in_one_line(read, ConfigurationError)


@PROPERTY
@given(data=st.data())
def test_options_of_any_value(data):
    cls = data.draw(st.sampled_from(sorted({*BY_CLASS_NAME.values()}, key=lambda cls: cls.__name__)))
    item = data.draw(st.sampled_from(list(declared(cls).values())))
    odd = st.sampled_from(ODD)
    value = data.draw(st.one_of(odd, st.dictionaries(st.sampled_from(["a", "dit"]), odd)))
    ends_in_one_line(lambda: check_value(item, value, "agent"), ConfigurationError)


def test_json_by_hand():
    assert parse_json(b'{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for text in (
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "[" * 100_000,
        '{"a":' * 2000 + "1" + "}" * 2000,
        "{",
        b"\xff",
    ):
        with pytest.raises(ValueError):
            parse_json(text)


def test_numbers_and_names_by_hand():
    assert is_count(0) and is_count(2**63 - 1) and not any(map(is_count, (True, -1, 1.0, 2**63, None, "1")))
    assert is_finite(1) and is_finite(-0.5)
    assert not any(map(is_finite, (True, float("nan"), float("inf"), 10**400, None, "1")))
    assert all(map(is_inside, ("a", "a/b.safetensors", "./a", "..a/b", "a..b")))
    assert not any(map(is_inside, ("", ".", "/", "/a", "..", "a/../b", "../a", "a\0b")))
