"""Slopes of power laws, of periodic fields and of patches cut out of larger ones."""

import numpy as np
import pytest
import xarray as xr

from sciffusion.statistics import power_slope, power_spectrum
from sciffusion.statistics.slope import slope_band


def gaussian(n, samples, exponent, seed, boundary="periodic", units="deg"):
    """Gaussian fields (sample, y, x) with P(k) ~ k^exponent in a periodic box of n pixels."""
    rng = np.random.default_rng(seed)
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None, :])
    amplitude = np.where(k > 0, np.where(k > 0, k, 1) ** (exponent / 2), 0)
    noise = np.fft.fft2(rng.normal(size=(samples, n, n)))
    values = np.fft.ifft2(noise * amplitude).real
    return labelled(values, boundary, units)


def labelled(values, boundary, units="deg", spacing=0.04):
    attrs = {"units": units, "boundary": boundary}
    dims = ("z", "y", "x")[-(values.ndim - 1) :]
    coords = {dim: (dim, np.arange(n) * spacing, attrs) for dim, n in zip(dims, values.shape[1:])}
    return xr.DataArray(values, dims=("sample", *dims), coords=coords, name="map", attrs={"units": "mag"})


def patches(exponent, boundary="reflect"):
    """64-pixel patches out of periodic boxes of 256."""
    boxes = gaussian(256, 60, exponent, seed=1).values
    parts = [boxes[:, i : i + 64, j : j + 64] for i in (0, 128) for j in (30, 160)]
    return labelled(np.concatenate(parts), boundary)


@pytest.mark.parametrize("exponent", [-3.0, -2.0, 0.0])
def test_the_slope_of_a_periodic_field_is_that_of_its_spectrum(exponent):
    power = power_spectrum(gaussian(64, 60, exponent, seed=2)).mean("sample", keep_attrs=True)
    assert float(power_slope(power)) == pytest.approx(exponent, abs=0.05)


@pytest.mark.parametrize("exponent", [-3.0, -3.6])
def test_a_window_recovers_the_steep_slope_of_open_patches(exponent):
    field = patches(exponent)
    apodized = power_spectrum(field, window="hann").mean("sample", keep_attrs=True)
    assert float(power_slope(apodized)) == pytest.approx(exponent, abs=0.05)


def test_without_a_window_a_patch_is_as_steep_as_its_step_at_most():
    """The step between the ends has k^-2 along one axis, k^-3 averaged over the directions of a plane."""
    bare = power_spectrum(patches(-4.0)).mean("sample", keep_attrs=True)
    assert float(power_slope(bare)) == pytest.approx(-3, abs=0.15)
    apodized = power_spectrum(patches(-4.0), window="hann").mean("sample", keep_attrs=True)
    assert float(power_slope(apodized)) == pytest.approx(-4, abs=0.1)


@pytest.mark.parametrize("shape", [(64,), (32, 24), (12, 10, 16)])
def test_white_noise_keeps_its_power_under_the_window(shape):
    values = np.random.default_rng(0).normal(5.0, 2.0, (400, *shape))
    field = labelled(values, "reflect", spacing=0.5)
    power = power_spectrum(field, window="hann")
    expected = 4 * 0.5 ** len(shape)
    mean = float((power.mean("sample") * power.modes).sum() / power.modes.sum())
    assert mean == pytest.approx(expected, rel=0.03)
    np.testing.assert_allclose(power.mean("sample")[2:] / expected, 1, atol=0.2)


def test_what_the_mean_takes_from_each_shell_under_the_window():
    """White noise less its mean under the window: E|sum_i w_i (e_ik - W_k / W_0) x_i|², exactly."""
    n = 32
    window = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
    waves = np.exp(-2j * np.pi * np.outer(np.arange(1, n // 2), np.arange(n)) / n)
    kept = waves - ((waves @ window) / window.sum())[:, None]
    expected = (np.abs(kept) ** 2 @ window**2) / (window**2).sum()
    field = labelled(np.random.default_rng(3).normal(9.0, 1.0, (20000, n)), "reflect", spacing=1.0)
    found = power_spectrum(field, window="hann").mean("sample")
    np.testing.assert_allclose(found, expected[: found.size], rtol=0.05)
    assert 0.4 < expected[0] < 0.6
    np.testing.assert_allclose(expected[2:], 1, atol=1e-9)


def test_parseval_holds_under_the_window():
    field = labelled(np.random.default_rng(1).normal(size=(3, 16, 12)), "reflect", spacing=0.5)
    power = power_spectrum(field, window="hann", beyond_nyquist=True)
    window = np.multiply.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (16, 12)))
    mean = (field.values * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    variance = (((field.values - mean) * window) ** 2).mean(axis=(1, 2)) / (window**2).mean()
    volume = 8.0 * 6.0
    np.testing.assert_allclose((2 * power.modes * power / volume).sum("k"), variance, rtol=1e-12)


def test_periodic_axes_are_not_apodized():
    field = gaussian(32, 3, -2.0, seed=1)
    xr.testing.assert_identical(power_spectrum(field, window="hann"), power_spectrum(field))
    mixed = field.assign_coords(x=field.x.assign_attrs(boundary="zero"))
    one = power_spectrum(mixed, window="hann")
    assert not np.allclose(one, power_spectrum(mixed))
    np.testing.assert_allclose(one, power_spectrum(mixed.transpose("sample", "x", "y"), window="hann"), rtol=1e-12)
    cross = power_spectrum(mixed, mixed, window="hann")
    np.testing.assert_allclose(cross, one, rtol=1e-12)


def test_the_range_is_documented_and_may_be_given():
    power = power_spectrum(gaussian(64, 4, -2.0, seed=3)).mean("sample", keep_attrs=True)
    fundamental, nyquist = 2 * np.pi / (64 * 0.04), np.pi / 0.04
    assert slope_band(power) == pytest.approx((3 * fundamental, 0.5 * nyquist))
    found = power_slope(power)
    assert (found.attrs["k_min"], found.attrs["k_max"]) == pytest.approx(slope_band(power))
    broken = power.copy(data=np.where(power.k < 30, power.k**-1.0, 30 * power.k**-2.0))
    assert float(power_slope(broken, high=29.9)) == pytest.approx(-1, abs=0.02)
    assert float(power_slope(broken, low=30)) == pytest.approx(-2, abs=0.02)
    with pytest.raises(ValueError, match="0 shells lie in"):
        power_slope(power, low=1e3, high=2e3)


def test_an_unknown_window_is_refused():
    with pytest.raises(ValueError, match="unknown window 'tukey'; known is 'hann'"):
        power_spectrum(gaussian(16, 2, -2.0, seed=1), window="tukey")
