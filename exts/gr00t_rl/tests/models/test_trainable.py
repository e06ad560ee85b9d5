# SPDX-License-Identifier: BSD-3-Clause
"""What is trained: each part in full or by adapters, from its own iteration on, and never on stale features."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    GroupedPointMassEnv,
    PointMassEnv,
    collect,
    grpo_cfg,
    make_runner,
    matrix_products_repeat,
    runner_cfg,
)
from tensordict import TensorDict

from gr00t_rl.gr00t import Gr00tN1d5, Gr00tN1d5Config
from gr00t_rl.gr00t.adapters import add_adapters, merge_adapters
from gr00t_rl.gr00t.part_names import LORA_PARTS, PARTS, is_adapter
from gr00t_rl.gr00t.parts import lora_layers, part_parameters
from gr00t_rl.models import Gr00tActor
from gr00t_rl.models.trainable import describe_parts, make_trainable
from gr00t_rl.options import Gr00tActorOptions
from gr00t_rl.utils.errors import ConfigurationError

WAYS = [(part, how) for part in PARTS for how in ("full", *(("lora",) if part in LORA_PARTS else ()))]
ALL_LORA = dict.fromkeys(LORA_PARTS, "lora")


def observations(n: int = 4, seed: int = 0) -> TensorDict:
    generator = torch.Generator().manual_seed(seed)
    obs = TensorDict({"policy": torch.randn(n, 5, generator=generator)}, [n])
    for name in ("front", "wrist"):
        obs[name] = torch.randint(0, 256, (n, 16, 16, 3), dtype=torch.uint8, generator=generator)
    return obs


def make_actor(train: dict[str, str], cameras: tuple[str, ...] = ("front",), **settings: Any) -> Gr00tActor:
    obs = observations().select("policy", *cameras)
    groups = {"actor": ["policy", *cameras], "critic": ["policy"]}
    cache = "pixels" if "vision" in train else "device"
    torch.manual_seed(0)
    settings = {"n_action_steps": 3, "instruction": "Push.", "lora_rank": 2, "feature_cache": cache, **settings}
    return Gr00tActor(obs, groups, "actor", 2, train=train, **settings)


def decide(actor: Gr00tActor, seed: int = 1) -> TensorDict:
    """A record as it comes out of the storage."""
    obs = observations().select("policy", *actor.image_groups)
    torch.manual_seed(seed)
    with torch.inference_mode():
        record = actor.store(actor.decide(actor.observe(obs))[1])
    return record.clone()


def move(actor: Gr00tActor, scale: float = 0.1) -> None:
    """Change all trained weights, as an update would."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameters in actor.trained_parts.values():
            for parameter in parameters:
                parameter += (
                    scale
                    * torch.randn(parameter.shape, generator=generator)
                    * parameter[..., :1].abs().mean().clamp_min(0.1)
                )


# -- which parameters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "how"), WAYS)
def test_a_part_alone_gets_gradients_and_its_features_are_never_stale(part, how):
    """All of its parameters and no others; the ratio is 1 before it moves and another one afterwards."""
    actor = make_actor({part: how})
    mine = {f"model.{n}" for n in part_parameters(actor.model)[part] if how == "full" or is_adapter(n)}
    assert mine
    record = decide(actor)
    found = actor.evaluate(actor.restore(record))
    torch.testing.assert_close(found.log_prob, record["log_prob"], atol=1e-5, rtol=0)
    found.log_prob.sum().backward()
    for name, parameter in actor.named_parameters():
        # at first the product of the adapters is 0: A's gradient is 0 too
        assert (parameter.grad is not None) == parameter.requires_grad == (name in mine), name
    assert sum(p.grad.abs().sum() for p in actor.parameters() if p.grad is not None) > 0
    move(actor)
    assert ((actor.evaluate(actor.restore(record)).log_prob - record["log_prob"]).abs() > 1e-3).any()


@pytest.mark.parametrize(("part", "how"), [way for way in WAYS if way[0] != "vision"])
@pytest.mark.parametrize("cache", ["device", "host"])
def test_what_is_kept_gives_the_gradients_of_the_pictures(part, how, cache):
    """Cut where the first trained part begins, the features give what re-encoding from pictures gives."""
    found = []
    for where in (cache, "pixels"):
        actor = make_actor({part: how, "dit": "full"}, ("front", "wrist"), feature_cache=where)
        move(actor)
        record = decide(actor)
        assert ("front" in record) == (where == "pixels")
        actor.evaluate(actor.restore(record)).log_prob.sum().backward()
        found.append([p.grad for p in actor.parameters() if p.grad is not None])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", ["llm", "vlln", "vl_self_attention"])
