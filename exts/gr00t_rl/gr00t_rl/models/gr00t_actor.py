# SPDX-License-Identifier: BSD-3-Clause
"""GR00T as a stochastic policy over action chunks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from rsl_rl.modules import EmpiricalNormalization
from tensordict import TensorDict
from torch import nn

from ..flow import VelocityField, VelocityFn, make_head
from ..gr00t import TINY, CheckpointError, HeadContext, Modality, generation
from ..gr00t.as_trained import check_remembered, other_settings, remembered
from ..options import FLASH, Gr00tActorOptions
from ..storage import HostFeatureCache
from ..utils.errors import ConfigurationError
from ..utils.process_group import rank
from .base_weights import check_files, fingerprint, load_base, load_statistics
from .compiled import head_velocity
from .exploration import describe_noise
from .export import ExportedGr00tPolicy
from .feature_encoder import STAGES, FeatureEncoder, first_trained_stage
from .flow_actor import FlowActor
from .trainable import LORA, OFF, describe_parts, make_trainable, merge_adapters

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
INSTRUCTION = "instruction"
"""Observation group, int64 [N, 1], with the number of each env's instruction where a task has several."""


class Gr00tActor(FlowActor):
    """Actor model for rsl_rl whose decisions are action chunks of GR00T, of whatever generation the checkpoint is.

    What is trained is chosen by part (``train``), each in full or by LoRA adapters. The frozen stages before the first
    trained one run once per decision, and their output is kept with the decision; by default they are all that comes
    before the action head's DiT. Means, noise and log-probabilities are float32 whatever the network's dtype.
    Dropout stays off in rollout and update: with it, the log-probability of one action would differ between two calls.

    Attributes:
        trained_parts: Part of the network -> the parameters of it that are or will be trained; "noise" has those of the
            head's own noise.
        begins: Trained part -> iteration in which it begins to learn.

    Args:
        obs: Example observations, batch size [N]: flat float groups [N, S] and images uint8 [N, H, W, 3].
        obs_groups: Names of the observation groups of each set.
        obs_set: The set this model reads.
        output_dim: Action dimension A of the env.
        **settings: Fields of :class:`~gr00t_rl.options.Gr00tActorOptions`. Algorithms fill in the task's instruction.

    Raises:
        ConfigurationError: If a setting, the observations or the checkpoint do not fit together.
    """

    _buckets: torch.Tensor
    _prompt_features: torch.Tensor | None

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        **settings: Any,
    ) -> None:
        options = Gr00tActorOptions.parse(settings, "agent.actor")
        groups = obs_groups[obs_set]
        keys = _read_modality(options.modality, {g: tuple(obs[g].shape[1:]) for g in groups}, output_dim)
        images = [g for g in groups if obs[g].dim() == 4] if keys is None else list(keys.video.values())
        image_size = obs[images[0]].shape[1] if images else None
        dtype = DTYPES[options.dtype]
        model, tokens = load_base(options, dtype, image_size)
        config = model.config.action_head
        chunk_shape = (config.action_horizon, config.action_dim)
        head = make_head(options, output_dim, chunk_shape, config.input_embedding_dim)
        super().__init__(head, chunk_shape, output_dim, options)
        self.model, self.base, self._compute_dtype = model, options.checkpoint, dtype
        self.model.action_head.model.gradient_checkpointing = options.gradient_checkpointing
        self.modality, self.image_groups = keys, images
        self.state_groups = [g for g in groups if obs[g].dim() == 2 and g != INSTRUCTION]
        self.state_dim = self._raw_state(obs[:1]).shape[-1] if self.state_groups else 0
        self.image_shapes = [tuple(obs[g].shape[1:]) for g in images]
        self._check(groups, obs, config, options.obs_normalization)
        self._set_processor(obs, tokens, options)
        num_steps = options.num_inference_timesteps
        buckets = torch.arange(num_steps) * config.num_timestep_buckets // num_steps
        self.register_buffer("_buckets", buckets, persistent=False)
        self._compile, self._head_velocity = options.compile, head_velocity(options.compile)
        self._fingerprint = fingerprint(self.model)
        self._set_trainable(options)
        self.state_normalizer = EmpiricalNormalization(self.state_dim) if options.obs_normalization else None
        others = [g for name in ("critic", "rnd_state") for g in obs_groups.get(name, [])]
        self._cache_features(options.feature_cache, [*(groups if keys is None else keys.groups), *others])
        self.eval()

    # -- construction ----------------------------------------------------------------------------------------------

    def _check(self, groups: list[str], obs: TensorDict, config: Any, obs_normalization: bool) -> None:
        """Compare observations, actions and checkpoint."""
        for group in groups:
            if obs[group].dim() not in (2, 4) or (obs[group].dim() == 4 and obs[group].dtype != torch.uint8):
                raise ConfigurationError(
                    f"observation group {group!r} is {obs[group].dtype} {list(obs[group].shape[1:])}; Gr00tActor reads "
                    "flat state groups [S] and uint8 image groups [H, W, 3]; set agent.obs_groups.actor to such groups"
                )
        keys = self.modality
        if obs_normalization and keys is not None and any(key.mode for key in keys.state.values()):
            raise ConfigurationError(
                "agent.actor.obs_normalization is True, but agent.actor.modality.state normalises already; set it to "
                "False"
            )
        state_dim = self.state_dim if keys is None else keys.encoded_state_dim
        if config.state_history_length != 1:
            raise ConfigurationError(
                f"the checkpoint reads the last {config.state_history_length} states (state_history_length), which is "
                "not supported; set agent.actor.checkpoint to one that reads the present state alone"
            )
        horizon, widest_action, widest_state = config.action_horizon, config.action_dim, config.max_state_dim
        if not 0 < self.n_action_steps <= horizon:
            raise ConfigurationError(
                f"agent.actor.n_action_steps is {self.n_action_steps}, but the checkpoint's action horizon is "
                f"{horizon}; set 1 to {horizon}"
            )
        if not 0 < self.action_dim <= widest_action:
            raise ConfigurationError(
                f"the env's action has {self.action_dim} dimensions, but the checkpoint takes 1 to {widest_action}; "
                "choose another task or agent.actor.checkpoint"
            )
        if not 0 < state_dim <= widest_state:
            raise ConfigurationError(
                f"the state has {state_dim} dimensions, but the checkpoint takes 1 to {widest_state}; set fewer state "
                f"groups in agent.obs_groups.actor={groups}, or agent.actor.modality.state"
                if state_dim
                else f"agent.obs_groups.actor={groups} names no group with a state, which the network needs; add one"
            )

    def _set_processor(self, obs: TensorDict, tokens: Any, options: Gr00tActorOptions) -> None:
        """Build what turns observations into the network's inputs and its output into actions."""
        check_files(self.model, self.modality, options)
        statistics = None if self.modality is None else load_statistics(self.model, self.modality, options)
        try:
            self.processor = generation(self.model.config.generation).Processor(
                self.model.config,
                tokens,
                **_given(instruction=options.instruction),
                num_views=len(self.image_groups),
                modality=self.modality,
                statistics=statistics,
                image_sizes=[(height, width) for height, width, _ in self.image_shapes],
                assets=self.model.assets,
            )
        except CheckpointError as error:
            raise ConfigurationError(f"agent.actor.checkpoint={options.checkpoint!r}: {error}") from None
        except ValueError as error:
            raise ConfigurationError(f"agent.actor: {error}") from None
        own = {} if self.modality is None else self.processor.relative_states(self.model.assets, self.modality)
        self._relative_to: dict[str, str] = own  # of keys that the cfg need not declare
        self.num_instructions = len(self.processor.instructions)
        if self.num_instructions > 1:
            _check_instructions(obs, self.num_instructions)

    def _set_trainable(self, options: Gr00tActorOptions) -> None:
        """Freeze all but the chosen parts; trained weights are float32."""
        self.trained_parts = make_trainable(self.model, options.train, options.lora_rank, options.lora_alpha)
        self.begins = {part: options.unfreeze.get(part, 0) for part in self.trained_parts}
        if noise := list(self.head.parameters()):
            self.trained_parts["noise"] = noise
        learned = {id(p) for parameters in self.trained_parts.values() for p in parameters}
        self._frozen_names = {name for name, p in self.named_parameters() if id(p) not in learned}
        boundary = first_trained_stage(self.trained_parts)
        self._encoder = FeatureEncoder(self.model, self.processor, self._compute_dtype, boundary)
        unseen = [part for part in ("vision", "mlp1") if part in self.trained_parts and not self.image_groups]
        if unseen:
            raise ConfigurationError(
                f"agent.actor.train.{unseen[0]} is {options.train[unseen[0]]!r}, but the actor reads no pictures; set "
                "it to off, or name an image group in agent.obs_groups.actor"
            )
        self._trained_as = {
            "train": {part: how for part, how in options.train.items() if how != OFF},
            "lora_rank": options.lora_rank,
            "lora_alpha": float(options.lora_alpha),
            **remembered(self.modality, options.embodiment_id, self.processor.instructions, vars(options)),
        }

    def begin_iteration(self, iteration: int) -> None:
        """Let the parts learn whose iteration has come, and no others; see ``unfreeze``."""
        for part, parameters in self.trained_parts.items():
            for parameter in parameters:
                parameter.requires_grad_(iteration >= self.begins.get(part, 0))

    def _cache_features(self, where: str, read: list[str]) -> None:
        """Decide which of the observation groups that are read stay with a decision, and encode a prompt alone."""
        if self.num_instructions > 1:
            read = [*read, INSTRUCTION]
        drop = [] if where == "pixels" else self.image_groups
        self._kept_groups = [g for g in dict.fromkeys(read) if g not in drop]
        self.feature_cache, self._host_features = where, HostFeatureCache()
        prompts = None
        if not self.image_groups:
            # without cameras the features depend on the prompt alone: one row of each serves every decision
            # on the CPU, where the actor is made and flash-attn does not run
            undo = self.model.replace_attention(FLASH, "sdpa")
            prompts = self._encoder.frozen(None, self._all_prompts)
            undo()
        self.register_buffer("_prompt_features", prompts, persistent=False)

    # -- features --------------------------------------------------------------------------------------------------

    @property
    def feature_dim(self) -> int:
        """Width of the kept features [B, T, D]; 0 where none are kept because the image encoder learns."""
        return self._encoder.width

    @property
    def _all_prompts(self) -> torch.Tensor:
        return torch.arange(self.num_instructions, device=self.device)

    def _keeps_features(self) -> bool:
        return bool(self.image_groups) and self._encoder.width > 0

    def _pixels(self, obs: TensorDict) -> torch.Tensor:
        """Return the pictures of ``obs`` [B] as the network takes them."""
        return self.processor.images([obs[g] for g in self.image_groups])

    def _encode(self, obs: TensorDict) -> torch.Tensor | None:
        """Run the frozen stages on the images and instructions of ``obs`` [B]."""
        return self._encoder.frozen(self._pixels(obs), self._prompt_rows(obs))

    def _features(self, observed: TensorDict) -> torch.Tensor | None:
        """Return what the action head attends to [B, T, D]; differentiable; None without cameras."""
        if not self.image_groups:
            return None
        kept = observed["features"] if self._keeps_features() else self._encode(observed)
        with self._autocast():
            return self._encoder.trained(kept, self._prompt_rows(observed))

    def _prompts(self) -> torch.Tensor:
        """Return what the action head attends to without cameras, for each prompt: [P, T, D]."""
        with self._autocast():
            return self._encoder.trained(self._prompt_features, self._all_prompts)

    @torch.no_grad()
    def fix_prompts(self) -> None:
        """Read the prompts for good, where there are no cameras: for a copy whose weights do not change any more."""
        if not self.image_groups:
            self._prompt_features = self._prompts()
            self._encoder.boundary = len(STAGES)

    def _prompt_rows(self, obs: TensorDict) -> int | torch.Tensor:
        """Return the number of each env's instruction, int64 [B]; just B where there is one instruction."""
        return obs.batch_size[0] if self.num_instructions == 1 else obs[INSTRUCTION][:, 0]

    def observe(self, obs: TensorDict) -> TensorDict:
        """Keep the groups of ``obs`` [B] that actor or critic read, with features in place of the actor's images."""
        observed = obs.select(*self._kept_groups)
        if self._keeps_features():
            observed["features"] = self._encode(obs)
        return observed

    def expect(self, num_decisions: int) -> None:
        """Make room in host memory for the features of an iteration, when the first ones come."""
        self._host_features.expected_rows = num_decisions

    def store(self, record: TensorDict) -> TensorDict:
        """Move the features to where ``feature_cache`` wants them."""
        if self._keeps_features() and self.feature_cache == "host":
            record["feature_row"] = self._host_features.append(record["features"])
        return record if self.feature_cache == "device" else record.exclude("features")

    def restore(self, record: TensorDict) -> TensorDict:
        """Bring the features of stored decisions back; from pixels, by running the frozen stages again."""
        if not self._keeps_features() or self.feature_cache == "device":
            return record
        record = record.copy()
        host = self.feature_cache == "host"
        record["features"] = self._host_features.gather(record["feature_row"]) if host else self._encode(record)
        return record

    def forget(self) -> None:
        """Drop the features in host memory."""
        self._host_features.clear()

    def _raw_state(self, obs: TensorDict) -> torch.Tensor:
        """Return the state [B, state_dim] as the env gives it: the modality's keys, or all flat groups."""
        if self.modality is not None:
            return self.modality.select_state(obs)  # type: ignore[arg-type]
        return torch.cat([obs[g] for g in self.state_groups], dim=-1)

    def network_state(self, state: torch.Tensor) -> torch.Tensor:
        """Return a state [B, state_dim] as the network takes it: normalised and padded, [B, 1, max_state_dim]."""
        if self.state_normalizer is not None:
            state = self.state_normalizer(state).clamp(-10.0, 10.0)
        return self.processor.state(state)

    def context(self, features: torch.Tensor | None, state: torch.Tensor, rows: int | torch.Tensor) -> HeadContext:
        """Prepare the action head; differentiable in the trained weights.

        Args:
            features: What the head attends to, [B, T, D], with cameras; None without.
            state: The raw state [B, state_dim].
            rows: The number of each env's instruction, int64 [B], or B where there is one.
        """
        attended = self._prompts() if features is None else features
        mask = self.processor.token_mask(rows)
        with self._autocast():
            state = self.network_state(state)
            context = self.model.action_head.prepare(attended, state, mask=mask, kinds=self.processor.kinds)
        if features is not None:
            return context
        # keys and values of a prompt without pictures are the same for all: computed for one row, seen by each
        kv = tuple((_rows_of(k, rows), _rows_of(v, rows)) for k, v in context.cross_kv)
        return dataclasses.replace(context, cross_kv=kv)

    def _context(self, observed: TensorDict) -> HeadContext:
        """Prepare the action head for the observed states."""
        return self.context(self._features(observed), self._raw_state(observed), self._prompt_rows(observed))

    def decision_state(self, observed: TensorDict) -> torch.Tensor:
        """Return the raw state [B, state_dim]."""
        return self._raw_state(observed)

    def env_actions(self, chunk: torch.Tensor, state: torch.Tensor | None = None) -> torch.Tensor:
        """Return the executed part of a chunk in the env's action units; see :class:`FlowActor`."""
        return self.processor.action(chunk[:, : self.n_action_steps], self.action_dim, state)

    def hold_action(self, obs: TensorDict) -> torch.Tensor | None:
        """Return the action with which waiting envs stay where they are, as far as the modality says what it means."""
        return None if self.modality is None else self.modality.hold_action(obs, self._relative_to)  # type: ignore[arg-type]

    def velocity_field(self, observed: TensorDict) -> VelocityField:
        """Return the action head's velocity field for ``observed`` [B], and the state token as its condition."""
        context = self._context(observed)
        token = context.state_token.detach().squeeze(1).float()  # [B, w]
        return VelocityField(self.velocity_of(context), nn.functional.layer_norm(token, token.shape[-1:]))

    def velocity_of(self, context: HeadContext) -> VelocityFn:
        """Return the velocity field of a prepared context, in the form that the policy heads want."""

        def velocity(x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            batch, transitions = step.shape
            repeated = context if transitions == 1 else context.repeat_interleave(transitions)
            with self._autocast():
                buckets = self._buckets[step.flatten()]
                v = self._head_velocity(self.model.action_head, x.flatten(0, 1), buckets, repeated)
            return v.float().unflatten(0, (batch, transitions))

        return velocity

    def set_compute_dtype(self, dtype: torch.dtype) -> None:
        """Compute in another type from now on: bfloat16 under autocast, or float32 without it."""
        self._compute_dtype = self._encoder.dtype = dtype

    @property
    def numeric_remedies(self) -> tuple[str, ...]:
        """What of this actor's settings makes its numbers depend less on the kernels."""
        short = self._compute_dtype != torch.float32
        return (*("agent.actor.dtype=float32",) * short, *("agent.actor.compile=off",) * (self._compile != "off"))

    def _autocast(self) -> torch.autocast:
        enabled = self._compute_dtype != torch.float32
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    # -- what rsl_rl asks of a model -------------------------------------------------------------------------------

    def update_normalization(self, obs: TensorDict) -> None:
        """Update the state's running moments from a batch of observations."""
        if self.state_normalizer is not None:
            self.state_normalizer.update(self._raw_state(obs))

    def train(self, mode: bool = True) -> Gr00tActor:
        """Set the mode of the normaliser; the network stays in eval mode, see the class."""
        super().train(mode)
        self.model.eval()
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the trained parameters, the normaliser's moments and a reference to the frozen weights."""
        full = super().state_dict(*args, **kwargs)
        kept = {name: value for name, value in full.items() if name not in self._frozen_names}
        kept["base"] = {"checkpoint": self.base, "fingerprint": self._fingerprint, **self._trained_as}
        return kept

    def describe(self) -> str:
        """Return a table of the network's parts, and what exploration noise does to the actions."""
        lines = describe_parts(self.model, self._trained_as["train"]), describe_noise(self.head, self.processor)
        return "\n".join(line for line in lines if line is not None)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Restore what :meth:`state_dict` returned.

        Raises:
            ValueError: If the state was trained on other frozen weights, another row of them or another modality, or
                misses or exceeds the trained parameters.
        """
        state = dict(state_dict)
        base = state.pop("base", None)
        if base is None:
            raise ValueError("it holds another actor than GR00T")
        try:  # first, because another row changes the fingerprint too
            check_remembered(base, self.modality, self._trained_as["embodiment_id"])
        except ValueError as error:
            raise ConfigurationError(f"agent.actor.{error}") from None
        self._check_fingerprint(base)
        self._check_trained_as(base)
        expected = set(self.state_dict()) - {"base"}
        if strict and expected != set(state):
            name = sorted(expected ^ set(state))[0]
            raise ValueError(
                f"it lacks {name!r}, which this agent trains"
                if name in expected
                else f"it holds {name!r}, which this agent does not train"
            )
        if (warning := other_settings(base, self._trained_as)) is not None and rank() == 0:
            print(f"[gr00t_rl] warning: {warning}", flush=True)
        return super().load_state_dict(state, strict=False, assign=assign)

    def merge_adapters(self) -> None:
        """Add the LoRA adapters to the weights that they adapt, for good: for a copy that is exported."""
        if LORA in self._trained_as["train"].values():
            merge_adapters(self.model)

    def _check_fingerprint(self, base: Mapping[str, Any]) -> None:
        """Make sure that a checkpoint was trained on these base weights."""
        if base["fingerprint"] == self._fingerprint:
            return
        again = (
            "with the same env.camera_size, agent.actor.n_action_steps and tiny_seed"
            if self.base == base["checkpoint"] and self.base in TINY
            else f"agent.actor.checkpoint={base['checkpoint']}, with the files as they were"
        )
        if "embodiment_id" not in base:  # of a run from before it was remembered
            again += ", and agent.actor.embodiment_id as in the run"
        raise ConfigurationError(
            f"the checkpoint was trained on the base weights {base['checkpoint']!r} (fingerprint "
            f"{base['fingerprint'][:12]}), but this agent has {self.base!r} ({self._fingerprint[:12]}); set {again}"
        )

    def _check_trained_as(self, base: Mapping[str, Any]) -> None:
        """Compare what a checkpoint trained with what this agent does: other adapters would be another policy."""
        has_lora = LORA in base.get("train", {}).values()
        for name in ("train", *(("lora_rank", "lora_alpha") if has_lora else ())):
            if name in base and base[name] != self._trained_as[name]:
                raise ConfigurationError(
                    f"the checkpoint was trained with agent.actor.{name}={base[name]}, but this agent has "
                    f"{self._trained_as[name]}; set the same"
                )

    def as_onnx(self, verbose: bool = False) -> ExportedGr00tPolicy:
        """Return the policy as a module for ONNX export, chunk in one call; see :class:`ExportedGr00tPolicy`."""
        plain = self.copy()
        plain._head_velocity = head_velocity("off")
        plain.model.replace_attention(FLASH, "sdpa")  # what is exported runs in float32 on a CPU
        return ExportedGr00tPolicy(plain)


def _read_modality(
    content: Mapping[str, Any] | None, shapes: dict[str, tuple[int, ...]], action_dim: int
) -> Modality | None:
    """Build the modality of a cfg's fields and compare it with the observation groups and the env's action."""
    if content is None:
        return None
    try:
        modality = Modality.from_dict(content)
        modality.check_observations(shapes)
    except ValueError as error:
        raise ConfigurationError(f"agent.actor.modality.{error}") from None
    if modality.action_dim != action_dim:
        raise ConfigurationError(
            f"agent.actor.modality.action covers {modality.action_dim} dimensions, but the env's action has "
            f"{action_dim}; declare all of them"
        )
    return modality


def _check_instructions(obs: TensorDict, count: int) -> None:
    """Make sure that the env says which instruction it is given."""
    group = obs.get(INSTRUCTION, None)
    if group is None or group.dtype != torch.int64 or group.shape[1:] != (1,):
        found = "there is none" if group is None else f"it is {group.dtype} {list(group.shape[1:])}"
        raise ConfigurationError(
            f"agent.actor.instruction lists {count} instructions, and the observation group {INSTRUCTION!r}, int64 "
            f"[1], must say which holds, but {found}; set a single instruction, or add the group to the env"
        )


def _rows_of(x: torch.Tensor, rows: int | torch.Tensor) -> torch.Tensor:
    """Return one row of ``x`` [P, ...] per sample: the only one for all, or those numbered ``rows`` [B]."""
    return x.expand(rows, *x.shape[1:]) if isinstance(rows, int) else x[rows]


def _given(**kwargs: Any) -> dict[str, Any]:
    """Drop the arguments that are None, so that the callee's defaults apply."""
    return {name: value for name, value in kwargs.items() if value is not None}
