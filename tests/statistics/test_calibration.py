"""Draws of a posterior that is known: calibrated ones pass with even p-values, narrow and biased ones are found out."""

import numpy as np
import pytest
import scipy.stats
import scoringrules
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciffusion.statistics import (
    crps,
    energy_score,
    grid,
    interval_coverage,
    rank_histogram,
    spread_skill,
    tarp_coverage,
)
from sciffusion.statistics.calibration import calibration
from sciffusion.statistics.draws import BandFilter

SHAPES = {1: (40,), 2: (14, 11), 3: (8, 6, 7)}
NOISE = 0.5


def radius(shape):
    axes = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in shape), indexing="ij")
    return np.sqrt(sum(axis**2 for axis in axes))


def filtered(values, amplitude):
    axes = tuple(range(-amplitude.ndim, 0))
    return np.fft.ifftn(np.fft.fftn(values, axes=axes) * amplitude, axes=axes).real


def posterior(shape, samples=200, count=19, width=1.0, bias=0.0, seed=0):
    """Fields of power 1 / (1 + k^2), seen with white noise; draws of the exact posterior given what is seen.

    Each mode has the mean S / (S + N) of what is seen and the variance S N / (S + N). `width` multiplies the draws'
    deviations (a number, or one for each mode), `bias` is added [standard deviations of the posterior].
    """
    rng = np.random.default_rng(seed)
    signal = 1 / (1 + radius(shape) ** 2)
    truth = filtered(rng.normal(size=(samples, *shape)), np.sqrt(signal))
    seen = truth + NOISE * rng.normal(size=truth.shape)
    mean = filtered(seen, signal / (signal + NOISE**2))
    variance = signal * NOISE**2 / (signal + NOISE**2)
    off = filtered(rng.normal(size=(samples, count, *shape)), width * np.sqrt(variance))
    draws = mean[:, None] + off + bias * np.sqrt(variance.mean())
    dims = ("z", "y", "x")[-len(shape) :]
    coords = {d: (d, np.arange(float(n)), {"units": "Mpc", "boundary": "periodic"}) for d, n in zip(dims, shape)}
    attrs = {"units": "K"}
    return (
        xr.DataArray(truth, dims=("sample", *dims), coords=coords, attrs=attrs, name="map"),
        xr.DataArray(draws, dims=("sample", "candidate", *dims), coords=coords, attrs=attrs),
        xr.DataArray(seen, dims=("sample", *dims), coords=coords, attrs=attrs),
    )


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("fair", "estimator"), [(True, "fair"), (False, "nrg")])
def test_scores_are_those_of_scoringrules(ndim, fair, estimator):
    truth, draws, _ = posterior(SHAPES[ndim], samples=6, count=8)
    found = crps(truth, draws, fair=fair)
    oracle = scoringrules.crps_ensemble(truth.values, draws.values, m_axis=1, estimator=estimator, backend="numpy")
    np.testing.assert_allclose(found, oracle, rtol=1e-10, atol=1e-13)
    assert found.dims == truth.dims
    assert found.attrs["units"] == "K"
    whole = energy_score(truth, draws, fair=fair)
    flat = truth.values.reshape(6, -1), draws.values.reshape(6, 8, -1)
    oracle = scoringrules.es_ensemble(*flat, estimator=estimator, backend="numpy")
    np.testing.assert_allclose(whole, oracle / flat[0].shape[1] ** 0.5, rtol=1e-10)
    assert whole.dims == ("sample",)