def test_without_cameras_the_prompt_is_read_anew_when_its_part_learns(part):
    actor = make_actor({part: "full"}, cameras=())
    record = decide(actor)
    torch.testing.assert_close(actor.evaluate(record).log_prob, record["log_prob"], atol=1e-5, rtol=0)
    move(actor)
    assert ((actor.evaluate(record).log_prob - record["log_prob"]).abs() > 1e-5).any()
    assert torch.equal(decide(actor)["log_prob"], actor.evaluate(decide(actor)).log_prob.detach())


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("part", "how"), [("llm", "lora"), ("llm", "full"), ("vlln", "full")])
def test_exports_read_a_prompt_that_learned_without_cameras(part, how):
    actor = make_actor({part: how, "dit": "full"}, cameras=(), init_noise_scale=0.0)
    move(actor)
    obs = observations(1).select("policy")
    with torch.no_grad():
        exported = actor.as_jit()(obs["policy"], torch.zeros(1, *actor.chunk_shape))
        torch.testing.assert_close(exported, actor.act_chunk(obs), atol=1e-5, rtol=0)


@pytest.mark.parametrize("part", ["vision", "mlp1"])
def test_parts_that_see_nothing_are_refused(part):
    with pytest.raises(ConfigurationError, match=rf"train\.{part} is 'full', but the actor reads no pictures"):
        make_actor({part: "full"}, cameras=(), feature_cache="pixels")


@pytest.mark.parametrize("cache", ["device", "host"])
def test_features_of_an_encoder_that_learns_are_refused(cache):
    with pytest.raises(ConfigurationError, match=rf"feature_cache is '{cache}'; set pixels: by agent\.actor\.train="):
        make_actor({"vision": "lora"}, feature_cache=cache)


def test_wrong_choices_are_refused():
    cases = {
        r"train is \{'dti': 'full'\}; set only parts that there are": {"train": {"dti": "full"}},
        r"train is \{'mlp1': 'lora'\}; set lora only for vision, llm": {"train": {"mlp1": "lora"}},
        r"train is \{'dit': 'off'\}; set at least one part": {"train": {"dit": "off"}},
        r"unfreeze is \{'dit': 5, 'projectors': 5\}; set 0 for at least one": {"unfreeze": {"dit": 5, "projectors": 5}},
        r"unfreeze is \{'llm': 3\}; set only parts that agent\.actor\.train=\{.*\} trains": {"unfreeze": {"llm": 3}},
    }
    for message, settings in cases.items():
        with pytest.raises(ConfigurationError, match=message):
            Gr00tActorOptions.parse(settings, "agent.actor")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_trained_weights_are_float32_and_frozen_ones_keep_their_type(dtype):
    for train in ({"dit": "lora", "projectors": "full"}, {"dit": "full", "llm": "lora"}):
        actor = make_actor(train, dtype=dtype)
        trained = {id(p) for parameters in actor.trained_parts.values() for p in parameters}
        for name, parameter in actor.model.named_parameters():
            assert parameter.dtype == (torch.float32 if id(parameter) in trained else getattr(torch, dtype)), name
        record = decide(actor)
        assert {record[key].dtype for key in ("x", "x_next", "mean", "std", "log_prob")} == {torch.float32}
        found = actor.evaluate(actor.restore(record))
        assert found.log_prob.dtype == torch.float32
        torch.testing.assert_close(
            found.log_prob, record["log_prob"], atol=1e-5 if dtype == "float32" else 0.05, rtol=0
        )


# -- adapters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("train", [{"dit": "lora"}, ALL_LORA], ids=["dit", "all"])
def test_new_adapters_leave_the_policy_as_it_was_to_the_bit(train, dtype):
    cache = {"feature_cache": "pixels", "dtype": dtype}
    plain, adapted = make_actor(dict.fromkeys(train, "full"), **cache), make_actor(train, **cache)
    if dtype == "bfloat16":  # trained in full, a weight is float32: cast when it is used, to the same numbers
        for parameter in plain.parameters():
            parameter.data = parameter.data.bfloat16()
    assert torch.equal(decide(plain)["log_prob"], decide(adapted)["log_prob"])
    assert torch.equal(decide(plain)["x_next"], decide(adapted)["x_next"])


