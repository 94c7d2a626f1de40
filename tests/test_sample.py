import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import GRIDS, SAMPLERS, SCHEDULES, Counting, calls_of, cosine_betas, linear_betas, variance

from sciffusion.gaussian import GaussianFieldDenoiser
from sciffusion.sample import DDIM, DDPM, DPMSolver2M, Heun, Sampler, SeededNoise, State
from sciffusion.schedule import Cosine, LinearBeta

CHAINS = {"linear": (LinearBeta(), linear_betas()), "cosine": (Cosine(), cosine_betas())}


class NoiseModel:
    """A nonlinear eps_theta(x_t, t), seen as a denoiser."""

    def __init__(self, schedule):
        self.schedule = schedule

    def eps(self, x, t):
        return torch.tanh(x + 3 * t) + 0.5 * x.roll(1, -1)

    def __call__(self, x, t):
        alpha, sigma = self.schedule(t)
        return (x - sigma * self.eps(x, t)) / alpha


class Modes:
    """The exact denoiser of independent modes of variance S."""

    def __init__(self, power, schedule):
        self.power, self.schedule = power, schedule

    def __call__(self, x, t):
        alpha, sigma = self.schedule(t)
        return alpha * self.power / (alpha**2 * self.power + sigma**2) * x


def fixed_noise(seed=0):
    rng = torch.Generator().manual_seed(seed)
    return lambda x: torch.randn(x.shape, generator=rng, dtype=x.dtype)


def levels(betas, i):
    """Cumulative (sqrt(alpha-bar), sqrt(1 - alpha-bar)) after i steps of the discrete chain."""
    log_alpha_bar = np.log1p(-betas[:i]).sum()
    return math.exp(log_alpha_bar / 2), math.sqrt(-math.expm1(log_alpha_bar))