def test_the_crps_of_many_draws_is_the_closed_form_of_a_gaussian():
    rng = np.random.default_rng(0)
    z = np.linspace(-3, 3, 13)
    truth = xr.DataArray(1e3 + 2 * z[None], dims=("sample", "x"))
    draws = xr.DataArray(1e3 + 2 * rng.normal(size=(1, 40_000, 13)), dims=("sample", "candidate", "x"))
    exact = 2 * (z * (2 * scipy.stats.norm.cdf(z) - 1) + 2 * scipy.stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    # a mean of 40,000 distances has the error 2 / 200
    np.testing.assert_allclose(crps(truth, draws)[0], exact, atol=0.04)


@pytest.mark.parametrize("count", [2, 5])
def test_the_fair_score_of_few_draws_is_in_the_mean_that_of_many(count):
    rng = np.random.default_rng(1)
    truth = xr.DataArray(rng.normal(size=(400, 100)), dims=("sample", "x"))
    draws = xr.DataArray(rng.normal(size=(400, count, 100)), dims=("sample", "candidate", "x"))
    exact = 1 / np.sqrt(np.pi)
    assert float(crps(truth, draws).mean()) == pytest.approx(exact, abs=0.015)
    assert float(crps(truth, draws, fair=False).mean()) == pytest.approx(exact * (1 + 1 / count), abs=0.015)
    # pixels that are independent: distances are sqrt(2) sigma, so the score is half of that
    assert float(energy_score(truth, draws).mean()) == pytest.approx(0.5**0.5, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(1, 6), st.floats(-1e3, 1e3), st.floats(0.1, 10), st.integers(0, 99))
def test_scores_follow_units_and_offset(count, pixels, offset, factor, seed):
    rng = np.random.default_rng(seed)
    truth = xr.DataArray(rng.normal(size=(3, pixels)), dims=("sample", "x"))
    draws = xr.DataArray(rng.normal(size=(3, count, pixels)), dims=("sample", "candidate", "x"))
    for score in (crps, energy_score):
        moved = score(offset + factor * truth, offset + factor * draws)
        np.testing.assert_allclose(moved, factor * score(truth, draws), rtol=1e-6, atol=1e-9)
    # of one pixel the energy score is the CRPS
    one = truth.isel(x=[0]), draws.isel(x=[0])
    np.testing.assert_allclose(energy_score(*one), crps(*one)[:, 0], atol=1e-12)


def test_the_credibility_is_the_share_of_draws_nearer_to_the_reference():
    truth, draws, seen = posterior(SHAPES[2], samples=30, count=9)
    found = tarp_coverage(truth, draws, references=seen)
    std = truth.values.std(axis=0)
    far = np.sqrt((((truth - seen) / std) ** 2).sum(("x", "y")))
    each = np.sqrt((((draws - seen) / std) ** 2).sum(("x", "y")))
    nearer = (each < far).sum("candidate").values
    np.testing.assert_array_equal(np.floor(found.credibility * 10), nearer)
    expected = (found.credibility.values[:, None] < found.level.values).mean(axis=0)
    np.testing.assert_array_equal(found.coverage, expected)
    assert float(found.p_value) == pytest.approx(scipy.stats.kstest(found.credibility, "uniform").pvalue)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_draws_of_the_posterior_pass(ndim):
    truth, draws, seen = posterior(SHAPES[ndim], samples=300, seed=ndim)
    for references in (None, seen):
        found = tarp_coverage(truth, draws, references=references)
        assert found.p_value > 1e-3
        assert (np.abs(found.coverage - found.level) < 4 * found.error).all()
    ratio = spread_skill(truth, draws)
    assert (np.abs(ratio - 1) < 4 * ratio.error).all()
    assert ratio.error.max() < 0.1
    assert rank_histogram(truth, draws).p_value > 1e-3
    assert rank_histogram(truth, draws, (1.0, 2.0)).p_value > 1e-3


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_draws_too_narrow_by_2_75_are_found_by_every_test(ndim):
    truth, draws, _ = posterior(SHAPES[ndim], width=1 / 2.75, seed=ndim)
    assert tarp_coverage(truth, draws).p_value < 1e-6
    assert rank_histogram(truth, draws).p_value < 1e-6
    assert rank_histogram(truth, draws, (1.0, 2.0)).p_value < 1e-6
    assert interval_coverage(truth, draws).overall < 0.4
    ratio = spread_skill(truth, draws)
    # the mean of 19 narrow draws misses by less than that of 19 wide ones
    exact = np.sqrt(20 / 19 / 2.75**2 / (1 + 1 / 19 / 2.75**2))
    assert (np.abs(ratio - exact) < 4 * ratio.error).all()


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_biased_draws_are_found(ndim):
    truth, draws, _ = posterior(SHAPES[ndim], bias=0.5, seed=ndim)
    assert rank_histogram(truth, draws).p_value < 1e-6
    # the spread is right and the error is not: variance 1 + 1/N and the square of the bias
    ratio = spread_skill(truth, draws, by="pixel")
    assert float(ratio.mean()) == pytest.approx(np.sqrt(20 / 19 / (1 + 1 / 19 + 0.25)), abs=0.05)


def test_a_bias_of_one_number_is_found_by_random_points():
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(400, 1))
    center = (theta + NOISE * rng.normal(size=theta.shape)) / (1 + NOISE**2)
    std = NOISE / np.sqrt(1 + NOISE**2)
    truth = xr.DataArray(theta, dims=("sample", "parameter"))
    for bias, low, high in ((0.0, 1e-3, 1.0), (0.5 * std, 0.0, 1e-3)):
        every = center[:, None] + bias + std * rng.normal(size=(400, 50, 1))
        draws = xr.DataArray(every, dims=("sample", "candidate", "parameter"))
        far = xr.full_like(truth, -10.0)  # from one side the credibility is the cumulative distribution
        assert low <= tarp_coverage(truth, draws, references=far).p_value <= high


