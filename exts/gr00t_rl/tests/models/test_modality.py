# SPDX-License-Identifier: BSD-3-Clause
"""A GR00T actor that reads an env by a checkpoint's keys and statistics, and one that follows several instructions."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import PointMassEnv, collect, make_runner, runner_cfg
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from gr00t_rl.cfg import ActionKeyCfg, Gr00tActorCfg, ModalityCfg, StateKeyCfg
from gr00t_rl.gr00t import METADATA_FILE, Gr00tN1d5, Gr00tN1d5Config, Modality, PolicySettings, tokenizer_assets
from gr00t_rl.gr00t import checkpoint as files
from gr00t_rl.gr00t.n1d5 import tiny_tokenizer
from gr00t_rl.models import Gr00tActor
from gr00t_rl.utils.errors import ConfigurationError

# tracing warns of every shape that it turns into a constant, and PyTorch of every use of TorchScript
pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")

N, STEPS = 3, 3
MODALITY: dict[str, Any] = {
    "embodiment_tag": "new_embodiment",
    "video": {"wrist": "hand_camera", "front": "front"},
    "state": {
        "arm": {"group": "policy", "start": 1, "end": 3, "normalization": "min_max"},
        "yaw": {"group": "pose", "start": 0, "end": 1, "normalization": None, "sin_cos": True},
    },
    "action": {
        "gripper": {"start": 2, "end": 3, "normalization": "min_max"},
        "delta": {"start": 0, "end": 2, "normalization": "mean_std"},
    },
}
STATISTICS = {
    "state": {"arm": {"min": [0.0, -4.0], "max": [10.0, 2.0]}},
    "action": {"gripper": {"min": [0.0], "max": [0.08]}, "delta": {"mean": [4.0, -1.0], "std": [2.0, 0.5]}},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small checkpoint with tokenizer assets and statistics: all that a user has to name."""
    config = Gr00tN1d5Config.tiny(action_horizon=6, image_size=32, patch_size=8)
    model = Gr00tN1d5.from_config(config, seed=0)
    metadata = {"new_embodiment": {"statistics": STATISTICS, "modalities": {}, "embodiment_tag": "new_embodiment"}}
    model.assets = tokenizer_assets(tiny_tokenizer(config)) | {METADATA_FILE: json.dumps(metadata).encode()}
    folder = tmp_path_factory.mktemp("gr00t") / "checkpoint"
    model.save_pretrained(folder)
    return str(folder)


