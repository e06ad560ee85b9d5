# SPDX-License-Identifier: BSD-3-Clause
"""AdamW over the parts of the networks, each with its own rate, decay, warm-up and bound of the gradient.

The parts of an actor are what it lists as ``trained_parts``; one that lists none is a single part, "actor".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..options import PartOptions, SurrogateOptions
from ..utils.errors import ConfigurationError

ACTOR, CRITIC = "actor", "critic"
NORM_TYPES = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._BatchNorm)


@dataclass(frozen=True)
class Part:
    """A part of the networks, and how it is trained."""

    name: str
    parameters: dict[str, nn.Parameter]
    """By their names in the algorithm, such as "actor.mlp.0.weight"."""
    undecayed: frozenset[str]
    """Those without weight decay: biases, norms, and what has a single dimension, such as standard deviations."""
    learning_rate: float
    weight_decay: float
    schedule: str
    warmup_iterations: int
    begins: int
    """First iteration in which it learns."""
    max_grad_norm: float | None

    def groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups of this part: one, or two where some parameters decay and some do not."""
        decayed = [n for n in self.parameters if n not in self.undecayed or self.weight_decay == 0]
        rest = [n for n in self.parameters if n not in decayed]
        groups = [(own, decay) for own, decay in ((decayed, self.weight_decay), (rest, 0.0)) if own]
        return [
            {
                "params": [(n, self.parameters[n]) for n in own],
                "lr": self.learning_rate,
                "rate": self.learning_rate,
                "weight_decay": decay,
                "part": self.name,
            }
            for own, decay in groups
        ]

    def clip(self) -> torch.Tensor | None:
        """Bound the norm of this part's gradient; return what it was, None where it has no bound."""
        if self.max_grad_norm is None:
            return None
        return nn.utils.clip_grad_norm_(self.parameters.values(), self.max_grad_norm)


def actor_parts(actor: nn.Module, trained: Iterable[nn.Parameter], options: SurrogateOptions) -> list[Part]:
    """Return the parts of an actor, in the order in which it lists them.

    Args:
        actor: The actor; ``trained_parts`` are the parameters of each part that is or will be trained, and ``begins``
            the first iteration of those that begin later.
        trained: What is trained now.
        options: Options of the algorithm.
    """
    names = {p: f"{ACTOR}.{name}" for name, p in actor.named_parameters()}
    parts: Mapping[str, list[nn.Parameter]] = getattr(actor, "trained_parts", None) or {}
    listed = {p for parameters in parts.values() for p in parameters}
    rest = [p for p in trained if p not in listed]
    sets = {**{name: list(own) for name, own in parts.items() if own}, **({ACTOR: rest} if rest else {})}
    begins: Mapping[str, int] = getattr(actor, "begins", None) or {}
    warm_up = getattr(options, "num_critic_warmup_iterations", 0)  # the actor learns after it
    return [
        _part(actor, ACTOR, name, {names[p]: p for p in own}, options, max(begins.get(name, 0), warm_up))
        for name, own in sets.items()
    ]


def critic_part(critic: nn.Module, trained: Iterable[nn.Parameter], options: Any) -> Part:
    """Return the critic as a part; ``trained`` leaves out what it shares with the actor."""
    names = {p: f"{CRITIC}.{name}" for name, p in critic.named_parameters()}
    return _part(critic, CRITIC, CRITIC, {names[p]: p for p in trained}, options, 0)


def _part(
    module: nn.Module, prefix: str, name: str, parameters: dict[str, nn.Parameter], options: Any, begins: int
) -> Part:
    own = PartOptions.parse(options.parts.get(name, {}), f"agent.algorithm.parts.{name}")
    rate, schedule = options.learning_rate, options.schedule
    if name == CRITIC:
        rate = rate if options.critic_learning_rate is None else options.critic_learning_rate
        schedule = options.critic_schedule or ("fixed" if schedule == "adaptive" else schedule)
    norms = {id(p) for m in module.modules() if isinstance(m, NORM_TYPES) for p in m.parameters(recurse=False)}
    undecayed = {
        n for n, p in parameters.items() if id(p) in norms or p.dim() < 2 or n.rsplit(".", 1)[-1] in ("bias", "b")
    }
    return Part(
        name,
        parameters,
        frozenset(undecayed),
        rate if own.learning_rate is None else own.learning_rate,
        options.weight_decay if own.weight_decay is None else own.weight_decay,
        schedule,
        options.warmup_iterations if own.warmup_iterations is None else own.warmup_iterations,
        begins,
        own.max_grad_norm,
    )