def test_draws_of_the_prior_pass_but_for_references_that_know_what_was_seen():
    """Lemos et al. 2023, section 3.2: only references that depend on the data tell the prior from the posterior."""
    truth, _, seen = posterior((6,), samples=800)
    prior = posterior((6,), samples=800, count=1, seed=9)[0]
    draws = xr.concat([prior.isel(sample=np.roll(np.arange(800), i)) for i in range(1, 30)], dim="candidate")
    assert tarp_coverage(truth, draws).p_value > 1e-3
    assert tarp_coverage(truth, draws, references=seen).p_value < 1e-6


def p_values(samples, siblings, seeds=300):
    """The p-values of calibrated draws in many small sets; siblings are the same truth, seen with other noise."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        theta = np.repeat(rng.normal(size=(samples, 5)), siblings, axis=0)
        center = theta.cumsum(axis=1)
        # siblings share the truth's place among the draws: correlated as much as can be
        off = np.repeat(rng.normal(size=(samples, 5)), siblings, axis=0).cumsum(axis=1)
        every = center[:, None] + rng.normal(size=(len(theta), 9, 5)).cumsum(axis=2)
        truth = xr.DataArray(center + off, dims=("sample", "x"), coords={"x": np.arange(5.0)})
        truth = truth.assign_coords(group=("sample", np.repeat(np.arange(samples), siblings)))
        draws = xr.DataArray(every, dims=("sample", "candidate", "x"), coords={"x": np.arange(5.0)})
        far = xr.full_like(truth, -30.0)
        found.append([rank_histogram(truth, draws).p_value, tarp_coverage(truth, draws, references=far).p_value])
    return np.array(found).T


@pytest.mark.parametrize("siblings", [1, 4])
def test_p_values_of_calibrated_draws_are_even_whatever_is_correlated(siblings):
    for p in p_values(100, siblings):
        assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3
        assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.04)  # three errors of 300 sets


def test_too_narrow_modes_of_one_band_are_found_there():
    shape = (32, 32)
    width = np.where(radius(shape) < 0.5 * np.pi, 1.0, 0.5)
    truth, draws, _ = posterior(shape, width=width, count=9)
    found = calibration(truth, draws)
    nyquist = np.pi
    np.testing.assert_allclose(found.band_high, np.array([0.125, 0.25, 0.5, 0.8]) * nyquist)
    assert (found.band_p_value[:3] > 1e-3).all()
    assert found.band_p_value[3] < 1e-6
    low = found.k < 0.5 * nyquist - 0.1
    assert (np.abs(found.spread_skill - 1) < 4 * found.spread_skill_error)[low].all()
    assert (found.spread_skill[found.k > 0.5 * nyquist + 0.1] < 0.7).all()


def test_a_band_filter_keeps_what_lies_in_the_band():
    for shape in SHAPES.values():
        field = posterior(shape, samples=2, count=1)[0]
        found = BandFilter(field, (0.8, 2.0))(field.values)
        np.testing.assert_allclose(
            found, filtered(field.values, (radius(shape) >= 0.8) & (radius(shape) < 2)), atol=1e-12
        )
    both = xr.concat([field, 2 * field], dim="channel").transpose("sample", "z", "channel", "y", "x")
    several = BandFilter(both, (0.8, 2.0))(both.values)
    np.testing.assert_allclose(several[:, :, 1], 2 * found, atol=1e-12)


def test_spectra_of_uneven_wavelengths_are_judged_by_pixels():
    truth, draws, _ = posterior((40,), width=0.5)
    wavelength = ("wavelength", 4000 * 1.01 ** np.arange(40), {"units": "Angstrom"})
    truth, draws = (each.rename(x="wavelength").assign_coords(wavelength=wavelength) for each in (truth, draws))
    found = calibration(truth, draws)
    assert found.spread_skill.dims == ("wavelength",)
    assert "band_share" not in found
    exact = np.sqrt(20 / 19 * 0.25 / (1 + 0.25 / 19))
    assert float(found.spread_skill.mean()) == pytest.approx(exact, abs=0.03)


def test_bad_pixels_do_not_count():
    truth, draws, _ = posterior((40,), samples=60)
    mask = np.zeros(truth.shape, bool)
    mask[:, 7] = True
    mask[::3, 20:] = True
    damaged = truth.where(~mask, 1e6).assign_coords(mask=(truth.dims, mask)).assign_attrs(truth.attrs)
    clean = truth.assign_coords(mask=(truth.dims, mask))
    first, second = (calibration(each, draws) for each in (damaged, clean))
    xr.testing.assert_allclose(first, second)
    assert np.isnan(crps(damaged, draws).values[mask]).all()
    kept = np.array([0, 3, 6])
    alone = truth.isel(sample=kept, x=[i for i in range(20) if i != 7])
    np.testing.assert_allclose(
        energy_score(damaged, draws)[kept], energy_score(alone, draws.isel(sample=kept).sel(x=alone.x)), rtol=1e-9
    )
    by_pixel = spread_skill(damaged, draws, by="pixel")
    assert np.isnan(by_pixel[7])
    assert (np.abs(by_pixel.drop_isel(x=7) - 1) < 0.5).all()


def test_reading_some_samples_at_a_time_changes_nothing(monkeypatch):
    truth, draws, _ = posterior(SHAPES[2], samples=20, count=6)
    whole = calibration(truth, draws)
    monkeypatch.setattr(grid, "_BATCH_BYTES", 3 * 6 * 8 * 14 * 11)
    xr.testing.assert_allclose(calibration(truth, draws.transpose("x", "candidate", "sample", "y")), whole)


def test_channels_have_spreads_of_their_own():
    truth, draws, _ = posterior((14, 11), samples=50, width=0.5)
    wide = posterior((14, 11), samples=50)[1]
    both = xr.concat([truth, truth], dim="channel"), xr.concat([draws, wide], dim="channel")
    found = spread_skill(*both)
    assert found.dims == ("channel", "k")
    np.testing.assert_allclose(found[0], spread_skill(truth, draws))
    np.testing.assert_allclose(found.error[1], spread_skill(truth, wide).error)


def test_the_summary_holds_what_its_parts_say():
    truth, draws, _ = posterior((14, 11), samples=120, count=45)
    truth = truth.assign_coords(group=("sample", np.arange(120) // 2))
    found = calibration(truth, draws)
    assert found.attrs == {"samples": 120, "groups": 60, "candidates": 45}
    np.testing.assert_array_equal(found.rank_share, rank_histogram(truth, draws).share)
    np.testing.assert_array_equal(found.tarp_coverage, tarp_coverage(truth, draws).coverage)
    np.testing.assert_allclose(found.interval_coverage, [0.68, 0.95], atol=0.03)
    assert float(found.score.sel(kind="crps")) == pytest.approx(float(crps(truth, draws).mean()))
    # the prior knows nothing: of a Gaussian its CRPS is 1 / sqrt(pi) standard deviations
    signal = 1 / (1 + radius((14, 11)) ** 2)
    ratio = np.sqrt((signal * NOISE**2 / (signal + NOISE**2)).mean() / signal.mean())
    assert found.score_climatology.sel(kind="crps") > found.score.sel(kind="crps")
    # draws of another sample are too narrow for this one, which costs more than the prior would: skill above 1 - ratio
    assert float(found.skill.sel(kind="crps")) > 1 - ratio
    assert (found.skill_error < 0.05).all()
    assert found.score.attrs["units"] == "K"
    assert found.band_low.attrs["units"] == "1/Mpc"
    few = calibration(truth, draws.isel(candidate=slice(10)))
    assert np.isnan(few.interval_coverage[1])


def test_what_does_not_fit_is_refused_in_words():
    truth, draws, seen = posterior((16,), samples=12, count=4)
    for function in (crps, energy_score, spread_skill, tarp_coverage, calibration):
        with pytest.raises(ValueError, match="'candidate': 4"):
            function(truth, draws.isel(sample=slice(11)))
        with pytest.raises(ValueError, match="'candidate': 0"):
            function(truth, truth)
    one = draws.isel(candidate=[0])
    with pytest.raises(ValueError, match="a fair score needs at least 2 candidates of 'map', got 1"):
        crps(truth, one)
    with pytest.raises(ValueError, match="a spread needs at least 2 candidates of 'map', got 1"):
        spread_skill(truth, one)
    np.testing.assert_allclose(crps(truth, one, fair=False), np.abs(truth - one[:, 0]))
    with pytest.raises(ValueError, match="at least two groups"):
        tarp_coverage(truth.assign_coords(group=("sample", np.zeros(12, int))), draws)
    with pytest.raises(ValueError, match="expected a reference for each"):
        tarp_coverage(truth, draws, references=seen.isel(sample=slice(5)))
    lost = truth.copy(data=np.where(np.arange(12)[:, None] == 3, np.nan, truth.values))
    with pytest.raises(ValueError, match="sample 3 of 'map' has values that are not finite"):
        crps(lost, draws)
    with pytest.raises(ValueError, match="no mode of 'map' lies in the band"):
        rank_histogram(truth, draws, (0.01, 0.02))
    assert np.isnan(rank_histogram(truth.isel(sample=slice(9)), draws.isel(sample=slice(9))).p_value)