def observations(n: int = N, seed: int = 0) -> TensorDict:
    generator = torch.Generator().manual_seed(seed)
    obs = TensorDict({"critic": torch.zeros(n, 1)}, [n])
    obs["policy"], obs["pose"] = torch.randn(n, 4, generator=generator), torch.randn(n, 1, generator=generator)
    for name in ("front", "hand_camera"):
        obs[name] = torch.randint(0, 256, (n, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return obs


def make_actor(checkpoint: str, obs: TensorDict | None = None, action_dim: int = 3, **kwargs: Any) -> Gr00tActor:
    groups = {"actor": ["policy", "pose", "front", "hand_camera"], "critic": ["critic"]}
    settings = {"n_action_steps": STEPS, "num_inference_timesteps": 2, "instruction": "Reach.", "modality": MODALITY}
    obs = observations() if obs is None else obs
    torch.manual_seed(0)
    return Gr00tActor(obs, groups, "actor", action_dim, checkpoint=checkpoint, **{**settings, **kwargs})


def changed(**changes: Any) -> dict[str, Any]:
    """The modality above with some leaves changed, each named by its path with __ for a dot."""
    content = copy.deepcopy(MODALITY)
    for path, value in changes.items():
        *parents, leaf = path.split("__")
        table = content
        for parent in parents:
            table = table[parent]
        table[leaf] = value
    return content


# -- modality ----------------------------------------------------------------------------------------------------------


def test_state_and_views_reach_the_network_by_their_keys(checkpoint):
    """The velocity is that of the network's own functions on numbers normalised by hand."""
    actor, obs = make_actor(checkpoint), observations()
    low, high = torch.tensor([0.0, -4.0]), torch.tensor([10.0, 2.0])
    arm = 2 * (obs["policy"][:, 1:3] - low) / (high - low) - 1
    state = torch.cat((arm, obs["pose"].sin(), obs["pose"].cos(), torch.zeros(N, 60)), dim=-1).unsqueeze(1)
    pixels = torch.stack((obs["hand_camera"], obs["front"]), dim=1).flatten(0, 1).permute(0, 3, 1, 2) / 127.5 - 1
    head = actor.model.action_head
    features = actor.model.encode(pixels, actor.processor.prompt(N))
    ctx = head.prepare(head.process_features(features), state)
    x = torch.randn(N, 1, *actor.chunk_shape)
    expected = head.velocity(x[:, 0], torch.zeros(N, dtype=torch.long), ctx)
    found = actor.velocity_field(actor.observe(obs)).velocity(x, torch.zeros(N, 1, dtype=torch.long))
    torch.testing.assert_close(found[:, 0], expected, atol=1e-5, rtol=0)


def test_env_that_is_reset_within_a_common_chunk_stays_where_it_is(checkpoint):
    """Joint targets hold the joints that the reset brought, in play and evaluation; a change is 0."""
    action = {
        "turn": {"start": 0, "end": 1, "normalization": None, "absolute": False},
        "arm": {"start": 1, "end": 3, "normalization": None},
    }
    actor = make_actor(checkpoint, modality=changed(action=action), align_decisions=True)
    with torch.inference_mode():
        actor(observations(seed=0))
        assert actor._queue is not None
        chunks = actor._queue._chunks.clone()
        actor.reset(torch.tensor([0, 1, 0]))
        start = observations(seed=1)
        for step, obs in ((1, start), (2, observations(seed=2))):
            expected = chunks[:, step].clone()
            expected[1] = torch.tensor([0.0, *start["policy"][1, 1:3].tolist()])
            torch.testing.assert_close(actor(obs), expected, atol=0, rtol=0)
        assert actor._queue.due.all()


def test_actions_are_denormalised_and_likelihoods_are_not(checkpoint):
    actor = make_actor(checkpoint, head="gaussian")
    with torch.no_grad():
        chunk, record = actor.decide(actor.observe(observations()))
    x = record["x_next"][:, 0, :STEPS, :3]  # gripper, delta x, delta y
    expected = torch.stack((x[..., 1] * 2 + 4, x[..., 2] * 0.5 - 1, (x[..., 0] + 1) / 2 * 0.08), dim=-1)
    torch.testing.assert_close(chunk, expected)
    log_prob = torch.distributions.Normal(record["mean"], record["std"]).log_prob(x[:, None]).flatten(1).sum(1)
    torch.testing.assert_close(record["log_prob"], log_prob)
    torch.testing.assert_close(actor.evaluate(record.clone()).log_prob, log_prob, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("level", "shown"), [(1.0, "gripper 0.012, delta 0.14 to 0.58"), (0.5, "gripper 0.0058, delta 0.072 to 0.29")]
)
def test_what_exploration_does_to_the_robot_is_told(checkpoint, level, shown):
    """a / sqrt(4 * 3) = 0.2887 a of half the gripper's 0.08, and of the deltas' standard deviations 2 and 0.5."""
    actor = make_actor(checkpoint, num_inference_timesteps=4, noise_level=level, head="flow_sde")
    line = actor.describe().splitlines()[-1]
    assert line.startswith("exploration noise of the last of 4 denoising steps") and shown in line
    assert "exploration" not in make_actor(checkpoint, head="flow_noise").describe()  # it is learned


def test_only_the_modality_s_groups_are_kept(checkpoint):
    keys = changed(video={"front": "front"})
    keys["state"].pop("yaw")
    assert set(make_actor(checkpoint, modality=keys).observe(observations()).keys()) == {"policy", "critic", "features"}


def test_statistics_are_no_part_of_a_training_checkpoint(checkpoint):
    actor = make_actor(checkpoint)
    assert not [name for name in actor.state_dict() if name.startswith("processor")]
    assert {name for name, _ in actor.processor.named_buffers()} >= {
        "normalise_state._stats",
        "normalise_action._stats",
    }


def test_a_run_s_checkpoint_goes_with_its_modality(checkpoint):
    state = make_actor(checkpoint).state_dict()
    make_actor(checkpoint).load_state_dict(state)
    says = r"agent\.actor\.modality\.video_crop is 0\.9, but the checkpoint was trained with 1\.0"
    with pytest.raises(ConfigurationError, match=says):
        make_actor(checkpoint, modality=changed(video_crop=0.9)).load_state_dict(state)


def test_a_hub_id_is_compared_when_it_is_fetched(checkpoint, tmp_path, monkeypatch, capsys):
    """Before the simulator starts there is no file of it yet."""
    config = Gr00tN1d5Config.tiny(action_horizon=6, image_size=32, patch_size=8, max_num_embodiments=32)
    model = Gr00tN1d5.from_config(config, seed=0)
    model.assets = {METADATA_FILE: (Path(checkpoint) / METADATA_FILE).read_bytes()}
    model.save_pretrained(tmp_path / "fetched")
    monkeypatch.setattr(files, "snapshot_download", lambda *_, **__: str(tmp_path / "fetched"))
    make_actor("org/name", tokenizer=checkpoint)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[gr00t_rl] warning: ")]
    assert ["embodiment_id is 0" in lines[0], "video_crop=0.95" in lines[1], len(lines)] == [True, True, 2]
    settings = PolicySettings(Modality.from_dict(MODALITY), 1)
    (tmp_path / "fetched" / files.SETTINGS_FILE).write_bytes(settings.to_bytes())
    make_actor("org/name", tokenizer=checkpoint, embodiment_id=1)
    assert "warning" not in capsys.readouterr().out
    with pytest.raises(
        ConfigurationError, match=r"agent\.actor\.embodiment_id is 0, but the policy was trained with 1"
    ):
        make_actor("org/name", tokenizer=checkpoint)


def test_tiny_takes_a_modality_without_normalisation():
    """Numbers pass through unchanged, in the modality's order."""
    keys = changed(
        state__arm__normalization=None, action__gripper__normalization=None, action__delta__normalization=None
    )
    actor, plain = make_actor("tiny", modality=keys), make_actor("tiny", modality=None)
    assert plain.image_groups == ["front", "hand_camera"] and actor.image_groups == ["hand_camera", "front"]
    chunk = torch.randn(2, *actor.chunk_shape)
    assert torch.equal(actor.env_actions(chunk), chunk[:, :STEPS, [1, 2, 0]])
    assert torch.equal(plain.env_actions(chunk), chunk[:, :STEPS, :3])
    with pytest.raises(
        ConfigurationError, match=r"agent\.actor\.modality\.state\.arm\.normalization is 'min_max', but"
    ):
        make_actor("tiny")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modality": changed(embodiment_tag="gr1")}, "embodiment_tag is 'gr1', but the checkpoint's metadata has"),
        ({"modality": changed(state__arm__group="joints")}, "state.arm.group is 'joints', but the actor's"),
        ({"modality": changed(state__arm__end=5)}, "state.arm.end is 5, but the observation group 'policy' has 4"),
        ({"modality": changed(state__arm__end=4)}, "state.arm is 3 wide (1:4), but its statistics have 2"),
        ({"modality": changed(video__front="policy")}, "video.front is 'policy', a group of shape [4]"),
        (
            {"modality": changed(action__delta__normalization="q99")},
            "action.delta.normalization is 'q99', but its stat",
        ),
        ({"action_dim": 4}, "action covers 3 dimensions, but the env's action has 4"),
        ({"obs_normalization": True}, "state normalises already"),
    ],
)
def test_modality_that_does_not_fit(checkpoint, settings, message):
    with pytest.raises(ConfigurationError) as error:
        make_actor(checkpoint, **settings)
    assert "agent.actor.modality." in str(error.value) and message in str(error.value)
    assert "\n" not in str(error.value)


