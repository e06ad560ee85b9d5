# SPDX-License-Identifier: BSD-3-Clause
"""Flow-Noise against closed forms, finite differences and Monte Carlo moments; supervised flow matching."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from gr00t_rl.flow import (
    FlowNoise,
    NoiseNet,
    Transitions,
    chain_entropy,
    chain_kl,
    chain_log_prob,
    flow_matching_loss,
    make_head,
    sample_time,
    time_of,
)
from gr00t_rl.options import HeadOptions

F64 = torch.float64
B, H, A, C, K = 5, 3, 2, 4, 4


class LinearField(nn.Module):
    """v(x, k) = a x + b (k + 1), the same in every dimension."""

    def __init__(self, a: float = -0.8, b: float = 0.3) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a, dtype=F64)), nn.Parameter(torch.tensor(b, dtype=F64))

    def forward(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return self.a * x + self.b * (step + 1)[..., None, None]


def make(sigma_min: float = 0.05, sigma_max: float = 0.2, spread: float = 1.0, hidden_dim: int = 8) -> FlowNoise:
    """A head in float64 whose noise differs from number to number; with ``spread`` 0 it is as constructed."""
    torch.manual_seed(0)
    head = FlowNoise(K, (H, A), C, sigma_min, sigma_max, hidden_dim).double()
    if spread > 0.0:
        nn.init.normal_(head.noise.output.weight, std=spread)
    return head


def draw(head: FlowNoise, field: nn.Module, batch: int = B):
    condition = torch.randn(batch, C, dtype=F64)
    sample = head.sample(field, torch.randn(batch, H, A, dtype=F64), condition)
    return sample, condition, Transitions(*(part.detach() for part in sample.transitions))


def test_all_steps_are_random_and_form_one_chain():
    head = make()
    x0, condition = torch.randn(B, H, A, dtype=F64), torch.randn(B, C, dtype=F64)
    sample = head.sample(LinearField(), x0, condition)
    x, x_next, step = sample.transitions
    assert sample.mean.shape == sample.std.shape == x.shape == x_next.shape == (B, K, H, A)
    assert step.tolist() == [list(range(K))] * B
    assert torch.equal(x[:, 0], x0)
    assert torch.equal(x[:, 1:], x_next[:, :-1])
    assert torch.equal(x_next[:, -1], sample.actions)


def test_sampling_and_scoring_agree():
    """One evaluation over all steps gives the means, deviations and log-probability of the step-by-step sampling."""
    head, field = make(), LinearField()
    sample, condition, transitions = draw(head, field)
    mean, std = head.distribution(field, transitions, condition)
    torch.testing.assert_close(mean, sample.mean)
    torch.testing.assert_close(std, sample.std)
    expected = Normal(mean, std).log_prob(transitions.x_next).sum((1, 2, 3))
    torch.testing.assert_close(chain_log_prob(transitions.x_next, sample.mean, sample.std), expected)
    assert chain_kl(sample.mean, sample.std, mean, std).abs().max() < 1e-12
    torch.testing.assert_close(chain_entropy(mean, std), Normal(mean, std).entropy().sum((1, 2, 3)))


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_sigma_stays_within_its_bounds(scale):
    """However large the network's outputs are; an untrained network gives the geometric mean of the bounds."""
    head = make(0.1, 0.24, spread=scale)
    std = head.noise(
        scale * torch.randn(64, K, H, A, dtype=F64), torch.arange(K).expand(64, K), torch.randn(64, C, dtype=F64)
    )
    assert std.min() >= 0.1 * (1 - 1e-12)
    assert std.max() <= 0.24 * (1 + 1e-12)
    if scale == 0.0:
        torch.testing.assert_close(std, torch.full_like(std, math.sqrt(0.1 * 0.24)))
        torch.testing.assert_close(head.std_summary(), torch.full((K,), math.sqrt(0.024), dtype=F64), rtol=1e-6, atol=0)
    else:
        assert std.std() > 0.01


