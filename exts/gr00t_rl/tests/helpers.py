# SPDX-License-Identifier: BSD-3-Clause
"""What several tests share: a vectorised env of torch alone, and the runner configurations that train on it."""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from tensordict import TensorDict  # not at run time: processes that only need a worker below start faster


class EnvCfg:
    """The little that rsl_rl asks of an env's cfg."""

    instruction = "Move the point to the goal."

    def to_dict(self) -> dict[str, Any]:
        return {"instruction": self.instruction}


class PointMassEnv:
    """A point in the plane that should go to the origin: obs groups "policy", "critic" and, if asked for, "image".

    Args:
        num_envs: Number of envs N.
        max_episode_length: Env steps after which an episode times out.
        termination: Probability per step that an episode ends early.
        image: Whether to add a uint8 image group [32, 32, 3] that shows the position.
        final_obs: Whether extras hold the observations from before the resets.
        reuse_buffers: Whether to write every step's observations into the same tensors.
        seed: Seed of the starts and of the early ends.
    """

    num_actions = 2
    device = "cpu"
    step_dt = 0.05

    def __init__(
        self,
        num_envs: int = 4,
        max_episode_length: int = 5,
        termination: float = 0.1,
        image: bool = False,
        final_obs: bool = True,
        reuse_buffers: bool = False,
        seed: int = 0,
    ) -> None:
        self.num_envs, self.max_episode_length, self.termination = num_envs, max_episode_length, termination
        self.image, self.final_obs, self.reuse_buffers = image, final_obs, reuse_buffers
        self.cfg = EnvCfg()
        self.generator = torch.Generator().manual_seed(seed)
        self.position = self._start(num_envs)
        # as if the envs had run before, so that their episodes do not end together
        self.episode_length_buf = torch.arange(num_envs) % max_episode_length
        self.history: list[dict[str, Any]] = []
        """One entry per step: rewards, dones, time_outs and the observations before the resets."""
        self._buffers: TensorDict | None = None

    @property
    def unwrapped(self) -> PointMassEnv:
        return self

    def get_observations(self) -> TensorDict:
        return self._observe()

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        assert actions.shape == (self.num_envs, self.num_actions)
        self.position = self.position + 0.2 * actions.clamp(-1.0, 1.0)
        self.episode_length_buf = self.episode_length_buf + 1
        rewards = -self.position.norm(dim=-1)
        terminated = torch.rand(self.num_envs, generator=self.generator) < self.termination
        time_outs = (self.episode_length_buf >= self.max_episode_length) & ~terminated
        dones = (terminated | time_outs).long()
        final = self._observe(fresh=True)
        extras: dict[str, Any] = {"time_outs": time_outs, "log": {"charts/success_rate": 0.25}}
        if self.final_obs:
            extras["final_obs"] = final.to_dict()
        ids = dones.nonzero().squeeze(-1)
        self.position[ids] = self._start(len(ids))
        self.episode_length_buf[ids] = 0
        self.history.append({"rewards": rewards, "dones": dones, "time_outs": time_outs, "final": final})
        return self._observe(), rewards, dones, extras

    def _start(self, n: int) -> torch.Tensor:
        return 2.0 * torch.rand(n, 2, generator=self.generator) - 1.0

    def _observe(self, fresh: bool = False) -> TensorDict:
        from tensordict import TensorDict

        clock = (self.episode_length_buf / self.max_episode_length).unsqueeze(-1)
        obs = TensorDict(
            {"policy": self.position.clone(), "critic": torch.cat((self.position, clock), dim=-1)}, [self.num_envs]
        )
        if self.image:
            picture = torch.zeros(self.num_envs, 32, 32, 3)
            picture[..., :2] = 128.0 + 60.0 * self.position[:, None, None, :]
            obs["image"] = picture.clamp(0, 255).to(torch.uint8)
        if fresh or not self.reuse_buffers:
            return obs
        if self._buffers is None:
            self._buffers = obs
        else:
            self._buffers.update_(obs)
        return self._buffers


