# SPDX-License-Identifier: BSD-3-Clause
"""The memory that a run needs, as one table; refused where it cannot fit, with the settings that would make it fit."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..gr00t import NetworkConfig
from ..launch.agent_cfg import for_installed_rsl_rl
from ..utils.episodes import episode_steps
from ..utils.errors import ConfigurationError
from .devices import BESIDE, GIB, free_bytes, own_bytes
from .micro_batches import MARGIN, choose
from .rehearsal import Rehearsal
from .shapes import num_actions, observed_shapes

TOLERANCE = 0.15
"""By how much an estimate may be too high: a run is refused only if it would not fit even then."""


@dataclass
class Estimate:
    """What a run needs on its device, in bytes."""

    device: str
    """Type of the device."""
    standing: dict[str, int]
    """Part -> what is there from the first update on."""
    deciding: int
    """The most that is alive besides, while all envs decide."""
    updating: dict[str, int]
    """Part -> what is alive besides, in the update."""
    loading: int
    """All that is there while the weights are read."""
    notes: dict[str, str] = field(default_factory=dict)
    """Part -> what it is made of."""
    on_host: int = 0
    """Features that are kept in the host's memory beside the device's."""

    @property
    def phases(self) -> dict[str, int]:
        """Phase -> the most that is alive in it, on the device."""
        kept, slack = sum(self.standing.values()), 1.0 + BESIDE[self.device].slack
        return {
            "loading": self.loading,
            "rollout": kept + int(slack * self.deciding),
            "update": kept + int(slack * sum(self.updating.values())),
        }

    @property
    def peak(self) -> int:
        """The most that is alive at one time, on the device."""
        return max(self.phases.values())

    def table(self, free: int | None = None, whose: str = "free") -> str:
        """Return the estimate as a text of several lines.

        Args:
            free: Bytes to compare with.
            whose: What these are.
        """
        deciding = {"encode and denoise": self.deciding}
        sizes = {**self.standing, **deciding, **self.updating}
        lines = [f"{name:24}{size / GIB:9.2f} GiB  {self.notes.get(name, '')}".rstrip() for name, size in sizes.items()]
        phases = ", ".join(f"{name} {size / GIB:.2f}" for name, size in self.phases.items() if size > 0)
        lines.append(f"{'peak':24}{self.peak / GIB:9.2f} GiB  {phases}")
        if self.on_host:
            lines.append(f"{'features on the host':24}{self.on_host / GIB:9.2f} GiB")
        if free is not None:
            lines.append(f"{whose:24}{free / GIB:9.2f} GiB")
        return "\n".join(lines)


@dataclass
class Subject:
    """What is estimated: a run, by its cfgs."""

    env_cfg: Any
    agent_cfg: Any
    device: str
    """Name of the device, such as "cuda:1"; another GPU than it is not touched."""
    config: NetworkConfig | None = None
    """Sizes of the network in place of those of its checkpoint."""

    def rehearsal(self) -> Rehearsal:
        """Return the run's algorithm without weights."""
        agent_cfg = copy.deepcopy(self.agent_cfg)
        if agent_cfg.num_steps_per_env is None:
            agent_cfg.num_steps_per_env = episode_steps(self.env_cfg)
        if hasattr(agent_cfg.actor, "stochastic"):  # Isaac Lab removes it, once
            for_installed_rsl_rl(agent_cfg)
        return Rehearsal(
            agent_cfg.to_dict(),
            observed_shapes(self.env_cfg, agent_cfg),
            self.env_cfg.scene.num_envs,
            num_actions(agent_cfg),
            self.env_cfg,
            episode_steps(self.env_cfg),
            self.config,
            self.device_type,
        )

    @property
    def device_type(self) -> str:
        """Type of the device, "cuda" or "cpu"."""
        return "cuda" if torch.device(self.device).type == "cuda" else "cpu"

    def with_settings(self, settings: dict[str, Any]) -> Subject:
        """Return another run with these settings, by their names on the command line."""
        env_cfg, agent_cfg = copy.deepcopy(self.env_cfg), copy.deepcopy(self.agent_cfg)
        for name, value in settings.items():
            target: Any = {"env": env_cfg, "agent": agent_cfg}[name.split(".")[0]]
            *path, last = name.split(".")[1:]
            for step in path:
                target = target[step] if isinstance(target, dict) else getattr(target, step)
            if isinstance(target, dict):
                target[last] = value
            else:
                setattr(target, last, value)
        return Subject(env_cfg, agent_cfg, self.device, self.config)

    def estimate(self, free: int | None) -> Estimate:
        """Return what the run needs; with ``micro_batch_size=auto`` within ``free`` bytes, where they suffice."""
        return estimate_of(
            self.rehearsal(), self.device_type, self.agent_cfg.algorithm.micro_batch_size, free, self._files()
        )

    def _files(self) -> list[int]:
        """Return the sizes of the checkpoint's files of weights, in the order in which they are read."""
        folder = Path(self.agent_cfg.actor.checkpoint).expanduser()
        if self.config is not None or not folder.is_dir():
            return []
        return [file.stat().st_size for file in sorted(folder.glob("*.safetensors"))]

    def remedies(self, free: int) -> list[tuple[str, int]]:
        """Return settings that make the run fit, all together, each with the bytes that it saves.

        They are tried in the order of what they cost: types and places first, then time, then what is learned from.
        """
        kept: dict[str, tuple[Any, int]] = {}
        subject, peak = self, self.estimate(free).peak
        for name, value in self._candidates():
            other = subject.with_settings({name: value})
            saved = peak - other.estimate(free).peak
            if saved < 0.02 * peak:
                continue
            kept[name] = (value, saved + kept.get(name, (None, 0))[1])
            subject, peak = other, peak - saved
            if peak <= MARGIN * free:
                break
        shown = {"env.scene.num_envs": "--num_envs "}
        return [
            (f"{shown.get(name, f'{name}=')}{'true' if value is True else value}", saved)
            for name, (value, saved) in kept.items()
        ]

    def _candidates(self) -> list[tuple[str, Any]]:
        """Return settings that may need less memory, cheapest first."""
        actor, algorithm, num_envs = self.agent_cfg.actor, self.agent_cfg.algorithm, self.env_cfg.scene.num_envs
        found: list[tuple[str, Any]] = []
        if algorithm.micro_batch_size != "auto":
            found.append(("agent.algorithm.micro_batch_size", "auto"))
        if actor.dtype == "float32":
            found.append(("agent.actor.dtype", "bfloat16"))
        if actor.feature_cache == "device":
            found.append(("agent.actor.feature_cache", "host" if self.device_type == "cuda" else "pixels"))
        if not actor.gradient_checkpointing:
            found.append(("agent.actor.gradient_checkpointing", True))
        if actor.train.get("dit") == "full":
            found.append(("agent.actor.train.dit", "lora"))
        group = getattr(algorithm, "group_size", None) or 1
        fewer = [num_envs // share // group * group for share in (2, 4, 8, 16)]
        return found + [("env.scene.num_envs", number) for number in fewer if number > 0]


def estimate_of(
    r: Rehearsal, device: str, micro_batch_size: int | str | None, free: float | None, files: list[int]
) -> Estimate:
    """Add up what a rehearsed run needs.

    Args:
        r: The rehearsal.
        device: Type of the device.
        micro_batch_size: As in the algorithm's options.
        free: Bytes that "auto" may fill; None: as many as it likes.
        files: Sizes of the checkpoint's files, each of which is mapped while its weights are copied.
    """
    beside, on_cpu = BESIDE[device], device == "cpu"
    on_host = r.features if r.actor.feature_cache == "host" and not on_cpu else 0
    cameras = [shape for shape, _ in r.shapes.values() if len(shape) == 3]
    pixels = sum(shape[0] * shape[1] for shape in cameras)
    standing = {
        "weights": r.weights + (r.idle_embodiments if on_cpu else 0),
        "gradients": r.gradients,
        "optimiser": r.optimizer,
        "reference policy": r.reference,
        "critic": r.critic,
        "feature cache": r.features - on_host,
        "decision storage": r.storage,
        "simulator and cameras": int(r.num_envs * (beside.env + pixels * beside.pixel)),
        "process": beside.process,
    }
    standing = {name: size for name, size in standing.items() if size > 0}
    size, auto = micro_batch_size, micro_batch_size == "auto"
    if auto:
        room = float("inf") if free is None else MARGIN * free - sum(standing.values()) + r.gradients
        size = choose(r, room)
    step = r.step(size)  # type: ignore[arg-type]
    pieces = min(size or r.minibatch, r.minibatch)  # type: ignore[type-var]
    notes = {
        "weights": f"{r.parameters / 1e6:,.1f} M parameters, {r.trained / 1e6:,.1f} M trained",
        "encode and denoise": f"{r.num_envs} envs at once",
        "activations": f"{pieces} of {r.minibatch} decisions at a time{' (micro_batch_size=auto)' if auto else ''}",
        "feature cache": f"{r.decisions} decisions",
        "simulator and cameras": f"{r.num_envs} envs, {len(cameras)} cameras",
        "process": "Python, torch, Isaac Lab" if on_cpu else "context and libraries; not measured on a GPU",
    }
    updating = {"activations": step.activations, "copy of a minibatch": step.minibatch}
    loading = beside.process + _loading(files, r.weights + r.idle_embodiments) if on_cpu else 0
    return Estimate(device, standing, r.deciding, updating, loading, notes, on_host)


def _loading(files: list[int], weights: int) -> int:
    """Return the most that is there while weights are copied from mapped files, one after the other."""
    return max([weights, *(weights * sum(files[: i + 1]) // sum(files) + size for i, size in enumerate(files))])


def check_fit(subject: Subject, estimate: Estimate, free: int, whose: str) -> str | None:
    """Return a warning where a run comes near a limit; None where it does not.

    Raises:
        ConfigurationError: It needs more than there is, even if the estimate were :data:`TOLERANCE` too high.
    """
    if (1 - TOLERANCE) * estimate.peak <= free:
        if estimate.peak <= MARGIN * free:
            return None
        return f"this run needs about {estimate.peak / GIB:.1f} GiB of {free / GIB:.1f} GiB {whose}: it may not fit"
    texts = [f"{text} (saves {size / GIB:.1f} GiB)" for text, size in subject.remedies(free)]
    raise ConfigurationError(
        f"this run needs about {estimate.peak / GIB:.1f} GiB, but {free / GIB:.1f} GiB are {whose}; set "
        f"{' and '.join(texts) or 'a smaller network'}"
    )


def check_host(on_host: int, free: int) -> str | None:
    """Return a warning where the features in main memory come near what a process may take; None where they do not.

    Pinned memory comes in powers of two, and a block that grows stands beside its successor while it is copied: the
    worst is about three times the features.

    Args:
        on_host: Bytes of the features there.
        free: Bytes of main memory that this process may still take.

    Raises:
        ConfigurationError: Not even the features fit.
    """
    text = f"agent.actor.feature_cache=host puts {on_host / GIB:.1f} GiB per process into main memory"
    remedy = "agent.actor.feature_cache=pixels or fewer --num_envs"
    if on_host > free:
        raise ConfigurationError(f"{text}, but {free / GIB:.1f} GiB of it are free for each; set {remedy}")
    if 3 * on_host > free:
        return (
            f"{text}, and up to three times as much while it grows, of {free / GIB:.1f} GiB that are free for each: it "
            f"may not fit; else set {remedy}"
        )
    return None


def show(subject: Subject, free: int | None = None, whose: str = "free") -> Estimate:
    """Estimate a run, print the table, and refuse what cannot fit.

    Args:
        subject: The run.
        free: Bytes that there are; those of this machine where None.
        whose: What these are.

    Raises:
        ConfigurationError: It cannot fit.
    """
    is_here = free is None
    if free is None:
        free = free_bytes(subject.device) + own_bytes(subject.device)
    estimate = subject.estimate(free)
    print(f"[gr00t_rl] memory on {subject.device}\n{estimate.table(free, whose)}", flush=True)
    warnings = [check_fit(subject, estimate, free, whose)]
    if is_here and estimate.on_host:
        warnings.append(check_host(estimate.on_host, free_bytes("cpu")))
    for warning in filter(None, warnings):
        print(f"[gr00t_rl] {warning}", flush=True)
    return estimate
