# SPDX-License-Identifier: BSD-3-Clause
"""The actor with GR00T N1.7: what is trained, kept, saved and exported, with none, one and two cameras.

What the actor does with any generation is tested with N1.5; here is what the backbone and the action head of N1.7 could
do wrong: features of several layers side by side, pictures of other sizes than their neighbours', blocks that see only
text or only pictures.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from helpers import (
    GroupedPointMassEnv,
    PointMassEnv,
    collect,
    grpo_cfg,
    make_runner,
    matrix_products_repeat,
    runner_cfg,
)
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from gr00t_rl.gr00t import Gr00tN1d7, Gr00tN1d7Config, Gr00tNetwork, from_pretrained, tokenizer_assets
from gr00t_rl.gr00t.n1d7.prompt import tiny_tokenizer
from gr00t_rl.gr00t.part_names import LORA_PARTS, PARTS, is_adapter
from gr00t_rl.gr00t.parts import part_parameters
from gr00t_rl.models import Gr00tActor
from gr00t_rl.models.trained import trained_network

TINY = "tiny-n1.7"
STATE, ACTION, STEPS = 5, 2, 3
SIZES = {"front": (32, 32), "wrist": (24, 40)}
"""Pictures [px]: the second camera's are of another area and shape."""
SEEN = {"none": (), "one": ("front",), "two": ("front", "wrist"), "two shapes": ("front", "wrist")}
"""Cameras; in the last case the checkpoint keeps their shapes, so that one has more tokens than the other."""
UNSEEN = ("vision", "mlp1")
"""Parts that do nothing without cameras."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What to set for each case of ``SEEN``."""
    config = Gr00tN1d7Config.tiny(image_size=32, patch_size=4, action_horizon=STEPS)
    keeps_shapes = {**config.raw_config, "shortest_image_edge": 32, "crop_fraction": 1.0}
    model = Gr00tN1d7.from_config(dataclasses.replace(config, raw_config=keeps_shapes), seed=0)
    model.assets = tokenizer_assets(tiny_tokenizer(config))
    folder = tmp_path_factory.mktemp("checkpoint") / "keeps_shapes"
    model.save_pretrained(folder)
    return dict.fromkeys(SEEN, TINY) | {"two shapes": str(folder)}


def observations(cameras: tuple[str, ...], n: int = 4, seed: int = 0) -> TensorDict:
    generator = torch.Generator().manual_seed(seed)
    obs = TensorDict({"policy": torch.randn(n, STATE, generator=generator)}, [n])
    for name in cameras:
        obs[name] = torch.randint(0, 256, (n, *SIZES[name], 3), dtype=torch.uint8, generator=generator)
    return obs


def make_actor(case: str, checkpoints: dict[str, str], **settings: Any) -> Gr00tActor:
    groups = {"actor": ["policy", *SEEN[case]], "critic": ["policy"]}
    defaults = {"checkpoint": checkpoints[case], "n_action_steps": STEPS, "instruction": "Push.", "lora_rank": 2}
    torch.manual_seed(0)
    return Gr00tActor(observations(SEEN[case]), groups, "actor", ACTION, **{**defaults, **settings})


