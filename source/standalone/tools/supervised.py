# SPDX-License-Identifier: BSD-3-Clause
"""Supervised flow matching of GR00T N1.5 on demonstrations: the released fine-tuning script's loss and optimiser."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from grounding import Grounding
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
    vl_self_attention: bool = True
    """The features' self-attention, with any part of the head."""

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

    As in the release, the future tokens are trained with any part of the head, and so is the features' self-attention
    unless it is to stay.
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
        parts += [head.future_tokens, *([head.vlln, head.vl_self_attention] if tuned.vl_self_attention else [])]
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
        grounding: What is told from the features beside the actions; nothing where None.
    """

    def __init__(
        self,
        model: Gr00tN1d5,
        samples: Samples,
        tuned: Tuned,
        cache_bytes: float,
        autocast: bool = False,
        grounding: Grounding | None = None,
    ):
        self.model, self.samples, self.tuned, self.autocast = model, samples, tuned, autocast
        self.grounding = grounding
        self.parameters = set_trainable(model, tuned)
        if grounding is not None:
            self.parameters += grounding.parameters()
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
        samples, head = self.samples, self.model.action_head
        task = samples.task[frames]
        if samples.views:
            features = self.features(frames) if features is None else features
            return head.prepare(features, samples.state[frames], mask=self._mask(frames))
        # without pictures the features are those of the prompt: computed once for each, seen by all its frames
        features = self._encode_prompts() if self._cache is None else self._cache
        mask = samples.processor.token_mask(self._all_prompts)
        context = head.prepare(head.process_features(features, mask), samples.state[frames])
        kv = tuple((k[task], v[task]) for k, v in context.cross_kv)
        return dataclasses.replace(context, cross_kv=kv, cross_mask=self._mask(frames))

    def objective(self, frames: Tensor, draws: int) -> tuple[Tensor, Tensor]:
        """What a gradient step on ``frames`` [B] minimises, and the flow-matching loss in it: scalars."""
        if self.grounding is None:
            flow = self.loss(frames, draws=draws)
            return flow, flow
        with self._computing():
            features = self.features(frames)
            flow = self.loss(frames, draws=draws, features=features)
            return flow + self.grounding.weight * self._grounding_errors(frames, features).mean(), flow

    def _grounding_errors(self, frames: Tensor, features: Tensor) -> Tensor:
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
            t = sample_time(shape, frames.device, config.noise_beta_alpha, config.noise_beta_beta, config.noise_s)
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
            for rows in frames.to(device).split(batch_size):
                noise = torch.randn(len(rows), config.action_horizon, config.action_dim, generator=generator)
                # by the quantiles of Beta(a, 1): b = u^(1/a); torch's own sampler takes no generator
                b = torch.rand(len(rows), generator=generator) ** (1.0 / config.noise_beta_alpha)
                t = (config.noise_s - b) / config.noise_s
                total += len(rows) * self.loss(rows, noise.to(device), t.to(device)).item()
        return total / len(frames)

    @torch.no_grad()
    def evaluate_grounding(self, frames: Tensor, batch_size: int) -> list[float]:
        """Root mean square error of each privileged observation [P] in ``frames``, in the env's units."""
        assert self.grounding is not None
        with self._evaluating(), self._computing():
            batches = frames.to(self.samples.device).split(batch_size)
            errors = torch.cat([self._grounding_errors(rows, self.features(rows)) for rows in batches])
        return (errors.mean(0).sqrt() * self.grounding.unit).tolist()

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Without dropout."""
        training = {module for module in self.model.modules() if module.training}
        self.model.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True


class Batches:
    """Batches without end: ``frames`` [F] in a new random order per pass; a pass' last batch reaches into the next."""

    def __init__(self, frames: Tensor, batch_size: int, generator: torch.Generator):
        self.frames, self.batch_size, self.generator = frames, batch_size, generator
        self._rest = frames[:0]

    def next(self) -> Tensor:
        """The next ``batch_size`` frames."""
        while len(self._rest) < self.batch_size:
            order = torch.randperm(len(self.frames), generator=self.generator)
            self._rest = torch.cat((self._rest, self.frames[order]))
        batch, self._rest = self._rest[: self.batch_size], self._rest[self.batch_size :]
        return batch

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
        self.batches = Batches(frames, recipe.batch_size, generator)

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
        on_gpu = self.trainer.samples.device.type == "cuda"
        return {
            "step": self.step,
            "parameters": [parameter.detach() for parameter in self.trainer.parameters],
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "batches": self.batches.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if on_gpu else [],
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
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        self.step = state["step"]
