# SPDX-License-Identifier: BSD-3-Clause
"""Curves from event files: of one part, of several, and with tags that nobody logged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.event_files import read_curves, read_scalars

TAGS = {"success": "charts/success_rate", "return": "charts/episodic_return"}
TIME = 1_700_000_000.0


def write_part(folder: Path, steps: range, success: float | None, start: float, **rates: float) -> None:
    """Write one event file, an iteration every ten seconds from ``start`` on: 1,000 env steps at 500 per second."""
    logged = {"Perf/total_fps": 500.0, "Perf/collection_time": 1.5, "Perf/learning_time": 0.5}
    logged |= {name.replace("_", "/", 1): value for name, value in rates.items()}
    if success is not None:
        logged["charts/success_rate"] = success
    with SummaryWriter(str(folder), filename_suffix=f".{start:.0f}") as writer:
        for i, step in enumerate(steps):
            for tag, value in logged.items():
                writer.add_scalar(tag, value, step, walltime=TIME + start + 10 * i)


def test_one_part(tmp_path):
    write_part(tmp_path, range(3), 0.25, 0.0)
    curves = read_curves(tmp_path, TAGS)
    assert curves.iterations.tolist() == [0, 1, 2]
    assert curves.env_steps.tolist() == [1000, 2000, 3000]
    assert curves.seconds.tolist() == [2.0, 4.0, 6.0]
    assert curves.values["success"].tolist() == [0.25] * 3


def test_a_resumed_part_replaces_the_steps_that_it_did_again(tmp_path):
    """Steps 0 to 4, resumed at 3 with half the speed: 3 and 4 are the second part's, and time and env steps too."""
    write_part(tmp_path, range(5), 0.25, 0.0)
    write_part(tmp_path, range(3, 7), 0.75, 100.0, Perf_total_fps=250.0, Perf_collection_time=3.5)
    assert len(list(tmp_path.iterdir())) == 2
    curves = read_curves(tmp_path, TAGS)
    assert curves.iterations.tolist() == list(range(7))
    assert curves.values["success"].tolist() == [0.25] * 3 + [0.75] * 4
    assert curves.seconds.tolist() == [2.0, 4.0, 6.0, 10.0, 14.0, 18.0, 22.0]
    assert curves.env_steps.tolist() == [1000.0 * n for n in range(1, 8)]


def test_later_means_the_time_of_logging_and_not_the_name_of_the_file(tmp_path):
    """Of two files of one second, the name that sorts first may be the later one."""
    write_part(tmp_path, range(3), 0.75, 100.0)
    (late,) = tmp_path.iterdir()
    late.rename(tmp_path / "events.out.tfevents.0")
    write_part(tmp_path, range(3), 0.25, 0.0)
    assert min(file.name for file in tmp_path.iterdir()) == "events.out.tfevents.0"
    assert read_scalars(tmp_path)["charts/success_rate"] == dict.fromkeys(range(3), 0.75)


def test_what_was_not_logged_is_nan(tmp_path):
    """A tag that no part has, and one that only the second part has."""
    write_part(tmp_path, range(2), None, 0.0)
    write_part(tmp_path, range(2, 4), 0.5, 100.0)
    curves = read_curves(tmp_path, TAGS)
    assert np.isnan(curves.values["return"]).all() and len(curves.values["return"]) == 4
    np.testing.assert_array_equal(curves.values["success"], [np.nan, np.nan, 0.5, 0.5])


def test_an_iteration_without_its_times_is_left_out(tmp_path):
    """A run that was killed while it logged leaves the speed of an iteration, and not its times."""
    write_part(tmp_path, range(2), 0.5, 0.0)
    with SummaryWriter(str(tmp_path), filename_suffix=".end") as writer:
        writer.add_scalar("Perf/total_fps", 500.0, 2, walltime=TIME + 50)
    assert read_curves(tmp_path, TAGS).iterations.tolist() == [0, 1]


@pytest.mark.parametrize("logged", [False, True])
def test_a_folder_without_iterations_is_refused_in_one_line(tmp_path, logged):
    if logged:
        with SummaryWriter(str(tmp_path)) as writer:
            writer.add_scalar("charts/success_rate", 0.5, 0)
    with pytest.raises(ConfigurationError, match=r"hold no iteration of rsl_rl \(Perf/total_fps") as error:
        read_curves(tmp_path, TAGS)
    assert "\n" not in str(error.value)
