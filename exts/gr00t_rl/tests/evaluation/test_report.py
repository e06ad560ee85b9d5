# SPDX-License-Identifier: BSD-3-Clause
"""The report: one file with everything in it."""

import base64
import io
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from gr00t_rl.cli.evaluate import main
from gr00t_rl.evaluation import Episodes
from gr00t_rl.evaluation.film import Clip, Film, movie_webp, strip_png
from gr00t_rl.evaluation.report import comparison_html, evaluation_html, write_report
from gr00t_rl.evaluation.result import RESULT_FILE, summarise, write_result
from gr00t_rl.evaluation.runs import Comparison, load_entries
from gr00t_rl.launch.film_camera import SENSOR


def episodes(successes: int, count: int) -> Episodes:
    rng = np.random.default_rng(0)
    won = np.arange(count) < successes
    return Episodes(rng.normal(size=count), np.where(won, 20, 60), won, {"cube": rng.uniform(0.3, 0.6, (count, 3))})


def clip(success: bool) -> Clip:
    """Twenty pictures, each of one grey: 0, 10, 20, …"""
    frames = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None] * 10, (20, 16, 16, 3))
    return Clip("success after 2.0 s" if success else "failure after 2.0 s", success, frames)


def run_folder(folder, successes: list[float]):
    """A training run as rsl_rl logs it: 1,000 env steps per iteration at 500 per second."""
    writer = SummaryWriter(str(folder))
    for i, success in enumerate(successes):
        for tag, value in {
            "Perf/total_fps": 500,
            "Perf/collection_time": 1.5,
            "Perf/learning_time": 0.5,
            "charts/success_rate": success,
        }.items():
            writer.add_scalar(tag, value, i)
    writer.close()
    return folder


def test_a_strip_shows_first_to_last() -> None:
    strip = np.array(Image.open(io.BytesIO(strip_png(clip(True)))))
    assert strip.shape == (16, 8 * 16, 3)
    # round(19 i / 7) for i = 0 … 7
    assert strip[8, 8::16, 0].tolist() == [0, 30, 50, 80, 110, 140, 160, 190]


def test_a_movie_runs_in_real_time() -> None:
    movie = Image.open(io.BytesIO(movie_webp(clip(True), step_dt=0.05)))
    assert movie.n_frames == 20  # type: ignore[attr-defined]
    movie.seek(1)
    movie.load()
    assert movie.info["duration"] == 100  # two env steps


def test_a_report_needs_nothing_but_itself(tmp_path) -> None:
    found = episodes(30, 40)
    result = {**summarise(found, 0.05), "task": "A<B", "checkpoint": "model_1.pt"}
    html = evaluation_html(result, found, 0.05, [clip(True), clip(False)])
    path = write_report(tmp_path, "title", [html])
    text = path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    sources = re.findall(r'src="([^"]*)"', text)
    # regions, histograms, and film and strip of two clips
    assert len(sources) == 6
    for source in sources:
        kind, data = source.split(";base64,")
        assert Image.open(io.BytesIO(base64.b64decode(data))).format == kind.removeprefix("data:image/").upper()
    assert not re.search(r"https?://|<script|<link|@import", text)
    assert "A&lt;B" in text and "75.0 %" in text


def test_a_run_brings_the_evaluations_in_it(tmp_path) -> None:
    run = run_folder(tmp_path / "run", [0.5])
    write_result(run / "evaluation" / "model_9" / RESULT_FILE, summarise(episodes(1, 4), 0.05))
    entries = load_entries(run)
    assert [(entry.label, entry.result is not None) for entry in entries] == [("model_9", True), ("run", False)]


def test_comparing_needs_no_simulator(tmp_path) -> None:
    for name, successes in {"before": 2, "after": 9}.items():
        write_result(tmp_path / f"{name}.json", summarise(episodes(successes, 10), 0.05))
    run = run_folder(tmp_path / "run", [0.0, 1.0])
    names = [str(tmp_path / "before.json"), str(tmp_path / "after.json"), str(run)]
    assert main(["--compare", *names, "--report", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert "20.0 %" in text and "90.0 %" in text and text.count("<img") == 2


def test_success_by_instruction_is_compared(tmp_path) -> None:
    for name, successes in {"before": 2, "after": 9}.items():
        found = replace(episodes(successes, 10), instruction=np.arange(10) % 2)
        write_result(tmp_path / f"{name}.json", summarise(found, 0.05, ["push", "stack"]))
    write_result(tmp_path / "old.json", summarise(episodes(1, 10), 0.05))
    entries = [entry for path in sorted(tmp_path.glob("*.json")) for entry in load_entries(path)]
    html = comparison_html(Comparison(entries))
    rows = html.split("<h3>Success by instruction</h3>")[1].split("</table>")[0].split("<tr>")[2:]
    cells = [re.findall(r"<td>([^[<]*)", row) for row in rows]
    assert cells == [["after", "100.0 % ", "80.0 % "], ["before", "20.0 % ", "20.0 % "], ["old", "", ""]]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_nothing_to_compare_is_refused_in_one_line(tmp_path, name) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="--compare") as refusal:
        load_entries(tmp_path / name)
    assert "\n" not in str(refusal.value)


class FilmedEnv:
    """Four envs whose camera shows 10 × the env's number + the steps of its episode; env e ends after e + 3 steps."""

    num_envs, step_dt = 4, 0.05

    def __init__(self) -> None:
        self.clock, self.extras = torch.zeros(4, dtype=torch.long), {}

    @property
    def scene(self) -> dict:
        pictures = (10 * torch.arange(4) + self.clock).byte()[:, None, None, None].expand(4, 8, 8, 4)
        return {SENSOR: SimpleNamespace(data=SimpleNamespace(output={"rgb": SimpleNamespace(torch=pictures)}))}

    def step(self) -> torch.Tensor:
        """Even envs succeed."""
        self.clock = self.clock + 1
        done = self.clock >= torch.arange(4) + 3
        self.extras = {"success": done & (torch.arange(4) % 2 == 0)}
        self.clock[done] = 0
        return done.long()


def test_a_film_keeps_whole_episodes_of_both_outcomes() -> None:
    env = FilmedEnv()
    film = Film(env, {True, False})
    for _ in range(12):
        assert not film.complete()
        film.step(env.step())
    # after 12 steps every env has ended twice: rounds first, then envs
    clips = film.clips()
    assert [clip.success for clip in clips] == [True] * 3 + [False] * 3
    assert film.complete()
    # env 0 takes 3 steps: pictures at its start and, every second step of all, after 2; its second episode begins at
    # step 3 and is seen at 4, after one step
    assert clips[0].frames[:, 0, 0, 0].tolist() == [0, 2]
    assert clips[1].frames[:, 0, 0, 0].tolist() == [20, 22, 24]
    assert clips[2].frames[:, 0, 0, 0].tolist() == [0, 1]
    assert clips[0].title == "success after 0.2 s" and clips[3].title == "failure after 0.2 s"


def test_a_film_of_failures_alone_waits_for_no_success() -> None:
    env = FilmedEnv()
    film = Film(env, {False})
    steps = 0
    while not film.complete():
        film.step(env.step())
        steps += 1
    # envs 1 and 3 fail once each in the first round; the third failure counts when all have ended their second, the
    # last of them env 3 after 2 × 6 steps
    assert steps == 12