def test_cfg_becomes_the_same_modality(checkpoint):
    """What Isaac Lab makes of a cfg class, in the order in which its keys were declared."""
    cfg = Gr00tActorCfg(
        modality=ModalityCfg(
            video=dict(MODALITY["video"]),
            state={name: StateKeyCfg(**key) for name, key in MODALITY["state"].items()},
            action={name: ActionKeyCfg(**key) for name, key in MODALITY["action"].items()},
        )
    )
    content = cfg.to_dict()["modality"]  # type: ignore[attr-defined]
    actor = make_actor(checkpoint, modality=content)
    assert actor.modality == make_actor(checkpoint).modality
    assert actor.modality is not None and list(actor.modality.state) == ["arm", "yaw"]


# -- several instructions ----------------------------------------------------------------------------------------------

TEXTS = ["Go.", "Reach the green ball with the hand.", "Reach it."]


def instructed(numbers: list[int], cameras: bool) -> TensorDict:
    obs = observations(len(numbers)) if cameras else observations(len(numbers)).exclude("front", "hand_camera")
    obs["instruction"] = torch.tensor(numbers)[:, None]
    return obs


def make_instructed(cameras: bool, instruction: Any, obs: TensorDict | None = None, **kwargs: Any) -> Gr00tActor:
    groups = {"actor": ["policy", *(["front"] if cameras else [])], "critic": ["critic"]}
    obs = instructed([0], cameras) if obs is None else obs
    return Gr00tActor(obs, groups, "actor", 2, n_action_steps=STEPS, instruction=instruction, **kwargs)