def test_every_attention_and_feed_forward_layer_is_adapted():
    """At full size, counted by hand: layers times targets, and r (in + out) parameters each."""
    with torch.device("meta"):
        model = Gr00tN1d5(Gr00tN1d5Config.full_size())
        assert {part: len(lora_layers(model, part)) for part in LORA_PARTS} == {
            "vision": 27 * 6,
            "llm": 12 * 7,
            "vl_self_attention": 4 * 6,
            "dit": 16 * 6,
        }
        add_adapters(model, ["dit"], rank=16, alpha=16.0)
    sizes = [p.numel() for n, p in model.named_parameters() if is_adapter(n)]
    width, features = 1536, 2048
    # queries, output and feed-forward everywhere; keys and values of the features in every other block
    block = 2 * (width + width) + 2 * (width + 4 * width)
    expected = 16 * (16 * block + 8 * 2 * (features + width) + 8 * 2 * (width + width))
    assert sum(sizes) == expected == 7_208_960


def test_a_network_whose_layers_have_other_names_is_refused():
    model = Gr00tN1d5.from_config(Gr00tN1d5Config.tiny())
    block: Any = model.action_head.model.transformer_blocks[1]
    block.ff.net[0].other = block.ff.net[0].proj
    del block.ff.net[0].proj
    with pytest.raises(RuntimeError, match=r"transformer_blocks\.1 has 0 linear layers 'net\.0\.proj'"):
        add_adapters(model, ["dit"], 2, 2.0)


def test_merged_adapters_act_alike_and_leave_a_plain_network():
    actor = make_actor(ALL_LORA | {"projectors": "full"}, lora_alpha=5.0)
    plain = {name: p.shape for name, p in make_actor({"dit": "full"}).model.named_parameters()}
    move(actor, 0.3)
    merged, obs = actor.copy(), observations()
    merge_adapters(merged.model)
    assert {name: p.shape for name, p in merged.model.named_parameters()} == plain
    noise = torch.randn(4, *actor.chunk_shape)

    def chunk(policy: Gr00tActor) -> torch.Tensor:
        with torch.no_grad():
            return policy.head.integrate(policy.velocity_field(policy.observe(obs)).velocity, noise)

    torch.testing.assert_close(chunk(merged), chunk(actor), atol=1e-5, rtol=0)
    assert (chunk(actor) - chunk(make_actor(ALL_LORA))).abs().max() > 1e-2


def test_grpo_s_reference_is_the_network_with_its_adapters_off():
    """Nothing is kept twice but the projectors, and what learns afterwards is what learned before."""
    cfg = grpo_cfg("flow_sde_one", kl_coef=0.1)
    cfg["actor"] |= {"train": {"dit": "lora", "projectors": "full"}, "lora_rank": 2, "unfreeze": {"projectors": 5}}
    runner = make_runner(cfg, GroupedPointMassEnv())
    alg, actor = runner.alg, runner.alg.actor
    projectors = {f"model.{name}" for name in part_parameters(actor.model)["projectors"]}
    assert {n for n in alg.reference.state_dict() if n.startswith("model.")} == projectors
    actor.begin_iteration(0)
    before = {name: p.requires_grad for name, p in actor.named_parameters()}
    obs, noise = runner.env.get_observations(), torch.randn(8, *actor.chunk_shape)

    def chunk() -> torch.Tensor:
        with torch.no_grad():
            return actor.head.integrate(actor.velocity_field(actor.observe(obs)).velocity, noise)

    initial = chunk()
    move(actor)
    with alg.reference.applied():
        assert torch.equal(chunk(), initial)
    assert (chunk() - initial).abs().max() > 1e-3
    assert {name: p.requires_grad for name, p in actor.named_parameters()} == before


# -- through the runner -------------------------------------------------------------------------------------------


def run(train: dict[str, str], folder: Path | None = None, image: bool = True, **settings: Any) -> Any:
    cfg = runner_cfg("flow_sde_one", image=image)
    cfg["actor"] |= {"train": train, "lora_rank": 2, **settings}
    return make_runner(cfg, PointMassEnv(image=image), folder)


@pytest.mark.parametrize(
    ("train", "cache"),
    [
        ({"dit": "lora"}, "device"),
        ({"vl_self_attention": "lora", "dit": "lora"}, "host"),
        ({"llm": "lora", "projectors": "full"}, "device"),
        ({"vision": "lora", "dit": "full"}, "pixels"),
    ],
    ids=["dit", "vl", "llm", "vision"],
)
def test_ratio_is_one_before_any_weight_moves_and_only_what_is_trained_moves(train, cache):
    runner = run(train, feature_cache=cache)
    alg = runner.alg
    collect(runner)
    assert ("features" in alg.batch) == (cache == "device")
    stored = alg.batch.clone()
    ratio = (alg._evaluate(stored).log_prob - stored["log_prob"]).exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-5, rtol=0)
    before = {name: p.detach().clone() for name, p in alg.actor.named_parameters()}
    alg.update()
    trained = {id(p) for parameters in alg.actor.trained_parts.values() for p in parameters}
    for name, parameter in alg.actor.named_parameters():
        assert torch.equal(parameter, before[name]) or id(parameter) in trained, name
    for part, parameters in alg.actor.trained_parts.items():
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters), part


