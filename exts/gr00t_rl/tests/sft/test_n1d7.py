# SPDX-License-Identifier: BSD-3-Clause
"""Fine-tuning GR00T N1.7: its own files, statistics of actions relative to the state, and prompts of other lengths.

What fine-tuning does with any generation is tested with N1.5.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict

from gr00t_rl.cli.finetune import build_parser
from gr00t_rl.data import Demonstrations
from gr00t_rl.gr00t import (
    METADATA_FILE,
    ActionKey,
    Gr00tN1d7,
    Gr00tN1d7Config,
    Gr00tN1d7Processor,
    Modality,
    StateKey,
    from_pretrained,
)
from gr00t_rl.gr00t.n1d7.prompt import tiny_tokenizer
from gr00t_rl.models import Gr00tActor
from gr00t_rl.sft import program
from gr00t_rl.sft.arguments import complete_arguments
from gr00t_rl.sft.network import as_statistics, with_relative, write_statistics
from gr00t_rl.sft.parts import Tuned
from gr00t_rl.sft.samples import Samples
from gr00t_rl.sft.trainer import Trainer
from gr00t_rl.utils.errors import ConfigurationError

HORIZON, ROW = 4, 1
SMALL = ["--image_size", "16", "--patch_size", "4", "--action_horizon", str(HORIZON)]
FILES = ("processor_config.json", "statistics.json", "embodiment_id.json", "preprocessor_config.json")


@pytest.fixture(params=["state", "camera", "relative"])
def modality(request: pytest.FixtureRequest) -> Modality:
    """As the other fine-tunings', with the arm's actions absolute and relative to its position in the last case."""
    goal = {"goal": StateKey("policy", 0, 2, normalization="mean_std")}
    sees, relative = request.param != "state", "position" if request.param == "relative" else None
    return Modality(
        "robot",
        {"front": "front"} if sees else {},
        ({} if sees else goal) | {"position": StateKey("policy", 2, 4)},
        {"gripper": ActionKey(2, 3), "arm": ActionKey(0, 2, relative_to=relative)},
    )


def finetune(root: Path, modality: Modality, out: Path, *options: str, base: str = "tiny-n1.7") -> dict[str, Any]:
    """Run the command with a modality of our own in place of a task's; returns its log."""
    sizes = SMALL if base.startswith("tiny") else []
    argv = ["--dataset", str(root), "--task", "Gr00t-Reach-Franka", "--checkpoint", base, "--out", str(out), *sizes]
    argv += ["--device", "cpu", "--embodiment_id", str(ROW), "--held_out", "0.2", *options]
    args = build_parser().parse_args(argv)
    complete_arguments(args)
    data = Demonstrations.load(args.dataset)
    data.check(modality)
    return program.finetune(args, data, modality, program.tuned_parts(args))


def tables(folder: Path) -> dict[str, Any]:
    return {name: json.loads((folder / name).read_text()) for name in FILES}


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


def make_actor(data: Demonstrations, modality: Modality, checkpoint: Path, frames: torch.Tensor) -> Gr00tActor:
    return Gr00tActor(
        observations(data, modality, frames),
        {"actor": modality.groups, "critic": ["critic"]},
        "actor",
        3,
        checkpoint=str(checkpoint),
        instruction=data.instructions[0],
        embodiment_id=ROW,
        n_action_steps=HORIZON,
        modality=dataclasses.asdict(modality),
    )


# -- the command ------------------------------------------------------------------------------------------------------


def test_checkpoint_is_whole_and_is_trained_further(dataset, modality, tmp_path):
    """The release's files with statistics of this dataset; a second embodiment is added to them."""
    root, out = dataset(6), tmp_path / "out"
    log = finetune(root, modality, out, "--steps", "3", "--dtype", "bfloat16")
    assert all(math.isfinite(point["train_loss"]) for point in log["curve"]) and math.isfinite(log["held_out_loss"])
    model = from_pretrained(out, dtype=torch.float32)
    assert type(model) is Gr00tN1d7 and set(FILES) <= set(model.assets) and METADATA_FILE not in model.assets
    found, data = tables(out), Demonstrations.load([root])
    assert found["embodiment_id.json"] == {"robot": ROW}
    kwargs = found["processor_config.json"]["processor_kwargs"]
    keys = kwargs["modality_configs"]["robot"]
    assert keys["action"]["modality_keys"] == ["gripper", "arm"] and kwargs["use_percentiles"] is False
    assert keys["state"]["modality_keys"] == list(modality.state)
    relative = modality.action["arm"].relative_to is not None
    assert kwargs["use_relative_action"] is relative
    assert keys["action"]["action_configs"][1]["rep"] == ("RELATIVE" if relative else "ABSOLUTE")
    statistics = found["statistics.json"]["robot"]
    torch.testing.assert_close(torch.tensor(statistics["action"]["arm"]["max"]), data.action[:, :2].amax(0))
    if modality.video:
        assert kwargs["image_target_size"] == [16, 16]
        assert found["preprocessor_config.json"]["size"]["shortest_edge"] <= 16 * 16

    twin = dataclasses.replace(modality, embodiment_tag="twin")
    finetune(dataset(6, name="other", seed=1), twin, tmp_path / "next", "--steps", "2", base=str(out))
    after = tables(tmp_path / "next")
    assert after["statistics.json"]["robot"] == statistics != after["statistics.json"]["twin"]
    assert after["embodiment_id.json"] == {"robot": ROW, "twin": ROW}
    again = after["processor_config.json"]["processor_kwargs"]
    assert again["modality_configs"]["robot"] == keys == again["modality_configs"]["twin"]
    trained = from_pretrained(tmp_path / "next", dtype=torch.float32).state_dict()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, trained[name])}
    assert moved and all(name.startswith("action_head") for name in moved)


