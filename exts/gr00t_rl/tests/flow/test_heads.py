# SPDX-License-Identifier: BSD-3-Clause
"""Policy heads against closed forms: linear velocity fields make every chain a Gaussian that can be written down."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from gr00t_rl.flow import FlowSde, GaussianHead, chain_log_prob, flow_sde_weights, make_head
from gr00t_rl.options import HeadOptions

F64 = torch.float64


class LinearField(nn.Module):
    """v(x, k) = a x + b (k + 1), the same in every dimension."""

    def __init__(self, a: float = -0.8, b: float = 0.3) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a, dtype=F64)), nn.Parameter(torch.tensor(b, dtype=F64))

    def forward(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return self.a * x + self.b * (step + 1)[..., None, None]


def data_field(mu: float, s: float, num_steps: int):
    """The exact velocity field where the data are N(mu, s^2): v = E[data - noise | x_t = x]."""

    def velocity(x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        t = (step.to(x.dtype) / num_steps)[..., None, None]
        return mu + (t * s**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * s**2) * (x - t * mu)

    return velocity


def affine_step(velocity, k: int, num_steps: int, noise_level: float) -> tuple[float, float, float]:
    """(gain, offset, std) of a Flow-SDE step k, written out from the definition: x' = gain x + offset + std eps."""
    t, d = k / num_steps, 1 / num_steps
    t_sigma = max(t, d)
    sigma = noise_level * math.sqrt((1 - t_sigma) / t_sigma)

    def mean(x: float) -> float:
        v = velocity(torch.full((1, 1, 1, 1), x, dtype=F64), torch.full((1, 1), k)).item()
        x_noise, x_data = x - t * v, x + (1 - t) * v
        return x_noise * (1 - (t + d) - sigma**2 * d / (2 * (1 - t))) + x_data * (t + d)

    return mean(1.0) - mean(0.0), mean(0.0), math.sqrt(d) * sigma


def moments(velocity, num_steps: int, noise_level: list[float]) -> tuple[float, float]:
    """Exact mean and variance of the chain's end from x_0 ~ N(0, 1), with a noise level for each step."""
    mean, variance = 0.0, 1.0
    for k in range(num_steps):
        gain, offset, std = affine_step(velocity, k, num_steps, noise_level[k])
        mean, variance = gain * mean + offset, gain**2 * variance + std**2
    return mean, variance


# -- Flow-SDE ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stochastic_steps", ["one", "all"])
def test_shapes(stochastic_steps):
    m = {"one": 1, "all": 4}[stochastic_steps]
    sample = FlowSde(4, 0.5, stochastic_steps).sample(LinearField(), torch.randn(7, 3, 2, dtype=F64))
    assert sample.actions.shape == (7, 3, 2)
    assert sample.mean.shape == sample.transitions.x.shape == sample.transitions.x_next.shape == (7, m, 3, 2)
    assert sample.std.shape == (7, m, 1, 1)
    assert sample.transitions.step.shape == (7, m)
    assert sample.transitions.step.dtype == torch.long


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("head", [FlowSde(3, 0.5, "one"), FlowSde(3, 0.5, "all"), GaussianHead(3, 2, 0.3)])
def test_dtype_is_that_of_the_noise(head, dtype):
    head, field = head.to(dtype), LinearField().to(dtype)
    sample = head.sample(field, torch.randn(2, 4, 3, dtype=dtype))
    mean, std = head.distribution(field, sample.transitions)
    assert {p.dtype for p in (sample.actions, sample.mean, sample.std, mean, std)} == {dtype}


def test_all_steps_form_one_chain():
    """Each state reached is the next one left; the last is the action."""
    sample = FlowSde(4, 0.5, "all").sample(LinearField(), x0 := torch.randn(3, 2, 2, dtype=F64))
    x, x_next, step = sample.transitions
    assert torch.equal(x[:, 0], x0)
    assert torch.equal(x[:, 1:], x_next[:, :-1])
    assert torch.equal(x_next[:, -1], sample.actions)
    assert step.tolist() == [[0, 1, 2, 3]] * 3