def test_sigma_depends_on_each_of_its_inputs():
    """The state's own row, the step, the place in the chunk and the condition; but not another row."""
    net = make(spread=3.0).noise
    x, step, condition = torch.randn(1, 1, H, A, dtype=F64), torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, C)
    condition = condition.double()
    base = net(x, step, condition)
    moved = x.clone()
    moved[..., 1, :] += 1.0
    changed = (net(moved, step, condition) - base).abs().amax((0, 1, 3))
    assert changed[1] > 1e-6
    assert changed[0] == changed[2] == 0.0
    assert (net(x, step + 1, condition) - base).abs().max() > 1e-6
    assert (net(x, step, condition + 1.0) - base).abs().max() > 1e-6
    same_rows = net(x[:, :, :1].expand(-1, -1, H, -1), step, condition)
    assert (same_rows[..., 0, :] - same_rows[..., 1, :]).abs().max() > 1e-6


def test_gradient_of_the_log_prob_against_finite_differences():
    """With respect to the velocity's and to all of the noise network's parameters, in float64."""
    head, field = make(hidden_dim=3), LinearField()
    _, condition, transitions = draw(head, field, batch=2)
    parameters = [*field.parameters(), *head.parameters()]
    assert len(parameters) == 2 + 9

    def score(*_: torch.Tensor) -> torch.Tensor:
        return chain_log_prob(transitions.x_next, *head.distribution(field, transitions, condition))

    assert torch.autograd.gradcheck(score, parameters)
    score().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in parameters)


def test_log_prob_is_the_joint_density_of_the_chain():
    """With v = a x + b_k and constant sigma, (x_1 ... x_K | x_0) is a Gaussian vector with known moments."""
    sigma = 0.3
    head, field = FlowNoise(K, (1, 1), C, sigma, sigma, hidden_dim=4).double(), LinearField()
    sample = head.sample(field, torch.full((6, 1, 1), 0.7, dtype=F64), torch.randn(6, C, dtype=F64))
    mean, factor, previous = torch.zeros(K, dtype=F64), torch.zeros(K, K, dtype=F64), 0.7
    for k in range(K):
        # x_{k+1} = (1 - 0.8 / K) x_k + 0.3 (k + 1) / K + sigma eps
        mean[k] = (1.0 - 0.8 / K) * previous + 0.3 * (k + 1) / K
        if k > 0:
            factor[k] = (1.0 - 0.8 / K) * factor[k - 1]
        factor[k, k] = sigma
        previous = mean[k].item()
    expected = MultivariateNormal(mean, scale_tril=factor).log_prob(sample.transitions.x_next.flatten(1))
    found = chain_log_prob(sample.transitions.x_next, sample.mean, sample.std)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_moments_of_the_action_by_monte_carlo():
    """x_K = gain^K x_0 + sum_k gain^(K-1-k) (offset_k + sigma eps_k): mean and variance of 40 000 draws."""
    sigma, n, gain = 0.2, 40_000, 1.0 - 0.8 / K
    head, field = FlowNoise(K, (1, 1), 1, sigma, sigma, hidden_dim=4).double(), LinearField()
    torch.manual_seed(0)
    actions = head.sample(field, torch.full((n, 1, 1), 0.7, dtype=F64), torch.zeros(n, 1, dtype=F64)).actions
    mean = gain**K * 0.7 + sum(gain ** (K - 1 - k) * 0.3 * (k + 1) / K for k in range(K))
    variance = sum((gain ** (K - 1 - k) * sigma) ** 2 for k in range(K))
    assert actions.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(variance / n))
    assert actions.var().item() == pytest.approx(variance, rel=4 * math.sqrt(2 / n))


def test_only_the_noise_network_answers_for_sigma():
    """The condition belongs to the velocity's network: no gradient reaches it through the noise."""
    head, field = make(), LinearField()
    _, condition, transitions = draw(head, field)
    condition.requires_grad_()
    chain_log_prob(transitions.x_next, *head.distribution(field, transitions, condition)).sum().backward()
    assert condition.grad is None


