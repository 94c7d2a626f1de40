"""Embeddings: smooth, unique, finite; conditions: named, explicit, never leaking when absent."""

import math

import pytest
import torch

from sciffusion.nn import Condition, absent
from sciffusion.nn.embed import CONDITION_FREQUENCIES, LOG_SNR_FREQUENCIES, Embedding, Fourier, check, map_channels

NAMES = ("Omega_m", "sigma_8")


def given(value, present=True):
    value = torch.as_tensor(value)
    return Condition(value, torch.full(value.shape, present))


def ddpm_log_snr(steps=1000):
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, steps, dtype=torch.float64), 0)
    return torch.log(alpha_bar / (1 - alpha_bar))


def test_fourier_features_by_their_formula():
    features = Fourier(0.5, 2.0, count=3)(torch.tensor([0.7]))
    expected = [math.cos(0.7 * w) for w in (0.5, 1, 2)] + [math.sin(0.7 * w) for w in (0.5, 1, 2)]
    torch.testing.assert_close(features, torch.tensor([expected]))


def test_features_are_smooth_at_the_steps_of_a_1000_step_schedule():
    log_snr = ddpm_log_snr()
    fourier = Fourier(*LOG_SNR_FREQUENCIES, count=16)
    features = fourier(log_snr)
    change = (features[1:] - features[:-1]).norm(dim=1) / features[:-1].norm(dim=1)
    steps = log_snr[:-1] - log_snr[1:]
    assert change[steps < 0.05].max() < 0.05  # the fine steps: 950 of them
    assert (steps < 0.05).sum() > 900
    # No frequency turns by half a circle between any two neighbors, not even at the largest step.
    assert fourier.frequencies.max() * steps.max() < math.pi
    assert change.min() > 1e-4  # and yet every step is seen


@pytest.mark.parametrize(("frequencies", "reach"), [(LOG_SNR_FREQUENCIES, 20), (CONDITION_FREQUENCIES, 4)])
def test_no_two_values_look_alike(frequencies, reach):
    value = torch.linspace(-reach, reach, 401)
    features = Fourier(*frequencies, count=8)(value)
    distance = torch.cdist(features, features) + 10 * torch.eye(401)
    assert distance.min() > 0.01


def test_embedding_is_finite_and_smooth_over_the_whole_range():
    embedding = Embedding(NAMES, 16)
    log_snr = torch.linspace(-20, 20, 2001)
    with torch.no_grad():
        y = embedding(log_snr, absent(NAMES, 2001))
    assert torch.isfinite(y).all()
    assert ((y[1:] - y[:-1]).norm(dim=1) / y.norm(dim=1).mean()).max() < 0.1


@pytest.mark.parametrize("value", [0.0, 3.0, float("nan"), float("inf")])
def test_an_absent_value_does_not_leak(value):
    embedding = Embedding(("sigma_8",), 16)
    log_snr = torch.zeros(2)
    cond = {"sigma_8": given(torch.full((2,), value), present=False)}
    y = embedding(log_snr, cond)
    torch.testing.assert_close(y, embedding(log_snr, absent(["sigma_8"], 2)), rtol=0, atol=0)
    y.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in embedding.parameters())


def test_presence_is_per_sample_and_a_present_mean_differs_from_absence():
    embedding = Embedding(("sigma_8",), 16)
    cond = {"sigma_8": Condition(torch.zeros(2), torch.tensor([True, False]))}
    mixed, without = embedding(torch.zeros(2), cond), embedding(torch.zeros(2), absent(["sigma_8"], 2))
    torch.testing.assert_close(mixed[1], without[1])
    assert not torch.allclose(mixed[0], without[0])


def test_every_condition_acts_under_its_own_name():
    embedding = Embedding(NAMES, 16)
    zero, log_snr = torch.zeros(1), torch.zeros(1)
    base = embedding(log_snr, {name: given(zero) for name in NAMES})
    moved = [embedding(log_snr, {n: given(zero + (n == name)) for n in NAMES}) for name in NAMES]
    assert not torch.allclose(base, moved[0])
    assert not torch.allclose(base, moved[1])
    assert not torch.allclose(moved[0], moved[1])
    reordered = embedding(log_snr, {name: given(zero) for name in reversed(NAMES)})
    torch.testing.assert_close(base, reordered, rtol=0, atol=0)


def test_an_unknown_condition_is_refused_with_the_known_names():
    cond = {**absent(NAMES, 1), "n_s": given([0.0])}
    with pytest.raises(ValueError, match="unknown condition 'n_s': this network knows Omega_m, sigma_8"):
        check(cond, absent(NAMES, 1))
    with pytest.raises(ValueError, match="unknown condition 'sigma_8': this network knows none"):
        check({"sigma_8": given([0.0])}, {})


def test_a_missing_condition_is_refused_and_says_how_to_be_absent():
    with pytest.raises(ValueError, match=r"condition 'sigma_8' is missing.*absent\(names, batch\)"):
        check({"Omega_m": given([0.0])}, absent(NAMES, 1))


def test_a_condition_of_another_batch_or_grid_is_refused():
    with pytest.raises(ValueError, match=r"'sigma_8': .* shapes \(2,\) and \(2,\), got \(1,\) and \(1,\)"):
        check({"sigma_8": given([0.0])}, absent(["sigma_8"], 2))
    expected = absent(["log_error"], 2, grid=(4, 3))
    with pytest.raises(ValueError, match=r"'log_error': .* \(2, 1, 4, 3\) and \(2,\), got \(2, 4, 3\) and \(2,\)"):
        check({"log_error": Condition(torch.zeros(2, 4, 3), torch.ones(2, dtype=torch.bool))}, expected)
    check(expected, expected)


@pytest.mark.parametrize("grid", [(6,), (4, 3), (2, 3, 4)])
def test_a_map_becomes_its_value_where_present_and_its_presence(grid):
    value = torch.full((2, 1, *grid), 0.7)
    value[1] = float("nan")  # what is absent may be anything
    channels = map_channels(Condition(value, torch.tensor([True, False])))
    expected = torch.stack([torch.tensor([0.7, 1.0]), torch.zeros(2)]).reshape(2, 2, *[1] * len(grid))
    assert torch.equal(channels, expected.expand(2, 2, *grid))