@pytest.mark.parametrize("modality", ["camera"], indirect=True)
def test_a_new_head_learns_on_the_features_as_they_are(dataset, modality, tmp_path):
    """What makes the features keeps its bits; projector and diffusion model start from the seed's random weights."""
    root = dataset(4)
    finetune(root, modality, tmp_path / "base", "--steps", "2")
    options = ("--steps", "1", "--lr", "1e-9", "--seed", "5", "--new_head")
    finetune(root, modality, tmp_path / "new", *options, base=str(tmp_path / "base"))
    base, new = (from_pretrained(tmp_path / name, dtype=torch.float32) for name in ("base", "new"))
    before, fresh = base.state_dict(), Gr00tN1d7.from_config(base.config, seed=5).state_dict()
    for name, value in new.state_dict().items():
        kept = name.startswith(("backbone", "action_head.vlln", "action_head.vl_self_attention"))
        torch.testing.assert_close(value, before[name] if kept else fresh[name], rtol=0, atol=0 if kept else 1e-8)


@pytest.mark.parametrize("modality", ["camera", "relative"], indirect=True)
def test_relative_actions_have_statistics_of_their_own_for_each_step(dataset, modality, tmp_path):
    """By hand: the change from the position at the decision to the action of each step of the chunk."""
    root = dataset(4)
    finetune(root, modality, tmp_path / "out", "--steps", "1")
    found, data = tables(tmp_path / "out")["statistics.json"]["robot"], Demonstrations.load([root])
    if modality.action["arm"].relative_to is None:
        assert "relative_action" not in found
        return
    change = data.chunks(torch.arange(len(data)), HORIZON)[..., :2] - data.state[:, None, :2]
    assert list(found["relative_action"]) == ["arm"]
    for name, expected in (("min", change.amin(0)), ("max", change.amax(0)), ("mean", change.mean(0))):
        torch.testing.assert_close(torch.tensor(found["relative_action"]["arm"][name]), expected, atol=1e-6, rtol=1e-5)
    assert (change.amax(0)[0] - change.amax(0)[-1]).abs().max() > 1e-3  # or one row would do


