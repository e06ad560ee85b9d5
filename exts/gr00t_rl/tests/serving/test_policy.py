# SPDX-License-Identifier: BSD-3-Clause
"""What is served is what is evaluated: the actor's own chunks, from folders and from runs, of both generations."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serving_helpers import (
    N1D7,
    SIDE,
    STEPS,
    TEXTS,
    chunk_of,
    env_observations,
    flat_request,
    make_actor,
    nested_request,
    served_observation,
    with_settings,
    write_run,
)

from gr00t_rl.gr00t.checkpoint import SETTINGS_FILE
from gr00t_rl.serving.loading import Choices, load_policy
from gr00t_rl.serving.observation import Observation
from gr00t_rl.serving.policy import PROCESSORS, ServedPolicy
from gr00t_rl.utils.errors import ConfigurationError

LORA = {"train": {"llm": "lora", "dit": "lora", "projectors": "full"}, "lora_rank": 2}


def served_chunk(policy: ServedPolicy, observation: Observation, noise: torch.Tensor) -> np.ndarray:
    """The policy's chunk with its keys put where the env has them, [B, STEPS, 3]."""
    found = policy.act(observation, noise)
    chunk = np.full((len(noise), STEPS, 3), np.nan, np.float32)
    for name, key in policy.settings.modality.action.items():
        assert found[name].dtype == np.float32 and found[name].shape == (len(noise), STEPS, key.dim)
        chunk[..., key.start : key.end] = found[name]
    return chunk