def decide(actor: Gr00tActor, obs: TensorDict) -> TensorDict:
    """A record as it comes out of the storage, put there in two halves."""
    torch.manual_seed(1)
    with torch.inference_mode():
        records = [actor.store(actor.decide(actor.observe(half))[1]) for half in obs.split(len(obs) // 2)]
    return torch.cat(records).clone()  # type: ignore


def move(actor: Gr00tActor, scale: float = 0.1) -> None:
    """Change all trained weights, as an update would."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameters in actor.trained_parts.values():
            for p in parameters:
                p += scale * torch.randn(p.shape, generator=generator) * p[..., :1].abs().mean().clamp_min(0.1)


# -- parts ------------------------------------------------------------------------------------------------------------

WAYS = [
    (part, how, case)
    for part in PARTS
    for how in ("full", *(("lora",) if part in LORA_PARTS else ()))
    for case in ("none", "one", "two shapes")
    if case != "none" or part not in UNSEEN
]


def idle_without_cameras(name: str) -> bool:
    """Whether a weight only asks what the pictures show: block 2 is the tiny DiT's only one that sees pictures.

    Without them its attention adds what its output layer makes of zeros, whatever the queries are.
    """
    idle = ("norm1.", "attn1.to_q.", "attn1.to_k.", "attn1.to_v.")
    return name.startswith(tuple(f"model.action_head.model.transformer_blocks.2.{layer}" for layer in idle))


@pytest.mark.parametrize(("part", "how", "case"), WAYS)
def test_a_part_alone_gets_gradients_and_its_features_are_never_stale(part, how, case, checkpoints):
    """All of its parameters and no others; the ratio is 1 before it moves and another one afterwards."""
    cache = "pixels" if part == "vision" else "device"
    actor = make_actor(case, checkpoints, train={part: how}, feature_cache=cache)
    mine = {f"model.{n}" for n in part_parameters(actor.model)[part] if how == "full" or is_adapter(n)}
    reached = {n for n in mine if case != "none" or not idle_without_cameras(n)}
    record = decide(actor, observations(SEEN[case]))
    found = actor.evaluate(actor.restore(record))
    torch.testing.assert_close(found.log_prob, record["log_prob"], atol=1e-5, rtol=0)
    found.log_prob.sum().backward()
    assert {n for n, p in actor.named_parameters() if p.requires_grad} == mine
    assert {n for n, p in actor.named_parameters() if p.grad is not None} == reached
    assert sum(p.grad.abs().sum() for p in actor.parameters() if p.grad is not None) > 0
    move(actor)
    assert ((actor.evaluate(actor.restore(record)).log_prob - record["log_prob"]).abs() > 1e-4).any()


def test_parts_hold_all_but_the_language_model_s_last_norm(checkpoints):
    """Features are taken before it: nothing uses it. The projectors of all kept layers are one part."""
    model = make_actor("one", checkpoints).model
    parts = {part: set(parameters) for part, parameters in part_parameters(model).items()}
    assert {n for n, _ in model.named_parameters()} - set().union(*parts.values()) == {
        "backbone.language_model.model.norm.weight"
    }
    levels = {name.split(".")[3] for name in parts["mlp1"]}
    assert levels == {"merger", "deepstack_merger_list"}


# -- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "train"),
    [
        ("two", {"dit": "full"}),
        ("two shapes", {"dit": "full"}),
        ("two shapes", {"mlp1": "full"}),
        ("one", {"llm": "lora"}),
    ],
    ids=["dit, two", "dit", "mlp1", "llm"],
)
def test_wherever_features_are_kept_numbers_are_the_same(case, train, checkpoints):
    """Log-probabilities and gradients, of some of the decisions in another order, after the weights have moved."""
    rows, found = torch.tensor([3, 0, 2]), {}
    for cache in ("device", "host", "pixels"):
        actor = make_actor(case, checkpoints, train=train, feature_cache=cache)
        move(actor)
        record = decide(actor, observations(SEEN[case]))
        assert ("front" in record) == (cache == "pixels") and ("features" in record) == (cache == "device")
        log_prob = actor.evaluate(actor.restore(record[rows])).log_prob
        torch.testing.assert_close(log_prob, record["log_prob"][rows], atol=1e-5, rtol=0)
        log_prob.sum().backward()
        found[cache] = [log_prob.detach(), *(p.grad for p in actor.parameters() if p.grad is not None)]
    for cache, rtol in (("host", 0.0), ("pixels", 1e-4)):  # re-encoding runs in another batch shape
        for a, b in zip(found["device"], found[cache], strict=True):
            torch.testing.assert_close(a, b, rtol=rtol, atol=rtol / 10)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("case", ["none", "two shapes"])
def test_each_env_s_instruction_counts_as_if_it_were_alone(case, checkpoints):
    """The shorter prompt is padded: text blocks must not see the padding, and picture blocks must find the pictures.

    In the exported policy too, which takes the instruction's number.
    """
    texts = ["Push.", "Push the red cube to the far end of the table."]
    obs = observations(SEEN[case])
    several = obs.copy()
    several["instruction"] = torch.tensor([[0], [1], [1], [0]])
    groups = {"actor": ["policy", *SEEN[case], "instruction"], "critic": ["policy"]}
    settings = {"checkpoint": checkpoints[case], "n_action_steps": STEPS, "init_noise_scale": 0.0}
    settings["num_inference_timesteps"] = 2
    actor = Gr00tActor(several, groups, "actor", ACTION, instruction=texts, **settings)
    with torch.inference_mode():
        chunk = actor.act_chunk(several)
        alone = [make_actor(case, checkpoints, instruction=text, **settings).act_chunk(obs) for text in texts]
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    expected = torch.stack([alone[int(i)][row] for row, i in enumerate(several["instruction"])])
    torch.testing.assert_close(chunk, expected, atol=1e-5, rtol=0)
    exported, noise = actor.as_jit(), torch.zeros(1, *actor.chunk_shape)
    for row in (0, 1):
        inputs = (several[name][row : row + 1] for name in ("policy", "instruction", *SEEN[case]))
        torch.testing.assert_close(exported(*inputs, noise)[0], expected[row], atol=1e-5, rtol=0)


# -- through the runner -----------------------------------------------------------------------------------------------


def learner(name: str, image: bool = True, **settings: Any) -> Any:
    """A runner of PPO or GRPO with the tiny N1.7."""
    if name == "grpo":
        cfg, env = grpo_cfg("flow_sde_one", num_steps=6, image=image), GroupedPointMassEnv(image=image)
    else:
        cfg, env = runner_cfg("flow_sde_one", image=image), PointMassEnv(image=image)
    cfg["actor"] |= {"checkpoint": TINY, "lora_rank": 2, **settings}
    return make_runner(cfg, env)


TRAINED = {"dit": {"dit": "full"}, "llm": {"llm": "lora", "projectors": "full"}}


@pytest.mark.parametrize(
    ("name", "dtype", "train"),
    [
        ("ppo", "float32", "llm"),
        ("ppo", "bfloat16", "dit"),
        ("grpo", "float32", "dit"),
        ("grpo", "bfloat16", "llm"),
    ],
)
def test_two_iterations(name, dtype, train):
    """The gate finds the rollout's log-probabilities again, and only what is trained moves, in both iterations."""
    runner = learner(name, dtype=dtype, train=TRAINED[train])
    actor = runner.alg.actor
    trained = {id(p) for parameters in actor.trained_parts.values() for p in parameters}
    for iteration in range(2):
        before = {name: p.detach().clone() for name, p in actor.named_parameters()}
        collect(runner)
        metrics = runner.alg.update()
        if iteration == 0:
            assert metrics["gate_ratio_error"] < (1e-6 if dtype == "float32" else 1e-3)
        moved = {name for name, p in actor.named_parameters() if not torch.equal(p, before[name])}
        assert moved and moved <= {name for name, p in actor.named_parameters() if id(p) in trained}
        assert all(p.isfinite().all() for p in actor.parameters())
        assert metrics["nonfinite_steps"] == 0


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    def learn(runner: Any) -> None:
        collect(runner)
        runner.alg.update()

    whole = learner("ppo", train=TRAINED["llm"])
    learn(whole)
    whole.save(str(tmp_path / "model.pt"))
    env, generator = copy.deepcopy(whole.env), torch.get_rng_state()
    learn(whole)
    again = learner("ppo", train=TRAINED["llm"])
    again.load(str(tmp_path / "model.pt"))
    again.env = again.alg.env = env
    torch.set_rng_state(generator)
    learn(again)
    tolerance = 0.0 if matrix_products_repeat() else 1e-7
    for (name, a), b in zip(whole.alg.actor.named_parameters(), again.alg.actor.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance, msg=name)


# -- exports ----------------------------------------------------------------------------------------------------------


def inputs_of(actor: Gr00tActor, cameras: tuple[str, ...], seed: int) -> tuple[TensorDict, tuple[torch.Tensor, ...]]:
    """An observation, and what an exported policy takes in its place: state, pictures, initial noise."""
    obs = observations(cameras, 1, seed)
    noise = torch.randn(1, *actor.chunk_shape, generator=torch.Generator().manual_seed(seed))
    return obs, (obs["policy"], *(obs[name] for name in cameras), noise)


@torch.no_grad()
def chunk_of(actor: Gr00tActor, obs: TensorDict, noise: torch.Tensor) -> torch.Tensor:
    """What ``act_chunk`` returns, with its initial noise given."""
    actor.initial_noise = lambda batch: noise  # type: ignore[method-assign]
    try:
        return actor.act_chunk(obs)
    finally:
        del actor.initial_noise


def exporter(actor: Gr00tActor) -> OnPolicyRunner:
    """rsl_rl's runner, as far as its export methods look at it."""
    runner = object.__new__(OnPolicyRunner)
    runner.alg = SimpleNamespace(get_policy=lambda: actor)  # type: ignore[assignment]
    return runner


# tracing warns of every shape that it turns into a constant, and PyTorch of every use of TorchScript
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("case", ["none", "one", "two shapes"])
def test_torchscript_gives_the_actor_s_chunk(case, checkpoints, tmp_path):
    """Saved and loaded, adapters merged, for inputs other than those it was traced with."""
    train = {"dit": "lora", "llm": "lora"}
    actor = make_actor(case, checkpoints, train=train, num_inference_timesteps=2)
    move(actor)
    exporter(actor).export_policy_to_jit(str(tmp_path))
    loaded = torch.jit.load(tmp_path / "policy.pt")
    for seed in range(2):
        obs, inputs = inputs_of(actor, SEEN[case], seed)
        torch.testing.assert_close(loaded(*inputs), chunk_of(actor, obs, inputs[-1]), atol=1e-5, rtol=1e-5)


def run_onnx(file: Path, inputs: dict[str, np.ndarray]) -> Any:
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime  # pyright: ignore[reportMissingImports]

        return onnxruntime.InferenceSession(file).run(None, inputs)[0]
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(file)).run(None, inputs)[0]  # type: ignore


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("case", ["two shapes"])
def test_onnx_gives_the_actor_s_chunk(case, checkpoints, tmp_path):
    import onnx

    actor = make_actor(case, checkpoints, num_inference_timesteps=1)  # a small graph
    exporter(actor).export_policy_to_onnx(str(tmp_path))
    graph = onnx.load(tmp_path / "policy.onnx")
    onnx.checker.check_model(graph)
    names = [entry.name for entry in graph.graph.input]
    assert names == ["state", *SEEN[case], "noise"]
    obs, inputs = inputs_of(actor, SEEN[case], 1)
    found = run_onnx(tmp_path / "policy.onnx", {n: x.numpy() for n, x in zip(names, inputs, strict=True)})
    np.testing.assert_allclose(found, chunk_of(actor, obs, inputs[-1]).numpy(), atol=1e-5, rtol=1e-4)


def official_inputs(actor: Gr00tActor, obs: TensorDict, embodiment_id: int) -> dict[str, torch.Tensor]:
    """Observations by the names of the release's processor."""
    n = len(obs)
    prompt = actor.processor.prompt(n)
    inputs = {
        "input_ids": prompt.input_ids,
        "attention_mask": torch.ones_like(prompt.input_ids),
        "state": actor.processor.state(obs["policy"]),
        "embodiment_id": torch.full((n,), embodiment_id),
    }
    if not actor.image_groups:
        return inputs
    pictures = actor.processor.images([obs[name] for name in actor.image_groups])
    return inputs | {"pixel_values": pictures, "image_grid_thw": torch.tensor([*prompt.grids] * n)}


@pytest.mark.parametrize(("case", "how"), [("none", "lora"), ("one", "full"), ("two shapes", "lora")])
def test_a_run_becomes_a_checkpoint_that_acts_alike(case, how, checkpoints, tmp_path):
    """What was trained through the release's own inputs; adapters are merged, other embodiments stay."""
    train = {"dit": how, "llm": how, "projectors": "full"}
    settings = {"checkpoint": checkpoints[case], "embodiment_id": 1, "n_action_steps": STEPS, "lora_rank": 2}
    actor = make_actor(case, checkpoints, train=train, init_noise_scale=0.0, **settings)
    base = actor.copy()
    move(actor)
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "agent.yaml").write_text(yaml.safe_dump({"actor": settings}))
    (tmp_path / "params" / "env.yaml").write_text("camera_size: 32\n")
    torch.save({"actor_state_dict": actor.state_dict(), "iter": 7}, tmp_path / "model_7.pt")
    trained_network(tmp_path / "model_7.pt").save_pretrained(tmp_path / "out")
    network: Gr00tNetwork = from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert type(network) is Gr00tN1d7
    obs, noise = observations(SEEN[case], 3), torch.zeros(3, *actor.chunk_shape)
    found = network.get_action(official_inputs(actor, obs, 1), noise, 4)[..., :ACTION]
    with torch.no_grad():
        torch.testing.assert_close(found, actor.act_chunk(obs), atol=1e-5, rtol=0)
        assert (found - base.act_chunk(obs)).abs().max() > 1e-3
    before, _ = base.model.action_head.action_decoder.layer2.full_table()
    after = network.action_head.action_decoder.layer2.W
    assert torch.equal(after[[0, 2, 3]], before[[0, 2, 3]]) and not torch.equal(after[1], before[1])
