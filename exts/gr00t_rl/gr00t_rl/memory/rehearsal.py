# SPDX-License-Identifier: BSD-3-Clause
"""An algorithm without weights that rehearses one iteration: its own code runs, and nothing is computed."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from rsl_rl.utils import resolve_callable
from tensordict import TensorDict
from torch import nn

from ..gr00t import NetworkConfig
from ..gr00t.embodiment import CategorySpecificLinear
from ..models.base_weights import blank_weights
from ..options import FLASH
from ..utils.allocations import LiveBytes
from ..utils.fakes import fake
from .update import StepBytes, row_bytes, state_bytes, step_bytes

LATE = 10**9
"""An iteration after all warm-ups."""

Shapes = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""Observation group -> shape of one env's observation, and type."""


class Rehearsal:
    """What an iteration needs, in bytes, each found by running the algorithm's own code on tensors without memory.

    Args:
        cfg: The runner's configuration as a dict, as rsl_rl's runner takes it; not changed.
        shapes: Observations of one env.
        num_envs: Number of envs N.
        num_actions: Action dimensions of the env.
        env_cfg: Cfg of the env; its instructions are read.
        episode_steps: Env steps of the longest episode.
        config: Sizes of the network, in place of those of the actor's checkpoint.
        device: Type of the device that is meant, "cpu" or "cuda".
    """

    def __init__(
        self,
        cfg: dict[str, Any],
        shapes: Shapes,
        num_envs: int,
        num_actions: int,
        env_cfg: Any,
        episode_steps: int,
        config: NetworkConfig | None = None,
        device: str = "cpu",
    ) -> None:
        self._kernels = _cuda_autocast if device == "cuda" else contextlib.nullcontext
        self.shapes, self.num_envs = shapes, num_envs
        cfg = copy.deepcopy({**cfg, "multi_gpu": None})
        cfg["algorithm"]["micro_batch_size"] = None
        if cfg["algorithm"].get("rnd_cfg") is None:  # left there for rsl_rl 5.4, where an algorithm was made before
            cfg["algorithm"].pop("rnd_cfg", None)
        if "compile" in cfg["actor"]:  # what is compiled needs no more
            cfg["actor"]["compile"] = "off"
        if cfg["actor"].get("attn_implementation") == FLASH:  # takes CUDA's tensors alone; sdpa keeps as little
            cfg["actor"]["attn_implementation"] = "sdpa"
        self.obs = TensorDict({name: fake((num_envs, *s), t) for name, (s, t) in shapes.items()}, [num_envs])  # type: ignore
        env = SimpleNamespace(
            num_envs=num_envs, num_actions=num_actions, max_episode_length=episode_steps, device="cpu"
        )
        env.step_dt = 1.0  # scales curiosity's rewards, which need no more memory by it
        env.cfg = SimpleNamespace(
            instruction=getattr(env_cfg, "instruction", None), instructions=getattr(env_cfg, "instructions", None)
        )
        env.cfg.start_group_size = cfg["algorithm"].get("group_size")
        env.unwrapped, env.episode_length_buf = env, torch.zeros(num_envs, dtype=torch.long)
        algorithm_class: Any = resolve_callable(cfg["algorithm"]["class_name"])
        said = io.StringIO()
        threads = torch.get_num_threads()
        try:
            with _no_trace(), blank_weights(config), contextlib.redirect_stdout(said), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.algorithm = algorithm_class.construct_algorithm(self.obs, env, cfg, "cpu")
        finally:
            torch.set_num_threads(threads)
        self.algorithm.iteration = LATE
        self._steps: dict[int, StepBytes] = {}
        if hasattr(self.actor, "begin_iteration"):
            self.actor.begin_iteration(LATE)

    @property
    def actor(self) -> Any:
        """The actor, without weights."""
        return self.algorithm.actor

    @cached_property
    def parameters(self) -> int:
        """Number of the actor's parameters."""
        return sum(parameter.numel() for parameter in self.actor.parameters())

    @cached_property
    def trained(self) -> int:
        """Number of the actor's trained parameters."""
        return sum(parameter.numel() for parameter in self.algorithm.actor_parameters)

    @cached_property
    def gradients(self) -> int:
        """Gradients, the critic's included."""
        return sum(parameter.nbytes for parameter in self.algorithm.parameters())

    @cached_property
    def weights(self) -> int:
        """Parameters and buffers of the actor."""
        return _bytes_of(self.actor)

    @cached_property
    def idle_embodiments(self) -> int:
        """Weights of the embodiments that the run does not use, in host memory."""
        layers = [module for module in self.actor.modules() if isinstance(module, CategorySpecificLinear)]
        return sum(layer.idle_bytes for layer in layers)

    @cached_property
    def critic(self) -> int:
        """Parameters and buffers of the critic."""
        return 0 if self.algorithm.critic is None else _bytes_of(self.algorithm.critic)

    @cached_property
    def optimizer(self) -> int:
        """What the optimiser keeps, the critic's included."""
        return state_bytes(self.algorithm.optimizer)

    @cached_property
    def reference(self) -> int:
        """GRPO's reference policy."""
        reference = getattr(self.algorithm, "reference", None)
        return 0 if reference is None else sum(tensor.nbytes for tensor in reference.state_dict().values())

    @cached_property
    def _decided(self) -> tuple[int, TensorDict]:
        with _no_trace(), self._kernels(), LiveBytes() as live, torch.no_grad():
            record = self.algorithm.policy.decide(self.algorithm.policy.observe(self.obs))[1]
            if self.algorithm.critic is not None:
                record["value"] = self.algorithm.critic(record).squeeze(-1)
            return live.peak, record

    @property
    def deciding(self) -> int:
        """The most that is alive at one time while all envs decide, beside what is there before and stored after."""
        return self._decided[0]

    @cached_property
    def stored(self) -> TensorDict:
        """Decisions of all envs as they are stored, features included wherever these are."""
        record = self._decided[1]
        return record.exclude("features") if getattr(self.actor, "feature_cache", None) == "pixels" else record

    @property
    def decisions(self) -> int:
        """Decisions that an iteration has room for; more than its length says, where envs decide when reset."""
        return self.algorithm.storage.room

    @cached_property
    def features(self) -> int:
        """Features of an iteration's decisions."""
        kept = [self.stored[name] for name in self.stored.keys() if name == "features"]  # noqa: SIM118
        return self.decisions * sum(tensor.nbytes // len(tensor) for tensor in kept)

    @cached_property
    def storage(self) -> int:
        """What is kept of an iteration's decisions besides."""
        st = self.algorithm.storage
        dense = sum(t.nbytes for t in (st.rewards, st.values, st.discounts, st.durations, st.discarded))
        return self.decisions * row_bytes(self.stored) - self.features + dense

    @property
    def minibatch(self) -> int:
        """Decisions of a minibatch."""
        return -(-self.algorithm.storage.expected_rows // self.algorithm.options.num_mini_batches)

    def step(self, size: int | None) -> StepBytes:
        """Return what an optimiser step needs with pieces of ``size`` decisions; None: the whole minibatch."""
        size = min(size or self.minibatch, self.minibatch)
        if size not in self._steps:
            self._steps[size] = self._step(size)
        return self._steps[size]

    def _step(self, size: int) -> StepBytes:
        on_host = getattr(self.actor, "feature_cache", None) == "host" and "features" in self.stored.keys()  # noqa: SIM118
        if on_host:  # brought to the device piece by piece
            self.actor.feature_cache = "device"
        try:
            with _no_trace(), self._kernels():
                needed = step_bytes(self.algorithm, self.stored, self.minibatch, size)
        finally:
            if on_host:
                self.actor.feature_cache = "host"
        if on_host:
            one = self.stored["features"].nbytes // len(self.stored)
            needed = needed._replace(
                activations=needed.activations + size * one, minibatch=needed.minibatch - self.minibatch * one
            )
        return needed


def _no_trace() -> Any:
    """Leave the random numbers of the run as they were: what is small is computed, and draws some."""
    return torch.random.fork_rng(devices=[])


def _bytes_of(module: nn.Module) -> int:
    """Bytes of the parameters and buffers of a module, each storage once."""
    storages = {
        t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in (*module.parameters(), *module.buffers())
    }
    return sum(storages.values())


@contextlib.contextmanager
def _cuda_autocast() -> Iterator[None]:
    """Compute layer norms in float32 under autocast, as a GPU does; a CPU does in the type of the input."""
    real = nn.functional.layer_norm

    def layer_norm(x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            x, weight, bias = (None if t is None else t.float() for t in (x, weight, bias))
        return real(x, shape, weight, bias, eps)

    with mock.patch.object(nn.functional, "layer_norm", layer_norm):
        yield
