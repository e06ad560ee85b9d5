# SPDX-License-Identifier: BSD-3-Clause
"""Fine-tuning end to end: it learns, writes what the actor then reads alike, repeats, and refuses what cannot work."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensordict import TensorDict

from gr00t_rl.cli.finetune import build_parser
from gr00t_rl.data import Demonstrations
from gr00t_rl.data.task_modality import agent_cfg_of, modality_of
from gr00t_rl.gr00t import (
    METADATA_FILE,
    Gr00tN1d5,
    Gr00tN1d5Processor,
    Modality,
    PolicySettings,
    load_tokenizer,
    read_statistics,
)
from gr00t_rl.models import Gr00tActor
from gr00t_rl.sft import program
from gr00t_rl.sft.arguments import complete_arguments
from gr00t_rl.sft.embodiment import Embodiment
from gr00t_rl.sft.network import as_statistics
from gr00t_rl.sft.parts import Tuned
from gr00t_rl.sft.samples import Samples
from gr00t_rl.sft.saved import SavedTraining
from gr00t_rl.sft.trainer import Trainer
from gr00t_rl.sft.training import Training
from gr00t_rl.tasks.known_tasks import unknown_task
from gr00t_rl.utils.errors import ConfigurationError

TASK = "Gr00t-Reach-Franka"
SMALL = ["--image_size", "16", "--patch_size", "8", "--action_horizon", "4"]
SMALL += ["--device", "cpu", "--embodiment_id", "1", "--held_out", "0.2"]


def finetune(root: Path, modality: Modality, out: Path, *options: str) -> dict[str, Any]:
    """Run the command with a modality of our own in place of a task's; returns its log."""

    args = build_parser().parse_args(
        ["--dataset", str(root), "--task", TASK, "--checkpoint", "tiny", "--out", str(out), *SMALL, *options]
    )
    complete_arguments(args)
    data = Demonstrations.load(args.dataset)
    data.check(modality)
    return program.finetune(args, data, modality, program.tuned_parts(args))


def observations(data: Demonstrations, modality: Modality, frames: torch.Tensor) -> TensorDict:
    """The env's observations of recorded frames; columns that the modality does not read are noise."""
    obs = TensorDict({"policy": torch.randn(len(frames), 6), "critic": torch.zeros(len(frames), 1)}, [len(frames)])
    start = 0
    for key in modality.state.values():
        obs["policy"][:, key.start : key.end] = data.state[frames, start : start + key.dim]
        start += key.dim
    for name, group in modality.video.items():
        obs[group] = data.pictures[name][frames]
    return obs


@pytest.mark.slow
def test_held_out_loss_falls_and_the_policy_acts(dataset, modality, tmp_path):
    """The unconditional guess costs more than 1; the trained policy's actions are the demonstrator's on new starts."""
    log = finetune(dataset(100), modality, tmp_path / "out", "--steps", "600", "--lr", "2e-3", "--draws", "4")
    assert log["held_out_loss"] < 0.5 * log["held_out_loss_before"]
    assert log["curve"][-1]["step"] == 600
    data = Demonstrations.load([dataset(30, name="other", seed=1)])
    actor = make_actor(data, modality, tmp_path / "out", torch.arange(len(data)))
    with torch.inference_mode():
        chunk, _ = actor.decide(actor.observe(observations(data, modality, torch.arange(len(data)))))
    error = (chunk[:, 0, :2] - data.action[:, :2]).abs().mean()
    spread = (data.action[:, :2] - data.action[:, :2].mean(0)).abs().mean()
    assert error < 0.6 * spread, (error, spread)


@pytest.mark.slow
def test_grounding_tells_where_the_goal_is(dataset, modality, tmp_path):
    """Of colours that are the goal, on held-out episodes: the error is a third of the guess or less."""
    if not modality.video:
        pytest.skip("nothing to see")
    options = ("--steps", "200", "--lr", "2e-3", "--grounding", "1")
    log = finetune(dataset(100), modality, tmp_path / "out", *options)
    assert list(log["held_out_grounding_rmse"]) == ["goal_0", "goal_1"]
    assert max(log["held_out_grounding_rmse"].values()) < 0.58 / 3  # uniform in [-1, 1]


