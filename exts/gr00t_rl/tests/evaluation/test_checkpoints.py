# SPDX-License-Identifier: BSD-3-Clause
"""What --checkpoint and the other arguments mean, and what is refused before anything starts."""

from types import SimpleNamespace

import pytest

from gr00t_rl.cli.evaluate import build_parser, check_arguments
from gr00t_rl.evaluation.checkpoints import apply_checkpoint


def agent(actor: str = "gr00t_rl.models:Gr00tActor") -> SimpleNamespace:
    return SimpleNamespace(
        actor=SimpleNamespace(class_name=actor, checkpoint="tiny"), load_checkpoint="model_.*.pt", experiment_name="e"
    )


def apply(checkpoint, cfg) -> str | None:
    return apply_checkpoint(str(checkpoint), cfg, "Gr00t-Reach-Franka", "rsl_rl_cfg_entry_point")


def test_base_changes_nothing() -> None:
    cfg = agent()
    assert apply("base", cfg) is None
    assert vars(cfg) == vars(agent()) | {"actor": cfg.actor} and cfg.actor.checkpoint == "tiny"


def test_a_run_stands_for_its_last_model(tmp_path) -> None:
    for number in (0, 9, 10):
        (tmp_path / f"model_{number}.pt").touch()
    cfg = agent()
    assert apply(tmp_path, cfg) == cfg.load_checkpoint == str(tmp_path / "model_10.pt")


def test_a_gr00t_checkpoint_becomes_the_base(tmp_path) -> None:
    (tmp_path / "config.json").touch()
    cfg = agent()
    assert apply(tmp_path, cfg) == cfg.actor.checkpoint == str(tmp_path)
    assert cfg.load_checkpoint == "model_.*.pt"
    with pytest.raises(ValueError, match="OrthogonalMLPModel"):
        apply(tmp_path, agent("gr00t_rl.models:OrthogonalMLPModel"))


@pytest.mark.parametrize("name", ["missing.pt", "empty"])
def test_what_is_not_there_is_refused(tmp_path, name) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="--checkpoint"):
        apply(tmp_path / name, agent())


@pytest.mark.slow  # imports Isaac Lab
def test_latest_without_a_run_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="--checkpoint latest"):
        apply("latest", agent())


@pytest.mark.parametrize(
    "argv",
    [
        ["--num_episodes", "0"],
        ["--num_envs", "-1"],
        ["--video", "--report", "none"],
        ["--json", "{file}/r.json"],
        ["--report", "{file}"],
    ],
)
def test_arguments_that_cannot_work_are_refused(tmp_path, argv) -> None:
    file = tmp_path / "file"
    file.touch()
    args = build_parser().parse_args(["--task", "T", *(arg.format(file=file) for arg in argv)])
    with pytest.raises(ValueError, match="--") as refusal:
        check_arguments(args)
    assert "\n" not in str(refusal.value)