@pytest.mark.parametrize("cameras", [False, True])
def test_each_env_acts_on_its_own_instruction(cameras):
    """As a policy that has only that instruction, although the prompts differ in length."""
    numbers = [2, 0, 1, 0]
    actor, obs = make_instructed(cameras, TEXTS), instructed(numbers, cameras)
    noise = torch.randn(4, *actor.chunk_shape)
    together = actor.head.integrate(actor.velocity_field(actor.observe(obs)), noise).detach()
    for env, number in enumerate(numbers):
        single = make_instructed(cameras, TEXTS[number])
        row = slice(env, env + 1)
        alone = single.head.integrate(single.velocity_field(single.observe(obs[row])), noise[row]).detach()
        torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=0)
    other = actor.head.integrate(actor.velocity_field(actor.observe(instructed([1] * 4, cameras))), noise)
    assert (together[1] - other[1]).abs().max() > 1e-4


@pytest.mark.parametrize("cache", ["device", "host", "pixels"])
@pytest.mark.parametrize("cameras", [False, True])
def test_stored_decisions_remember_their_instruction(cameras, cache):
    actor, obs = make_instructed(cameras, TEXTS, feature_cache=cache), instructed([1, 0, 2, 1], cameras)
    with torch.inference_mode():
        record = actor.store(actor.decide(actor.observe(obs))[1])
    rows = torch.tensor([3, 1, 2])
    found = actor.evaluate(actor.restore(record.clone()[rows]))
    torch.testing.assert_close(found.log_prob, record["log_prob"][rows], atol=1e-5, rtol=0)


def test_features_of_padding_are_zero():
    """So that a critic that averages them does not see it."""
    actor = make_instructed(True, TEXTS)
    features = actor.observe(instructed([0, 1], True))["features"]
    tokenizer = tiny_tokenizer(actor.model.config)
    padding = len(tokenizer(TEXTS[1])["input_ids"]) - len(tokenizer(TEXTS[0])["input_ids"])
    assert padding > 0
    assert not features[0, -padding:].any() and features[0, :-padding].any(-1).all() and features[1].any(-1).all()


def test_one_instruction_needs_no_group():
    obs = instructed([0, 0], False).exclude("instruction")
    actor = make_instructed(False, ["Reach."], obs)
    assert actor.act_chunk(obs).shape == (2, STEPS, 2)
    for wrong in (obs, obs.clone().update({"instruction": torch.zeros(2, 1)})):
        with pytest.raises(ConfigurationError, match=r"agent\.actor\.instruction lists 3 instructions"):
            make_instructed(False, TEXTS, wrong)


