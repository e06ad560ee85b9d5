# SPDX-License-Identifier: BSD-3-Clause
"""On a GPU: no tensor of another device takes part, and the host waits for the device in known places only.

There is no GPU: see ``fake_gpu.py``. Two iterations of the real algorithms run on fake tensors, from the first
observation to the metrics. Every place where the host waits stands in a table here, with how often it may.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fake_gpu import CUDA, HostSync, fake_gpu, to_fake_gpu
from helpers import EnvCfg, grpo_cfg, runner_cfg
from tensordict import TensorDict

from gr00t_rl.utils.rsl_rl_versions import resolve_class

pytestmark = pytest.mark.slow

N, STEPS = 8, 4

DUE = "models/chunk_queue.py:due_ids"
PER_STEP = {
    DUE: "all",  # the number of envs that decide sizes the network's batch
    "utils/finite.py:all_fine": True,  # is any env not finite?
    "algorithms/base.py:_time_out_values": "none",  # with a critic: has any timed out?
}
"""Where an env step may wait, once each, and what the fake device says there."""

PER_MINIBATCH = {
    "algorithms/guard.py:allows": True,  # is the gradient finite?
    "algorithms/surrogate.py:_minibatch_step": 0.0,  # with target_kl: has the policy strayed?
}
"""Where a minibatch step may wait, once each."""

ON_HOST = {
    "storage/feature_cache.py:gather": None,  # the rollout's copies are done
    "storage/feature_cache.py:gather:copy": None,  # row numbers to the host, features from it
}
"""Where every forward pass over stored decisions waits with feature_cache=host."""

PER_ITERATION = {
    "algorithms/quarantine.py:admit": False,
    "algorithms/quarantine.py:settle": 0,
    "algorithms/quarantine.py:settle:copy": None,
    "storage/decision_storage.py:_drop_discarded": False,
    "algorithms/ranks.py:exchange": 1.0,
    "algorithms/base.py:_end_iteration:copy": None,  # in rsl_rl's normaliser: the number of observations
    "models/gr00t_actor.py:update_normalization:copy": None,
    "models/critics.py:update_normalization:copy": None,
}
"""Where else: a few times per iteration, whatever its length."""

PER_GROUPS = {
    "algorithms/grpo.py:_select": "all",
    "algorithms/group_metrics.py:tally_endings": "all",
    "algorithms/group_metrics.py:tally_episodes": "all",
    "algorithms/grpo.py:update": 0.5,
}
"""Where else in GRPO, once per iteration."""

LAYOUT = {
    "tiny": "gr00t/n1d5/backbone.py:_check_layout",
    "tiny-n1.7": "gr00t/n1d7/backbone.py:_check_layout",
}
"""Where, by the actor's checkpoint, once per run and batch shape: the image tokens of a prompt are counted."""

ANSWERS = {
    **PER_STEP,
    **PER_MINIBATCH,
    **ON_HOST,
    **PER_ITERATION,
    **PER_GROUPS,
    **dict.fromkeys(LAYOUT.values(), False),
}


def observations(image: bool, device: torch.device | str) -> TensorDict:
    obs = {"policy": torch.zeros(N, 2, device=device), "critic": torch.zeros(N, 3, device=device)}
    if image:
        obs["image"] = torch.zeros(N, 32, 32, 3, dtype=torch.uint8, device=device)
    return TensorDict(obs, [N])


