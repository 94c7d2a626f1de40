"""Statistics of spectra: known differences, bad pixels that do not count, outliers that do not decide."""

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciffusion.statistics import mean_by, nearest, spectral_class
from sciffusion.statistics.distribution import quantile_functions, quantile_of, robust_scatter, transport
from sciffusion.validate import compare


def spectra(samples, seed, pixels=100, scale=1.0, shift=0.0, mask=None, correlation=0.9):
    """Gaussian spectra about a bump; neighbors are correlated as a first-order autoregressive process."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(samples, pixels))
    values = noise.copy()
    for i in range(1, pixels):
        values[:, i] = correlation * values[:, i - 1] + np.sqrt(1 - correlation**2) * noise[:, i]
    wavelength = np.geomspace(4000, 9000, pixels)
    flux = 10 + np.exp(-(((wavelength - 6000) / 500) ** 2)) + scale * values + shift
    axis = {"units": "Angstrom", "medium": "vacuum", "frame": "rest", "boundary": "reflect"}
    coords = {"wavelength": ("wavelength", wavelength, axis)}
    if mask is not None:
        coords["mask"] = (("sample", "wavelength"), mask)
    attrs = {"units": "1e-17 erg / (s cm2 Angstrom)", "long_name": "flux"}
    return xr.DataArray(flux, dims=("sample", "wavelength"), coords=coords, name="flux", attrs=attrs)


def row(comparison, name):
    return next(row for row in comparison.scores["statistics"] if row["name"] == name)


def test_sets_of_one_distribution_score_at_their_floor():
    comparison = compare(spectra(200, seed=1), spectra(200, seed=2))
    names = [row["name"] for row in comparison.scores["statistics"]]
    assert names == ["mean", "variance", "wasserstein", "outliers", "covariance", "correlation"]
    for name in names:
        assert row(comparison, name)["score"] <= 1.5 * row(comparison, name)["floor"]["p95"]
    assert set(comparison.results) == {"spectrum", "correlation"}


def test_a_shift_of_the_mean_is_measured_in_the_scatter_of_the_real_spectra():
    comparison = compare(spectra(400, seed=1), spectra(400, seed=2, shift=0.8))
    assert row(comparison, "mean")["all_samples"] == pytest.approx(0.8, abs=0.1)
    assert row(comparison, "wasserstein")["all_samples"] == pytest.approx(0.8, abs=0.1)
    assert row(comparison, "mean")["generated"] - row(comparison, "mean")["real"] == pytest.approx(0.8, abs=0.1)
    assert row(comparison, "variance")["score"] < 1.5 * row(comparison, "variance")["floor"]["p95"]
    found = comparison.results["spectrum"]
    np.testing.assert_allclose(found["difference"], 0.8, atol=0.25)
    assert found["real"].attrs["units"] == "1e-17 erg / (s cm2 Angstrom)"


def test_a_larger_scatter_is_measured():
    comparison = compare(spectra(400, seed=1), spectra(400, seed=2, scale=1.5))
    assert row(comparison, "variance")["all_samples"] == pytest.approx(2 * 1.25 / 3.25, abs=0.08)
    assert row(comparison, "covariance")["all_samples"] == pytest.approx(2 * 1.25 / 3.25, abs=0.15)
    assert row(comparison, "correlation")["score"] < 1.5 * row(comparison, "correlation")["floor"]["p95"]
    np.testing.assert_allclose(comparison.results["spectrum"]["scatter_ratio"], 1.5, atol=0.25)


def test_lost_correlations_are_measured_where_mean_and_variance_are_right():
    comparison = compare(spectra(400, seed=1), spectra(400, seed=2, correlation=0.0))
    assert row(comparison, "correlation")["score"] > 2 * row(comparison, "correlation")["floor"]["p95"]
    assert row(comparison, "mean")["score"] < row(comparison, "mean")["floor"]["p95"]


def test_the_correlation_matrix_is_that_of_numpy():
    real = spectra(60, seed=1, pixels=64)
    rng = np.random.default_rng(0)  # sums of a few bounded numbers: nothing lies beyond 5 σ
    real = real.copy(data=rng.uniform(-1, 1, (60, 4)) @ rng.normal(size=(4, 64)))
    found = compare(real, spectra(60, seed=2, pixels=64)).results["correlation"]
    np.testing.assert_allclose(found["real"], np.corrcoef(real.values.T), atol=1e-9)
    np.testing.assert_allclose(found.wavelength, real.wavelength)
    np.testing.assert_array_equal(found.wavelength, found.wavelength_2)


def test_mean_and_scatter_are_those_of_numpy():
    real, generated = spectra(50, seed=1), spectra(40, seed=2)
    found = compare(real, generated).results["spectrum"]
    np.testing.assert_allclose(found["real"], real.mean("sample"), rtol=1e-12)
    np.testing.assert_allclose(found["generated_std"], generated.std("sample", ddof=1), rtol=1e-9)


def test_bad_pixels_of_either_set_do_not_count():
    rng = np.random.default_rng(5)
    masks = [rng.random((60, 100)) < 0.2 for _ in range(2)]
    masks[0][:, 17] = True  # a wavelength without any good pixel
    clean = [spectra(60, seed=seed, mask=mask) for seed, mask in enumerate(masks)]
    garbage = [field.copy(data=np.where(mask, 1e30, field.values)) for field, mask in zip(clean, masks)]
    expected, found = (compare(*pair, splits=20) for pair in (clean, garbage))
    assert expected.scores == found.scores
    for name, curves in expected.results.items():
        xr.testing.assert_identical(curves, found.results[name])
    assert np.isnan(found.results["spectrum"]["difference"][17])
    average = np.ma.masked_array(clean[0].values, masks[0]).mean(axis=0).filled(np.nan)
    np.testing.assert_allclose(np.delete(found.results["spectrum"]["real"], 17), np.delete(average, 17), rtol=1e-12)


def test_one_wild_spectrum_does_not_decide():
    real, generated = spectra(200, seed=1), spectra(200, seed=2)
    expected = compare(real, generated)
    wild = real.copy(deep=True)
    wild.values[3] += 1000
    found = compare(wild, generated)
    for name in ("mean", "variance", "covariance", "correlation", "wasserstein"):
        assert row(found, name)["floor"]["p95"] < 2.5 * row(expected, name)["floor"]["p95"]
    assert row(found, "outliers")["real"] == pytest.approx(1 / 200)
    assert row(found, "outliers")["generated"] == 0


def test_the_share_of_outliers_is_one_of_good_pixels():
    mask = np.zeros((200, 100), dtype=bool)
    mask[:, 50:] = np.arange(200)[:, None] % 2 == 0  # half of the spectra lack half of their pixels
    real, generated = spectra(200, seed=1, mask=mask), spectra(200, seed=2)
    real.values[4] += 1000  # 50 good pixels
    assert row(compare(real, generated, splits=20), "outliers")["real"] == pytest.approx(50 / np.sum(~mask))


def test_grids_may_be_uneven_but_must_agree():
    real = spectra(20, seed=1)
    step = real.wavelength.diff("wavelength")
    assert float(step.max()) > 2 * float(step.min())
    nanometers = real.assign_coords(wavelength=("wavelength", real.wavelength.values / 10, {"units": "nm"}))
    assert row(compare(real, nanometers, splits=5), "mean")["all_samples"] == 0
    with pytest.raises(ValueError, match=r"pixel \d+ has the wavelength .* bring both onto one grid"):
        compare(
            real, real.assign_coords(wavelength=("wavelength", real.wavelength.values * 1.01, real.wavelength.attrs))
        )
    with pytest.raises(ValueError, match="the medium of the wavelengths is 'vacuum' for real and 'air'"):
        compare(real, real.assign_coords(wavelength=real.wavelength.assign_attrs(medium="air")))
    with pytest.raises(ValueError, match="100 pixels, the generated ones 99"):
        compare(real, real.isel(wavelength=slice(99)))
    with pytest.raises(ValueError, match="equal; there is nothing to compare"):
        compare(xr.ones_like(real), real)
    with pytest.raises(ValueError, match="no wavelength with good pixels in both"):
        compare(spectra(20, seed=1, mask=np.ones((20, 100), bool)), real)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 999))
def test_transport_of_quantile_functions_is_the_wasserstein_distance(m, n, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=m), rng.standard_t(3, size=n) + 0.5
    found = transport(*(quantile_functions(v[:, None], np.full((1, len(v)), 1 / len(v))) for v in (a, b)))
    spread = max(a.max(), b.max()) - min(a.min(), b.min())
    assert found[0, 0] == pytest.approx(scipy.stats.wasserstein_distance(a, b), abs=0.02 * spread)


def test_quantiles_of_a_gaussian():
    values = np.random.default_rng(0).normal(3.0, 2.0, (20000, 1))
    values[::2] = np.nan  # does not count
    found = quantile_functions(values, np.full((1, 20000), 1 / 20000))
    assert quantile_of(found, 0.5)[0, 0] == pytest.approx(3.0, abs=0.08)
    assert robust_scatter(found)[0, 0] == pytest.approx(2.0, abs=0.06)


def test_copies_are_found_under_masks_and_held_out_samples_are_far():
    training, heldout = spectra(80, seed=1), spectra(40, seed=2)
    mask = np.random.default_rng(3).random((40, 100)) < 0.3
    copies = training.isel(sample=np.arange(40) * 2)
    masked = copies.copy(data=np.where(mask, 0, copies.values)).assign_coords(mask=(("sample", "wavelength"), mask))
    found = nearest(masked, training, heldout)
    np.testing.assert_array_equal(found["generated"], 0)
    np.testing.assert_array_equal(found["generated_index"], np.arange(40) * 2)
    assert found.attrs["p_value"] < 1e-6
    honest = nearest(spectra(40, seed=4), training, heldout)
    assert honest.attrs["p_value"] > 0.01
    brute = np.sqrt(((heldout.values[:, None] - training.values[None]) ** 2).mean(axis=2)).min(axis=1)
    np.testing.assert_allclose(honest["heldout"], brute / training.values.std(), rtol=1e-9)


def test_the_training_set_of_a_search_may_be_read_in_parts(monkeypatch):
    from sciffusion.statistics import grid

    sets = spectra(12, seed=4), spectra(50, seed=1), spectra(20, seed=2)
    expected = nearest(*sets)
    monkeypatch.setattr(grid, "_BATCH_BYTES", 7 * 100 * 8)
    xr.testing.assert_allclose(nearest(*sets), expected, rtol=1e-12)


def test_a_search_refuses_sets_that_do_not_fit():
    training = spectra(10, seed=1)
    with pytest.raises(ValueError, match="all but 'sample' must agree"):
        nearest(training.isel(wavelength=slice(5)), training, training)
    with pytest.raises(ValueError, match="distances have no scale"):
        nearest(training, xr.zeros_like(training), training)


def test_means_by_type_leave_out_bad_pixels_and_unknown_types():
    mask = np.zeros((6, 4), bool)
    mask[0, 0] = True
    flux = spectra(6, seed=1, pixels=4, mask=mask)
    types = spectral_class(["M8.5", "sdM2", "L3 gamma", "L1", "", "T5"])
    found = mean_by(flux, types)
    assert found["class"].values.tolist() == ["L", "M", "T"]
    assert found["samples"].values.tolist() == [2, 2, 1]
    np.testing.assert_allclose(found["mean"].sel({"class": "L"}), flux.values[2:4].mean(axis=0))
    np.testing.assert_allclose(found["mean"].sel({"class": "M"})[0], flux.values[1, 0])
    np.testing.assert_allclose(found["std"].sel({"class": "L"}), flux.values[2:4].std(axis=0), atol=1e-7)
    assert found["mean"].attrs["units"] == flux.attrs["units"]
    with pytest.raises(ValueError, match="2 classes for the 6 samples"):
        mean_by(flux, ["M", "L"])
    with pytest.raises(ValueError, match="no sample of 'flux' has a class"):
        mean_by(flux, [""] * 6)


def test_clean_and_noisy_spectra_are_told_apart():
    sets = [
        spectra(20, seed=i)
        .assign_coords(log_error=(("sample", "wavelength"), np.full((20, 100), level)))
        .assign_attrs(noise="in each pixel of its log_error")
        for i, level in enumerate((-1.5, -3.0))
    ]
    text = "in each pixel of its log_error, median"
    told = compare(*sets, splits=5).scores["noise"]
    assert told == f"noise: real {text} -1.50 dex; generated {text} -3.00 dex"
    assert compare(sets[0], sets[0], splits=5).scores["noise"] == f"noise: {text} -1.50 dex"