def test_parts_begin_to_learn_in_their_iteration_and_the_optimiser_goes_on():
    runner = run({"dit": "lora", "projectors": "full"}, image=False, unfreeze={"projectors": 2})
    alg = runner.alg
    projectors = alg.actor.trained_parts["projectors"]
    initial = [p.detach().clone() for p in projectors]
    steps = {}
    for iteration in range(4):
        collect(runner)
        alg.update()
        moved = any(not torch.equal(p, q) for p, q in zip(projectors, initial, strict=True))
        assert moved == (iteration >= 2)
        steps[iteration] = [
            max((alg.optimizer.state[p]["step"].item() for p in parameters if alg.optimizer.state[p]), default=0)
            for parameters in (alg.actor.trained_parts["dit"], projectors)
        ]
    per_iteration = steps[0][0]
    assert steps[1] == [2 * per_iteration, 0]
    assert steps[3] == [4 * per_iteration, 2 * per_iteration]  # the adapters' moments were not begun anew


@pytest.mark.parametrize("stop", [1, 2])
def test_resume_is_exact_with_adapters_and_a_part_that_waits(tmp_path, stop):
    """Stopped before and after the projectors begin: the same weights as without a stop."""

    def learn(runner: Any, iterations: int) -> None:
        for _ in range(iterations):
            collect(runner)
            runner.alg.update()

    settings = {"image": False, "unfreeze": {"projectors": 2}}
    whole = run({"dit": "lora", "projectors": "full"}, **settings)
    learn(whole, stop)
    whole.save(str(tmp_path / "model.pt"))
    state, env = copy.deepcopy(whole.env), torch.get_rng_state()
    learn(whole, 2)
    again = run({"dit": "lora", "projectors": "full"}, **settings)
    again.load(str(tmp_path / "model.pt"))
    again.env = again.alg.env = state
    torch.set_rng_state(env)
    learn(again, 2)
    tolerance = 0.0 if matrix_products_repeat() else 1e-7
    for (name, a), b in zip(whole.alg.actor.named_parameters(), again.alg.actor.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance, msg=name)


def test_a_checkpoint_holds_adapters_and_what_else_is_trained_and_names_how(tmp_path):
    actor = make_actor({"dit": "lora", "mlp1": "full"})
    state = actor.state_dict()
    expected = {f"model.{n}" for n in part_parameters(actor.model)["mlp1"]}
    expected |= {f"model.{n}" for n in part_parameters(actor.model)["dit"] if is_adapter(n)}
    assert set(state) == expected | {"base"}
    assert state["base"]["train"] == {"dit": "lora", "mlp1": "full"}
    for settings, message in (
        ({"train": {"dit": "lora"}}, r"trained with agent\.actor\.train=\{'dit': 'lora', 'mlp1': 'full'\}, but"),
        ({"lora_rank": 3}, r"trained with agent\.actor\.lora_rank=2, but this agent has 3"),
        ({"lora_alpha": 3.0}, r"trained with agent\.actor\.lora_alpha=16\.0, but this agent has 3\.0"),
    ):
        other = make_actor(**{"train": {"dit": "lora", "mlp1": "full"}, **settings})
        with pytest.raises(ConfigurationError, match=message):
            other.load_state_dict(state)


def test_full_size_adapters_and_their_optimiser_fit_in_150_mb():
    """Counted on the meta device: weights, and two moments each, in float32."""
    with torch.device("meta"):
        model = Gr00tN1d5(Gr00tN1d5Config.full_size()).to(torch.bfloat16)
        trained = make_trainable(model, {"dit": "lora"}, 16, 16.0)
    assert {p.dtype for p in trained["dit"]} == {torch.float32}
    assert 3 * sum(p.numel() * p.element_size() for p in trained["dit"]) == 86_507_520
    table = describe_parts(model, {"dit": "lora"})
    rows = {line.split()[0]: line.split() for line in table.splitlines()}
    assert rows["dit"][1:7] == ["557.64", "M", "lora", "7.21", "M", "bfloat16,"]
    assert rows["llm"][1:] == ["914.67", "M", "off", "0.00", "M", "bfloat16", "1,744.6"]
