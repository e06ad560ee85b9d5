# SPDX-License-Identifier: BSD-3-Clause
"""Wherever a cfg names rsl_rl's ``PPO``, ours runs in its place, through rsl_rl's own runner, or says why not."""

from __future__ import annotations

import copy
import inspect
import types
from typing import Any

import pytest
import torch
from helpers import PointMassEnv, collect, make_runner
from rsl_rl.algorithms import PPO as StockPPO
from rsl_rl.extensions import RandomNetworkDistillation
from tensordict import TensorDict

from gr00t_rl.algorithms.contract import _NOT_IMPLEMENTED
from gr00t_rl.options import PpoOptions, declared
from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.finite import find_nonfinite

MLP = {"class_name": "MLPModel", "hidden_dims": [16, 16], "activation": "elu", "obs_normalization": True}
CNN = {
    **MLP,
    "class_name": "CNNModel",
    "cnn_cfg": {"output_channels": [4, 4], "kernel_size": 3, "stride": 2, "activation": "elu"},
}
RNN = {**MLP, "class_name": "RNNModel", "rnn_type": "lstm", "rnn_hidden_dim": 8, "rnn_num_layers": 1}
GAUSSIAN = {"class_name": "GaussianDistribution", "init_std": 1.0, "std_type": "scalar"}
RND = {
    "num_outputs": 4,
    "predictor_hidden_dims": [16],
    "target_hidden_dims": [16],
    "weight": 5.0,
    "state_normalization": True,
}


class PictureEnv(PointMassEnv):
    """The point mass, with the picture that rsl_rl's CNN reads: float, channels first."""

    step_dt = 0.1  # scales the weight of curiosity

    def _observe(self, fresh: bool = False) -> TensorDict:
        obs = super()._observe(fresh=True)
        obs["picture"] = self.position[:, :, None, None].expand(-1, -1, 16, 16).clone()
        return obs


def stock_cfg(actor: dict[str, Any] = MLP, critic: dict[str, Any] = MLP, **algorithm: Any) -> dict[str, Any]:
    """A configuration written for rsl_rl's PPO: every option that Isaac Lab's cfg class has, and its class name."""
    pictures = ["picture"] if actor["class_name"] == "CNNModel" else []
    critic_pictures = ["picture"] if critic["class_name"] == "CNNModel" else []
    cfg = {
        "num_steps_per_env": 6,
        "max_iterations": 10,
        "save_interval": 1000,
        "obs_groups": {
            "actor": ["policy", *pictures],
            "critic": ["critic", *critic_pictures],
            "rnd_state": ["policy"],
        },
        "logger": "tensorboard",
        "torch_compile_mode": None,
        "actor": {**copy.deepcopy(actor), "distribution_cfg": actor.get("distribution_cfg", dict(GAUSSIAN))},
        "critic": copy.deepcopy(critic),
        "algorithm": {
            "class_name": "PPO",
            "num_learning_epochs": 2,
            "num_mini_batches": 3,
            "learning_rate": 1e-3,
            "schedule": "adaptive",
            "gamma": 0.99,
            "lam": 0.95,
            "entropy_coef": 0.005,
            "desired_kl": 0.01,
            "max_grad_norm": 1.0,
            "optimizer": "adam",
            "value_loss_coef": 1.0,
            "use_clipped_value_loss": True,
            "clip_param": 0.2,
            "normalize_advantage_per_mini_batch": False,
            "share_cnn_encoders": False,
            "use_mixed_precision": False,
            "rnd_cfg": None,
            "symmetry_cfg": None,
            **algorithm,
        },
    }
    if "use_mixed_precision" not in inspect.signature(StockPPO.__init__).parameters:
        del cfg["algorithm"]["use_mixed_precision"]  # rsl_rl 5.4 has not got it
    return cfg


def as_ours(cfg: dict[str, Any]) -> dict[str, Any]:
    """The one change a user makes."""
    assert cfg["algorithm"]["class_name"] == "PPO"
    cfg["algorithm"]["class_name"] = "gr00t_rl.algorithms:PPO"
    return cfg


def weights(runner: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in runner.alg.parameters()]).clone()


