# SPDX-License-Identifier: BSD-3-Clause
"""The frozen reference is the actor before training, and keeps no more than what training changes."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.modules import EmpiricalNormalization
from torch import nn

from gr00t_rl.algorithms.reference import FrozenReference


class Actor(nn.Module):
    """A normaliser, a frozen and a trained layer."""

    def __init__(self) -> None:
        super().__init__()
        self.normalizer, self.frozen, self.trained = EmpiricalNormalization(3), nn.Linear(3, 4), nn.Linear(4, 2)
        self.frozen.requires_grad_(False)
        self.register_buffer("scratch", torch.zeros(1000), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.trained(self.frozen(self.normalizer(x)))


def train(actor: Actor, x: torch.Tensor) -> None:
    optimizer = torch.optim.Adam([p for p in actor.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        actor(x).square().mean().backward()
        optimizer.step()
        actor.normalizer.update(x + 2.0)


def test_reference_is_the_initial_actor_inside_the_block_only():
    actor, x = Actor(), torch.randn(5, 3)
    actor.eval()
    initial, reference = actor(x).detach(), FrozenReference(actor)
    actor.train()
    train(actor, x)
    actor.eval()
    trained = actor(x).detach()
    assert (trained - initial).abs().max() > 0.01
    with reference.applied():
        assert torch.equal(actor(x), initial)
    assert torch.equal(actor(x), trained)
    with pytest.raises(RuntimeError, match="inside"), reference.applied():
        raise RuntimeError("inside")
    assert torch.equal(actor(x), trained)


def test_shared_weights_are_swapped_once():
    actor = Actor()
    actor.again = actor.trained
    reference = FrozenReference(actor)
    initial = actor.trained.weight.detach().clone()
    with torch.no_grad():
        actor.trained.weight.add_(1.0)
    with reference.applied():
        assert torch.equal(actor.again.weight, initial)


def test_only_what_training_changes_is_kept():
    names = set(FrozenReference(Actor()).state_dict())
    assert {"trained.weight", "trained.bias"} <= names
    assert {name.split(".")[0] for name in names} == {"trained", "normalizer"}


def test_state_round_trip_and_adoption():
    actor, other, x = Actor(), Actor(), torch.randn(5, 3)
    reference, restored = FrozenReference(actor), FrozenReference(other)
    train(other, x)
    restored.load_state_dict(reference.state_dict())
    for name, tensor in reference.state_dict().items():
        assert torch.equal(tensor, restored.state_dict()[name])
    other.eval()
    trained = other(x).detach()
    restored.adopt()
    with restored.applied():
        assert torch.equal(other(x), trained)


def test_adapters_are_switched_off_instead_of_copied():
    """With LoRA by peft, in an environment that has it."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    actor = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.randn(5, 3)
    initial = actor(x).detach()
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules=["0", "2"]), actor)
    reference = FrozenReference(actor)
    assert reference.state_dict() == {}
    with torch.no_grad():
        for name, parameter in actor.named_parameters():
            if "lora" in name:
                parameter.add_(0.5)
    trained = actor(x).detach()
    assert (trained - initial).abs().max() > 0.01
    with reference.applied():
        torch.testing.assert_close(actor(x), initial)
    assert torch.equal(actor(x), trained)
    assert all(p.requires_grad for n, p in actor.named_parameters() if "lora" in n)


def test_adopted_adapters_are_the_reference_s_own():
    """After ``adopt`` it is the policy of that moment, also in a run that goes on from its state."""
    peft = pytest.importorskip("peft")

    def make() -> nn.Module:
        torch.manual_seed(0)
        return peft.inject_adapter_in_model(
            peft.LoraConfig(r=2, target_modules=["0", "2"]), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        )

    def move(actor: nn.Module, by: float) -> None:
        with torch.no_grad():
            for name, parameter in actor.named_parameters():
                if "lora" in name:
                    parameter.add_(by)

    actor, x = make(), torch.randn(5, 3)
    reference = FrozenReference(actor)
    move(actor, 0.5)
    adopted = actor(x).detach()
    reference.adopt()
    move(actor, 0.5)
    again = make()
    restored = FrozenReference(again)
    restored.load_state_dict(reference.state_dict())
    for policy, kept in ((actor, reference), (again, restored)):
        now = policy(x).detach()
        with kept.applied():
            assert torch.equal(policy(x), adopted)
        assert torch.equal(policy(x), now)
        assert not torch.equal(now, adopted)
