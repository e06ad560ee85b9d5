# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of N1.7 that say more than their weights: actions relative to the state, short chunks, past states."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensordict import TensorDict

from gr00t_rl.gr00t import (
    ActionKey,
    Gr00tN1d7,
    Gr00tN1d7Config,
    Gr00tN1d7Processor,
    Modality,
    StateKey,
    Statistics,
    tokenizer_assets,
)
from gr00t_rl.gr00t.n1d7.prompt import tiny_tokenizer
from gr00t_rl.models import Gr00tActor
from gr00t_rl.models.trained import trained_network
from gr00t_rl.utils.errors import ConfigurationError

HORIZON, STEPS, N = 4, 3, 5
PROCESSOR = "processor_config.json"
RELATIVE = Modality(
    "robot",
    {},
    {"speed": StateKey("policy", 3, 4, None), "arm": StateKey("policy", 0, 2), "hand": StateKey("policy", 2, 3)},
    {"hand": ActionKey(0, 1), "arm": ActionKey(1, 3, relative_to="arm")},
)
"""Arm's joints are given relative to the present ones, which stand elsewhere in the observation and in the state."""
ABSOLUTE = dataclasses.replace(RELATIVE, action={"hand": ActionKey(0, 1), "arm": ActionKey(1, 3)})
"""The same keys, of which only the checkpoint says what they are relative to."""
LOW, WIDTH = torch.tensor([-0.1, 0.2]), torch.tensor([0.2, 0.6])
"""Change of the two joints in the data: at least LOW, at most WIDTH more, times the number of the step from 1."""


def spread(low: torch.Tensor, high: torch.Tensor) -> dict[str, torch.Tensor]:
    """All statistics of numbers between ``low`` and ``high``."""
    mean, std = (low + high) / 2, (high - low) / 4
    return {"min": low, "max": high, "mean": mean, "std": std, "q01": low, "q99": high}


def write(folder: Path, modality: Modality | None = RELATIVE, **sizes: int) -> str:
    """A checkpoint of random weights for the modality."""
    config = Gr00tN1d7Config.tiny(**{"action_horizon": HORIZON, **sizes})
    model = Gr00tN1d7.from_config(config, seed=0)
    model.assets = tokenizer_assets(tiny_tokenizer(config))
    if modality is not None:
        ones = {dim: spread(-torch.ones(dim), torch.ones(dim)) for dim in (1, 2)}
        steps = torch.arange(1, HORIZON + 1)[:, None]
        statistics = Statistics(
            {"speed": ones[1], "arm": ones[2], "hand": ones[1]},
            {"hand": spread(torch.zeros(1), torch.tensor([4.0])), "arm": ones[2]},
            {"arm": spread(steps * LOW, steps * (LOW + WIDTH))},
        )
        model.assets = Gr00tN1d7Processor.with_statistics(
            model.assets, config, modality, statistics, {}, 20.0, embodiment_id=0
        )
    model.save_pretrained(folder)
    return str(folder)