def noise_for(policy: ServedPolicy, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, *policy.chunk_shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", ["n1.5", "n1.5 blind", "n1.7"])
def test_a_folder_is_served_as_it_is_evaluated(name, make_case, tmp_path):
    """Of the same initial noise, robots with different instructions in one batch; cameras, none, relative actions."""
    case = make_case(name)
    policy = load_policy(None, str(with_settings(case, tmp_path / "out")), Choices())
    obs, noise = env_observations(case.modality), noise_for(policy)
    found = served_chunk(policy, served_observation(case.modality, obs), noise)
    np.testing.assert_allclose(found, chunk_of(make_actor(case), obs, noise), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["n1.5 blind", "n1.7"])
def test_a_run_is_served_with_its_adapters_merged(name, make_case, tmp_path):
    """Settings, picture sizes and rate are the run's; the base weights act otherwise."""
    case = make_case(name)
    actor = make_actor(case, **LORA)
    file = write_run(case, actor, tmp_path / "run", **LORA)
    policy = load_policy(file, None, Choices())
    settings = policy.settings
    assert (settings.n_action_steps, settings.instructions, settings.control_hz) == (STEPS, TEXTS[:1], 20.0)
    assert settings.image_sizes == dict.fromkeys(case.modality.video, (SIDE, SIDE))
    obs, noise = env_observations(case.modality), noise_for(policy)
    found = served_chunk(policy, served_observation(case.modality, obs), noise)
    np.testing.assert_allclose(found, chunk_of(actor, obs, noise), atol=1e-6, rtol=0)
    assert np.abs(found - chunk_of(make_actor(case), obs, noise)).max() > 1e-3


def test_a_folder_of_n1d7_says_itself_how_it_is_run(make_case):
    """Keys, order, normalisation, row and steps are in its own files; the state is laid out key after key."""
    case = make_case("n1.7")
    policy = load_policy(None, str(case.folder), Choices())
    settings = dataclasses.replace(policy.settings, n_action_steps=STEPS, num_inference_timesteps=2)
    policy = ServedPolicy(policy.network, policy._tokenizer, settings, policy._statistics)
    assert list(settings.modality.state) == list(N1D7.state)
    obs, noise = env_observations(case.modality), noise_for(policy)
    found = served_chunk(policy, served_observation(case.modality, obs), noise)
    # its keys are laid out in their order: hand, then arm, as the env of this test has them too
    np.testing.assert_allclose(found, chunk_of(make_actor(case), obs, noise), atol=1e-6, rtol=0)


def test_the_released_type_is_close(make_case, tmp_path):
    case = make_case("n1.5")
    folder = str(with_settings(case, tmp_path / "out"))
    wide, short = load_policy(None, folder, Choices()), load_policy(None, folder, Choices(dtype="bfloat16"))
    assert {p.dtype for p in short.network.parameters()} == {torch.bfloat16}
    observation, noise = served_observation(case.modality, env_observations(case.modality)), noise_for(wide)
    difference = np.abs(served_chunk(wide, observation, noise) - served_chunk(short, observation, noise))
    assert 0 < difference.max() < 0.1


def test_answers_have_the_form_of_the_request(make_case, tmp_path):
    """One robot, several, and N1.7's form; a robot alone gets what it gets among others, with noise scaled to 0."""
    case = make_case("n1.5")
    policy = load_policy(None, str(with_settings(case, tmp_path / "out")), Choices(init_noise_scale=0.0))
    obs = env_observations(case.modality)
    alone, all_of_them = (
        policy.get_action(flat_request(case.modality, obs, 1)),
        policy.get_action(flat_request(case.modality, obs)),
    )
    nested, info = policy.get_action(nested_request(case.modality, obs))
    assert list(alone) == ["action.gripper", "action.delta"] and info == {}
    for key, dim in (("gripper", 1), ("delta", 2)):
        assert alone[f"action.{key}"].shape == (STEPS, dim)
        np.testing.assert_allclose(alone[f"action.{key}"], all_of_them[f"action.{key}"][1], atol=1e-6)
        np.testing.assert_array_equal(nested[key], all_of_them[f"action.{key}"])


def test_a_seed_gives_the_same_noise_again(make_case, tmp_path):
    case = make_case("n1.5 blind")
    folder, request = str(with_settings(case, tmp_path / "out")), flat_request(case.modality, env_observations(N1D7), 0)
    request = {name: value for name, value in request.items() if not name.startswith("video")}
    chunks = []
    for seed in (1, 1, 2):
        policy = load_policy(None, folder, Choices(seed=seed))
        chunks.append(np.stack([policy.get_action(request)["action.delta"] for _ in range(2)]))
    np.testing.assert_array_equal(chunks[0], chunks[1])
    assert not np.array_equal(chunks[0], chunks[2]) and not np.array_equal(chunks[0][0], chunks[0][1])


def test_few_prompts_are_kept(make_case, tmp_path):
    """Any text is taken, and memory stays bounded; a text that was forgotten acts as before."""
    case = make_case("n1.5 blind")
    policy = load_policy(None, str(with_settings(case, tmp_path / "out")), Choices(init_noise_scale=0.0))
    observation = dataclasses.replace(policy.example(), instructions=["first"])
    first = policy.act(observation)["delta"]
    for number in range(PROCESSORS + 1):
        policy.act(dataclasses.replace(observation, instructions=[f"text {number}"]))
    assert len(policy._processors) == PROCESSORS
    np.testing.assert_array_equal(policy.act(observation)["delta"], first)


# -- what does not fit ------------------------------------------------------------------------------------------------


def refusal(run_file: Path | None, folder: str | None, **choices: Any) -> str:
    with pytest.raises(ConfigurationError) as error:
        load_policy(run_file, folder, Choices(**choices))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_foreign_folder_needs_settings(make_case, tmp_path):
    """A file of the form that exports have, in YAML too; a wrong entry is named."""
    case, file = make_case("n1.5 blind"), tmp_path / "settings.yaml"
    assert "has no experiment_cfg/gr00t_rl.json" in refusal(None, str(case.folder))
    content = json.loads(case.settings.to_bytes())
    os.mkfifo(pipe := tmp_path / "pipe")
    assert "cannot be read (not a regular file)" in refusal(None, str(case.folder), settings=pipe)
    file.write_text("modality: [")
    assert "is neither JSON nor YAML" in refusal(None, str(case.folder), settings=file)
    file.write_text(f"modality: {json.dumps(content['modality'])}\nembodiment_id: 0\n")
    assert load_policy(None, str(case.folder), Choices(settings=file)).n_action_steps == 6
    for entry, message in {
        "n_action_steps: 9": "n_action_steps is 9, but the network gives 6",
        "init_noise_scale: -1": "init_noise_scale is -1; set",
        "horizon: 1": "horizon is 1; set none but",
        "simulator: {physics: 3}": "simulator is {'physics': 3}; set a table of texts",
    }.items():
        file.write_text(f"modality: {json.dumps(content['modality'])}\nembodiment_id: 0\n{entry}\n")
        assert message in refusal(None, str(case.folder), settings=file)
    content["modality"]["state"]["arm"]["end"] = 4
    file.write_text(json.dumps({"modality": content["modality"], "embodiment_id": 0}))
    assert "modality.state.arm is 3 wide (1:4), but its statistics have 2" in refusal(
        None, str(case.folder), settings=file
    )
    assert "cannot be read" in refusal(None, str(case.folder), settings=tmp_path / "gone.json")
    assert "no such folder" in refusal(None, str(tmp_path / "gone"))


def test_embodiments_that_are_not_there(make_case, tmp_path):
    n1d7 = make_case("n1.7")
    assert "embodiment_tag is 'arm', but the checkpoint's" in refusal(None, str(n1d7.folder), embodiment_tag="arm")
    ours = with_settings(n1d7, tmp_path / "out")
    assert "--embodiment_tag is 'arm'" in refusal(None, str(ours), embodiment_tag="arm")
    (ours / SETTINGS_FILE).write_text("[]")
    assert "experiment_cfg/gr00t_rl.json: the settings are []" in refusal(None, str(ours))


def test_a_run_without_a_modality_needs_settings(make_case, tmp_path):
    case = make_case("n1.5 blind")
    file = write_run(case, make_actor(case), tmp_path / "run", modality=None)
    assert "the run had no agent.actor.modality" in refusal(file, None)
    (tmp_path / "s.json").write_bytes(case.settings.to_bytes())
    assert load_policy(file, None, Choices(settings=tmp_path / "s.json")).settings == case.settings
