# SPDX-License-Identifier: BSD-3-Clause
"""One training: its recipe, its batches, its steps, and what it needs to go on where it stood."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..data.frame_cache import FrameCache
from .trainer import Trainer


@dataclass(frozen=True)
class Recipe:
    """How to train. Defaults are those of the released script but for the batch, which is 32 per GPU there."""

    steps: int
    batch_size: int = 32
    lr: float = 1e-4
    weight_decay: float = 1e-5
    warmup_ratio: float = 0.05
    """Share of the steps in which the rate rises from 0; then it falls to 0 along a cosine."""
    draws: int = 1
    """Noises and times per frame (``expand_batch`` of the release): the backbone runs once for all of them."""
    betas: tuple[float, float] = (0.95, 0.999)
    max_grad_norm: float = 1.0


def learning_rate_factor(step: int, steps: int, warmup_ratio: float) -> float:
    """Linear warm-up from 0, then half a cosine to 0: the factor of the learning rate at ``step`` of ``steps``."""
    warmup = math.ceil(steps * warmup_ratio)
    if step < warmup:
        return step / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


class Batches:
    """Batches without end: ``frames`` [F] in a new random order per pass; a pass' last batch reaches into the next.

    With a ``cache``, the order is one that it can follow, and it is told what comes after the batch.
    """

    def __init__(self, frames: Tensor, batch_size: int, generator: torch.Generator, cache: FrameCache | None = None):
        self.frames, self.batch_size, self.generator, self.cache = frames, batch_size, generator, cache
        self._rest = frames[:0]

    def next(self) -> Tensor:
        """The next ``batch_size`` frames."""
        ahead = self.batch_size + (0 if self.cache is None else self.cache.pool_frames)
        while len(self._rest) < ahead:
            self._rest = torch.cat((self._rest, self.frames[self._order()]))
        batch, self._rest = self._rest[: self.batch_size], self._rest[self.batch_size :]
        if self.cache is not None:
            self.cache.prefetch(torch.cat((batch, self._rest[: self.cache.pool_frames])))
        return batch

    def _order(self) -> Tensor:
        """The order of a pass, int64 [F]."""
        if self.cache is not None:
            return self.cache.order(self.frames, self.generator)
        return torch.randperm(len(self.frames), generator=self.generator)

    def state_dict(self) -> dict[str, Tensor]:
        """Where the pass stands."""
        return {"rest": self._rest, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where another stood."""
        self._rest = state["rest"]
        self.generator.set_state(state["generator"])


class Training:
    """One training of a :class:`Trainer` on ``frames`` [F'], step by step; what it needs to go on can be saved."""

    def __init__(self, trainer: Trainer, frames: Tensor, recipe: Recipe, generator: torch.Generator):
        self.trainer, self.recipe, self.step = trainer, recipe, 0
        self.optimizer = torch.optim.AdamW(
            trainer.parameters,
            lr=recipe.lr,
            betas=recipe.betas,
            eps=1e-8,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: learning_rate_factor(step, recipe.steps, recipe.warmup_ratio)
        )
        cache = None if trainer.is_cached else trainer.samples.cache
        self.batches = Batches(frames, recipe.batch_size, generator, cache)

    def advance(self) -> Tensor:
        """Take one gradient step and return its flow-matching loss, a scalar.

        Raises:
            FloatingPointError: If the gradient is no number; the weights are as before.
        """
        trainer = self.trainer
        objective, loss = trainer.objective(self.batches.next().to(trainer.samples.device), self.recipe.draws)
        self.optimizer.zero_grad()
        objective.backward()
        norm = nn.utils.clip_grad_norm_(trainer.parameters, self.recipe.max_grad_norm)
        self.step += 1
        if not math.isfinite(norm):
            raise FloatingPointError(f"the gradient is {float(norm)} at step {self.step}")
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        """Trained weights, optimiser, schedule, batches and random generators."""
        device = self.trainer.samples.device
        return {
            "step": self.step,
            "parameters": [parameter.detach() for parameter in self.trainer.parameters],
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "batches": self.batches.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stood: on a CPU to the same bits."""
        with torch.no_grad():
            for parameter, value in zip(self.trainer.parameters, state["parameters"], strict=True):
                parameter.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.batches.load_state_dict(state["batches"])
        torch.set_rng_state(state["rng"])
        device = self.trainer.samples.device
        if state["cuda_rng"] is not None and device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], device)
        self.step = state["step"]
