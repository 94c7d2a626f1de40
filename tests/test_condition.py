import pytest
import torch
from oracle import ConditionalGaussian

from sciffusion.condition import Conditioned
from sciffusion.denoise import Denoiser
from sciffusion.nn import UNet, UNetConfig
from sciffusion.nn.embed import Condition, absent
from sciffusion.sample import DDPM, DPMSolver2M, SeededNoise
from sciffusion.schedule import Cosine


@pytest.fixture
def oracle():
    return ConditionalGaussian(Cosine(), S=0.5, V=2.0)


def noisy(n=3, grid=(4,)):
    return torch.randn(n, 1, *grid, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


T = torch.tensor(0.4, dtype=torch.float64)


class TestKnownAnswer:
    """Pixels x ~ N(c, S) with c ~ N(0, V): both estimates are known, and so is their mixture."""

    def test_estimates(self, oracle):
        x = noisy()
        c = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
        alpha, sigma = Cosine()(T)
        column = c[:, None, None]
        given = column + alpha * 0.5 / (alpha**2 * 0.5 + sigma**2) * (x - alpha * column)
        blind = alpha * 2.5 / (alpha**2 * 2.5 + sigma**2) * x
        for w in (0.0, 0.5, 1.0, 3.0, -1.0):
            x_hat = Conditioned(oracle, oracle.with_c(c.tolist()), guidance=w)(x, T)
            torch.testing.assert_close(x_hat, blind + w * (given - blind))

    def test_zero_is_unconditional_exactly_and_one_conditional(self, oracle):
        x, cond = noisy(), oracle.with_c([2.0, -1.0, 0.5])
        assert torch.equal(Conditioned(oracle, cond, guidance=0.0)(x, T), oracle(x, T))
        assert torch.equal(Conditioned(oracle, cond)(x, T), oracle(x, T, cond))
        assert torch.equal(Conditioned(oracle, None)(x, T), oracle(x, T))

    @pytest.mark.parametrize(("w", "mean", "variance"), [(1.0, 1.5, 0.5), (0.0, 0.0, 2.5)])
    def test_samples_have_the_conditional_mean_and_variance(self, oracle, w, mean, variance):
        n, pixels = 200, 100
        noise = SeededNoise(0, range(n))
        bound = Conditioned(oracle, oracle.with_c([1.5] * n), guidance=w)
        x = DPMSolver2M(60)(bound, noise((n, 1, pixels)), noise)
        error = (variance / (n * pixels)) ** 0.5
        assert float(x.mean()) == pytest.approx(mean, abs=5 * error + 0.005)
        assert float(x.var()) == pytest.approx(variance, rel=5 * (2 / (n * pixels)) ** 0.5 + 0.01)

    def test_guidance_moves_beyond_the_condition(self, oracle):
        noise = SeededNoise(0, range(4))
        means = [
            float(DDPM(50)(Conditioned(oracle, oracle.with_c([1.5] * 4), w), noise((4, 1, 200)), noise).mean())
            for w in (0.0, 1.0, 2.0, 4.0)
        ]
        assert means == sorted(means)
        assert means[2] > 1.6


class TestCalls:
    def test_guidance_costs_one_call_of_twice_the_batch(self, oracle):
        for w, batches, passes in [(0.0, [3], 1), (1.0, [3], 1), (2.0, [6], 2)]:
            oracle.batches.clear()
            bound = Conditioned(oracle, oracle.with_c([2.0, -1.0, 0.5]), guidance=w)
            bound(noisy(), T)
            assert oracle.batches == batches
            assert bound.passes == passes

    def test_a_time_for_each_sample(self, oracle):
        bound = Conditioned(oracle, oracle.with_c([2.0, -1.0, 0.5]), guidance=2.0)
        x, t = noisy(), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
        each = [
            Conditioned(oracle, oracle.with_c([c]), guidance=2.0)(x[i : i + 1], t[i])
            for i, c in enumerate([2.0, -1.0, 0.5])
        ]
        torch.testing.assert_close(bound(x, t), torch.cat(each))

    def test_a_sample_without_its_condition_is_not_guided(self, oracle):
        cond = {"c": Condition(torch.tensor([2.0, float("nan")]), torch.tensor([True, False]))}
        x_hat = Conditioned(oracle, cond, guidance=3.0)(noisy(2), T)
        torch.testing.assert_close(x_hat[1], oracle(noisy(2), T)[1])

    def test_maps_are_guided_but_both_estimates_know_the_mask(self):
        torch.manual_seed(0)
        network = UNet(1, maps=("log_error", "mask"), config=UNetConfig(channels=(8, 8), blocks=1, embed_channels=8))
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        denoiser, x = Denoiser(network.double(), Cosine(), "velocity"), noisy(2, (8,))
        everywhere = torch.ones(2, dtype=torch.bool)
        mask = Condition((x > 0.5).double(), everywhere)
        cond = {"log_error": Condition(x.flip(0), everywhere), "mask": mask}
        blind = absent(["log_error"], 2, grid=(8,)) | {"mask": mask}
        with torch.no_grad():
            given, without = denoiser(x, T, cond), denoiser(x, T, blind)
            assert not torch.allclose(without, denoiser(x, T, None))
            assert not torch.allclose(without, given)
            for w in (0.0, 0.5, 1.0, 3.0):
                torch.testing.assert_close(Conditioned(denoiser, cond, w)(x, T), without + w * (given - without))

    def test_the_schedule_is_that_of_the_denoiser(self, oracle):
        bound = Conditioned(oracle, oracle.with_c([1.0]))
        assert bound.schedule is oracle.schedule
        oracle.schedule = Cosine(T=10)
        assert bound.schedule.T == 10

    def test_guidance_without_conditions_is_refused(self, oracle):
        for cond in (None, {}):
            with pytest.raises(ValueError, match=r"guidance = 2.0 needs conditions"):
                Conditioned(oracle, cond, guidance=2.0)
            assert torch.equal(Conditioned(oracle, cond, guidance=0.0)(noisy(), T), oracle(noisy(), T))