def test_training_and_rollout_see_the_same(dataset, modality, tmp_path):
    """Pictures, prompt, state, features and keys of recorded frames are the actor's of the observation."""
    root = dataset(4)
    finetune(root, modality, tmp_path / "out", "--steps", "2")
    data, frames = Demonstrations.load([root]), torch.tensor([0, 5, 17, 31])
    actor = make_actor(data, modality, tmp_path / "out", frames)
    trainer = trainer_of(from_pretrained(tmp_path / "out", dtype=torch.float32), data, modality, visual=True, llm=True)
    trainer.model.eval()  # the dropout of a checkpoint is part of training

    obs = observations(data, modality, frames)
    assert torch.equal(trainer.samples.processor.prompt(1).input_ids, actor.processor.prompt(1).input_ids)
    if modality.video:
        assert torch.equal(actor.processor.images([obs["front"]]), trainer.samples.pixels(frames))  # type: ignore
    state = modality.select_state(obs)  # type: ignore
    assert torch.equal(trainer.samples.state[frames], actor.network_state(state))
    with torch.no_grad():
        ours, theirs = trainer.context(frames), actor._context(actor.observe(obs))
    torch.testing.assert_close(ours.state_token, theirs.state_token, rtol=0, atol=1e-6)
    for one, other in zip(ours.cross_kv, theirs.cross_kv, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    # and a chunk in the network's units is the env's actions again
    chunk = trainer.samples.actions(frames)
    assert chunk[..., :3].abs().max() <= 1 and not chunk[..., 3:].any()
    torch.testing.assert_close(actor.env_actions(chunk, state), data.chunks(frames, HORIZON), atol=1e-4, rtol=0)


@pytest.mark.parametrize("modality", ["camera"], indirect=True)
def test_grounding_reaches_the_image_encoder(dataset, modality, tmp_path):
    log = finetune(dataset(6), modality, tmp_path / "out", "--steps", "2", "--grounding", "1")
    assert all(math.isfinite(error) for error in log["held_out_grounding_rmse"].values())
    config = Gr00tN1d7Config.tiny(image_size=16, patch_size=4, action_horizon=HORIZON)
    before, after = Gr00tN1d7.from_config(config, seed=0), from_pretrained(tmp_path / "out", dtype=torch.float32)
    for name in ("patch_embed.proj.weight", "deepstack_merger_list.0.linear_fc1.weight"):
        name = f"backbone.visual.model.{name}"
        assert not torch.equal(before.state_dict()[name], after.state_dict()[name]), name


@pytest.mark.parametrize("modality", ["camera"], indirect=True)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num_target_vision_tokens", "8"], "--num_target_vision_tokens is no size of --checkpoint tiny-n1.7; drop"),
        (["--patch_size", "7"], "--checkpoint tiny-n1.7: image_size 16 is no multiple of 2 x patch_size 7"),
        (["--new_head"], "--checkpoint is tiny, which has none; give"),
        (["--embodiment_id", "9"], "embodiment id is 9"),
    ],
)
def test_mistakes_end_in_one_line(dataset, modality, tmp_path, options, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        finetune(dataset(3), modality, tmp_path / "out", *options)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("modality", ["relative"], indirect=True)
def test_n1d5_refuses_relative_actions(dataset, modality, tmp_path):
    with pytest.raises(ConfigurationError, match=r"arm.relative_to is 'position', but GR00T N1.5's") as error:
        finetune(dataset(3), modality, tmp_path / "out", "--patch_size", "8", base="tiny")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


# -- the loss ---------------------------------------------------------------------------------------------------------


def trainer_of(model: Any, data: Demonstrations, modality: Modality, cache: float = 1e9, **tuned: bool) -> Trainer:
    """A trainer on the embodiment that the command trains, with the dataset's statistics."""
    model.action_head.slice_embodiment(ROW)
    statistics = with_relative(as_statistics(data), model, modality, data)
    if "statistics.json" not in model.assets:
        write_statistics(model, modality, statistics, data, ROW)
    processor = Gr00tN1d7Processor(
        model.config,
        tiny_tokenizer(model.config),
        data.instructions,
        modality=modality,
        statistics=statistics,
        image_sizes=[data.layout.cameras[key] for key in modality.video],
        assets=model.assets,
    )
    return Trainer(model, Samples(data, processor, HORIZON, torch.device("cpu")), Tuned(**tuned), cache)


def random_trainer(data: Demonstrations, modality: Modality, **options: Any) -> Trainer:
    config = Gr00tN1d7Config.tiny(image_size=16, patch_size=4, action_horizon=HORIZON)
    trainer = trainer_of(Gr00tN1d7.from_config(config), data, modality, **options)
    trainer.model.eval()
    return trainer


def draws(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, HORIZON, 32, generator=generator), torch.rand(n, generator=generator)


@torch.no_grad()
def test_loss_counts_each_frame_as_alone(dataset, modality):
    """Two instructions of different length in a batch: the loss is the mean of the frames' own, by hand."""
    data = Demonstrations.load([dataset(4, texts=2)])
    trainer = random_trainer(data, modality, visual=True, llm=True)
    samples, model, head = trainer.samples, trainer.model, trainer.model.action_head
    frames, (noise, t) = torch.tensor([3, 9, 20]), draws(3)
    assert samples.task[frames].tolist() == [0, 1, 0]
    expected = []
    for row, frame in enumerate(frames):
        processor = Gr00tN1d7Processor(
            model.config,
            tiny_tokenizer(model.config),
            samples.processor.instructions[int(samples.task[frame])],
            num_views=len(modality.video),
            image_sizes=[(16, 16)] * len(modality.video),
            assets=model.assets,
        )
        prompt = processor.prompt(1)
        features = head.process_features(model.encode(samples.pixels(frame[None]), prompt))
        context = head.prepare(features, samples.state[frame][None], kinds=model.token_kinds(prompt))
        actions = samples.actions(frame[None])
        x = (1 - t[row]) * noise[row] + t[row] * actions
        v = head.velocity(x, torch.tensor([int(t[row] * 1000)]), context)
        expected.append((v - (actions - noise[row])).square()[..., :3].mean())
    torch.testing.assert_close(trainer.loss(frames, noise, t), torch.stack(expected).mean(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_cached_features_change_nothing(dataset, modality):
    data = Demonstrations.load([dataset(4, texts=2)])
    cached, encoded = random_trainer(data, modality), random_trainer(data, modality, visual=True, llm=True)
    assert cached.is_cached and not encoded.is_cached
    frames, (noise, t) = torch.tensor([0, 9, 31]), draws(3)
    torch.testing.assert_close(cached.loss(frames, noise, t), encoded.loss(frames, noise, t), rtol=1e-5, atol=1e-6)
