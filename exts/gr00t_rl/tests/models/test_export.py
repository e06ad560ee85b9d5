# SPDX-License-Identifier: BSD-3-Clause
"""Exported policies give the actor's own chunk for the same noise."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from gr00t_rl.models import Gr00tActor

N, STATE, ACTION, STEPS = 3, 5, 2, 3

# tracing warns of every shape that it turns into a constant, and PyTorch of every use of TorchScript
pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")


def make_actor(cameras: int, **kwargs: Any) -> Gr00tActor:
    obs = TensorDict({"policy": torch.randn(N, STATE)}, batch_size=[N])
    for i in range(cameras):
        obs[f"image{i}"] = torch.randint(0, 256, (N, 32, 32, 3), dtype=torch.uint8)
    groups = {"actor": ["policy", *(f"image{i}" for i in range(cameras))]}
    # two denoising steps keep the unrolled graph small
    return Gr00tActor(obs, groups, "actor", ACTION, n_action_steps=STEPS, num_inference_timesteps=2, **kwargs)


def random_inputs(actor: Gr00tActor, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8, generator=generator) for _ in actor.image_groups]
    return torch.randn(1, STATE, generator=generator), *images, torch.randn(1, *actor.chunk_shape, generator=generator)


@torch.no_grad()
def chunk_of(actor: Gr00tActor, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """What ``act_chunk`` returns, with its initial noise given."""
    obs = TensorDict(dict(zip(["policy", *actor.image_groups], inputs, strict=False)), batch_size=[1])
    actor.initial_noise = lambda batch: inputs[-1]  # type: ignore[method-assign]
    try:
        return actor.act_chunk(obs)
    finally:
        del actor.initial_noise


def runner_of(actor: Gr00tActor) -> OnPolicyRunner:
    """rsl_rl's runner, as far as its export methods look at it."""
    runner = object.__new__(OnPolicyRunner)
    runner.alg = SimpleNamespace(get_policy=lambda: actor)  # type: ignore[assignment]
    return runner


def test_flash_attention_computes_what_it_can_alone(monkeypatch):
    """Not the prompt, which is read on the CPU where the actor is made, and not what is exported, in float32."""
    calls: list[torch.dtype] = []

    def flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool = False) -> torch.Tensor:
        calls.append(v.dtype)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
        return out.transpose(1, 2)

    package = ModuleType("flash_attn")
    vars(package).update(__spec__=ModuleSpec("flash_attn", None), flash_attn_func=flash)
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    actor = make_actor(0, checkpoint="tiny-n1.7", dtype="bfloat16", attn_implementation="flash_attention_2")
    assert calls == []
    obs = TensorDict({"policy": torch.randn(N, STATE)}, batch_size=[N])
    for _ in range(2):
        with torch.no_grad():
            actor.act_chunk(obs)
            assert set(calls) == {torch.bfloat16}
            calls.clear()
            exported = actor.as_onnx()
            exported(*exported.get_dummy_inputs())
        assert calls == []


@pytest.mark.parametrize("head", ["flow_sde", "gaussian"])
@pytest.mark.parametrize("cameras", [0, 1, 2])
def test_jit_module_gives_the_same_chunk(cameras, head, tmp_path):
    """Through the runner's own export, saved and loaded, for inputs other than those it was traced with."""
    actor = make_actor(cameras, head=head, obs_normalization=True)
    actor.train()
    actor.update_normalization(TensorDict({"policy": 3.0 + torch.randn(50, STATE)}, batch_size=[50]))
    runner_of(actor).export_policy_to_jit(str(tmp_path))
    loaded = torch.jit.load(tmp_path / "policy.pt")
    for seed in range(2):
        inputs = random_inputs(actor, seed)
        torch.testing.assert_close(loaded(*inputs), chunk_of(actor, inputs), atol=1e-5, rtol=1e-5)


def test_export_of_a_bfloat16_policy_is_float32():
    """The exported float32 module stays close to the bfloat16 policy that it was made from."""
    actor = make_actor(1, dtype="bfloat16")
    exported = actor.as_jit()
    inputs = random_inputs(actor, 0)
    found = exported(*inputs)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, chunk_of(actor, inputs), atol=0.05, rtol=0.05)


def test_export_leaves_the_actor_alone():
    actor = make_actor(1)
    obs = TensorDict({"policy": torch.randn(N, STATE), "image0": torch.zeros(N, 32, 32, 3, dtype=torch.uint8)}, [N])
    actor(obs)
    queue, trained = actor._queue, [p.requires_grad for p in actor.parameters()]
    exported = actor.as_onnx()
    assert actor._queue is queue
    assert [p.requires_grad for p in actor.parameters()] == trained
    assert not any(p.requires_grad for p in exported.parameters())
    before = chunk_of(actor, random_inputs(actor, 0))
    with torch.no_grad():
        for parameter in exported.parameters():
            parameter.zero_()
    assert torch.equal(chunk_of(actor, random_inputs(actor, 0)), before)


def run_onnx(file: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime  # pyright: ignore[reportMissingImports]

        return onnxruntime.InferenceSession(file).run(None, inputs)[0]
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(file)).run(None, inputs)[0]  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.parametrize("cameras", [0, 2])
def test_onnx_module_gives_the_same_chunk(cameras, tmp_path):
    """Through the runner's own export, for inputs other than those it was traced with."""
    import onnx

    actor = make_actor(cameras)
    runner_of(actor).export_policy_to_onnx(str(tmp_path))
    graph = onnx.load(tmp_path / "policy.onnx")
    onnx.checker.check_model(graph)
    names = [entry.name for entry in graph.graph.input]
    assert names == ["state", *actor.image_groups, "noise"]
    assert [entry.name for entry in graph.graph.output] == ["actions"]
    for seed in range(2):
        inputs = random_inputs(actor, seed)
        feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        found = run_onnx(tmp_path / "policy.onnx", feed)
        np.testing.assert_allclose(found, chunk_of(actor, inputs).numpy(), atol=1e-5, rtol=1e-4)
