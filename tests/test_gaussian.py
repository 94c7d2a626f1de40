import math

import numpy as np
import pytest
import torch
import xarray as xr
from oracle import GRIDS, SAMPLERS, SCHEDULES, variance

from sciffusion.gaussian import GaussianFieldDenoiser, sampled_variance
from sciffusion.sample import DDIM, DDPM, DPMSolver2M, Heun, SeededNoise
from sciffusion.schedule import Cosine, LinearBeta
from sciffusion.statistics import power_spectrum

SPACING = {1: (0.5,), 2: (0.5, 0.8), 3: (0.5, 0.8, 1.0)}
BIG = {1: (64,), 2: (24, 16), 3: (12, 8, 10)}


def spectrum(k):
    return 3.0 / (0.2 + k**2)


def denoiser_of(ndim, grids=GRIDS, schedule=None, mean=0.0):
    schedule = schedule or Cosine()
    return GaussianFieldDenoiser.from_spectrum(spectrum, grids[ndim], SPACING[ndim], schedule, mean)


def covariance(ndim):
    """The covariance of pixels a sum over modes, by its definition and without a Fourier transform."""
    grid, spacing = GRIDS[ndim], SPACING[ndim]
    places = np.stack(np.meshgrid(*[np.arange(n) * d for n, d in zip(grid, spacing)], indexing="ij"), -1)
    places = places.reshape(-1, ndim)
    waves = [2 * np.pi * np.arange(n) / (n * d) for n, d in zip(grid, spacing)]
    limits = [np.pi / d for d in spacing]
    total = np.zeros((len(places), len(places)))
    for wave in np.stack(np.meshgrid(*waves, indexing="ij"), -1).reshape(-1, ndim):
        nearest = np.array([k - 2 * q if k > q + 1e-9 else k for k, q in zip(wave, limits)])
        phase = (places[:, None] - places[None]) @ wave
        total += spectrum(np.linalg.norm(nearest)) * np.cos(phase)
    volume = math.prod(n * d for n, d in zip(grid, spacing))
    return total / volume


@pytest.mark.parametrize("ndim", GRIDS)
class TestExact:
    def test_the_posterior_mean_by_matrices(self, ndim):
        """E[x | x_t] = mean + alpha C (alpha^2 C + sigma^2)^-1 (x_t - alpha mean)."""
        C, mean = covariance(ndim), 0.7
        denoiser = denoiser_of(ndim, mean=mean)
        x_t = torch.randn(3, 1, *GRIDS[ndim], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for t in (0.05, 0.5, 1.0):
            alpha, sigma = (float(level) for level in Cosine()(torch.tensor(t, dtype=torch.float64)))
            filtered = alpha * C @ np.linalg.inv(alpha**2 * C + sigma**2 * np.eye(len(C)))
            expected = mean + (x_t.reshape(3, -1).numpy() - alpha * mean) @ filtered.T
            np.testing.assert_allclose(denoiser(x_t, t).reshape(3, -1).numpy(), expected, rtol=1e-8, atol=1e-8)

    def test_exact_fields_have_the_covariance(self, ndim):
        """The linear map of ``sample`` squared is the covariance of the pixels."""
        denoiser = denoiser_of(ndim, mean=0.7)
        pixels = math.prod(GRIDS[ndim])
        unit = torch.eye(pixels, dtype=torch.float64).reshape(pixels, 1, *GRIDS[ndim])
        root = (denoiser.sample(unit) - 0.7).reshape(pixels, pixels).numpy()
        np.testing.assert_allclose(root.T @ root, covariance(ndim), rtol=1e-9, atol=1e-9)

    def test_its_ends(self, ndim):
        denoiser = denoiser_of(ndim, mean=2.0)
        x = denoiser.sample(torch.ones(2, 1, *GRIDS[ndim], dtype=torch.float64))
        torch.testing.assert_close(denoiser(x, 0.0), x)
        assert (denoiser(x, 1.0) - 2).abs().max() < 0.1

    def test_a_time_and_a_mean_for_each_sample(self, ndim):
        x = torch.randn(3, 2, *GRIDS[ndim], generator=torch.Generator().manual_seed(0))
        t, mean = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.0, 1.0, -2.0])
        column = mean.reshape(-1, *[1] * (ndim + 1))
        whole = denoiser_of(ndim, mean=column)(x, t)
        each = [denoiser_of(ndim, mean=float(m))(x[i : i + 1], t[i]) for i, m in enumerate(mean)]
        torch.testing.assert_close(whole, torch.cat(each))

    def test_it_is_the_best_denoiser(self, ndim):
        """The error of the estimate is the posterior variance, mode by mode: S sigma^2 / (alpha^2 S + sigma^2)."""
        denoiser = denoiser_of(ndim, schedule=LinearBeta())
        rng = torch.Generator().manual_seed(0)
        noise, eps = torch.randn(2, 2000, 1, *GRIDS[ndim], generator=rng)
        x = denoiser.sample(noise)
        alpha, sigma = LinearBeta()(torch.tensor(0.3))
        error = (denoiser(alpha * x + sigma * eps, 0.3) - x).square().mean()
        S = denoiser.power
        expected = float((S * sigma**2 / (alpha**2 * S + sigma**2)).mean())
        assert float(error) == pytest.approx(expected, rel=0.05)