CONFIGURATIONS = {
    "mlp": stock_cfg(),
    "heteroscedastic": stock_cfg({**MLP, "distribution_cfg": {"class_name": "HeteroscedasticGaussianDistribution"}}),
    "beta": stock_cfg({**MLP, "distribution_cfg": {"class_name": "BetaDistribution"}}),
    "cnn actor": stock_cfg(CNN),
    "cnn both": stock_cfg(CNN, CNN),
    "shared encoders": stock_cfg(CNN, CNN, share_cnn_encoders=True),
    "lstm": stock_cfg(RNN, RNN),
    "gru": stock_cfg({**RNN, "rnn_type": "gru"}, {**RNN, "rnn_type": "gru"}),
    "recurrent critic": stock_cfg(MLP, RNN),
    "recurrent, curious": stock_cfg(RNN, RNN, rnd_cfg=dict(RND)),
    "curiosity": stock_cfg(rnd_cfg=dict(RND)),
    "fixed rate": stock_cfg(schedule="fixed", normalize_advantage_per_mini_batch=True),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_cfg_for_stock_ppo_runs_with_ours(name, tmp_path):
    """It learns, logs, saves, loads, and acts; the same cfg with its own class name runs too."""
    make_runner(copy.deepcopy(CONFIGURATIONS[name]), PictureEnv()).learn(1)
    cfg = as_ours(copy.deepcopy(CONFIGURATIONS[name]))
    runner = make_runner(cfg, PictureEnv(), tmp_path)
    before = weights(runner)
    runner.learn(2)
    after = weights(runner)
    assert after.isfinite().all() and not torch.equal(before, after)
    other = make_runner(as_ours(copy.deepcopy(CONFIGURATIONS[name])), PictureEnv(), seed=1)
    other.load(str(tmp_path / "model_1.pt"))
    assert torch.equal(weights(other), after)
    obs = other.env.get_observations()
    with torch.inference_mode():
        action = other.get_inference_policy("cpu")(obs)
    assert action.shape == (4, 2) and torch.equal(action, runner.get_inference_policy("cpu")(obs))


@pytest.mark.parametrize("option", [name for name in inspect.signature(StockPPO.__init__).parameters if name != "self"])
def test_every_option_of_stock_ppo_is_known(option):
    """Each is an option of ours, or refused by name where it is on; none ends in a TypeError."""
    runner_made = {"actor", "critic", "storage", "device", "multi_gpu_cfg"}
    assert option in runner_made | set(_NOT_IMPLEMENTED) | set(declared(PpoOptions))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"algorithm": {"symmetry_cfg": {"data_augmentation_func": "m:f"}}}, r"algorithm\.symmetry_cfg="),
        ({"algorithm": {"use_mixed_precision": True}}, r"algorithm\.use_mixed_precision=True"),
        ({"algorithm": {"optimizer": "adamw"}}, r"algorithm\.optimizer='adamw'"),
        ({"algorithm": {"share_cnn_encoders": True}}, r"algorithm\.share_cnn_encoders=True.*no CNN encoders"),
    ],
)
def test_what_is_not_implemented_is_refused_in_one_line(change, names):
    cfg = as_ours(stock_cfg())
    for section, values in change.items():
        cfg[section].update(values)
    with pytest.raises(ConfigurationError, match=names) as error:
        make_runner(cfg, PictureEnv())
    assert "\n" not in str(error.value)


class BareEnv(PictureEnv):
    """No more than rsl_rl's ``VecEnv`` demands: a dict as cfg, floats as flags, nothing of how episodes ended."""

    def __init__(self) -> None:
        super().__init__(termination=0.3, max_episode_length=3)
        self.cfg = {}  # type: ignore[assignment]

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        obs, rewards, dones, extras = super().step(actions)
        return obs, rewards, dones.float(), {"time_outs": extras["time_outs"].float()}


def bare_cfg(name: str) -> dict[str, Any]:
    """What rsl_rl's runner cannot do without."""
    cfg = as_ours(copy.deepcopy(CONFIGURATIONS[name]))
    for optional in ("max_iterations", "logger", "torch_compile_mode"):
        del cfg[optional]
    cfg["algorithm"] = {name: cfg["algorithm"][name] for name in ("class_name", "num_learning_epochs")}
    return cfg


@pytest.mark.parametrize("name", ["mlp", "cnn both", "lstm", "gru"])
def test_bare_env_and_cfg(name, tmp_path):
    """Seeded runs are equal, files restore weights and the number of the last iteration, and the policy acts."""
    runs = []
    for seed in (0, 0, 1):
        runner = make_runner(bare_cfg(name), BareEnv(), seed=seed)
        runner.learn(2)
        runs.append(weights(runner))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    runner.save(str(tmp_path / "file.pt"))
    assert runner.current_learning_iteration == 1
    runner.learn(2)
    assert runner.current_learning_iteration == 3 and not torch.equal(weights(runner), runs[2])
    runner.load(str(tmp_path / "file.pt"))
    assert runner.current_learning_iteration == 1 and torch.equal(weights(runner), runs[2])
    policy, obs = runner.get_inference_policy(), runner.env.get_observations()
    for _ in range(4):
        obs, *_ = runner.env.step(policy(obs))
    runner.learn(1)
    assert runner.current_learning_iteration == 2


def test_compilation_is_refused_in_one_line():
    cfg = {**as_ours(stock_cfg()), "torch_compile_mode": "default"}
    with pytest.raises(ConfigurationError, match="torch_compile_mode='default'"):
        make_runner(cfg, PictureEnv())


# -- shared encoders ---------------------------------------------------------------------------------------------------