def observations() -> TensorDict:
    return TensorDict({"policy": torch.rand(N, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1}, [N])


def make_actor(checkpoint: str, modality: Modality | None = ABSOLUTE, **settings: Any) -> Gr00tActor:
    groups = {"actor": ["policy"], "critic": ["policy"]}
    keys = None if modality is None else dataclasses.asdict(modality)
    settings = {"n_action_steps": STEPS, "embodiment_id": 0, "modality": keys, **settings}
    return Gr00tActor(observations(), groups, "actor", 3, checkpoint=checkpoint, **settings)


@pytest.mark.parametrize("modality", [ABSOLUTE, RELATIVE], ids=["checkpoint", "declared"])
def test_a_decision_executes_the_state_plus_the_change(modality, tmp_path):
    """By hand from the chunk that was drawn, in [-1, 1]; a decision of another state moves along with it."""
    actor, obs = make_actor(write(tmp_path / "base"), modality, head="gaussian"), observations()
    with torch.inference_mode():
        executed, record = actor.decide(actor.observe(obs))
    chunk = record["x_next"][:, -1, :STEPS, :3].clamp(-1, 1)
    hand = (chunk[..., :1] + 1) / 2 * 4.0
    step = torch.arange(1, STEPS + 1)[:, None]
    change = step * (LOW + (chunk[..., 1:] + 1) / 2 * WIDTH)
    expected = torch.cat((hand, obs["policy"][:, None, :2] + change), dim=-1)
    torch.testing.assert_close(executed, expected, atol=1e-6, rtol=0)
    assert executed.shape == (N, STEPS, 3) and (change.abs() > 0.05).any()


def test_played_chunks_and_exports_are_absolute_too(tmp_path):
    actor, obs = make_actor(write(tmp_path / "base"), init_noise_scale=0.0), observations()
    with torch.no_grad():
        chunk = actor.head.integrate(actor.velocity_field(actor.observe(obs)).velocity, actor.initial_noise(N))
        expected = actor.env_actions(chunk, actor.decision_state(actor.observe(obs)))
        torch.testing.assert_close(actor.act_chunk(obs), expected, atol=1e-6, rtol=0)
        state = actor.modality.select_state(obs)[:1]  # pyright: ignore[reportOptionalMemberAccess, reportArgumentType]
        exported = actor.as_onnx()(state, torch.zeros(1, *actor.chunk_shape))
    torch.testing.assert_close(exported, expected[:1], atol=1e-6, rtol=0)
    moved = obs.clone()
    moved["policy"][:, 3] += 1.0  # a key that nothing is relative to
    shifted = actor.env_actions(chunk, actor.decision_state(actor.observe(moved)))
    assert torch.equal(shifted, expected)


def test_a_run_s_checkpoint_keeps_what_its_base_said(tmp_path):
    """Statistics, recipe and rows travel: an actor of the exported network executes the trained actor's actions."""
    checkpoint = write(tmp_path / "base")
    actor = make_actor(checkpoint, init_noise_scale=0.0)
    with torch.no_grad():
        for parameter in actor.parameters():
            if parameter.requires_grad:
                parameter += 0.02
    (tmp_path / "params").mkdir()
    settings = {"checkpoint": checkpoint, "n_action_steps": STEPS, "embodiment_id": 0}
    (tmp_path / "params" / "agent.yaml").write_text(yaml.safe_dump({"actor": settings}))
    (tmp_path / "params" / "env.yaml").write_text("{}\n")
    torch.save({"actor_state_dict": actor.state_dict(), "iter": 0}, tmp_path / "model_0.pt")
    trained_network(tmp_path / "model_0.pt").save_pretrained(tmp_path / "out")
    for name in (PROCESSOR, "statistics.json", "embodiment_id.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "base" / name).read_bytes()
    again = make_actor(str(tmp_path / "out"), init_noise_scale=0.0)
    with torch.no_grad():
        assert torch.equal(again.act_chunk(observations()), actor.act_chunk(observations()))


def test_a_declaration_that_the_checkpoint_contradicts(tmp_path):
    checkpoint = write(tmp_path / "base", ABSOLUTE)
    with pytest.raises(ConfigurationError, match=r"action.arm.relative_to is 'arm' .* processor_config.json says None"):
        make_actor(checkpoint, RELATIVE)


def test_chunks_longer_than_those_of_the_data_are_refused(tmp_path):
    """The network gives four steps, its data had two: what comes after them was never trained."""
    checkpoint = write(tmp_path / "base")
    file = tmp_path / "base" / PROCESSOR
    table = json.loads(file.read_text())
    table["processor_kwargs"]["modality_configs"]["robot"]["action"]["delta_indices"] = [0, 1]
    file.write_text(json.dumps(table))
    with pytest.raises(ConfigurationError, match=r"n_action_steps is 3, .* trained on chunks of 2 .*; set 1 to 2") as e:
        make_actor(checkpoint)
    assert "\n" not in str(e.value)
    assert make_actor(checkpoint, n_action_steps=2).n_action_steps == 2


def test_a_checkpoint_that_reads_past_states_is_refused(tmp_path):
    checkpoint = write(tmp_path / "base", None, state_history_length=2)
    with pytest.raises(ConfigurationError, match=r"reads the last 2 states .* not supported; set agent.actor.ch") as e:
        make_actor(checkpoint, None)
    assert "\n" not in str(e.value)
