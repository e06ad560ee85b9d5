# SPDX-License-Identifier: BSD-3-Clause
"""Supervised flow matching of GR00T on demonstrations: features, loss, evaluation."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from ..flow import flow_matching_loss, sample_time, time_bucket, time_of
from ..gr00t import Gr00tNetwork, HeadContext
from ..gr00t.parts import part_modules
from .augmentation import Augmentation
from .grounding import Grounding
from .parts import Tuned, set_trainable
from .samples import Samples

ENCODE_BATCH = 64
"""Frames whose features are computed at once when they are cached."""


class Trainer:
    """Trains a network on samples.

    Args:
        model: The network, cut to one embodiment, float32 where it is trained.
        samples: The demonstrations.
        tuned: What is trained.
        cache_bytes: Most memory for the features of all frames; they are computed once if the backbone is frozen and
            they fit, and for every batch otherwise.
        autocast: Whether to compute in bfloat16 (CUDA).
        grounding: What is told from the features beside the actions; nothing where None.
        augmentation: Changes the pictures of every gradient step, so that no features are kept; None: they stay.
    """

    def __init__(
        self,
        model: Gr00tNetwork,
        samples: Samples,
        tuned: Tuned,
        cache_bytes: float,
        autocast: bool = False,
        grounding: Grounding | None = None,
        augmentation: Augmentation | None = None,
    ):
        self.augmentation = augmentation if samples.views else None
        self.model, self.samples, self.tuned, self.autocast = model, samples, tuned, autocast
        self.grounding = grounding
        self.parameters = set_trainable(model, tuned)
        if grounding is not None:
            self.parameters += grounding.parameters()
        self._cache: Tensor | None = None
        self._is_training = True
        if not tuned.backbone and self.augmentation is None:
            self._cache = self._features_of_all(cache_bytes)

    # -- features ------------------------------------------------------------------------------------------------------

    @property
    def is_cached(self) -> bool:
        """Whether the backbone runs no more."""
        return self._cache is not None

    @torch.no_grad()
    def _features_of_all(self, cache_bytes: float) -> Tensor | None:
        """Backbone features of all frames, or of all prompts where there are no cameras; None if too large."""
        samples, config = self.samples, self.model.config
        if not samples.views:
            return self._encode_prompts()
        frames = len(samples.task)
        dtype = torch.bfloat16 if self.autocast else torch.float32
        shape = (frames, samples.processor.prompt_length, config.feature_dim)
        if math.prod(shape) * dtype.itemsize > cache_bytes:
            return None
        cache = torch.empty(shape, dtype=dtype, device=samples.device)
        with tqdm(total=frames, desc="features", unit="frame", delay=2) as bar:
            for rows in samples.in_turn(torch.arange(frames, device=samples.device), ENCODE_BATCH):
                cache[rows] = self._encode(rows).to(dtype)
                bar.update(len(rows))
        return cache

    def _encode(self, frames: Tensor) -> Tensor:
        """Backbone features [B, T, D] of the pictures and instructions of ``frames``."""
        prompt = self.samples.processor.prompt(self.samples.task[frames])
        augmentation = self.augmentation if self._is_training else None
        pixels = self.samples.pixels(frames, augmentation)
        assert pixels is not None
        with self._computing():
            # padding stands on the right, where the causal language model needs no mask
            return self.model.encode(pixels.to(self._input_dtype), prompt)

    def _encode_prompts(self) -> Tensor:
        """Backbone features [P, T, D] of the P prompts without pictures."""
        prompt = self.samples.processor.prompt(self._all_prompts)
        with self._computing():
            return self.model.encode(None, prompt)

    @property
    def _all_prompts(self) -> Tensor:
        return torch.arange(len(self.samples.processor.instructions), device=self.samples.device)

    @property
    def _input_dtype(self) -> torch.dtype:
        return next(parameter.dtype for module in part_modules(self.model)["mlp1"] for parameter in module.parameters())

    def _computing(self) -> contextlib.AbstractContextManager:
        enabled = self.autocast
        return torch.autocast(self.samples.device.type, dtype=torch.bfloat16, enabled=enabled)

    # -- loss ----------------------------------------------------------------------------------------------------------

    def features(self, frames: Tensor) -> Tensor:
        """What the action head attends to in the pictures and instructions of ``frames`` [B]: [B, T, D]."""
        features = self._encode(frames) if self._cache is None else self._cache[frames]
        return self.model.action_head.process_features(features, self._mask(frames))

    def _mask(self, frames: Tensor) -> Tensor | None:
        return self.samples.processor.token_mask(self.samples.task[frames])

    def context(self, frames: Tensor, features: Tensor | None = None) -> HeadContext:
        """The action head's context for ``frames`` [B], as at a decision of the actor.

        Args:
            frames: Numbers of frames.
            features: Their :meth:`features`, where there are pictures; computed where None.
        """
        samples, head, kinds = self.samples, self.model.action_head, self.samples.processor.kinds
        task = samples.task[frames]
        if samples.views:
            features = self.features(frames) if features is None else features
            return head.prepare(features, samples.state[frames], mask=self._mask(frames), kinds=kinds)
        # without pictures the features are those of the prompt: computed once for each, seen by all its frames
        features = self._encode_prompts() if self._cache is None else self._cache
        mask = samples.processor.token_mask(self._all_prompts)
        context = head.prepare(head.process_features(features, mask), samples.state[frames], kinds=kinds)
        kv = tuple((k[task], v[task]) for k, v in context.cross_kv)
        return dataclasses.replace(context, cross_kv=kv, cross_mask=head.cross_mask(self._mask(frames), kinds))

    def objective(self, frames: Tensor, draws: int) -> tuple[Tensor, Tensor]:
        """What a gradient step on ``frames`` [B] minimises, and the flow-matching loss in it: scalars."""
        if self.grounding is None:
            flow = self.loss(frames, draws=draws)
            return flow, flow
        with self._computing():
            features = self.features(frames)
            flow = self.loss(frames, draws=draws, features=features)
            errors, known = self._grounding_errors(frames, features)
            return flow + self.grounding.weight * errors.sum() / known.sum().clamp_min(1), flow

    def _grounding_errors(self, frames: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        assert self.grounding is not None
        return self.grounding.errors(frames, features, self.samples.state[frames], self._mask(frames))

    def loss(
        self,
        frames: Tensor,
        noise: Tensor | None = None,
        t: Tensor | None = None,
        draws: int = 1,
        features: Tensor | None = None,
    ) -> Tensor:
        """The flow-matching loss of ``frames`` [B], a scalar.

        Args:
            frames: Numbers of frames.
            noise: x at t = 0, [B * draws, H, max_action_dim], a frame's draws in a row; drawn where None.
            t: Times [B * draws]; drawn where None.
            draws: Noises and times per frame.
            features: See :meth:`context`.
        """
        head, config = self.model.action_head, self.model.config.action_head
        if t is None:
            shape = (len(frames) * draws,)
            a, b, s = config.noise_beta_alpha, config.noise_beta_beta, config.noise_s
            t = sample_time(shape, frames.device, a, b, s, config.time_from_zero)
        with self._computing():
            context, actions = self.context(frames, features), self.samples.actions(frames)
            if draws > 1:
                context, actions = context.repeat_interleave(draws), actions.repeat_interleave(draws, dim=0)
            return flow_matching_loss(
                lambda x, t: head.velocity(x, time_bucket(t, config.num_timestep_buckets), context),
                actions,
                self.samples.counted,
                noise,
                t,
            )

    @torch.no_grad()
    def evaluate(self, frames: Tensor, batch_size: int, seed: int = 0) -> float:
        """The mean loss of ``frames`` with the same noise and times at every call, without dropout."""
        config, device = self.model.config.action_head, self.samples.device
        generator = torch.Generator().manual_seed(seed)
        total = 0.0
        with self._evaluating():
            for rows in self._in_turn(frames, batch_size):
                noise = torch.randn(len(rows), config.action_horizon, config.action_dim, generator=generator)
                # by the quantiles of Beta(a, 1): b = u^(1/a); torch's own sampler takes no generator
                b = torch.rand(len(rows), generator=generator) ** (1.0 / config.noise_beta_alpha)
                t = time_of(b, config.noise_s, config.time_from_zero)
                total += len(rows) * self.loss(rows, noise.to(device), t.to(device)).item()
        return total / len(frames)

    @torch.no_grad()
    def evaluate_grounding(self, frames: Tensor, batch_size: int) -> list[float]:
        """Root mean square error of each privileged observation [P] in ``frames``, in the env's units."""
        assert self.grounding is not None
        with self._evaluating(), self._computing():
            batches = self._in_turn(frames, batch_size)
            found = [self._grounding_errors(rows, self.features(rows)) for rows in batches]
        errors, known = (torch.cat(part) for part in zip(*found, strict=True))
        return ((errors.sum(0) / known.sum(0)).sqrt() * self.grounding.unit).tolist()

    def _in_turn(self, frames: Tensor, count: int) -> Iterator[Tensor]:
        """``frames`` on the samples' device, ``count`` at a time."""
        frames = frames.to(self.samples.device)
        return iter(frames.split(count)) if self.is_cached else self.samples.in_turn(frames, count)

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Without dropout, on the pictures as they are."""
        training = {module for module in self.model.modules() if module.training}
        self._is_training = False
        self.model.eval()
        try:
            yield
        finally:
            self._is_training = True
            for module in training:
                module.training = True
