import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import SCHEDULES, cosine_betas, linear_betas

from sciffusion.schedule import Cosine, LinearBeta


def grid(T):
    return torch.arange(1, T + 1, dtype=torch.float64) / T


def assert_is_product(schedule, betas):
    """alpha^2 and sigma^2 both, so that nothing is lost where either is small."""
    log_alpha_bar = np.cumsum(np.log1p(-betas))
    alpha, sigma = (level.numpy() for level in schedule(grid(len(betas))))
    np.testing.assert_allclose(alpha**2, np.exp(log_alpha_bar), rtol=1e-10)
    np.testing.assert_allclose(sigma**2, -np.expm1(log_alpha_bar), rtol=1e-9)


@pytest.mark.parametrize(
    ("T", "start", "end"),
    [(1000, 1e-4, 0.02), (1000, 5e-5, 0.03), (50, 2e-3, 0.4), (10, 0.01, 0.999), (4000, 1e-4, 0.01), (2, 0.5, 0.99)],
)
def test_linear_beta_is_the_product(T, start, end):
    assert_is_product(LinearBeta(T, start, end), linear_betas(T, start, end))


@pytest.mark.parametrize("T", [1, 2, 3, 10, 100, 1000, 4000])
def test_cosine_is_the_product_with_clipped_beta(T):
    assert_is_product(Cosine(T), cosine_betas(T))


def test_the_clipping_of_the_cosine_acts():
    assert cosine_betas()[-1] == 0.999
    alpha, _ = Cosine()(torch.tensor([0.999, 1.0], dtype=torch.float64))
    assert float(alpha[1] ** 2 / alpha[0] ** 2) == pytest.approx(0.001, rel=1e-10)


@given(
    T=st.integers(2, 3000),
    total=st.floats(6, 30),
    ratio=st.floats(1.5, 500),
)
@settings(max_examples=60, deadline=None)
def test_any_linear_beta_is_the_product_and_falls(T, total, ratio):
    end = 2 * total / T / (1 + 1 / ratio)
    start = end / ratio
    if end >= 0.9999:
        return
    schedule = LinearBeta(T, start, end)
    assert_is_product(schedule, linear_betas(T, start, end))
    assert (schedule.log_snr(torch.linspace(0, 1, 1001, dtype=torch.float64)).diff()[1:] < 0).all()


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
class TestEverySchedule:
    def test_log_snr_falls_strictly_in_float32_too(self, schedule):
        for dtype in (torch.float32, torch.float64):
            for levels in (schedule.T, 5003):
                log_snr = schedule.log_snr(torch.arange(1, levels + 1, dtype=dtype) / levels)
                assert log_snr.dtype == dtype
                assert log_snr.isfinite().all()
                assert (log_snr.diff() < 0).all()

    def test_the_ends(self, schedule):
        for dtype in (torch.float32, torch.float64):
            alpha, sigma = schedule(torch.tensor([0.0, schedule.t_min, 1.0], dtype=dtype))
            assert (alpha[0], sigma[0]) == (1, 0)
            assert 0 < sigma[1] < 0.2
            assert 0 < alpha[2] < 0.1
            assert schedule.t_min == 1 / schedule.T

    def test_variance_is_preserved(self, schedule):
        alpha, sigma = schedule(torch.linspace(0, 1, 1001, dtype=torch.float64))
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(1001, dtype=torch.float64))

    def test_time_inverts_log_snr(self, schedule):
        t = torch.linspace(0, 1, 2003, dtype=torch.float64)
        assert (schedule.time(schedule.log_snr(t)) - t).abs().max() < 1e-12
        t = t.float()
        assert (schedule.time(schedule.log_snr(t)) - t).abs().max() < 1e-6
        assert schedule.time(torch.tensor([float("inf"), -1e3], dtype=torch.float64)).tolist() == [0, pytest.approx(1)]

    def test_smooth_between_the_levels(self, schedule):
        # Slope and curvature are the same on both sides of every level: no kink that would spoil a solver's order.
        levels = torch.arange(2, schedule.T, dtype=torch.float64) / schedule.T
        sides = []
        for shift in (-1e-9, 1e-9):
            t = (levels + shift).requires_grad_()
            (slope,) = torch.autograd.grad(schedule.log_snr(t).sum(), t, create_graph=True)
            (curvature,) = torch.autograd.grad(slope.sum(), t)
            sides.append((slope.detach(), curvature))
        torch.testing.assert_close(sides[0][0], sides[1][0], rtol=1e-5, atol=0)
        torch.testing.assert_close(sides[0][1], sides[1][1], rtol=1e-4, atol=1e-3)

    def test_dtype_shape_and_casts_leave_it_alone(self, schedule):
        t = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
        before = schedule.log_snr(t)
        alpha, sigma = schedule.to(torch.bfloat16)(t)
        assert alpha.shape == sigma.shape == (2, 3)
        assert torch.equal(schedule.log_snr(t), before)
        assert not schedule.state_dict()


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"T": 10}, "scale both ends like 1/T, e.g. 0.01 and 0.999"),
        ({"T": 8000}, "float32"),
        ({"beta_end": 1.0}, "0 < beta_start < beta_end < 1"),
        ({"beta_start": 0.0}, "0 < beta_start"),
        ({"beta_start": 0.02}, "beta_start < beta_end"),
        ({"T": 0}, "positive integer"),
        ({"T": 2.5}, "positive integer"),
    ],
)
def test_a_linear_beta_that_makes_no_sense_is_refused(kwargs, words):
    with pytest.raises(ValueError, match=words):
        LinearBeta(**kwargs)


def test_the_advice_for_a_short_chain_works():
    LinearBeta(T=10, beta_start=0.01, beta_end=0.999)
    LinearBeta(T=8000, beta_start=0.1 / 8000, beta_end=20 / 8000)


def test_a_negative_offset_is_refused():
    with pytest.raises(ValueError, match="offset"):
        Cosine(offset=-0.1)