class ToldEnv(PointMassEnv):
    """Each env is told the one or the other."""

    def _observe(self, fresh: bool = False) -> TensorDict:
        obs = super()._observe(fresh)
        obs["instruction"] = (torch.arange(self.num_envs) % 2)[:, None]
        return obs


@pytest.mark.parametrize("listed", [False, True])
def test_algorithms_pass_the_task_s_instructions(listed):
    """Through rsl_rl's runner, with the group among the actor's; its number is no part of the state."""
    env = ToldEnv()
    if listed:
        env.cfg.instructions = ["Go.", "Move the point to the goal."]  # type: ignore[attr-defined]
    cfg = runner_cfg("flow_sde_one")
    cfg["actor"]["instruction"] = None
    cfg["obs_groups"]["actor"] = ["policy", "instruction"]
    runner = make_runner(cfg, env)
    actor = runner.alg.actor
    assert actor.processor.instructions == (env.cfg.instructions if listed else ["Move the point to the goal."])  # type: ignore
    assert actor.state_dim == 2
    collect(runner)
    record = runner.alg.storage.records().clone()
    assert record["instruction"].unique().tolist() == [0, 1]
    found = actor.evaluate(actor.restore(record)).log_prob
    torch.testing.assert_close(found, record["log_prob"], atol=1e-5, rtol=0)


# -- export ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", [1.0, 0.9])
def test_exported_modality(checkpoint, crop):
    """The module takes the keys' raw columns and whole pictures, and returns the env's units."""
    actor = make_actor(checkpoint, init_noise_scale=0.0, modality=changed(video_crop=crop))
    obs = observations(seed=1)[:1]
    exported = actor.as_jit()
    assert actor.modality is not None
    state, views = actor.modality.select_state(obs), actor.modality.views(obs)  # type: ignore[arg-type]
    found = exported(state, *views, torch.zeros(1, *actor.chunk_shape))
    torch.testing.assert_close(found, actor.act_chunk(obs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cameras", [False, True])
def test_exported_instructions(cameras):
    """One module speaks all instructions; their number is an input."""
    actor = make_instructed(cameras, TEXTS, init_noise_scale=0.0, num_inference_timesteps=2)
    exported = actor.as_jit()
    chunks = []
    for number in range(len(TEXTS)):
        obs = instructed([number], cameras)
        images = [obs[group] for group in actor.image_groups]
        found = exported(obs["policy"], obs["instruction"], *images, torch.zeros(1, *actor.chunk_shape))
        torch.testing.assert_close(found, actor.act_chunk(obs), atol=1e-5, rtol=1e-5)
        chunks.append(found)
    assert not torch.equal(chunks[0], chunks[1])
    names = ["state", "instruction", *actor.image_groups, "noise"]
    assert actor.as_onnx().input_names == names


@pytest.mark.slow
def test_onnx_of_a_modality_and_instructions(checkpoint, tmp_path: Path):
    from onnx.reference import ReferenceEvaluator

    obs = observations(1)
    obs["instruction"] = torch.ones(1, 1, dtype=torch.long)
    actor = make_actor(checkpoint, obs, instruction=TEXTS, init_noise_scale=0.0)
    runner = object.__new__(OnPolicyRunner)  # as far as its export looks at it
    runner.alg = SimpleNamespace(get_policy=lambda: actor)  # type: ignore[assignment]
    runner.export_policy_to_onnx(str(tmp_path))
    assert actor.modality is not None
    values = (actor.modality.select_state(obs), obs["instruction"], *actor.modality.views(obs))  # type: ignore
    inputs = (*values, torch.zeros(1, *actor.chunk_shape))
    feed = {name: value.numpy() for name, value in zip(actor.as_onnx().input_names, inputs, strict=True)}
    found = torch.as_tensor(ReferenceEvaluator(str(tmp_path / "policy.onnx")).run(None, feed)[0])  # type: ignore[index]
    torch.testing.assert_close(found, actor.act_chunk(obs), atol=1e-5, rtol=1e-4)
