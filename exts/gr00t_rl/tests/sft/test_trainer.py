# SPDX-License-Identifier: BSD-3-Clause
"""The training loss against the released network and by hand, and what is trained by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gr00t_rl.data import Demonstrations
from gr00t_rl.flow import flow_matching_loss, time_bucket
from gr00t_rl.gr00t import Gr00tN1d5, Gr00tN1d5Config, Gr00tN1d5Processor, Modality
from gr00t_rl.gr00t.n1d5 import tiny_tokenizer
from gr00t_rl.sft import samples as samples_module
from gr00t_rl.sft.grounding import Grounding
from gr00t_rl.sft.network import as_statistics
from gr00t_rl.sft.parts import Tuned
from gr00t_rl.sft.samples import Samples, split_episodes
from gr00t_rl.sft.trainer import Trainer
from gr00t_rl.sft.training import Batches, Recipe, Training, learning_rate_factor

FIXTURE = Path(__file__).parents[1] / "fixtures" / "gr00t_n1d5_tiny"
SIZES: dict[str, Any] = {"image_size": 16, "patch_size": 8, "action_horizon": 5}


@pytest.fixture(scope="module")
def io() -> dict[str, Tensor]:
    """Inputs and outputs of the released code on the fixture's network."""
    return load_file(FIXTURE / "reference_io.safetensors")