def test_one_step_is_random_and_the_others_follow_the_ode():
    """From x0 to the state left, and from the state reached to the action, every step is Euler's."""
    field = LinearField()
    sample = FlowSde(4, 0.7, "one").sample(field, x0 := torch.randn(64, 2, 2, dtype=F64))
    (x, x_next, step), chosen = sample.transitions, sample.transitions.step.squeeze(1)
    assert set(chosen.tolist()) == {0, 1, 2, 3}
    for i, k in enumerate(chosen.tolist()):
        state = x0[i]
        for j in range(4):
            if j == k:
                torch.testing.assert_close(state, x[i, 0])
                state = x_next[i, 0]
            else:
                state = state + (field.a * state + field.b * (j + 1)) / 4
        torch.testing.assert_close(state, sample.actions[i])
    noise = (x_next - sample.mean) / sample.std
    assert 0.9 < noise.std() < 1.1
    torch.testing.assert_close(sample.std.squeeze(), flow_sde_weights(step.squeeze(1), 4, 0.7, F64)[2])


def test_without_noise_the_mean_is_the_euler_step():
    head, field = FlowSde(4, 0.0, "all"), LinearField()
    sample = head.sample(field, x0 := torch.randn(5, 2, 2, dtype=F64))
    x, x_next, step = sample.transitions
    torch.testing.assert_close(sample.mean, x + field(x, step) / 4)
    torch.testing.assert_close(x_next, sample.mean)
    torch.testing.assert_close(sample.actions, head.integrate(field, x0))


def test_integrate_is_k_euler_steps():
    """x <- x (1 + a/K) + b (k + 1)/K, by hand for a = -1, b = 2, K = 2, x0 = 4: 4 -> 3 -> 3.5."""
    x = FlowSde(2, 0.5, "all").integrate(LinearField(-1.0, 2.0), torch.full((1, 1, 1), 4.0, dtype=F64))
    assert x.item() == pytest.approx(3.5)


def test_log_prob_is_the_joint_density_of_the_chain():
    """With v = a x + b in one dimension, (x_1 ... x_K | x_0) is a Gaussian vector with known mean and covariance."""
    num_steps, level = 4, 0.8
    head, field = FlowSde(num_steps, level, "all"), LinearField()
    x0 = torch.full((6, 1, 1), 0.7, dtype=F64)
    sample = head.sample(field, x0)
    # x_k = gain_k x_{k-1} + offset_k + std_k eps_k, so that x = mean + L eps with L lower triangular
    mean, factor = torch.zeros(num_steps, dtype=F64), torch.zeros(num_steps, num_steps, dtype=F64)
    previous = 0.7
    for k in range(num_steps):
        gain, offset, std = affine_step(field, k, num_steps, level)
        mean[k] = gain * previous + offset
        if k > 0:
            factor[k] = gain * factor[k - 1]
        factor[k, k] = std
        previous = mean[k].item()
    chain = sample.transitions.x_next.flatten(1)
    expected = MultivariateNormal(mean, scale_tril=factor).log_prob(chain)
    torch.testing.assert_close(chain_log_prob(sample.transitions.x_next, sample.mean, sample.std), expected)


@pytest.mark.parametrize(
    "head",
    [
        FlowSde(4, 0.5, "one"),
        FlowSde(4, 0.5, "all"),
        FlowSde(4, 0.5, "all", "published"),
        FlowSde(4, 0.5, "one", "published"),
        GaussianHead(4, 2, 0.3),
    ],
)
def test_sampling_and_scoring_agree(head):
    """The log-probability at sampling is that of scoring the stored transitions."""
    field = LinearField().float()
    sample = head.sample(field, torch.randn(8, 3, 2))
    mean, std = head.distribution(field, sample.transitions)
    assert torch.allclose(mean, sample.mean, atol=1e-6)
    x_next = sample.transitions.x_next
    sampled, scored = (chain_log_prob(x_next, m, s) for m, s in ((sample.mean, sample.std), (mean, std)))
    torch.testing.assert_close(sampled, scored, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "head",
    [
        FlowSde(4, 0.5, "one"),
        FlowSde(4, 0.5, "all"),
        FlowSde(4, 0.5, "all", "published"),
        GaussianHead(4, 2, 0.3).double(),
    ],
)
def test_gradient_of_the_log_prob_against_finite_differences(head):
    field = LinearField()
    sample = head.sample(field, torch.randn(3, 2, 2, dtype=F64))
    transitions = type(sample.transitions)(*(part.detach() for part in sample.transitions))
    parameters = [*field.parameters(), *head.parameters()]

    def score(*_: torch.Tensor) -> torch.Tensor:
        return chain_log_prob(transitions.x_next, *head.distribution(field, transitions))

    assert torch.autograd.gradcheck(score, parameters)