class TestFormulas:
    @pytest.mark.parametrize("variance", ["posterior", "beta"])
    @pytest.mark.parametrize("chain", CHAINS)
    def test_ddpm_is_algorithm_2_step_by_step(self, chain, variance):
        """Ho et al. 2020, Algorithm 2: every one of its 1000 steps from the same x_t and the same z."""
        schedule, betas = CHAINS[chain]
        model, drawn, draw = NoiseModel(schedule), [], fixed_noise()

        def randn_like(x):
            drawn.append(draw(x))
            return drawn[-1]

        noise = fixed_noise(1)(torch.empty(2, 1, 4, dtype=torch.float64))
        before, *states = DDPM(1000, "time", variance).trajectory(model, noise, randn_like)
        for i, state in zip(range(1000, 0, -1), states):
            beta, (_, sigma) = betas[i - 1], levels(betas, i)
            t = torch.tensor(i / 1000, dtype=torch.float64)
            mean = (before.x - beta / sigma * model.eps(before.x, t)) / math.sqrt(1 - beta)
            tilde = beta * levels(betas, i - 1)[1] ** 2 / sigma**2
            z = drawn[1000 - i] if i > 1 else 0
            expected = mean + math.sqrt({"posterior": tilde, "beta": beta}[variance]) * z
            torch.testing.assert_close(state.x, expected, rtol=1e-10, atol=1e-10)
            before = state
        assert len(drawn) == 999

    @pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
    @pytest.mark.parametrize("chain", CHAINS)
    def test_ddim_is_equations_12_and_16(self, chain, eta):
        """Song et al. 2020 on a subsequence of 25 of the 1000 levels."""
        schedule, betas = CHAINS[chain]
        model = NoiseModel(schedule)
        noise = fixed_noise(1)(torch.empty(2, 1, 4, dtype=torch.float64))
        before, *states = DDIM(25, "time", eta).trajectory(model, noise, fixed_noise())
        z = fixed_noise()
        for i, state in zip(range(1000, 0, -40), states):
            (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(betas, i), levels(betas, i - 40)
            eps = model.eps(before.x, torch.tensor(i / 1000, dtype=torch.float64))
            added = eta * sigma_s / sigma_t * math.sqrt(1 - alpha_t**2 / alpha_s**2)
            expected = alpha_s * (before.x - sigma_t * eps) / alpha_t + math.sqrt(sigma_s**2 - added**2) * eps
            if added > 0:
                expected = expected + added * z(before.x)
            torch.testing.assert_close(state.x, expected, rtol=1e-9, atol=1e-9)
            before = state

    def test_ddpm_is_ddim_with_eta_1(self):
        model, noise = NoiseModel(Cosine()), fixed_noise(1)(torch.empty(2, 1, 4, dtype=torch.float64))
        for spacing in ("time", "log_snr"):
            ddpm = DDPM(12, spacing)(model, noise, fixed_noise())
            assert torch.equal(ddpm, DDIM(12, spacing, eta=1.0)(model, noise, fixed_noise()))

    def test_dpm_solver_is_algorithm_2_of_its_paper(self):
        """Lu et al. 2022, DPM-Solver++(2M), in half log-SNR; first and last step of first order."""
        model, schedule = NoiseModel(Cosine()), Cosine()
        noise = fixed_noise(1)(torch.empty(2, 1, 4, dtype=torch.float64))
        states = list(DPMSolver2M(8).trajectory(model, noise, fixed_noise()))
        estimates = [model(state.x, state.t) for state in states[:-1]]
        half = [float(schedule.log_snr(state.t)) / 2 for state in states]
        for i in range(1, 9):
            (alpha, _), (_, sigma_t) = schedule(states[i].t), schedule(states[i - 1].t)
            sigma = schedule(states[i].t)[1]
            h = half[i] - half[i - 1]
            D = estimates[i - 1]
            if 1 < i < 8:
                r = (half[i - 1] - half[i - 2]) / h
                D = (1 + 1 / (2 * r)) * estimates[i - 1] - 1 / (2 * r) * estimates[i - 2]
            expected = sigma / sigma_t * states[i - 1].x - alpha * math.expm1(-h) * D
            torch.testing.assert_close(states[i].x, expected, rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("spacing", ["time", "log_snr"])
    def test_heun_is_exact_where_the_estimate_is_linear_in_log_snr(self, spacing):
        """d(x / sigma) = exp(l) x_hat dl with x_hat = 1 + 2 l in half log-SNR l: (2 l - 1) exp(l)."""

        class Linear:
            schedule = Cosine()

            def __call__(self, x, t):
                return (1 + self.schedule.log_snr(t)).expand_as(x)

        noise = torch.ones(1, 1, 3, dtype=torch.float64)
        *states, end = Heun(6, spacing).trajectory(Linear(), noise, None)
        start = states[0]
        for state in states[1:]:
            lt, ls = (float(Linear.schedule.log_snr(t)) / 2 for t in (start.t, state.t))
            sigma_t, sigma_s = (Linear.schedule(t)[1] for t in (start.t, state.t))
            gain = (2 * ls - 1) * math.exp(ls) - (2 * lt - 1) * math.exp(lt)
            torch.testing.assert_close(state.x, sigma_s * (noise / sigma_t + gain), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(end.x, Linear()(noise, state.t))

    def test_nothing_is_clipped(self):
        class Constant:
            schedule = Cosine()

            def __call__(self, x, t):
                return torch.full_like(x, 1e4)

        for make in SAMPLERS.values():
            assert (make(4, "time")(Constant(), torch.zeros(1, 1, 3), torch.randn_like) == 1e4).all()


class TestOrder:
    """The flow of a Gaussian mode is known: x_s = x_t sqrt(v(s) / v(t)), v = alpha^2 S + sigma^2."""

    POWER = torch.tensor([10.0, 1.0, 0.1], dtype=torch.float64)

    def error(self, sampler, schedule, times):
        """Largest relative error at the last of the times, from the exact variance at the first."""
        start = variance(schedule, float(times[0]), self.POWER).sqrt()
        state = State(times[0], start[None])
        for s in times[1:]:
            state = sampler.step(Modes(self.POWER, schedule), state, s, None)
        return float((state.x[0] / variance(schedule, float(times[-1]), self.POWER).sqrt() - 1).abs().max())

    @pytest.mark.parametrize("spacing", ["time", "log_snr"])
    @pytest.mark.parametrize("schedule", [LinearBeta(), Cosine(), Cosine(T=50)], ids=["linear", "cosine", "short"])
    @pytest.mark.parametrize(("cls", "order"), [(DDIM, 1), (Heun, 2), (DPMSolver2M, 2)])
    def test_order_of_convergence(self, cls, order, schedule, spacing):
        ends = torch.tensor([0.9, 0.1], dtype=torch.float64)
        errors = []
        for K in (64, 128, 256):
            times = torch.linspace(*ends.tolist(), K + 1, dtype=torch.float64)
            if spacing == "log_snr":
                first, last = schedule.log_snr(ends).tolist()
                times = schedule.time(torch.linspace(first, last, K + 1, dtype=torch.float64))
            errors.append(self.error(cls(K), schedule, times))
        rates = [math.log2(a / b) for a, b in pairwise(errors)]
        assert errors[-1] < {1: 2e-2, 2: 3e-4}[order]
        assert rates == [pytest.approx(order, abs=0.12)] * 2


class TestContract:
    @pytest.mark.parametrize("ndim", GRIDS)
    @pytest.mark.parametrize("spacing", ["time", "log_snr"])
    @pytest.mark.parametrize("schedule", SCHEDULES)
    @pytest.mark.parametrize("name", SAMPLERS)
    def test_every_sampler_on_every_schedule(self, name, schedule, spacing, ndim):
        schedule, grid = SCHEDULES[schedule], GRIDS[ndim]
        denoiser = GaussianFieldDenoiser(torch.ones(grid), schedule)
        for steps in (1, 2, 3, 5, 20):
            sampler, counting = SAMPLERS[name](steps, spacing), Counting(denoiser)
            noise = SeededNoise(0, range(2))
            start = noise((2, 1, *grid))
            kept = start.clone()
            states = list(sampler.trajectory(counting, start, noise))
            assert len(counting.times) == sampler.calls() == calls_of(sampler)
            assert len(states) == steps + 1
            assert all(state.x.isfinite().all() and state.x.shape == start.shape for state in states)
            assert states[0].x is start
            assert torch.equal(start, kept)
            assert states[0].x_hat is None
            assert (float(states[0].t), float(states[-1].t)) == (1, 0)
            assert torch.equal(states[-1].x, states[-1].x_hat)  # the last step returns the estimate
            assert states[-1].x.dtype == torch.float32
            assert min(counting.times) >= schedule.t_min * (1 - 1e-9)
            assert states[-1].x.abs().max() < 10

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_call_is_the_end_of_the_trajectory(self, name):
        denoiser, start = GaussianFieldDenoiser(torch.ones(6), Cosine()), torch.ones(2, 1, 6)
        sampler = SAMPLERS[name](5, "log_snr")
        *_, last = sampler.trajectory(denoiser, start, fixed_noise())
        assert torch.equal(sampler(denoiser, start, fixed_noise()), last.x)

    def test_the_ode_draws_no_noise_and_ancestral_steps_draw_once(self):
        drawn = []

        def randn_like(x):
            drawn.append(1)
            return torch.zeros_like(x)

        denoiser, start = GaussianFieldDenoiser(torch.ones(6), Cosine()), torch.ones(2, 1, 6)
        for sampler, expected in [
            (DDIM(7), 0), (Heun(7), 0), (DPMSolver2M(7), 0), (DDIM(7, eta=0.1), 6), (DDPM(7), 6), (DDPM(1), 0),
        ]:  # fmt: skip
            drawn.clear()
            sampler(denoiser, start, randn_like)
            assert len(drawn) == expected

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_float32_is_float64_to_its_precision(self, name):
        denoiser = GaussianFieldDenoiser(torch.tensor([0.1, 0.4, 0.7, 2.0, 2.0, 0.7, 0.4]), Cosine())
        start = fixed_noise()(torch.empty(2, 1, 7, dtype=torch.float64))
        sampler = SAMPLERS[name](20, "log_snr")
        single_noise, double_noise = fixed_noise(5), fixed_noise(5)
        single = sampler(denoiser, start.float(), lambda x: single_noise(x.double()).float())
        double = sampler(denoiser, start, double_noise)
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)

    def test_gradients_pass(self):
        denoiser = GaussianFieldDenoiser(torch.ones(6), Cosine())
        start = torch.ones(1, 1, 6, requires_grad=True)
        Heun(3)(denoiser, start, torch.randn_like).sum().backward()
        assert start.grad.abs().min() > 0

    def test_a_sampler_is_frozen_and_abstract_or_final(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            DDIM().steps = 3
        with pytest.raises(TypeError, match="abstract"):
            Sampler(3, "time")
        assert DDIM(steps=3) == DDIM(steps=3)
        assert isinstance(next(DDIM(3).trajectory(Modes(1.0, Cosine()), torch.ones(1, 1), None)), State)


class TestTimes:
    @pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
    @given(steps=st.integers(1, 200))
    @settings(max_examples=15, deadline=None)
    def test_log_snr_is_uniform_and_ends_are_exact(self, schedule, steps):
        times = DDIM(steps, "log_snr").times(schedule)
        assert times.dtype == torch.float64
        assert times.shape == (steps + 1,)
        assert (times[0], times[-1]) == (1, 0)
        assert (times.diff() < 0).all()
        if steps > 1:
            assert times[-2] == schedule.t_min
            spacing = schedule.log_snr(times[:-1]).diff()
            torch.testing.assert_close(spacing, spacing.mean().expand_as(spacing), rtol=1e-8, atol=1e-8)

    def test_uniform_in_time_with_all_steps_is_the_chain(self):
        times = DDPM(1000).times(LinearBeta())
        np.testing.assert_allclose(times.numpy(), np.arange(1000, -1, -1) / 1000, rtol=0, atol=1e-15)

    def test_a_grid_finer_than_the_chain_is_refused_with_advice(self):
        with pytest.raises(ValueError, match=r'1001 steps .* 1000 levels .* spacing="log_snr"'):
            DDPM(1001, "time").times(Cosine())
        assert len(DDPM(1001, "log_snr").times(Cosine())) == 1002


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DDIM(0), "positive integer; got 0"),
        (lambda: DDIM(2.5), "positive integer; got 2.5"),
        (lambda: Heun(3, "uniform"), '"time" or "log_snr"; got \'uniform\''),
        (lambda: DDIM(3, eta=1.5), "eta must lie in"),
        (lambda: DDPM(3, variance="learned"), "got 'learned'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


class TestSeededNoise:
    def test_sample_17_is_the_same_in_any_batch_order_and_company(self):
        shape = (1, 3, 5)
        alone = SeededNoise(7, [17])
        first, second = alone((1, *shape)), alone((1, *shape))
        for index in ([17, 3], [0, 1, 17], list(range(30)), [29, 17, 17]):
            noise = SeededNoise(7, index)
            for expected in (first, second):
                torch.testing.assert_close(noise((len(index), *shape))[index.index(17)], expected[0], rtol=0, atol=0)
        assert not torch.equal(first, second)

    def test_generated_samples_do_not_depend_on_the_batch(self):
        denoiser = GaussianFieldDenoiser(torch.ones(8), Cosine())

        def draw(index):
            noise = SeededNoise(0, index)
            return DDPM(10)(denoiser, noise((len(index), 1, 8)), noise)

        torch.testing.assert_close(draw([4, 9, 2])[1:], torch.cat([draw([9]), draw([2])]))

    def test_samples_and_seeds_differ_beyond_32_bits(self):
        draws = [
            SeededNoise(seed, [index])((1, 4))
            for seed in (0, 1, 2**32, 2**32 + 1, 2**64)
            for index in (0, 1, 2**32, 2**32 + 1)
        ]
        assert len({tuple(draw.flatten().tolist()) for draw in draws}) == len(draws)

    def test_unit_normal_and_independent(self):
        x = SeededNoise(3, range(400))((400, 1, 100)).double()
        flat = x[:, 0]
        assert abs(float(flat.mean())) < 5 / 200
        assert float(flat.var()) == pytest.approx(1, abs=5 * math.sqrt(2 / 40000))
        assert float((flat**4).mean()) == pytest.approx(3, abs=5 * math.sqrt(96 / 40000))
        neighbors = (flat[1:] * flat[:-1]).mean()
        assert abs(float(neighbors)) < 5 / 200

    def test_like_a_tensor(self):
        like = torch.zeros(2, 1, 3, dtype=torch.float64)
        drawn = SeededNoise(0, [0, 1])(like)
        assert (drawn.dtype, drawn.shape) == (torch.float64, like.shape)
        assert torch.equal(drawn, SeededNoise(0, [0, 1])((2, 1, 3)).double())  # drawn in float32

    def test_a_wrong_batch_or_seed_is_refused(self):
        with pytest.raises(ValueError, match="has 2 samples, but a batch of 3"):
            SeededNoise(0, [0, 1])((3, 1, 4))
        with pytest.raises(ValueError, match="negative"):
            SeededNoise(-1, [0])
        with pytest.raises(ValueError, match="negative"):
            SeededNoise(0, [0, -1])