class FakeEnv:
    """A vectorised env whose numbers nobody knows."""

    num_envs, num_actions, max_episode_length, device = N, 2, STEPS, "cuda"

    def __init__(self, image: bool) -> None:
        self.cfg: Any = EnvCfg()
        self.cfg.start_group_size = 4
        self.image = image
        self.unwrapped = self
        self.episode_length_buf = torch.zeros(N, dtype=torch.long, device=CUDA)
        self.reset_terminated = torch.zeros(N, dtype=torch.bool, device=CUDA)

    def get_observations(self) -> TensorDict:
        return observations(self.image, CUDA)

    def reset(self) -> tuple[TensorDict, dict[str, Any]]:
        return self.get_observations(), {}

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        assert actions.shape == (N, 2) and actions.device == CUDA
        flags = torch.zeros(N, dtype=torch.bool, device=CUDA)
        obs = self.get_observations()
        extras = {"time_outs": flags, "success": flags, "final_obs": self.get_observations().to_dict()}
        return obs, torch.zeros(N, device=CUDA), torch.zeros(N, dtype=torch.long, device=CUDA), extras


def make_models(cfg: dict[str, Any], image: bool) -> dict[str, Any]:
    """Build actor and critic on the CPU, as the runner does."""
    models: dict[str, Any] = {}
    for name, size in (("actor", FakeEnv.num_actions), ("critic", 1)):
        if name in cfg:
            model_class, model_cfg = resolve_class(dict(cfg[name]))
            if getattr(model_class, "reads_features", False):
                model_cfg["feature_dim"] = models["actor"].feature_dim
            models[name] = model_class(observations(image, "cpu"), cfg["obs_groups"], name, size, **model_cfg)
    return models


def make(cfg: dict[str, Any], models: dict[str, Any], syncs: Any, env: FakeEnv) -> Any:
    """Build the algorithm around models that move to the fake GPU."""
    algorithm, settings = resolve_class(dict(cfg["algorithm"]))
    options = algorithm.options_type.parse(settings, "agent.algorithm")
    for model in models.values():
        to_fake_gpu(model, syncs)
    steps = cfg["num_steps_per_env"] or STEPS
    alg = algorithm(
        models["actor"], models.get("critic"), env, cfg["obs_groups"], steps, options, "cuda", None, max_iterations=2
    )
    alg.timer._cuda = False
    return alg


def iterate(alg: Any, env: FakeEnv, syncs: Any) -> tuple[list[dict[str, int]], dict[str, int], dict[str, int]]:
    """Run one iteration; return the reads of each env step, of the returns, and of the update."""
    alg.train_mode()
    steps = []
    obs = env.get_observations()
    with torch.inference_mode():
        for number in range(alg.num_steps):
            syncs.answers[DUE] = "none" if number % alg.policy.n_action_steps else "all"
            obs, rewards, dones, extras = env.step(alg.act(obs))
            alg.process_env_step(obs, rewards, dones, extras)
            steps.append(syncs.take())
        alg.compute_returns(obs)
    returns = syncs.take()
    alg.update()
    return steps, returns, syncs.take()


CASES = {
    "mlp": ("mlp", {}, {}),
    "state": ("flow_sde_one", {}, {"obs_normalization": True}),
    "device": ("flow_sde_all", {"recompute_log_probs": True}, {"dtype": "bfloat16", "train": {"dit": "lora"}}),
    "host": ("flow_noise", {}, {"feature_cache": "host", "dtype": "bfloat16"}),
    "pixels": ("gaussian", {}, {"feature_cache": "pixels", "train": {"llm": "lora", "projectors": "full"}}),
}
"""Actor, options of the algorithm, options of the actor."""
RUNS = [*((name, "tiny") for name in CASES), ("pixels", "tiny-n1.7")]
"""Case, checkpoint of a GR00T actor."""


@pytest.fixture(params=RUNS, ids="-".join)
def case(request) -> tuple[str, dict[str, Any]]:
    name, checkpoint = request.param
    actor, algorithm, options = CASES[name]
    image = name in ("device", "host", "pixels")  # where their features are kept
    cfg = runner_cfg(actor, image, STEPS, target_kl=0.1, schedule="adaptive", micro_batch_size=4, **algorithm)
    cfg["algorithm"] |= {"num_learning_epochs": 1, "num_mini_batches": 2}
    cfg["actor"] |= options if actor == "mlp" else {"checkpoint": checkpoint, "num_inference_timesteps": 2, **options}
    if name == "host":
        cfg["critic"] = {"class_name": "gr00t_rl.models:Gr00tFeatureCritic"}
    return name, cfg


