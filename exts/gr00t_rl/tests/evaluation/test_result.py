# SPDX-License-Identifier: BSD-3-Clause
"""The numbers of a result, against closed forms and hand counts."""

import json
import math

import numpy as np
import pytest

from gr00t_rl.evaluation import Episodes
from gr00t_rl.evaluation.plots import histograms
from gr00t_rl.evaluation.result import as_text, read_result, summarise, write_result
from gr00t_rl.utils.intervals import wilson_interval

Z = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


@pytest.mark.parametrize(
    ("successes", "low", "high"),
    # centre (p + z²/2n) / (1 + z²/n), half width z/(1 + z²/n) √(p(1-p)/n + z²/4n²)
    [(0, 0.0, Z**2 / (10 + Z**2)), (5, 0.236593, 0.763407), (10, 10 / (10 + Z**2), 1.0)],
)
def test_wilson_interval_of_ten_episodes(successes: int, low: float, high: float) -> None:
    assert wilson_interval(successes, 10) == pytest.approx((low, high), abs=1e-6)


def test_wilson_interval_of_many_is_the_normal_one() -> None:
    low, high = wilson_interval(400_000, 1_000_000)
    half = Z * math.sqrt(0.4 * 0.6 / 1e6)
    assert (low, high) == pytest.approx((0.4 - half, 0.4 + half), abs=1e-6)


def test_summary_counts_by_hand() -> None:
    episodes = Episodes(
        returns=np.array([1.0, 2.0, 3.0, -2.0]),
        lengths=np.array([10, 20, 60, 60]),
        success=np.array([True, True, True, False]),
        starts={},
    )
    result = summarise(episodes, step_dt=0.05)
    assert result["success_rate"] == 0.75
    assert result["num_episodes"] == 4
    assert result["mean_return"] == 1.0
    assert result["mean_length"] == 37.5
    # 0.5, 1 and 3 s
    assert result["time_to_success_s"] == pytest.approx({"mean": 1.5, "median": 1.0})
    assert "75.0 %" in as_text(result)


def test_success_by_instruction_by_hand() -> None:
    """Five episodes push, of which three succeed; one stacks and fails; none is to lift."""
    episodes = Episodes(
        returns=np.zeros(6),
        lengths=np.array([10, 20, 60, 60, 60, 60]),
        success=np.array([True, True, True, False, False, False]),
        starts={},
        instruction=np.array([0, 0, 0, 0, 0, 1]),
    )
    result = summarise(episodes, 0.05, ["push", "stack", "lift"])
    push, stack, lift = result["instructions"].values()
    assert push["success_rate"] == 0.6 and push["num_episodes"] == 5
    assert push["success_ci95"] == list(wilson_interval(3, 5)) and push["time_to_success_s"]["median"] == 1.0
    assert stack["success_rate"] == 0.0 and stack["time_to_success_s"] is None
    assert lift == {"num_episodes": 0, "success_rate": None, "success_ci95": None, "time_to_success_s": None}
    lines = as_text(result).splitlines()
    assert any(line.startswith("  push") and "60.0 % [" in line and line.endswith("of 5 episodes") for line in lines)
    assert any(line.startswith("  lift") and "unknown of 0 episodes" in line for line in lines)
    assert summarise(episodes, 0.05)["instructions"] == {}


def test_without_a_success_signal_it_says_so() -> None:
    episodes = Episodes(np.ones(3), np.array([5, 5, 5]), None, {"cup": np.random.rand(3, 3)})
    result = summarise(episodes, 0.05)
    assert result["success_rate"] is result["success_ci95"] is result["time_to_success_s"] is None
    assert result["regions"] == {}
    assert "extras['success']" in result["note"] and "unknown" in as_text(result)


def test_a_result_comes_back_as_it_was_written(tmp_path) -> None:
    result = summarise(Episodes(np.ones(2), np.array([3, 4]), np.array([True, False]), {}), 0.05)
    write_result(tmp_path / "new" / "r.json", result)
    assert read_result(tmp_path / "new" / "r.json") == result
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["r.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path) -> None:
    write_result(tmp_path / "r.json", {"a": 1})
    with pytest.raises(ValueError):
        write_result(tmp_path / "r.json", {"a": float("nan")})
    assert json.loads((tmp_path / "r.json").read_text()) == {"a": 1}


@pytest.mark.parametrize("content", ["{", "[]", '{"success_rate": 1}', None])
def test_what_is_no_result_is_refused_in_one_line(tmp_path, content) -> None:
    file = tmp_path / "r.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match="--compare") as refusal:
        read_result(file)
    assert "\n" not in str(refusal.value)


def test_an_env_whose_numbers_are_not_finite_costs_its_own_episodes_only(tmp_path) -> None:
    """NaN in a return and in a start: success counts all episodes, the return those that have one."""
    nan = float("nan")
    starts = np.array([[0.3, 0.0, 0.0], [0.4, 0.1, 0.0], [nan, nan, nan], [0.5, 0.2, 0.0]])
    won = np.array([True, False, False, True])
    episodes = Episodes(np.array([1.0, nan, float("inf"), 3.0]), np.array([10, 60, 60, 30]), won, {"cube": starts})
    result = summarise(episodes, 0.05)
    write_result(tmp_path / "r.json", result)
    assert read_result(tmp_path / "r.json") == result
    assert (result["mean_return"], result["success_rate"], result["num_episodes"]) == (2.0, 0.5, 4)
    assert np.sum(result["regions"]["cube"]["episodes"]) == 3 and np.sum(result["regions"]["cube"]["successes"]) == 2
    assert result["note"].startswith("2 episodes have a return that is not finite")
    assert histograms(episodes, 0.05)

    lost = Episodes(np.full(4, nan), episodes.lengths, None, {"cube": np.full((4, 3), nan)})
    result = summarise(lost, 0.05)
    write_result(tmp_path / "r.json", result)
    assert read_result(tmp_path / "r.json") == result and result["mean_return"] is None
    assert "not finite" in as_text(result) and histograms(lost, 0.05)