class TestSamplersReturnTheInputPower:
    @pytest.mark.parametrize("ndim", GRIDS)
    @pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
    def test_fields_and_modes_agree_exactly(self, ndim, schedule):
        """A deterministic sampler multiplies every mode of the noise by the root of its sampled variance."""
        denoiser = denoiser_of(ndim, schedule=schedule)
        noise = torch.randn(2, 1, *GRIDS[ndim], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        axes = tuple(range(2, noise.ndim))
        for sampler in (DDIM(6), Heun(5, "time"), DPMSolver2M(9)):
            gain = sampled_variance(sampler, schedule, denoiser.power.flatten()).sqrt().reshape(GRIDS[ndim])
            ratio = (torch.fft.fftn(sampler(denoiser, noise, None), dim=axes) / torch.fft.fftn(noise, dim=axes)).real
            torch.testing.assert_close(ratio.abs(), gain.expand_as(ratio), rtol=1e-6, atol=1e-9)

    @pytest.mark.parametrize("name", SAMPLERS)
    @pytest.mark.parametrize("schedule", [LinearBeta(), Cosine()], ids=["linear", "cosine"])
    def test_the_power_is_right_with_many_steps(self, schedule, name):
        power = torch.tensor([30.0, 3.0, 1.0, 0.3, 0.1], dtype=torch.float64)
        steps = 400 if name.startswith("dd") else 100
        coarse, fine = (
            sampled_variance(SAMPLERS[name](K, "log_snr"), schedule, power) / power - 1 for K in (steps // 2, steps)
        )
        # First order (ancestral steps lose the most) and second order, each by its own halving.
        assert fine.abs().max() < (0.05 if name.startswith("dd") else 0.01)
        assert (fine.abs() < 0.6 * coarse.abs() + 1e-3).all()

    def test_the_loss_of_power_with_few_ancestral_steps_is_seen(self):
        """DDPM's schedule with an exact denoiser: about 20 % of small-scale power gone with 50 steps, 5 % with 250."""
        power = torch.tensor([0.25], dtype=torch.float64)
        ratios = [float(sampled_variance(DDPM(K), LinearBeta(), power) / power) for K in (50, 250)]
        assert ratios == [pytest.approx(0.8, abs=0.06), pytest.approx(0.95, abs=0.02)]

    def test_noise_that_a_sampler_adds_is_propagated(self):
        """One ancestral step to s and the last: the two variances written by hand."""
        S, schedule = torch.tensor([0.5], dtype=torch.float64), Cosine()
        (a1, s1), (a2, s2) = (schedule(torch.tensor(t, dtype=torch.float64)) for t in (1.0, 0.5))
        ratio = (a1 / s1 * s2 / a2) ** 2
        gain1, gain2 = (a * S / (a**2 * S + s**2) for a, s in ((a1, s1), (a2, s2)))
        mean = a2 * gain1 + s2 * ratio.sqrt() * (1 - a1 * gain1) / s1
        expected = gain2**2 * (mean**2 + s2**2 * (1 - ratio))
        torch.testing.assert_close(sampled_variance(DDPM(2), schedule, S), expected)

    @pytest.mark.parametrize(
        ("sampler", "bias"), [(DPMSolver2M(60), 0.01), (DDPM(150, "log_snr"), 0.11)], ids=["ode", "ancestral"]
    )
    @pytest.mark.parametrize("ndim", GRIDS)
    def test_monte_carlo_through_power_spectrum(self, ndim, sampler, bias):
        """Noise to fields to P(k), in units: schedule, sampler, Fourier convention and estimator at once."""
        n = {1: 400, 2: 100, 3: 60}[ndim]
        denoiser = denoiser_of(ndim, BIG)
        noise = SeededNoise(0, range(n))
        x = sampler(denoiser, noise((n, 1, *BIG[ndim])), noise)[:, 0]
        dims = ("z", "y", "x")[-ndim:]
        coords = {
            dim: (dim, (np.arange(size) + 0.5) * width, {"units": "Mpc/h", "boundary": "periodic"})
            for dim, size, width in zip(dims, BIG[ndim], SPACING[ndim])
        }
        field = xr.DataArray(x.numpy(), dims=("sample", *dims), coords=coords)
        k_axes = [2 * np.pi * np.fft.fftfreq(size, d) for size, d in zip(BIG[ndim], SPACING[ndim])]
        k = np.linalg.norm(np.meshgrid(*k_axes, indexing="ij"), axis=0)
        # The expected P in the same shells: that of every mode averaged as the estimator averages.
        cell = math.prod(SPACING[ndim])
        given = sampled_variance(sampler, denoiser.schedule, denoiser.power.flatten()).numpy().reshape(k.shape) * cell
        np.testing.assert_allclose(given, spectrum(k), rtol=bias)
        power = power_spectrum(field)
        fundamental = 2 * np.pi / max(size * d for size, d in zip(BIG[ndim], SPACING[ndim]))
        shell = np.floor(k / fundamental + 0.5).astype(int)
        for i, (mean, modes) in enumerate(zip(power.mean("sample").values, power["modes"].values), start=1):
            expected = given[shell == i].mean()
            scatter = np.sqrt((given[shell == i] ** 2).mean()) / math.sqrt(n * modes)
            assert abs(mean - expected) < 4.5 * scatter


class TestConstruction:
    @pytest.mark.parametrize("ndim", GRIDS)
    def test_white_noise_has_p_equal_to_variance_times_cell(self, ndim):
        cell = math.prod(SPACING[ndim])
        denoiser = GaussianFieldDenoiser.from_spectrum(
            lambda k: np.full(k.shape, 4.0 * cell), GRIDS[ndim], SPACING[ndim], Cosine()
        )
        torch.testing.assert_close(denoiser.power, torch.full(GRIDS[ndim], 4.0, dtype=torch.float64))

    def test_k_is_in_radians_per_unit(self):
        denoiser = GaussianFieldDenoiser.from_spectrum(lambda k: k, (4,), 0.5, Cosine())
        np.testing.assert_allclose(denoiser.power * 0.5, [0, np.pi, 2 * np.pi, np.pi])

    def test_one_spacing_is_that_of_every_axis(self):
        one = GaussianFieldDenoiser.from_spectrum(spectrum, (6, 5), 0.5, Cosine())
        two = GaussianFieldDenoiser.from_spectrum(spectrum, (6, 5), (0.5, 0.5), Cosine())
        assert torch.equal(one.power, two.power)

    def test_a_mode_without_power_stays_empty(self):
        denoiser = GaussianFieldDenoiser(torch.tensor([0.0, 1.0, 1.0, 1.0]), Cosine())
        x = Heun(5)(denoiser, torch.randn(3, 1, 4, generator=torch.Generator().manual_seed(0)), None)
        assert x.isfinite().all()
        assert x.mean(-1).abs().max() < 1e-6
        assert denoiser(x, 0.0).isfinite().all()

    @pytest.mark.parametrize(
        "power", [[1.0, -1.0, 1.0], [1.0, float("nan"), 1.0], [1.0, 2.0, 3.0], [float("inf"), 1.0, 1.0]]
    )
    def test_what_is_no_power_of_a_real_field_is_refused(self, power):
        with pytest.raises(ValueError, match=r"finite, not negative, and that of a real field"):
            GaussianFieldDenoiser(torch.tensor(power), Cosine())

    def test_another_grid_is_refused(self):
        with pytest.raises(ValueError, match=r"lives on a grid \(6, 5\)"):
            denoiser_of(2)(torch.zeros(1, 1, 5, 6), 0.5)

    def test_the_variance_at_each_time_is_that_of_the_noisy_field(self):
        denoiser = denoiser_of(1, BIG)
        rng = torch.Generator().manual_seed(0)
        noise, eps = torch.randn(2, 4000, 1, *BIG[1], generator=rng)
        alpha, sigma = Cosine()(torch.tensor(0.4))
        x_t = alpha * denoiser.sample(noise) + sigma * eps
        expected = float(variance(Cosine(), 0.4, denoiser.power).mean())
        assert float(x_t.var()) == pytest.approx(expected, rel=0.03)
