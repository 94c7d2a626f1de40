import pytest
import torch
from oracle import GRIDS, SCHEDULES
from torch import nn

from sciffusion.denoise import PREDICTIONS, Denoiser
from sciffusion.schedule import Cosine, LinearBeta


class Recorder(nn.Module):
    """A network with one parameter that keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, x, log_snr, cond=None):
        self.x, self.log_snr, self.cond = x, log_snr, cond
        column = (-1, *[1] * (x.ndim - 1))
        return self.scale * torch.tanh(x) + 0.01 * log_snr.reshape(column)


def batch(grid=(4, 6), n=5, dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    x, eps = torch.randn(2, n, 1, *grid, generator=rng, dtype=dtype)
    t = torch.linspace(0.05, 1, n, dtype=dtype)
    return x, t, eps


def noisy(schedule, x, t, eps):
    alpha, sigma = (level.reshape(-1, *[1] * (x.ndim - 1)) for level in schedule(t))
    return alpha * x + sigma * eps, alpha, sigma


TARGETS = {
    "noise": lambda x, eps, alpha, sigma: eps,  # Ho et al. 2020, Eq. 14
    "velocity": lambda x, eps, alpha, sigma: alpha * eps - sigma * x,  # Salimans & Ho 2022, Sect. 4
    "data": lambda x, eps, alpha, sigma: x,
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("ndim", GRIDS)
@pytest.mark.parametrize("name", TARGETS)
def test_the_loss_is_the_mean_square_error_of_what_is_predicted(name, ndim, schedule):
    denoiser = Denoiser(Recorder(), schedule, name)
    x, t, eps = batch(GRIDS[ndim])
    x_t, alpha, sigma = noisy(schedule, x, t, eps)
    output = denoiser.backbone(x_t, schedule.log_snr(t))
    expected = ((output - TARGETS[name](x, eps, alpha, sigma)) ** 2).flatten(1).mean(1)
    loss = denoiser.loss(x, t, eps)
    assert loss.shape == (5,)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", TARGETS)
def test_the_target_is_what_the_loss_formula_says(name):
    """Target = (x - c_skip x_t) / c_out: a network that gives it has no loss and its denoiser returns x."""

    class Perfect(nn.Module):
        def forward(self, x_t, log_snr, cond=None):
            return self.target

    schedule = Cosine()
    x, t, eps = batch()
    x_t, alpha, sigma = noisy(schedule, x, t, eps)
    denoiser = Denoiser(Perfect(), schedule, name)
    c_skip, c_out = PREDICTIONS[name](alpha, sigma)
    denoiser.backbone.target = (x - c_skip * x_t) / c_out
    assert denoiser.loss(x, t, eps).max() < 1e-18
    torch.testing.assert_close(denoiser(x_t, t), x, rtol=0, atol=1e-9)


def test_the_noise_target_is_exact_in_float32_where_the_noise_is_small():
    denoiser = Denoiser(Recorder(), LinearBeta(), "noise")
    x, _, eps = batch(dtype=torch.float32)
    x_t = noisy(denoiser.schedule, x, torch.full((5,), 0.001), eps)[0]
    output = denoiser.backbone(x_t, denoiser.schedule.log_snr(torch.full((5,), 0.001)))
    expected = ((output - eps) ** 2).flatten(1).mean(1)
    torch.testing.assert_close(denoiser.loss(x, 0.001, eps), expected, rtol=1e-6, atol=0)


def test_a_time_for_all_is_the_time_of_each():
    denoiser = Denoiser(Recorder(), Cosine(), "velocity")
    x, _, eps = batch()
    for t in (0.3, torch.tensor(0.3, dtype=torch.float64)):
        assert torch.equal(denoiser(x, t), denoiser(x, torch.full((5,), 0.3, dtype=torch.float64)))
        assert torch.equal(denoiser.loss(x, t, eps), denoiser.loss(x, torch.full((5,), 0.3, dtype=torch.float64), eps))
    assert denoiser.backbone.log_snr.shape == (5,)


def test_samples_do_not_mix_and_order_does_not_matter():
    denoiser = Denoiser(Recorder(), Cosine(), "velocity")
    x, t, eps = batch()
    whole = denoiser.loss(x, t, eps)
    torch.testing.assert_close(whole.flip(0), denoiser.loss(x.flip(0), t.flip(0), eps.flip(0)))
    torch.testing.assert_close(whole[2:3], denoiser.loss(x[2:3], t[2:3], eps[2:3]))


@pytest.mark.parametrize("name", ["noise", "velocity"])
def test_without_noise_the_estimate_is_the_field(name):
    x, *_ = batch()
    assert torch.equal(Denoiser(Recorder(), Cosine(), name)(x, 0.0), x)


def test_the_network_is_never_asked_below_t_min():
    denoiser = Denoiser(Recorder(), Cosine(), "velocity")
    denoiser(batch()[0], torch.tensor([0.0, 1e-5, 1e-3, 1e-2, 1.0]))
    log_snr = denoiser.backbone.log_snr
    assert log_snr[:3].tolist() == [pytest.approx(float(denoiser.schedule.log_snr(torch.tensor(0.001))))] * 3
    assert (log_snr[2:].diff() < 0).all()


class TestMask:
    def setup_method(self):
        self.denoiser = Denoiser(Recorder(), Cosine(), "velocity")
        self.x, self.t, self.eps = batch(n=3)

    def test_ones_change_nothing(self):
        whole = self.denoiser.loss(self.x, self.t, self.eps)
        torch.testing.assert_close(self.denoiser.loss(self.x, self.t, self.eps, mask=torch.ones(4, 6)), whole)

    def test_the_mean_is_over_the_pixels_that_count(self):
        mask = torch.zeros(4, 6)
        mask[1, 2:5] = 1
        masked = self.denoiser.loss(self.x, self.t, self.eps, mask=mask)
        x_t, alpha, sigma = noisy(self.denoiser.schedule, self.x, self.t, self.eps)
        error = self.denoiser.backbone(x_t, self.denoiser.schedule.log_snr(self.t))
        error = error - (alpha * self.eps - sigma * self.x)
        torch.testing.assert_close(masked, (error[:, 0, 1, 2:5] ** 2).mean(1))

    def test_a_mask_for_each_sample(self):
        mask = torch.ones(3, 1, 4, 6, dtype=torch.bool)
        mask[1, :, :2] = False
        masked = self.denoiser.loss(self.x, self.t, self.eps, mask=mask)
        whole = self.denoiser.loss(self.x, self.t, self.eps)
        torch.testing.assert_close(masked[[0, 2]], whole[[0, 2]])
        assert not torch.isclose(masked[1], whole[1])

    def test_a_sample_without_a_pixel_is_named(self):
        mask = torch.ones(3, 1, 4, 6)
        mask[1] = 0
        with pytest.raises(ValueError, match=r"sample\(s\) \[1\]"):
            self.denoiser.loss(self.x, self.t, self.eps, mask=mask)


def test_the_schedule_can_be_exchanged_after_training():
    """A network that knows the answer at every noise level is right under any schedule."""

    class Wiener(nn.Module):
        """The velocity that belongs to pixels of variance 0.25."""

        def forward(self, x, log_snr, cond=None):
            column = (-1, *[1] * (x.ndim - 1))
            a2, s2 = (log_snr.sigmoid().reshape(column), (-log_snr).sigmoid().reshape(column))
            x_hat = a2.sqrt() * 0.25 / (a2 * 0.25 + s2) * x
            return (a2.sqrt() * x - x_hat) / s2.sqrt()

    denoiser = Denoiser(Wiener(), Cosine(), "velocity")
    x, t, _ = batch()
    for schedule in (Cosine(), LinearBeta(), LinearBeta(T=50, beta_start=1e-3, beta_end=0.4)):
        denoiser.schedule = schedule
        alpha, sigma = (level.reshape(-1, 1, 1, 1) for level in schedule(t))
        torch.testing.assert_close(denoiser(x, t), alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * x)


def test_the_network_sees_conditions_dtype_and_noise_level():
    denoiser = Denoiser(Recorder(), Cosine(), "velocity")
    x, t, eps = batch(dtype=torch.float32)
    cond = {"Omega_m": object()}
    assert denoiser(x, t.double(), cond).dtype == torch.float32
    assert denoiser.backbone.cond is cond
    assert denoiser.backbone.log_snr.dtype == torch.float32
    denoiser.loss(x, t, eps, cond)
    assert denoiser.backbone.cond is cond


def test_autocast_reaches_the_network_alone():
    class Half(nn.Module):
        def forward(self, x, log_snr, cond=None):
            return torch.zeros_like(x, dtype=torch.bfloat16)

    denoiser = Denoiser(Half(), Cosine(), "velocity")
    x, t, eps = batch(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        x_hat, loss = denoiser(x, t), denoiser.loss(x, t, eps)
    assert (x_hat.dtype, loss.dtype) == (torch.float32, torch.float32)
    assert torch.equal(x_hat, denoiser(x, t))
    assert torch.equal(loss, denoiser.loss(x, t, eps))


def test_the_loss_has_a_gradient():
    denoiser = Denoiser(Recorder(), Cosine(), "noise")
    denoiser.loss(*batch()).mean().backward()
    assert denoiser.backbone.scale.grad.abs() > 0


def test_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="unknown prediction 'score': use one of noise, velocity, data"):
        Denoiser(Recorder(), Cosine(), "score")