@pytest.mark.parametrize("noise_level", [0.5, 1.0])
@pytest.mark.parametrize("stochastic_steps", ["one", "all"])
def test_the_sde_keeps_the_marginals_of_the_ode(stochastic_steps, noise_level):
    """Monte Carlo with the exact field of N(mu, s^2): the chain ends with the data's moments."""
    mu, s, num_steps = 0.5, 0.4, 64
    field = data_field(mu, s, num_steps)
    torch.manual_seed(0)
    x0 = torch.randn(10_000, 1, 4, dtype=F64)
    head = FlowSde(num_steps, noise_level, stochastic_steps)
    actions, ode = head.sample(field, x0).actions, head.integrate(field, x0)
    # the moments of the discrete chain, exactly: four standard errors of 40 000 draws
    if stochastic_steps == "all":
        chains = [moments(field, num_steps, [noise_level] * num_steps)]
    else:
        chains = [moments(field, num_steps, [noise_level * (j == k) for j in range(num_steps)]) for k in range(64)]
    mean = sum(m for m, _ in chains) / len(chains)
    std = math.sqrt(sum(v + m**2 for m, v in chains) / len(chains) - mean**2)
    assert actions.mean().item() == pytest.approx(mean, abs=4 * std / 200)
    assert actions.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * 40_000))
    # and those of the ODE and of the data, up to the discretisation
    assert actions.mean().item() == pytest.approx(ode.mean().item(), abs=0.02)
    assert actions.std().item() == pytest.approx(ode.std().item(), rel=0.04)
    assert (mean, std) == pytest.approx((mu, s), rel=0.04)