def check_parts(parts: list[Part], options: SurrogateOptions) -> None:
    """Refuse settings of parts that are not trained.

    Raises:
        ConfigurationError: At the first one.
    """
    trained = [part.name for part in parts]
    for name, settings in options.parts.items():
        if settings and name not in trained:
            known = ", ".join(n for n in trained if n != ACTOR) or "none: this actor has no parts"
            raise ConfigurationError(
                f"agent.algorithm.parts.{name} is {settings!r}, but this agent trains no such part; set one of {known}"
            )


def make_optimizer(parts: list[Part], options: SurrogateOptions) -> torch.optim.Optimizer:
    """Return AdamW over the parts. Without weight decay its steps are Adam's, to the last bit."""
    groups = [group for part in parts for group in part.groups()]
    # fused: the same steps in one kernel; small networks spend a quarter of an update in the loop over parameters
    first, second = options.adam_betas
    return torch.optim.AdamW(groups, betas=(first, second), eps=options.adam_eps, weight_decay=0.0, fused=True)


def load_optimizer(
    optimizer: torch.optim.Optimizer, state: Mapping[str, Any], modules: Mapping[str, nn.Module | None]
) -> None:
    """Restore an optimiser's state by the names of the parameters, in copies of their own.

    The moments and the rates are the state's; decay, betas and epsilon are what this run was given. The groups need not
    be the same. A state without names is of a version that had the actor's parameters and then the critic's.

    Args:
        optimizer: From :func:`make_optimizer`.
        state: What ``optimizer.state_dict()`` returned.
        modules: Actor and critic by the first part of the names.

    Raises:
        ValueError: If the state has moments of other parameters.
    """
    saved = state["param_groups"]
    old = [i for group in saved for i in group["params"]]
    device = {n: p.device for group in optimizer.param_groups for n, p in _named(group)}
    if all("param_names" in group for group in saved):
        names = [n for group in saved for n in group["param_names"]]
    else:
        found = (f"{k}.{n}" for k, m in modules.items() if m is not None for n, _ in m.named_parameters())
        names = [n for n in found if n in device]
    differing = sorted(set(names) ^ set(device))
    if len(names) != len(old) or differing:
        what = f"{differing[0]!r} and {len(differing)} in all" if differing else f"{len(old)} and not {len(device)}"
        raise ValueError(
            f"its optimiser knows other parameters than this agent trains ({what}); --no-resume_optimizer_state begins "
            "with fresh moments"
        )
    index = dict(zip(names, old, strict=True))
    moments, groups = {}, optimizer.state_dict()["param_groups"]
    for group in groups:
        for name, i in _named(group):
            if index[name] in state["state"]:
                entry = state["state"][index[name]]
                # copies: what was read may be the file itself, mapped into memory
                moments[i] = {k: _copied(v, device[name]) for k, v in entry.items()}
        same = [g for g in saved if g.get("part", group["part"]) == group["part"]]
        if same and "part" not in same[0]:
            same = saved[-1:] if group["part"] == CRITIC else saved[:1]
        if same:
            group["lr"], group["rate"] = same[0]["lr"], same[0].get("rate", same[0]["lr"])
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _named(group: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return the parameters of a group, or what stands for them in a state, with their names."""
    return zip(group["param_names"], group["params"], strict=True)


def _copied(value: Any, device: torch.device) -> Any:
    return value.to(device, copy=True) if isinstance(value, torch.Tensor) else value
