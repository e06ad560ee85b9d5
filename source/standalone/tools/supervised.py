# SPDX-License-Identifier: BSD-3-Clause
"""Supervised flow matching of GR00T N1.5 on demonstrations: the released fine-tuning script's loss and optimiser."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gr00t_rl.data import Demonstrations
from gr00t_rl.flow import flow_matching_loss, sample_time, time_bucket
from gr00t_rl.gr00t import Gr00tN1d5, Gr00tProcessor, HeadContext

ENCODE_BATCH = 64
"""Frames whose features are computed at once when they are cached."""


@dataclass(frozen=True)
class Tuned:
    """Parts of the network that are trained; names as in NVIDIA's fine-tuning script."""

    visual: bool = False
    """The image encoder and its projection."""
    llm: bool = False
    """The language model."""
    projector: bool = True
    """Encoders of state and action, decoder of actions, positions."""
    diffusion_model: bool = True
    """The DiT."""

    @property
    def backbone(self) -> bool:
        """Whether features change during training."""
        return self.visual or self.llm


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


def set_trainable(model: Gr00tN1d5, tuned: Tuned) -> list[nn.Parameter]:
    """Freeze all but the tuned parts, put only those into train mode, and return their parameters.

    As in the release, the features' self-attention and the future tokens are trained with any part of the head.
    """
    model.requires_grad_(False).eval()
    eagle, head = model.backbone.eagle_model, model.action_head
    parts: list[nn.Module] = []
    if tuned.visual:
        parts += [eagle.vision_model.embeddings, eagle.vision_model.encoder, eagle.vision_model.post_layernorm]
        parts += [eagle.mlp1]
    if tuned.llm:
        parts.append(eagle.language_model)
    if tuned.projector:
        parts += [head.state_encoder, head.action_encoder, head.action_decoder, head.position_embedding]
    if tuned.diffusion_model:
        parts.append(head.model)
    if tuned.projector or tuned.diffusion_model:
        parts += [head.vlln, head.vl_self_attention, head.future_tokens]
    for part in parts:
        part.requires_grad_(True).train()
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def learning_rate_factor(step: int, steps: int, warmup_ratio: float) -> float:
    """Linear warm-up from 0, then half a cosine to 0: the factor of the learning rate at ``step`` of ``steps``."""
    warmup = math.ceil(steps * warmup_ratio)
    if step < warmup:
        return step / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def split_episodes(num_episodes: int, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers of the episodes to train on and of those held out: a random ``share``, at least one of several."""
    count = min(num_episodes - 1, max(1, round(share * num_episodes))) if share > 0 else 0
    order = torch.randperm(num_episodes, generator=generator)
    return order[count:].sort().values, order[:count].sort().values


class Samples:
    """Demonstrations as the network takes them; numbers of the frames select.

    Args:
        data: The demonstrations.
        processor: Of the network, with the modality, the statistics and the instructions of ``data``.
        horizon: Actions H of a chunk.
        device: Where states, actions and prompts are kept; pictures stay in main memory and follow per batch.
    """

    def __init__(self, data: Demonstrations, processor: Gr00tProcessor, horizon: int, device: torch.device):
        self.processor, self.device = processor.to(device), device
        modality = processor.modality
        assert modality is not None
        self.views = [data.pictures[key] for key in modality.video]
        self.task = data.task.to(device)
        self.state = processor.state(data.state.to(device))  # [F, 1, max_state_dim]
        chunks = data.chunks(torch.arange(len(data)), horizon).to(device)
        # the padding of the action's dimensions is added per batch
        self._actions = processor.pad_action(chunks)[..., : modality.action_dim].clone()  # [F, H, A]
        head = processor.config.action_head
        self._padding = head.action_dim - modality.action_dim
        self.counted = torch.arange(head.action_dim, device=device) < modality.action_dim
        """Dimensions of a chunk that the loss counts, bool [max_action_dim]."""

    def actions(self, frames: Tensor) -> Tensor:
        """Normalised chunks of ``frames`` [B], zero padded: [B, H, max_action_dim]."""
        return nn.functional.pad(self._actions[frames], (0, self._padding))

    def pixels(self, frames: Tensor) -> Tensor | None:
        """``eagle_pixel_values`` of ``frames`` [B]; None without cameras."""
        if not self.views:
            return None
        rows = frames.cpu()
        return self.processor.images([view[rows].to(self.device, non_blocking=True) for view in self.views])


class Trainer:
    """Trains a network on samples.

    Args:
        model: The network, cut to one embodiment, float32 where it is trained.
        samples: The demonstrations.
        tuned: What is trained.
        cache_bytes: Most memory for the features of all frames; they are computed once if the backbone is frozen and
            they fit, and for every batch otherwise.
        autocast: Whether to compute in bfloat16 (CUDA).
    """

    def __init__(self, model: Gr00tN1d5, samples: Samples, tuned: Tuned, cache_bytes: float, autocast: bool = False):
        self.model, self.samples, self.tuned, self.autocast = model, samples, tuned, autocast
        self.parameters = set_trainable(model, tuned)
        self._cache: Tensor | None = None
        if not tuned.backbone:
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
        shape = (frames, samples.processor.prompt_length, config.text.hidden_size)
        if math.prod(shape) * dtype.itemsize > cache_bytes:
            return None
        cache = torch.empty(shape, dtype=dtype, device=samples.device)
        for first in range(0, frames, ENCODE_BATCH):
            rows = torch.arange(first, min(first + ENCODE_BATCH, frames), device=samples.device)
            cache[rows] = self._encode(rows).to(dtype)
        return cache

    def _encode(self, frames: Tensor) -> Tensor:
        """Backbone features [B, T, D] of the pictures and instructions of ``frames``."""
        ids, _ = self.samples.processor.prompt(self.samples.task[frames])
        pixels = self.samples.pixels(frames)
        assert pixels is not None
        with self._computing():
            # padding stands on the right, where the causal language model needs no mask
            return self.model.encode(pixels.to(self._input_dtype), ids)

    def _encode_prompts(self) -> Tensor:
        """Backbone features [P, T, D] of the P prompts without pictures."""
        ids, _ = self.samples.processor.prompt(self._all_prompts)
        with self._computing():
            return self.model.encode(None, ids)

    @property
    def _all_prompts(self) -> Tensor:
        return torch.arange(len(self.samples.processor.instructions), device=self.samples.device)

    @property
    def _input_dtype(self) -> torch.dtype:
        return self.model.backbone.eagle_model.mlp1[0].weight.dtype  # pyright: ignore[reportReturnType]

    def _computing(self) -> contextlib.AbstractContextManager:
        enabled = self.autocast
        return torch.autocast(self.samples.device.type, dtype=torch.bfloat16, enabled=enabled)

    # -- loss ----------------------------------------------------------------------------------------------------------

    def context(self, frames: Tensor) -> HeadContext:
        """The action head's context for ``frames`` [B], as at a decision of the actor."""
        samples, head = self.samples, self.model.action_head
        task = samples.task[frames]
        if samples.views:
            features = self._encode(frames) if self._cache is None else self._cache[frames]
            mask = samples.processor.token_mask(task)
            return head.prepare(head.process_features(features, mask), samples.state[frames], mask=mask)
        # without pictures the features are those of the prompt: computed once for each, seen by all its frames
        features = self._encode_prompts() if self._cache is None else self._cache
        mask = samples.processor.token_mask(self._all_prompts)
        context = head.prepare(head.process_features(features, mask), samples.state[frames])
        kv = tuple((k[task], v[task]) for k, v in context.cross_kv)
        return dataclasses.replace(context, cross_kv=kv, cross_mask=samples.processor.token_mask(task))

    def loss(self, frames: Tensor, noise: Tensor | None = None, t: Tensor | None = None, draws: int = 1) -> Tensor:
        """The flow-matching loss of ``frames`` [B], a scalar.

        Args:
            frames: Numbers of frames.
            noise: x at t = 0, [B * draws, H, max_action_dim], a frame's draws in a row; drawn where None.
            t: Times [B * draws]; drawn where None.
            draws: Noises and times per frame.
        """
        head, config = self.model.action_head, self.model.config.action_head
        if t is None:
            shape = (len(frames) * draws,)
            t = sample_time(shape, frames.device, config.noise_beta_alpha, config.noise_beta_beta, config.noise_s)
        with self._computing():
            context, actions = self.context(frames), self.samples.actions(frames)
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
        training = {module for module in self.model.modules() if module.training}
        self.model.eval()
        generator = torch.Generator().manual_seed(seed)
        total = 0.0
        for rows in frames.to(device).split(batch_size):
            noise = torch.randn(len(rows), config.action_horizon, config.action_dim, generator=generator)
            # by the quantiles of Beta(a, 1): b = u^(1/a); torch's own sampler takes no generator
            b = torch.rand(len(rows), generator=generator) ** (1.0 / config.noise_beta_alpha)
            t = (config.noise_s - b) / config.noise_s
            total += len(rows) * self.loss(rows, noise.to(device), t.to(device)).item()
        for module in training:
            module.training = True
        return total / len(frames)

    # -- optimisation --------------------------------------------------------------------------------------------------

    def run(
        self,
        frames: Tensor,
        recipe: Recipe,
        generator: torch.Generator,
        on_step: Callable[[int, Tensor], None],
    ) -> None:
        """Train on ``frames`` [F']; ``on_step`` is called after each step with its number from 1 on and its loss.

        Raises:
            FloatingPointError: If the loss is no number.
        """
        optimizer = torch.optim.AdamW(
            self.parameters,
            lr=recipe.lr,
            betas=recipe.betas,
            eps=1e-8,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, recipe.steps, recipe.warmup_ratio)
        )
        batches = shuffled(frames, recipe.batch_size, generator)
        for step in range(1, recipe.steps + 1):
            loss = self.loss(next(batches).to(self.samples.device), draws=recipe.draws)
            optimizer.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.parameters, recipe.max_grad_norm)
            if not math.isfinite(norm):
                raise FloatingPointError(f"the gradient is {float(norm)} at step {step}")
            optimizer.step()
            schedule.step()
            on_step(step, loss.detach())


def shuffled(frames: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches without end: ``frames`` in a new random order per pass; a pass' last batch reaches into the next."""
    rest = frames[:0]
    while True:
        while len(rest) < batch_size:
            rest = torch.cat((rest, frames[torch.randperm(len(frames), generator=generator)]))
        yield rest[:batch_size]
        rest = rest[batch_size:]