def test_more_steps_bring_the_sde_closer_to_the_data():
    """The discretisation error of the all-steps chain's variance falls with K."""
    mu, s = 0.5, 0.4
    errors = [abs(moments(data_field(mu, s, k), k, [1.0] * k)[1] - s**2) for k in (8, 32, 128)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_few_steps_spread_wider_than_the_ode():
    """What the docs say of K = 4: exactly, for the field of N(0.5, 0.4^2)."""
    field, spread = data_field(0.5, 0.4, 4), {}
    for level in (0.0, 0.5, 1.0):
        spread[level] = moments(field, 4, [level] * 4)[1] ** 0.5
    assert spread[1.0] > spread[0.5] > 1.05 * spread[0.0]


def test_published_first_step_has_its_own_likelihood():
    """Std and log-probability of the first transition are those of the larger sigma, in closed form."""
    torch.manual_seed(0)
    field, x0 = LinearField(), torch.randn(64, 1, 2, dtype=F64)
    sample = make_head(HeadOptions(stochastic_steps="all", first_step_noise="published"), 2, (1, 2), 1).sample(
        field, x0
    )
    assert sample.std[0].flatten().tolist() == pytest.approx([0.5, 3**0.5 / 4, 1 / 4, 3**-0.5 / 4])
    x_next = sample.transitions.x_next
    mean = 0.625 * x0 + 0.25 * (x0 + field.a * x0 + field.b)  # w0 (x - t v) + w1 (x + (1 - t) v) at t = 0
    expected = Normal(mean, 0.5).log_prob(x_next[:, 0]).flatten(1).sum(1)
    found = chain_log_prob(x_next[:, :1], sample.mean[:, :1], sample.std[:, :1])
    torch.testing.assert_close(found, expected)


def test_std_summary_is_the_std_of_each_step():
    torch.testing.assert_close(FlowSde(4, 0.5, "one").std_summary(), flow_sde_weights(torch.arange(4), 4, 0.5)[2])


# -- Gaussian head -----------------------------------------------------------------------------------------------------


def test_gaussian_head_is_a_normal_around_the_ode():
    head, field = GaussianHead(4, action_dim=2, init_std=0.3).double(), LinearField()
    with torch.no_grad():
        head.log_std.copy_(torch.tensor([0.1, 0.2]).log())
    sample = head.sample(field, x0 := torch.randn(5, 3, 4, dtype=F64))
    x, x_next, _ = sample.transitions
    assert torch.equal(x.squeeze(1), x0)
    assert torch.equal(x_next.squeeze(1), sample.actions)
    assert sample.mean.shape == (5, 1, 3, 4)
    torch.testing.assert_close(sample.mean.squeeze(1), head.integrate(field, x0))
    std = torch.tensor([0.1, 0.2, 0.1, 0.1], dtype=F64)  # padded dimensions repeat the first
    torch.testing.assert_close(sample.std, std.expand(5, 1, 3, 4), atol=1e-7, rtol=0)
    expected = Normal(sample.mean, sample.std).log_prob(x_next).sum((1, 2, 3))
    torch.testing.assert_close(chain_log_prob(x_next, sample.mean, sample.std), expected)
    torch.testing.assert_close(head.std_summary(), std[:2], atol=1e-7, rtol=0)


def test_gradient_to_log_std_by_hand():
    """d log N / d log std = z^2 - 1 per number; padded dimensions contribute nothing."""
    head, field = GaussianHead(2, action_dim=2, init_std=0.5).double(), LinearField()
    sample = head.sample(field, torch.randn(4, 3, 3, dtype=F64))
    transitions = type(sample.transitions)(*(part.detach() for part in sample.transitions))
    chain_log_prob(transitions.x_next, *head.distribution(field, transitions)).sum().backward()
    z = (transitions.x_next - sample.mean.detach()) / 0.5
    torch.testing.assert_close(head.log_std.grad, (z.square() - 1).sum((0, 1, 2))[:2], atol=1e-5, rtol=1e-5)


def test_gradient_passes_through_all_steps_of_the_ode():
    """For v = a x, x_K = (1 + a/K)^K x0 and d x_K / d a = (1 + a/K)^(K-1) x0."""
    head, field = GaussianHead(4, action_dim=1, init_std=0.3).double(), LinearField(-0.8, 0.0)
    sample = head.sample(field, torch.full((1, 1, 1), 2.0, dtype=F64))
    mean, _ = head.distribution(field, sample.transitions)
    assert mean.item() == pytest.approx(2.0 * 0.8**4)
    mean.sum().backward()
    assert field.a.grad is not None
    assert field.a.grad.item() == pytest.approx(2.0 * 0.8**3)


def test_make_head_by_name():
    common = {"num_inference_timesteps": 3, "noise_level": 0.6, "init_std": 0.2}
    sde = make_head(HeadOptions("flow_sde", stochastic_steps="all", **common), 2, (4, 2), 5)
    assert isinstance(sde, FlowSde)
    assert (sde.num_steps, sde.noise_level, sde.stochastic_steps) == (3, 0.6, "all")
    gaussian = make_head(HeadOptions("gaussian", **common), 2, (4, 2), 5)
    assert isinstance(gaussian, GaussianHead)
    torch.testing.assert_close(gaussian.std_summary(), torch.full((2,), 0.2))


@pytest.mark.parametrize(("name", "stochastic_steps"), [("flow_nosie", "one"), ("flow_sde", "some")])
def test_make_head_refuses_unknown_names(name, stochastic_steps):
    """An unknown name must not silently become another policy."""
    with pytest.raises(ValueError, match=name if name != "flow_sde" else stochastic_steps):
        make_head(HeadOptions(name, 3, stochastic_steps=stochastic_steps), 2, (4, 2), 5)