class GroupedPointMassEnv(PointMassEnv):
    """The same, with a reset of all envs after which neighbours start alike; an early end is a success."""

    def __init__(self, num_envs: int = 8, group_size: int = 4, **options: Any) -> None:
        super().__init__(num_envs, **options)
        self.cfg.start_group_size = group_size  # type: ignore[attr-defined]
        self.resets = 0

    def reset(self) -> tuple[TensorDict, dict[str, Any]]:
        self.resets += 1
        size = self.cfg.start_group_size  # type: ignore[attr-defined]
        self.position = self._start(self.num_envs // size).repeat_interleave(size, dim=0)
        self.episode_length_buf = torch.zeros_like(self.episode_length_buf)
        return self._observe(), {"log": {"charts/success_rate": 0.5}}

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        obs, rewards, dones, extras = super().step(actions)
        extras["success"] = dones.bool() & ~extras["time_outs"]
        self.history[-1] |= {"actions": actions.clone(), "success": extras["success"]}
        return obs, rewards, dones.clone(), extras  # GRPO shows the runner's logger no ends


class Fault(NamedTuple):
    """A number that is not finite: in the "reward", an observation group ("policy") or a final one ("final policy")."""

    where: str
    value: float
    step: int
    """After which env step, from 0; -1: before the first, in an observation."""
    env: int = 0


class FaultyEnv(PointMassEnv):
    """The same with faults."""

    def __init__(self, *args: Any, faults: Iterable[Fault] = (), **options: Any) -> None:
        self.faults, self.steps = list(faults), 0
        super().__init__(*args, **options)

    def get_observations(self) -> TensorDict:
        return self._break(super().get_observations(), "")

    def reset(self) -> tuple[TensorDict, dict[str, Any]]:
        obs, extras = super().reset()  # type: ignore[misc]
        return self._break(obs, ""), extras

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        assert actions.isfinite().all()
        obs, rewards, dones, extras = super().step(actions)
        self.steps += 1
        for fault in self.faults:
            if fault.where == "reward" and fault.step == self.steps - 1:
                rewards[fault.env] = fault.value
        self._break(extras["final_obs"], "final ")
        return self._break(obs, ""), rewards, dones, extras

    def _break(self, obs: Any, prefix: str) -> Any:
        for fault in self.faults:
            for group in obs.keys():  # noqa: SIM118  # iterating a TensorDict goes over its rows
                if fault.where == prefix + group and fault.step == self.steps - 1:
                    obs[group][fault.env, 0] = fault.value
        return obs


class FaultyGroupedEnv(FaultyEnv, GroupedPointMassEnv):
    """Groups with faults."""


ACTORS: dict[str, dict[str, Any]] = {
    "mlp": {
        "class_name": "MLPModel",
        "hidden_dims": [32, 32],
        "activation": "elu",
        "obs_normalization": True,
        "distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 0.5, "std_type": "log"},
    },
    "flow_sde_one": {"class_name": "Gr00tActor", "head": "flow_sde", "stochastic_steps": "one", "n_action_steps": 3},
    "flow_sde_all": {"class_name": "Gr00tActor", "head": "flow_sde", "stochastic_steps": "all", "n_action_steps": 3},
    "gaussian": {"class_name": "Gr00tActor", "head": "gaussian", "n_action_steps": 3},
    "flow_noise": {"class_name": "Gr00tActor", "head": "flow_noise", "n_action_steps": 3},
}
"""Actor configurations by the name that the tests give them."""


def runner_cfg(actor: str = "mlp", image: bool = False, num_steps: int = 7, **algorithm: Any) -> dict[str, Any]:
    """Return a configuration for rsl_rl's OnPolicyRunner; ``algorithm`` overrides options of the algorithm."""
    groups = ["policy", "image"] if image else ["policy"]
    return {
        "num_steps_per_env": num_steps,
        "max_iterations": 10,
        "save_interval": 1000,
        "obs_groups": {"actor": groups, "critic": ["critic"]},
        "logger": "tensorboard",
        "actor": copy.deepcopy(ACTORS[actor]),  # rsl_rl 5.4 takes entries out of it
        "critic": {"class_name": "MLPModel", "hidden_dims": [32, 32], "activation": "elu", "obs_normalization": True},
        "algorithm": {
            "class_name": "gr00t_rl.algorithms:PPO",
            "num_learning_epochs": 2,
            "num_mini_batches": 3,
            "schedule": "fixed",
            "learning_rate": 1e-3,
            **algorithm,
        },
    }


def grpo_cfg(actor: str = "mlp", num_steps: int | None = None, image: bool = False, **algorithm: Any) -> dict[str, Any]:
    """Return a configuration with GRPO in groups of four and no critic; ``algorithm`` overrides options."""
    cfg = runner_cfg(actor, image)
    del cfg["critic"], cfg["obs_groups"]["critic"]
    cfg["num_steps_per_env"] = num_steps
    cfg["algorithm"] = {
        "class_name": "gr00t_rl.algorithms:GRPO",
        "group_size": 4,
        "num_learning_epochs": 2,
        "num_mini_batches": 3,
        "learning_rate": 1e-3,
        **algorithm,
    }
    return cfg


def make_runner(cfg: dict[str, Any], env: PointMassEnv, log_dir: Path | None = None, seed: int = 0) -> Any:
    """Return rsl_rl's own runner with freshly seeded models."""
    from rsl_rl.runners import OnPolicyRunner

    torch.manual_seed(seed)
    return OnPolicyRunner(env, cfg, None if log_dir is None else str(log_dir), "cpu")  # type: ignore[arg-type]


def parameters(runner: Any) -> list[torch.nn.Parameter]:
    """Return the trained parameters of actor and critic."""
    return [p for model in (runner.alg.actor, runner.alg.critic) for p in model.parameters() if p.requires_grad]


def gradients_of(runner: Any) -> list[torch.Tensor]:
    """Return their gradients, copied."""
    gradients = [p.grad.clone() for p in parameters(runner) if p.grad is not None]
    assert len(gradients) == len(parameters(runner))
    return gradients


def collect(runner: Any) -> None:
    """Do what the runner does before an update: one iteration's rollout, then the returns."""
    alg = runner.alg
    alg.train_mode()
    obs = runner.env.get_observations()
    with torch.inference_mode():
        for _ in range(runner.cfg["num_steps_per_env"]):
            obs, rewards, dones, extras = runner.env.step(alg.act(obs))
            alg.process_env_step(obs, rewards, dones, extras)
        alg.compute_returns(obs)


def in_float64(runner: Any) -> None:
    """Turn models and collected decisions into float64."""
    from tensordict import TensorDict

    for model in (runner.alg.actor, runner.alg.critic):
        if model is not None:
            model.double()
    batch = runner.alg.batch
    runner.alg.batch = TensorDict(
        {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}, batch.batch_size
    )


def velocity_in_float64(actor: Any) -> Any:
    """Return an actor's ``velocity_of`` without its cast to float32."""

    def velocity_of(context: Any) -> Any:
        head = actor.model.action_head

        def velocity(x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            return (
                head.velocity(x.flatten(0, 1), actor._buckets[step.flatten()], context)
                .to(x.dtype)
                .unflatten(0, step.shape)
            )

        return velocity

    return velocity_of


def normalize_as_rank(rank: int, store: str, parts: list[torch.Tensor], out: str) -> None:
    """Normalise ``parts[rank]`` in a gloo group of ``len(parts)`` processes, and save the result.

    The module is loaded from its file: importing the package would load transformers in every process.
    """
    spec = importlib.util.find_spec("gr00t_rl")
    assert spec is not None and spec.submodule_search_locations
    file = Path(next(iter(spec.submodule_search_locations))) / "algorithms" / "returns.py"
    returns_spec = importlib.util.spec_from_file_location("returns", file)
    assert returns_spec is not None and returns_spec.loader is not None
    returns = importlib.util.module_from_spec(returns_spec)
    returns_spec.loader.exec_module(returns)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=len(parts))
    try:
        torch.save(returns.normalize(parts[rank]), f"{out}{rank}.pt")
    finally:
        dist.destroy_process_group()


def matrix_products_repeat() -> bool:
    """Return whether MKL's matrix products are the same to the bit wherever in memory their inputs lie.

    On processors other than Intel's they are not, unless the environment asks for it (docs/resume.md).
    """
    cpu = Path("/proc/cpuinfo")
    return os.environ.get("MKL_CBWR") == "COMPATIBLE" or (cpu.is_file() and "GenuineIntel" in cpu.read_text())