def test_ppo(case):
    """Between the decision's batch size and the record in the storage nothing waits, nor does a forward pass."""
    name, cfg = case
    image = "image" in cfg["obs_groups"]["actor"]
    layout = LAYOUT[cfg["actor"].get("checkpoint", "tiny")]
    models = make_models(cfg, image)
    with fake_gpu(ANSWERS) as syncs:
        env = FakeEnv(image)
        alg = make(cfg, models, syncs, env)
        for iteration in range(2 if name in ("mlp", "host") else 1):
            steps, returns, update = iterate(alg, env, syncs)
            for number, reads in enumerate(steps):
                assert reads.pop("algorithms/quarantine.py:admit", 0) == (number == 0)
                assert reads.pop(layout, 0) == (image and number == iteration == 0)
                assert reads == dict.fromkeys(PER_STEP, 1)
            assert returns.keys() <= PER_ITERATION.keys() and max(returns.values()) <= 2
            assert [update.pop(place) for place in PER_MINIBATCH] == [2, 2]
            if name == "host":
                assert update.pop("storage/feature_cache.py:gather") * 2 == update.pop(
                    "storage/feature_cache.py:gather:copy"
                )
            if name == "pixels":
                assert update.pop(layout, 0) <= 2 * (iteration == 0)
            assert (
                update.keys() <= PER_ITERATION.keys() and max(update.values()) <= 3
            )  # the gate twice, where the kernels differ


@pytest.mark.parametrize("actor", ["mlp", "flow_sde_one"])
def test_grpo(actor):
    settings = {"kl_coef": 0.1, "target_kl": 0.1, "loss_average": "episode", "zero_std_groups": "resample"}
    cfg = grpo_cfg(actor, micro_batch_size=4, **settings)
    models = make_models(cfg, image=False)
    with fake_gpu(ANSWERS) as syncs:
        env = FakeEnv(image=False)
        alg = make(cfg, models, syncs, env)
        steps, returns, update = iterate(alg, env, syncs)
        steps[0].pop("algorithms/quarantine.py:admit")
        for reads in steps:
            assert reads == {DUE: 1, "utils/finite.py:all_fine": 1}
        assert returns.keys() <= PER_ITERATION.keys() and max(returns.values()) <= 2
        assert [update.pop(place) for place in PER_MINIBATCH] == [6, 6]
        assert update.keys() <= {*PER_ITERATION, *PER_GROUPS} and max(update.values()) <= 5


# -- the fake itself ---------------------------------------------------------------------------------------------------


def test_reads_in_other_places_are_found():
    with fake_gpu({}) as syncs:
        x = torch.ones(3, device=CUDA)
        for read in (
            lambda: x.sum().item(),
            lambda: bool(x.any()),
            lambda: x.nonzero(),
            lambda: x[x > 0],
            lambda: x.tolist(),
            lambda: x.unique(),
            lambda: x.cpu(),
            lambda: torch.tensor(1.0, device=CUDA),
            lambda: torch.cuda.synchronize(),
        ):
            with pytest.raises(HostSync, match="test"), torch.inference_mode(torch.is_inference_mode_enabled()):
                read()
            with pytest.raises(HostSync), torch.inference_mode():
                read()
        assert len(syncs.take()) > 0


def test_two_devices_in_one_operation_are_found():
    with fake_gpu({}):
        with pytest.raises(RuntimeError, match="device"):
            torch.add(torch.ones(3, device=CUDA), torch.ones(3))
        layer = torch.nn.Linear(3, 2)
        with pytest.raises(RuntimeError, match="device"):
            layer(torch.ones(1, 3, device=CUDA))
