# SPDX-License-Identifier: BSD-3-Clause
"""What --checkpoint means: the same in train, play and evaluate, or refused in one line."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from gr00t_rl.launch.checkpoints import apply_checkpoint
from gr00t_rl.utils.errors import ConfigurationError

TASK, AGENT = "Gr00t-Reach-Franka", "rsl_rl_cfg_entry_point"
PROGRAMS = ("train", "play", "evaluate", "export")
everywhere = pytest.mark.parametrize("program", PROGRAMS)


def agent(actor: str = "gr00t_rl.models:Gr00tActor") -> SimpleNamespace:
    return SimpleNamespace(
        actor=SimpleNamespace(class_name=actor, checkpoint="tiny"), load_checkpoint="model_.*.pt", experiment_name="e"
    )


def apply(checkpoint, cfg, program="evaluate") -> str | None:
    return apply_checkpoint(str(checkpoint), program, cfg, TASK, AGENT)


def refusal(checkpoint, program="evaluate", cfg=None) -> str:
    """The one line that refuses a checkpoint; the cfg is as it was."""
    cfg = cfg or agent()
    with pytest.raises(ConfigurationError) as refused:
        apply(checkpoint, cfg, program)
    assert cfg.load_checkpoint == "model_.*.pt" and cfg.actor.checkpoint == "tiny"
    line = str(refused.value)
    assert line.startswith(f"[gr00t_rl] --checkpoint {checkpoint}") and "\n" not in line
    return line


@everywhere
def test_a_run_stands_for_its_last_model(tmp_path, program) -> None:
    """Its best one has another name, and a half-written one does not count."""
    for name in ("model_0.pt", "model_9.pt", "model_10.pt", "model_best.pt", ".model_11.pt.partial", "model_x.pt"):
        (tmp_path / name).touch()
    for folder in (str(tmp_path), f"{tmp_path}/"):
        cfg = agent()
        assert apply(folder, cfg, program) == cfg.load_checkpoint == str(tmp_path / "model_10.pt")


@everywhere
def test_a_file(tmp_path, program) -> None:
    cfg, file = agent(), tmp_path / "any name.pt"
    file.touch()
    assert apply(file, cfg, program) == cfg.load_checkpoint == str(file)
    assert "does not exist; set" in refusal(tmp_path / "missing.pt", program)


@everywhere
def test_a_folder_without_a_model_is_refused(tmp_path, program) -> None:
    (tmp_path / "2026-11-28").mkdir()  # the folder of an experiment, not of a run
    assert "neither a model_N.pt nor a config.json" in refusal(tmp_path, program)


@pytest.mark.parametrize("program", ["train", "evaluate"])
def test_base_weights(tmp_path, program) -> None:
    """The agent's own change nothing; a GR00T checkpoint's folder becomes the base."""
    cfg = agent()
    assert apply("base", cfg, program) is None
    assert cfg == agent()
    (tmp_path / "config.json").touch()
    assert apply(tmp_path, cfg, program) is None
    assert cfg.actor.checkpoint == str(tmp_path) and cfg.load_checkpoint == "model_.*.pt"
    assert "OrthogonalMLPModel" in refusal(tmp_path, program, agent("gr00t_rl.models:OrthogonalMLPModel"))


def test_play_wants_a_run(tmp_path) -> None:
    (tmp_path / "config.json").touch()
    for checkpoint in ("base", tmp_path):
        assert "gr00t-rl evaluate --video" in refusal(checkpoint, "play")
        assert "export writes what a run made of them" in refusal(checkpoint, "export")


@everywhere
def test_what_nobody_publishes_is_refused(program) -> None:
    assert TASK in refusal("pretrained", program)


def fake_module(monkeypatch, name: str, **functions) -> None:
    module = ModuleType(name)
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, name, module)


@everywhere
def test_a_run_of_weights_and_biases(monkeypatch, tmp_path, program) -> None:
    """Isaac Lab downloads it; whatever goes wrong there ends in one line."""

    def fetch(checkpoint: str) -> str:
        if checkpoint == "wandb:me/reach/run":
            return str(tmp_path / "model_3.pt")
        raise RuntimeError("401 Unauthorized\nTraceback (most recent call last): ...")

    known = ("wandb:me/reach/", "https://wandb.ai/me/reach/runs/")
    fake_module(
        monkeypatch,
        "isaaclab_rl.utils.wandb",
        is_wandb_checkpoint=lambda text: text.startswith(known),
        resolve_wandb_checkpoint=fetch,
    )
    cfg = agent()
    assert apply("wandb:me/reach/run", cfg, program) == cfg.load_checkpoint == str(tmp_path / "model_3.pt")
    assert "(401 Unauthorized)" in refusal("https://wandb.ai/me/reach/runs/other", program)
    for malformed in ("wandb:run", "https://wandb.ai/me/reach"):
        assert "wandb:ENTITY/PROJECT/RUN_ID" in refusal(malformed, program)


@everywhere
def test_a_file_by_url(monkeypatch, tmp_path, program) -> None:
    def fetch(url: str) -> str:
        if url.endswith("model_3.pt"):
            return str(tmp_path / "model_3.pt")
        raise FileNotFoundError("Unable to find the file")

    fake_module(monkeypatch, "isaaclab.utils.assets", retrieve_file_path=fetch)
    cfg = agent()
    assert apply("https://x.y/model_3.pt", cfg, program) == cfg.load_checkpoint == str(tmp_path / "model_3.pt")
    assert "Unable to find the file" in refusal("https://x.y/other.pt", program)


@pytest.mark.slow  # imports Isaac Lab
@everywhere
def test_latest_and_best(tmp_path, monkeypatch, program) -> None:
    from isaaclab_rl.entrypoints.common import write_run_manifest

    monkeypatch.chdir(tmp_path)
    assert "has no run with a model_N.pt" in refusal("latest", program)
    for run, models in {"1": ["model_10.pt", "model_9.pt", "model_best.pt"], "2": ["model_3.pt"], "3": []}.items():
        folder = tmp_path / "logs" / "rsl_rl" / "e" / run
        write_run_manifest(str(folder), library="rsl_rl", task=TASK, metadata={"agent": AGENT})
        for name in models:
            (folder / name).touch()
        if run == "1":
            assert apply("latest", agent(), program) == str(folder / "model_10.pt")  # not the best one
    # the newest run with a model: the third has just begun
    assert apply("latest", agent(), program) == str(folder.with_name("2") / "model_3.pt")
    cfg = agent()
    assert apply("best", cfg, program) == cfg.load_checkpoint == str(folder.with_name("1") / "model_best.pt")
    (folder.with_name("1") / "model_best.pt").unlink()
    line = refusal("best", program)
    assert "has no run with a model_best.pt" in line and "agent.evaluation_interval" in line and "'latest'" in line