@pytest.fixture(scope="module")
def velocity(io: dict[str, Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The fixture network's field, as the trainer calls it."""
    head = Gr00tN1d5.from_pretrained(FIXTURE, dtype=torch.float32).action_head
    context = head.prepare(head.process_features(io["backbone_features"]), io["state"], io["embodiment_id"])
    return lambda x, t: head.velocity(x, time_bucket(t), context)


def action_mask() -> Tensor:
    """Each embodiment of the fixture's batch has another number of action dimensions."""
    mask = torch.zeros(3, 16, 32)
    for row, dims in enumerate((5, 7, 32)):
        mask[row, :, :dims] = 1.0
    return mask


def chunks(io: dict[str, Tensor]) -> Tensor:
    return torch.randn(io["noise"].shape, generator=torch.Generator().manual_seed(5)) * action_mask()


@torch.no_grad()
def test_loss_is_the_released_networks_at_pure_noise(io, velocity):
    """One Euler step of the released code from its noise is noise + v: at t = 0 its velocity is known exactly.

    There x_t is the noise whatever the action, and the loss is sum(mask (v - (action - noise))^2) / sum(mask).
    """
    actions, mask = chunks(io), action_mask()
    released = io["action_pred_steps1"] - io["noise"]
    expected = ((released - (actions - io["noise"])).square() * mask).sum() / mask.sum()
    found = flow_matching_loss(velocity, actions, mask, noise=io["noise"], t=torch.zeros(3))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


@torch.no_grad()
def test_loss_is_the_released_formula_at_any_time(io, velocity):
    """Buckets 123, 499 and 999 by hand; each sample's network call is its own."""
    actions, mask, t = chunks(io), action_mask(), torch.tensor([0.1237, 0.4999, 0.9995])
    head = Gr00tN1d5.from_pretrained(FIXTURE, dtype=torch.float32).action_head
    total = torch.zeros(())
    for row, (time, bucket) in enumerate(zip(t.tolist(), (123, 499, 999), strict=True)):
        one = slice(row, row + 1)
        x = (1 - time) * io["noise"][one] + time * actions[one]
        vl = head.process_features(io["backbone_features"][one])
        v = head.velocity(x, torch.tensor([bucket]), head.prepare(vl, io["state"][one], io["embodiment_id"][one]))
        total += ((v - (actions[one] - io["noise"][one])).square() * mask[one]).sum()
    found = flow_matching_loss(velocity, actions, mask, noise=io["noise"], t=t)
    torch.testing.assert_close(found, total / mask.sum(), rtol=1e-5, atol=0)


def test_buckets_cut_the_fraction_off():
    assert time_bucket(torch.tensor([0.0, 0.0009, 0.25, 0.9999, 1.0, -0.001001])).tolist() == [0, 0, 250, 999, 1000, -1]


# -- the trainer -------------------------------------------------------------------------------------------------------


def make_trainer(root: Path, modality: Modality, cache: float = 1e9, grounding: float = 0.0, **tuned: bool) -> Trainer:
    """A trainer of a small random network, without dropout."""

    data = Demonstrations.load([root])
    config = Gr00tN1d5Config.tiny(**SIZES)
    model = Gr00tN1d5.from_config(config)
    model.action_head.slice_embodiment(1)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    processor = Gr00tN1d5Processor(
        config, tiny_tokenizer(config), data.instructions, modality=modality, statistics=as_statistics(data)
    )
    head = config.action_head
    told = Grounding(data.privileged, head.backbone_embedding_dim, head.max_state_dim, grounding) if grounding else None
    samples = Samples(data, processor, 5, torch.device("cpu"))
    return Trainer(model, samples, Tuned(**tuned), cache, grounding=told)


def test_chunks_are_normalised_a_block_at_a_time(dataset, modality, monkeypatch):
    """The same numbers, and never all frames at the network's full width."""
    root = dataset(6)
    whole, sizes = make_trainer(root, modality).samples, []
    monkeypatch.setattr(samples_module, "BLOCK", 7)
    pad_action = Gr00tN1d5Processor.pad_action
    monkeypatch.setattr(
        Gr00tN1d5Processor, "pad_action", lambda self, x, state: sizes.append(len(x)) or pad_action(self, x, state)
    )
    parts = make_trainer(root, modality).samples
    frames = torch.arange(48)
    assert torch.equal(parts.actions(frames), whole.actions(frames)) and sizes == [7, 7, 7, 7, 7, 7, 6]
    assert parts._actions.untyped_storage().nbytes() == parts._actions.nbytes


def draws(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 5, 32, generator=generator), torch.rand(n, generator=generator)


@torch.no_grad()
def test_loss_counts_each_frame_as_alone(dataset, modality):
    """Two instructions of different length in a batch: the loss is the mean of the frames' own, by hand."""
    trainer = make_trainer(dataset(4, texts=2), modality)
    samples, head = trainer.samples, trainer.model.action_head
    frames, (noise, t) = torch.tensor([3, 9, 20]), draws(3)
    assert samples.task[frames].tolist() == [0, 1, 0]
    expected = []
    for row, frame in enumerate(frames):
        processor = Gr00tN1d5Processor(
            trainer.model.config,
            tiny_tokenizer(trainer.model.config),
            samples.processor.instructions[int(samples.task[frame])],
            num_views=len(modality.video),
        )
        features = trainer.model.encode(samples.pixels(frame[None]), processor.prompt(1))
        context = head.prepare(head.process_features(features), samples.state[frame][None])
        actions = samples.actions(frame[None])
        x = (1 - t[row]) * noise[row] + t[row] * actions
        v = head.velocity(x, torch.tensor([int(t[row] * 1000)]), context)
        expected.append((v - (actions - noise[row])).square()[..., :3].mean())
    torch.testing.assert_close(trainer.loss(frames, noise, t), torch.stack(expected).mean(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_cached_features_change_nothing(dataset, modality):
    root = dataset(4, texts=2)
    cached, encoded = make_trainer(root, modality), make_trainer(root, modality, visual=True, llm=True)
    assert cached.is_cached and not encoded.is_cached
    assert make_trainer(root, modality, cache=0).is_cached == (not modality.video)  # prompts alone are always kept
    frames, (noise, t) = torch.tensor([0, 9, 31]), draws(3)
    torch.testing.assert_close(cached.loss(frames, noise, t), encoded.loss(frames, noise, t), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_several_draws_per_frame(dataset, modality):
    """Draws of a frame stand in a row: the loss is that of the frames written out."""
    trainer = make_trainer(dataset(4), modality)
    noise, t = draws(4)
    found = trainer.loss(torch.tensor([2, 9]), noise, t, draws=2)
    torch.testing.assert_close(found, trainer.loss(torch.tensor([2, 2, 9, 9]), noise, t), rtol=1e-5, atol=1e-6)


def test_grounding_is_added_to_the_loss(dataset, modality):
    """The objective is flow matching plus the weighted mean error, on features computed once; both reach the vision."""
    if not modality.video:
        pytest.skip("nothing to see")
    trainer = make_trainer(dataset(4, texts=2), modality, grounding=0.5, visual=True, llm=True)
    frames = torch.tensor([3, 9, 20])
    torch.manual_seed(3)
    objective, flow = trainer.objective(frames, 2)
    torch.manual_seed(3)
    torch.testing.assert_close(flow, trainer.loss(frames, draws=2))
    assert trainer.grounding is not None
    mask = trainer.samples.processor.token_mask(trainer.samples.task[frames])
    told = trainer.grounding(trainer.features(frames), trainer.samples.state[frames], mask)
    expected = (told - trainer.grounding.target[frames]).square().mean()
    torch.testing.assert_close(objective - flow, 0.5 * expected)
    (patches,) = [p for n, p in trainer.model.named_parameters() if n.endswith("patch_embedding.weight")]
    (gradient,) = torch.autograd.grad(objective - flow, patches)
    assert gradient.abs().sum() > 0
    rmse = torch.tensor(trainer.evaluate_grounding(frames, 2))
    own = ((told - trainer.grounding.target[frames]).square().mean(0).sqrt() * trainer.grounding.unit).detach()
    torch.testing.assert_close(rmse, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("tuned", "trained"),
    [
        ({}, {"action_head"}),
        ({"projector": False}, {"action_head"}),
        ({"visual": True, "projector": False, "diffusion_model": False}, {"vision_model", "mlp1"}),
        ({"llm": True, "projector": False, "diffusion_model": False}, {"language_model"}),
    ],
)
def test_only_tuned_parts_move(dataset, modality, tuned, trained):

    if "visual" in tuned and not modality.video:
        pytest.skip("no camera, no gradient of the image encoder")
    trainer = make_trainer(dataset(4), modality, **tuned)
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    frames = torch.arange(32)
    training = Training(trainer, frames, Recipe(3, 8, 1e-2, warmup_ratio=0.0), torch.Generator().manual_seed(0))
    for _ in range(3):
        training.advance()
    moved = {name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}
    parts = {name.split(".")[2] if name.startswith("backbone") else name.split(".")[0] for name in moved}
    assert parts == trained
    projector = {name for name in moved if "_encoder.layer" in name or "action_decoder" in name}
    assert bool(projector) == (trained == {"action_head"} and tuned.get("projector", True))
    assert not [name for name in moved if "vision_model.head" in name]  # pooling, which nothing uses


@torch.no_grad()
def test_evaluation_repeats_and_leaves_no_trace(dataset, modality):
    trainer = make_trainer(dataset(4), modality)
    modes = [module.training for module in trainer.model.modules()]
    torch.manual_seed(3)
    first = trainer.evaluate(torch.arange(20), 8)
    assert first == trainer.evaluate(torch.arange(20), 8)
    assert modes == [module.training for module in trainer.model.modules()]
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    trainer.evaluate(torch.arange(20), 8)
    assert torch.equal(torch.rand(1), expected)


# -- batches and rates -------------------------------------------------------------------------------------------------


def test_learning_rate_by_hand():
    """100 steps, of which 10 warm up: 0, 0.1, ..., 1, then half a cosine over 90 steps to 0."""

    found = [learning_rate_factor(step, 100, 0.1) for step in (0, 1, 5, 10, 55, 40, 100)]
    assert found == pytest.approx([0.0, 0.1, 0.5, 1.0, 0.5, 0.75, 0.0])


def test_batches_go_through_all_frames():

    batches = Batches(torch.arange(10, 17), 3, torch.Generator().manual_seed(0))
    drawn = torch.cat([batches.next() for _ in range(7)])
    for epoch in drawn.split(7):
        assert sorted(epoch.tolist()) == list(range(10, 17))
    assert not torch.equal(drawn[:7], drawn[7:14])


def test_episodes_are_held_out_whole():

    train, held_out = split_episodes(40, 0.1, torch.Generator().manual_seed(0))
    assert len(held_out) == 4
    assert sorted(torch.cat((train, held_out)).tolist()) == list(range(40))
    assert [len(part) for part in split_episodes(1, 0.5, torch.Generator())] == [1, 0]
    assert [len(part) for part in split_episodes(5, 0.01, torch.Generator())] == [4, 1]
    assert [len(part) for part in split_episodes(5, 0.0, torch.Generator())] == [5, 0]