def test_evaluation_drops_the_noise():
    head, field = make(), LinearField()
    x = x0 = torch.randn(B, H, A, dtype=F64)
    for k in range(K):
        x = x + (field.a * x + field.b * (k + 1)) / K
    torch.testing.assert_close(head.integrate(field, x0), x)


def test_summary_is_the_mean_std_of_the_latest_sample():
    head = make()
    sample, _, _ = draw(head, LinearField())
    torch.testing.assert_close(head.std_summary(), sample.std.mean((0, 2, 3)))


def test_wrong_settings_are_refused():
    for bounds in ((0.0, 0.2), (0.3, 0.2)):
        with pytest.raises(ValueError, match="0 < sigma_min <= sigma_max"):
            FlowNoise(K, (H, A), C, *bounds)
    with pytest.raises(ValueError, match="condition"):
        make().sample(LinearField(), torch.zeros(1, H, A, dtype=F64))


def test_make_head_passes_the_settings_on():
    head = make_head(HeadOptions("flow_noise", K, sigma_min=0.1, sigma_max=0.24), A, (H, A), C)
    assert isinstance(head, FlowNoise)
    assert isinstance(head.noise, NoiseNet)
    assert [math.exp(b) for b in head.noise.log_bounds] == pytest.approx([0.1, 0.24])
    assert head.num_steps == K


# -- supervised flow matching ------------------------------------------------------------------------------------------


def test_training_times_follow_the_official_distribution():
    """s (1 - t) ~ Beta(1.5, 1), whose distribution function is b^1.5: quantiles of 200 000 draws, and the mean."""
    torch.manual_seed(0)
    t = sample_time((200_000,))
    b = 0.999 * (1.0 - t)
    assert t.min() >= -0.00101
    assert t.max() <= 1.0
    for q in (0.1, 0.5, 0.9):
        assert (b <= q ** (1 / 1.5)).double().mean().item() == pytest.approx(q, abs=4 * math.sqrt(q * (1 - q) / 2e5))
    assert b.mean().item() == pytest.approx(0.6, abs=0.003)


def test_training_times_of_n1d7_begin_at_the_noise():
    """t = (1 - b) s in [0, s], of the same draws; the released class draws these (its fixture records them)."""
    torch.manual_seed(0)
    t = sample_time((1000,), from_zero=True)
    torch.manual_seed(0)
    b = 0.999 * (1.0 - sample_time((1000,)))
    torch.testing.assert_close(t, (1.0 - b) * 0.999, rtol=0, atol=1e-6)
    assert t.min() >= 0.0 and t.max() <= 0.999
    assert time_of(torch.tensor([0.0, 0.25, 1.0]), 0.5, from_zero=True).tolist() == [0.5, 0.375, 0.0]
    assert time_of(torch.tensor([0.0, 0.25, 1.0]), 0.5).tolist() == [1.0, 0.5, -1.0]


def test_flow_matching_loss_counts_what_the_mask_names():
    """For v = 0 the loss is the mean of (action - noise)^2 over the masked numbers, noise of the same generator."""
    actions = torch.randn(6, H, A)
    mask = torch.tensor([[True, True, False]]).expand(6, H)[..., None]
    for chosen in (None, mask):
        torch.manual_seed(1)
        found = flow_matching_loss(lambda x, t: torch.zeros_like(x), actions, chosen)
        torch.manual_seed(1)
        error = (actions - torch.randn_like(actions)).square()
        torch.testing.assert_close(found, error.mean() if chosen is None else error[:, :2].mean())


def test_flow_matching_loss_is_zero_for_the_true_field():
    """Where all actions are mu, the field is (mu - x) / (1 - t) before t = 1."""
    mu = 0.7
    actions = torch.full((64, H, A), mu, dtype=F64)
    assert flow_matching_loss(lambda x, t: (mu - x) / (1.0 - t.double())[:, None, None], actions) < 1e-9
