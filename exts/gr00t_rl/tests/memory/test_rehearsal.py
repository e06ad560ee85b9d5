# SPDX-License-Identifier: BSD-3-Clause
"""What a rehearsal without memory says is what the real run takes: the same tensors, to the byte."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers import GroupedPointMassEnv, PointMassEnv, collect, grpo_cfg, make_runner, runner_cfg

from gr00t_rl.gr00t import Gr00tN1d5Config, Gr00tN1d7Config
from gr00t_rl.gr00t.embodiment import CategorySpecificLinear
from gr00t_rl.memory.rehearsal import Rehearsal
from gr00t_rl.memory.update import state_bytes
from gr00t_rl.utils.allocations import LiveBytes

N = 6
MIDDLE = {"input_embedding_dim": 128, "dit_layers": 4, "text_hidden_size": 128, "hidden_size": 96, "vl_layers": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16, checkpointing": {"dtype": "bfloat16", "gradient_checkpointing": True},
    "lora, pixels": {"train": {"dit": "lora", "projectors": "full"}, "dtype": "bfloat16", "feature_cache": "pixels"},
    "vl, all steps": {"train": {"dit": "full", "vl_self_attention": "full"}, "stochastic_steps": "all"},
    "host": {"feature_cache": "host"},
    "n1.7, language model": {"checkpoint": "tiny-n1.7", "train": {"llm": "lora", "dit": "full"}, "dtype": "bfloat16"},
}


@pytest.fixture(autouse=True)
def _a_middle_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for config in (Gr00tN1d5Config, Gr00tN1d7Config):
        tiny = config.tiny
        monkeypatch.setattr(config, "tiny", lambda tiny=tiny, **sizes: tiny(**{**sizes, **MIDDLE}))


def pair(cfg: dict[str, Any], **settings: Any) -> tuple[Any, Rehearsal]:
    """A runner after a rollout, and the rehearsal of the same run."""
    cfg["actor"] |= settings
    grouped = "group_size" in cfg["algorithm"]
    env = (
        GroupedPointMassEnv(8, image=True, termination=0.0) if grouped else PointMassEnv(N, image=True, termination=0.0)
    )
    shapes = {name: (tuple(x.shape[1:]), x.dtype) for name, x in env.get_observations().items()}
    rehearsal = Rehearsal(cfg, shapes, env.num_envs, env.num_actions, env.cfg, env.max_episode_length)
    runner = make_runner(cfg, env)
    runner.alg.iteration = 10**6
    return runner, rehearsal


def real_step(alg: Any, size: int, accumulates: bool) -> int:
    """Bytes that are alive at most in the forward and backward pass on ``size`` decisions, gradients included."""
    micro = alg.batch[torch.arange(size) % len(alg.batch)]
    for parameter in alg.parameters():
        parameter.grad = torch.zeros_like(parameter) if accumulates else None
    with LiveBytes() as live:
        alg._loss(alg._loss_terms(micro)).sum().backward()
    return live.peak


@pytest.mark.parametrize("name", SETTINGS)
def test_activations_are_those_of_the_real_step(name):
    runner, rehearsal = pair(runner_cfg("flow_sde_one", image=True, num_mini_batches=1), **SETTINGS[name])
    collect(runner)
    gradients = sum(p.nbytes for p in runner.alg.parameters())
    assert rehearsal.gradients == gradients
    expected = real_step(runner.alg, 4, accumulates=True)
    assert rehearsal.step(4).activations == pytest.approx(expected, rel=0.02)
    whole = rehearsal.step(None)
    assert whole.gradients + whole.activations == pytest.approx(
        max(real_step(runner.alg, rehearsal.minibatch, accumulates=False), gradients), rel=0.02
    )


def test_tables_of_statistics_are_no_idle_embodiments():
    """Of an actor with a modality, whose normalisers hold tables too."""
    key = {"start": 0, "end": 2, "normalization": None}
    modality = {
        "embodiment_tag": "point",
        "video": {"front": "image"},
        "state": {"place": {"group": "policy", **key}},
        "action": {"push": key},
    }
    runner, rehearsal = pair(runner_cfg("flow_sde_one", image=True), checkpoint="tiny-n1.7", modality=modality)
    layers = [layer for layer in runner.alg.actor.modules() if isinstance(layer, CategorySpecificLinear)]
    tables = [layer.full_table() for layer in layers]
    assert rehearsal.idle_embodiments == sum(W.nbytes + b.nbytes for W, b in tables) > 0


def test_activations_are_what_autograd_saves():
    """Counted another way: the storages that the real graph holds at the end of the forward pass."""
    runner, rehearsal = pair(runner_cfg("flow_sde_one", image=True, num_mini_batches=1))
    collect(runner)
    alg, saved = runner.alg, {}
    micro = alg.batch[torch.arange(16) % len(alg.batch)]
    known = {t.untyped_storage()._cdata for t in (*alg.actor.parameters(), *alg.actor.buffers(), *micro.values())}

    def pack(x: torch.Tensor) -> torch.Tensor:
        if x.untyped_storage()._cdata not in known:
            saved[x.untyped_storage()._cdata] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        loss = alg._loss(alg._loss_terms(micro)).sum()
    assert rehearsal.step(16).activations == pytest.approx(sum(saved.values()), rel=0.1)
    del loss


def test_flash_attention_is_rehearsed_as_sdpa(monkeypatch):
    """Which takes fake tensors on a CPU; what a step keeps is the same."""

    def flash(*_: Any, **__: Any) -> torch.Tensor:
        raise AssertionError("flash-attn takes CUDA's tensors alone")

    package = ModuleType("flash_attn")
    vars(package).update(__spec__=ModuleSpec("flash_attn", None), flash_attn_func=flash)
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    env, found = PointMassEnv(N, image=True), []
    shapes = {name: (tuple(x.shape[1:]), x.dtype) for name, x in env.get_observations().items()}
    for kernels in ("sdpa", "flash_attention_2"):
        cfg = runner_cfg("flow_sde_one", image=True)
        cfg["actor"] |= {"checkpoint": "tiny-n1.7", "dtype": "bfloat16", "attn_implementation": kernels}
        rehearsal = Rehearsal(cfg, shapes, env.num_envs, env.num_actions, env.cfg, env.max_episode_length)
        found.append((rehearsal.deciding, rehearsal.step(4)))
        assert cfg["actor"]["attn_implementation"] == kernels
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["float32", "lora, pixels", "n1.7, language model"])
def test_networks_and_moments_are_those_of_the_real_run(name):
    runner, rehearsal = pair(runner_cfg("flow_sde_one", image=True), **SETTINGS[name])
    collect(runner)
    alg = runner.alg
    tensors = [*alg.actor.parameters(), *alg.actor.buffers()]
    assert rehearsal.weights == sum({t.data_ptr(): t.nbytes for t in tensors if t.numel()}.values())
    assert rehearsal.parameters == sum(p.numel() for p in alg.actor.parameters())
    assert rehearsal.trained == sum(p.numel() for p in alg.actor_parameters)
    before = state_bytes(alg.optimizer)
    alg.update()
    moments = [t for state in alg.optimizer.state.values() for t in state.values() if t.numel() > 1]
    assert before == rehearsal.optimizer == pytest.approx(sum(t.nbytes for t in moments), rel=1e-3)


@pytest.mark.parametrize(
    ("place", "checkpoint"), [("device", "tiny"), ("host", "tiny"), ("pixels", "tiny"), ("device", "tiny-n1.7")]
)
def test_what_is_stored_is_what_the_real_run_stores(place, checkpoint):
    settings = {"feature_cache": place, "align_decisions": True, "checkpoint": checkpoint}
    runner, rehearsal = pair(runner_cfg("flow_sde_one", image=True), **settings)
    with LiveBytes() as live, torch.no_grad():
        record = runner.alg.policy.decide(runner.alg.policy.observe(runner.env.get_observations()))[1]
        runner.alg.critic(record)
    assert rehearsal.deciding == pytest.approx(live.peak, rel=0.02)
    collect(runner)
    stored = {name: x for name, x in runner.alg.batch.items() if name not in ("advantage", "return", "feature_row")}
    features = record["features"][0].nbytes * len(runner.alg.batch) if place != "pixels" else 0
    assert rehearsal.features == features
    dense = sum(x.nbytes for x in vars(runner.alg.storage).values() if isinstance(x, torch.Tensor) and x.dim() == 2)
    kept = sum(x.nbytes for name, x in stored.items() if name != "features")
    assert rehearsal.storage == pytest.approx(kept + dense, rel=0.02)


def test_grpo_with_a_reference_is_rehearsed_too():
    runner, rehearsal = pair(grpo_cfg("flow_sde_one", image=True, kl_coef=0.1, zero_std_groups="keep"))
    kept = runner.alg.reference.state_dict().values()
    assert rehearsal.reference == sum(x.nbytes for x in kept) > 0
    assert rehearsal.step(4).activations > rehearsal.step(2).activations


def test_curiosity_is_rehearsed_too():
    """Its weight is scaled by the env's step."""
    cfg = runner_cfg("flow_sde_one", image=True)
    cfg["algorithm"]["rnd_cfg"] = {
        "weight": 1.0,
        "num_outputs": 4,
        "predictor_hidden_dims": [16],
        "target_hidden_dims": [16],
    }
    cfg["obs_groups"]["rnd_state"] = ["critic"]
    runner, rehearsal = pair(cfg)
    assert runner.alg.rnd is not None and rehearsal.algorithm.rnd is not None
    collect(runner)
    assert rehearsal.step(4).activations == pytest.approx(real_step(runner.alg, 4, accumulates=True), rel=0.02)


def test_a_rehearsal_leaves_no_trace():
    """The run draws the same random numbers, with as many threads, whether it was rehearsed or not."""
    env = PointMassEnv(N, image=True)
    shapes = {name: (tuple(x.shape[1:]), x.dtype) for name, x in env.get_observations().items()}
    cfg = runner_cfg("flow_sde_one", image=True)
    before, state, threads = repr(cfg), torch.get_rng_state(), torch.get_num_threads()
    rehearsal = Rehearsal(cfg, shapes, N, env.num_actions, env.cfg, env.max_episode_length)
    assert rehearsal.deciding > 0
    assert rehearsal.step(2).total > 0
    assert rehearsal.optimizer > 0
    assert repr(cfg) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