def test_shared_encoders_are_one_and_learn_from_both_losses():
    """As in stock PPO; the encoders' weights are in the optimiser once, under the actor's rate."""
    runner = make_runner(as_ours(stock_cfg(CNN, CNN, share_cnn_encoders=True)), PictureEnv())
    alg = runner.alg
    assert alg.actor.cnns is alg.critic.cnns
    groups = [{id(p) for p in group["params"]} for group in alg.optimizer.param_groups]
    encoder = {id(p) for p in alg.actor.cnns.parameters()}
    assert encoder and encoder <= groups[0] and not encoder & groups[1]
    collect(runner)
    batch = alg.batch.clone()
    for term in ("policy", "value"):
        alg.optimizer.zero_grad()
        alg._loss_terms(batch)[term].mean().backward()
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in alg.actor.cnns.parameters()), term


# -- curiosity ---------------------------------------------------------------------------------------------------------


def curious_runner(class_name: str = "gr00t_rl.algorithms:PPO", **rnd: Any) -> Any:
    cfg = stock_cfg(rnd_cfg={**RND, **rnd})
    cfg["algorithm"]["class_name"] = class_name
    return make_runner(cfg, PictureEnv())


def test_curiosity_rewards_every_env_step():
    """What is stored is the env's reward plus rsl_rl's intrinsic one, for the observation that the step led to."""
    runner = curious_runner()
    env, alg = runner.env, runner.alg
    assert isinstance(alg.rnd, RandomNetworkDistillation) and alg.rnd.initial_weight == pytest.approx(5.0 * 0.1)
    alg.train_mode()
    obs = env.get_observations()
    with torch.inference_mode():
        for t in range(6):
            obs, rewards, dones, extras = env.step(alg.act(obs))
            extras = {**extras, "time_outs": torch.zeros(4, dtype=torch.bool)}
            error = alg.rnd.target(obs["policy"]) - alg.rnd.predictor(obs["policy"])  # normaliser: still the identity
            alg.process_env_step(obs, rewards, dones, extras)
            torch.testing.assert_close(alg.intrinsic_rewards, 0.5 * error.norm(dim=-1), rtol=0.05, atol=1e-3)
            torch.testing.assert_close(alg.storage.rewards[t], rewards + alg.intrinsic_rewards)
    assert alg.intrinsic_rewards.min() > 0


@pytest.mark.skipif(
    "use_mixed_precision" not in inspect.signature(StockPPO.__init__).parameters,
    reason="rsl_rl 5.4 moves the normalisers at every step",
)
def test_curiosity_equals_that_of_stock_ppo():
    """One full-batch step from equal weights on equal data leaves equal predictors and equal normalisers."""
    runners = [curious_runner(class_name) for class_name in ("PPO", "gr00t_rl.algorithms:PPO")]
    stock, ours = runners
    ours.alg.rnd.load_state_dict(stock.alg.rnd.state_dict())
    for runner in runners:
        options = getattr(runner.alg, "options", runner.alg)  # rsl_rl's own holds them itself
        options.num_learning_epochs = options.num_mini_batches = 1
        runner.alg.actor.load_state_dict(stock.alg.actor.state_dict())
        runner.env.position = torch.linspace(-1.0, 1.0, 8).view(4, 2)
        runner.env.generator.manual_seed(0)
        torch.manual_seed(0)
        collect(runner)
    seen = stock.alg.storage.observations["policy"].flatten(0, 1)
    torch.testing.assert_close(ours.alg.batch["policy"], seen)
    before = {k: v.clone() for k, v in stock.alg.rnd.state_dict().items()}
    losses = [runner.alg.update()["rnd"] for runner in runners]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for key, value in stock.alg.rnd.state_dict().items():
        torch.testing.assert_close(ours.alg.rnd.state_dict()[key], value, rtol=1e-4, atol=1e-6)
        assert torch.equal(value, before[key]) == key.startswith("target"), key


def test_curiosity_is_logged_saved_and_loaded(tmp_path):
    cfg = as_ours(stock_cfg(rnd_cfg=dict(RND)))
    runner = make_runner(cfg, PictureEnv(), tmp_path)
    runner.learn(2)
    other = curious_runner()
    other.load(str(tmp_path / "model_1.pt"))
    for key, value in runner.alg.rnd.state_dict().items():
        assert torch.equal(value, other.alg.rnd.state_dict()[key]), key
    assert other.alg.rnd.update_counter == runner.alg.rnd.update_counter == 12
    assert len(other.alg.rnd.optimizer.state_dict()["state"]) > 0


def test_an_absurd_observation_leaves_curiosity_as_it_was():
    """Finite, but too large for the squares in Adam's moments: the whole step is skipped, the predictor's too."""
    alg = curious_runner().alg
    collect(types.SimpleNamespace(alg=alg, env=alg.env, cfg={"num_steps_per_env": 6}))
    alg.batch["policy"][0] = 1e14
    before = copy.deepcopy(alg.rnd.predictor.state_dict())
    alg.options.num_learning_epochs = alg.options.num_mini_batches = 1
    assert alg.update()["nonfinite_steps"] == 1
    for name, value in alg.rnd.predictor.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert find_nonfinite(alg.rnd.optimizer.state_dict()) is None