def make_actor(data: Demonstrations, modality: Modality, checkpoint: Path, frames: torch.Tensor) -> Gr00tActor:
    """The actor as a run builds it, playing the ODE from zero noise."""
    groups = {"actor": modality.groups, "critic": ["critic"]}
    return Gr00tActor(
        observations(data, modality, frames),
        groups,
        "actor",
        3,
        checkpoint=str(checkpoint),
        instruction=data.instructions[0],
        embodiment_id=1,
        n_action_steps=4,
        modality=dataclasses.asdict(modality),
        head="gaussian",
        init_std=1e-6,
        init_noise_scale=0.0,
    )


def test_training_and_rollout_see_the_same(dataset, modality, tmp_path):
    """Pictures, prompt, state, features and keys of recorded frames are bit for bit the actor's of the observation."""

    root = dataset(4)
    finetune(root, modality, tmp_path / "out", "--steps", "2")
    data, frames = Demonstrations.load([root]), torch.tensor([0, 5, 17, 31])
    actor = make_actor(data, modality, tmp_path / "out", frames)
    model = Gr00tN1d5.from_pretrained(tmp_path / "out", dtype=torch.float32)
    model.action_head.slice_embodiment(1)
    tokens = load_tokenizer(tmp_path / "out")
    processor = Gr00tN1d5Processor(
        model.config, tokens, data.instructions, modality=modality, statistics=as_statistics(data)
    )
    trainer = Trainer(model, Samples(data, processor, 4, torch.device("cpu")), Tuned(visual=True, llm=True), 0)
    model.eval()  # the dropout of a checkpoint is part of training

    obs = observations(data, modality, frames)
    assert torch.equal(processor.prompt(1).input_ids, actor.processor.prompt(1).input_ids)
    if modality.video:
        pixels = trainer.samples.pixels(frames)
        assert pixels is not None
        assert torch.equal(pixels, actor.processor.images([obs["front"]]))
    assert torch.equal(trainer.samples.state[frames], actor.network_state(modality.select_state(obs)))
    with torch.no_grad():
        ours, theirs = trainer.context(frames), actor._context(actor.observe(obs))
    torch.testing.assert_close(ours.state_token, theirs.state_token, rtol=0, atol=1e-6)
    for one, other in zip(ours.cross_kv, theirs.cross_kv, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    # and a chunk in the network's units is the env's actions again
    torch.testing.assert_close(actor.env_actions(trainer.samples.actions(frames)), data.chunks(frames, 4))


def test_same_seed_same_bits(dataset, modality, tmp_path):
    root = dataset(6)
    logs = [finetune(root, modality, tmp_path / name, "--steps", "6") for name in ("a", "b")]
    assert logs[0]["curve"] == logs[1]["curve"]
    weights = [load_file(next((tmp_path / name).glob("*.safetensors"))) for name in ("a", "b")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    other = finetune(root, modality, tmp_path / "c", "--steps", "6", "--seed", "1")
    assert other["curve"] != logs[0]["curve"]


def test_an_interrupted_run_goes_on_to_the_same_bits(dataset, modality, tmp_path, monkeypatch):
    """Killed in step 8 of 9, it goes on from the save at step 6, with dropout, and ends as if nothing had happened."""
    root, options = dataset(6), ("--steps", "9", "--dropout", "0.1", "--save_interval", "3")
    if modality.video:
        options += ("--grounding", "0.5")  # what it trains goes on as well
    whole = finetune(root, modality, tmp_path / "whole", *options)
    advance = Training.advance

    def killed(training: Any) -> torch.Tensor:
        if training.step == 7:
            raise KeyboardInterrupt
        return advance(training)

    out, state = tmp_path / "out", tmp_path / "out.resume.pt"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Training, "advance", killed)
        finetune(root, modality, out, *options)
    assert state.exists() and not out.exists()
    with pytest.raises(ConfigurationError, match=r"is of a run with --lr 0.001, this one has 0.01; give the same"):
        finetune(root, modality, out, *options, "--lr", "1e-2")
    data = Demonstrations.load([root])
    data.action[3, 0] += 1e-3
    with monkeypatch.context() as patch, pytest.raises(ConfigurationError, match="is of a run on other demonstrations"):
        patch.setattr(Demonstrations, "load", lambda *_, **__: data)
        finetune(root, modality, out, *options)
    steps = []
    monkeypatch.setattr(Training, "advance", lambda training: steps.append(training.step) or advance(training))
    log = finetune(root, modality, out, *options)
    assert steps == [6, 7, 8]
    assert log["curve"] == whole["curve"]
    weights = [load_file(next(folder.glob("*.safetensors"))) for folder in (tmp_path / "whole", out)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not state.exists()


def test_losses_go_on_where_the_training_computes(tmp_path):
    """Those of a saved state are read on the CPU, and those that follow are of the training's device: here "meta"."""
    state: dict[str, Any] = {"step": 1}
    training: Any = SimpleNamespace(
        step=1,
        state_dict=lambda: state,
        load_state_dict=lambda _: None,
        trainer=SimpleNamespace(samples=SimpleNamespace(device=torch.device("meta"))),
    )
    saved = SavedTraining(tmp_path / "out.resume.pt", {}, 500, "")
    saved.save(training, [{"step": 1}], [torch.tensor(0.5), torch.tensor(0.25)])
    curve, recent = saved.load(training)
    assert curve == [{"step": 1}]
    assert torch.stack([*recent, torch.zeros((), device="meta")]).shape == (3,)


def test_failures_are_told_of_and_left_out_on_demand(dataset, modality, monkeypatch, capsys):
    root = dataset(3)
    file = root / "meta" / "episodes.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[1]["success"] = False
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = []
    monkeypatch.setattr(program, "chosen_embodiment", lambda args: Embodiment(modality))
    monkeypatch.setattr(program, "finetune", lambda args, data, *_: loaded.append(data.success.tolist()))
    for options in ([], ["--only_success"]):
        args = ["--dataset", str(root), "--task", TASK, "--checkpoint", "tiny", "--out", "unused", "--device", "cpu"]
        parsed = build_parser().parse_args([*args, *options])
        complete_arguments(parsed)
        program.run(parsed)
    assert loaded == [[True, False, True], [True, True]]
    assert capsys.readouterr().out.count("1 of 3 episodes are marked as failures and are imitated") == 1


def test_a_broken_state_ends_in_one_line(dataset, modality, tmp_path):
    (tmp_path / "out.resume.pt").write_bytes(b"half a file")
    with pytest.raises(ConfigurationError, match=r"resume.pt cannot be read .*; remove it"):
        finetune(dataset(3), modality, tmp_path / "out", "--steps", "1")


def test_checkpoint_is_whole(dataset, modality, tmp_path):
    """The official layout in bfloat16, with statistics of this dataset, tokenizer and log; further trained it grows."""
    root, out = dataset(6), tmp_path / "out"
    finetune(root, modality, out, "--steps", "3", "--dtype", "bfloat16")
    model = Gr00tN1d5.from_pretrained(out)
    assert json.loads((out / "config.json").read_text())["torch_dtype"] == "bfloat16"
    statistics = read_statistics(model.assets[METADATA_FILE], modality)
    data = Demonstrations.load([root])
    assert statistics is not None
    torch.testing.assert_close(statistics.action["arm"]["max"], data.action[:, :2].amax(0))
    metadata = json.loads((out / METADATA_FILE).read_text())["robot"]
    assert metadata["modalities"]["action"]["arm"]["absolute"] is False
    assert metadata["modalities"]["video"] == {
        key: {"resolution": [16, 16], "channels": 3, "fps": 20.0} for key in modality.video
    }
    settings = PolicySettings.read(model.assets)
    assert settings is not None and settings.modality == modality
    assert (settings.instructions, settings.control_hz) == (data.instructions, 20.0)
    assert settings.image_sizes == dict.fromkeys(modality.video, (16, 16))
    log = json.loads((out / "experiment_cfg" / "finetune.json").read_text())
    assert log["settings"]["steps"] == 3 and log["curve"][-1]["step"] == 3

    again = ["--dataset", str(root), "--task", TASK, "--checkpoint", str(out), "--out", str(tmp_path / "next")]
    other = build_parser().parse_args([*again, "--steps", "2", "--device", "cpu", "--embodiment_id", "2"])
    complete_arguments(other)
    with pytest.raises(ConfigurationError, match="--embodiment_id is 2, but the checkpoint says 1 for 'robot'; give"):
        program.finetune(other, data, modality, program.tuned_parts(other))
    args = build_parser().parse_args([*again, "--steps", "2", "--device", "cpu", "--embodiment_id", "1"])
    complete_arguments(args)
    program.finetune(args, data, dataclasses.replace(modality, embodiment_tag="twin"), program.tuned_parts(args))
    assert set(json.loads((tmp_path / "next" / METADATA_FILE).read_text())) == {"robot", "twin"}
    trained = Gr00tN1d5.from_pretrained(tmp_path / "next", dtype=torch.float32).state_dict()
    before = Gr00tN1d5.from_pretrained(out, dtype=torch.float32).state_dict()
    moved = {name for name, value in trained.items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("action_head") for name in moved)


def test_a_new_head_learns_on_the_features_as_they_are(dataset, modality, tmp_path):
    """What makes the features keeps its bits; projector and diffusion model start from the seed's random weights."""
    root = dataset(6)
    finetune(root, modality, tmp_path / "base", "--steps", "3")
    args = ["--dataset", str(root), "--task", TASK, "--checkpoint", str(tmp_path / "base"), "--embodiment_id", "1"]
    args += [
        "--out",
        str(tmp_path / "new"),
        "--steps",
        "1",
        "--lr",
        "1e-9",
        "--device",
        "cpu",
        "--seed",
        "5",
        "--new_head",
    ]
    parsed = build_parser().parse_args(args)
    complete_arguments(parsed)
    program.finetune(parsed, Demonstrations.load([root]), modality, program.tuned_parts(parsed))
    base, new = (Gr00tN1d5.from_pretrained(tmp_path / name, dtype=torch.float32) for name in ("base", "new"))
    fresh = Gr00tN1d5.from_config(base.config, seed=5).state_dict()
    before = base.state_dict()
    assert before["action_head.vlln.weight"].ne(1).any()
    for name, value in new.state_dict().items():
        kept = name.startswith(("backbone", "action_head.vlln", "action_head.vl_self_attention"))
        torch.testing.assert_close(value, before[name] if kept else fresh[name], rtol=0, atol=0 if kept else 1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "0"], "--steps is 0; set 1 or more"),
        (["--episodes", "0"], "--episodes is 0; set 1 or more"),
        (["--grounding", "-1"], "--grounding is -1.0; set 0 or more"),
        (["--new_head"], "--checkpoint is tiny, which has none; give"),
        (["--new_head", "--checkpoint", "elsewhere", "--no-tune_projector"], r"drop --\[no-\]tune_projector and"),
        (["--held_out", "1"], "--held_out is 1.0; set 0 or more, less than 1"),
        (["--checkpoint", "elsewhere", "--hidden_size", "8"], "--image_size sets a size, but --checkpoint elsewhere"),
        (
            ["--no-tune_visual", "--no-tune_llm", "--no-tune_projector", "--no-tune_diffusion_model"],
            "nothing is trained",
        ),
        (["--dit_heads", "7"], "--checkpoint tiny: DiT heads"),
        (["--embodiment_id", "9"], "embodiment id is 9"),
        (["--max_state_dim", "1"], "state has . dimensions, the network takes 1"),
    ],
)
def test_mistakes_end_in_one_line(dataset, modality, tmp_path, options, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        finetune(dataset(3), modality, tmp_path / "out", *options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_grounding_needs_something_to_tell_and_to_train(dataset, modality, tmp_path):
    root = dataset(3)
    if not modality.video:
        with pytest.raises(ConfigurationError, match=r"--grounding 1.0: the dataset has no pictures"):
            finetune(root, modality, tmp_path / "out", "--grounding", "1")
        return
    with pytest.raises(ConfigurationError, match=r"--grounding 1.0: the image encoder is not trained; give --tune_v"):
        finetune(root, modality, tmp_path / "out", "--grounding", "1", "--no-tune_visual")
    info = root / "meta" / "info.json"
    content = json.loads(info.read_text())
    del content["features"]["observation.privileged"]
    info.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match="has no privileged observations; collect it with --privileged TERM"):
        finetune(root, modality, tmp_path / "out", "--grounding", "1")


def test_a_folder_that_is_no_checkpoint_is_not_replaced(dataset, modality, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important")
    with pytest.raises(ConfigurationError, match="exists and is no checkpoint"):
        finetune(dataset(3), modality, tmp_path / "mine", "--steps", "1")


def test_unknown_tasks_and_tasks_without_a_modality():
    with pytest.raises(ConfigurationError, match=r"--task: unknown task 'Gr00t-Juggle'; tasks .* Gr00t-Pick-Place"):
        agent_cfg_of("Gr00t-Juggle")
    # Isaac Lab's own, which that has looked through: one whose agents are presets, and none is listed as ours
    assert "Isaac-" not in str(unknown_task("Gr00t-Juggle"))
    with pytest.raises(ConfigurationError, match=r"declares no agent.actor.modality"):
        modality_of(agent_cfg_of("Isaac-Reorient-KukaAllegro-Camera"), "Isaac-Reorient-KukaAllegro-Camera")
    cfg = agent_cfg_of(TASK)
    cfg.actor.modality = None
    with pytest.raises(ConfigurationError, match=r"declares no agent.actor.modality"):
        modality_of(cfg, TASK)
