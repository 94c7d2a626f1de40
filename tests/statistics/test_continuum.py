"""Continua of polynomials under lines and bad pixels; autocorrelations beside all pairs, AR(1) and known P(k)."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciffusion.statistics.continua import autocorrelation, continuum
from sciffusion.statistics.pairing import agreeing
from sciffusion.statistics.spectrumtexture import Continuum
from sciffusion.statistics.split import draw, halves, weights
from sciffusion.statistics.statistic import Parts, measure, tabulate

GRIDS = {
    "coarse": np.arange(4000.0, 8500.0, 8.0) + 4,
    "fine": np.arange(4000.0, 8500.0),
    "log": 10 ** (3.5901 + 1e-4 * np.arange(3598)),
    "uneven": np.cumsum(1.5 + np.sin(np.arange(2400) / 40)) + 4000,
}
LINES = (4100, 4770, 5350, 5460, 5510, 7200, 7221, 7244, 7390)
UNITS = "1e-17 erg / (s cm2 Angstrom)"


def labelled(values, wavelength, mask=None, units="Angstrom"):
    coords = {
        "wavelength": ("wavelength", wavelength, {"units": units}),
        "redshift": ("sample", np.linspace(0, 1, len(values))),
    }
    if mask is not None:
        coords["mask"] = (("sample", "wavelength"), mask)
    return xr.DataArray(values, dims=("sample", "wavelength"), coords=coords, name="flux", attrs={"units": UNITS})


def polynomial(wavelength):
    x = (wavelength - 6000) / 2500
    return 10 + 4 * x - 5 * x**2 + 2 * x**3


def blended(wavelength, height=20.0):
    return sum(height * np.exp(-0.5 * ((wavelength - line) / 4) ** 2) for line in LINES)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("height", [20.0, -6.0])
def test_a_polynomial_is_found_under_lines_and_bad_pixels(grid, height):
    wavelength, rng = GRIDS[grid], np.random.default_rng(0)
    mask = rng.random((20, len(wavelength))) < 0.05
    mask[:, len(wavelength) // 2 :][:, : len(wavelength) // 60] = True
    values = np.where(mask, 1e4, polynomial(wavelength) + blended(wavelength, height))
    found = continuum(labelled(values, wavelength, mask))
    expected = np.tile(polynomial(wavelength), (20, 1))
    ends = (wavelength < 1.05 * wavelength[0]) | (wavelength > wavelength[-1] / 1.05)
    np.testing.assert_allclose(found[:, ~ends], expected[:, ~ends], rtol=5e-3)
    # of a window cut in half by the end, a strong line on a steep continuum takes too much
    np.testing.assert_allclose(found[:, ends], expected[:, ends], rtol=5e-2)
    bare = continuum(labelled(np.where(mask, 1e4, expected), wavelength, mask))
    np.testing.assert_allclose(bare, expected, rtol=2e-3)
    assert found.attrs["units"] == UNITS
    assert set(found.coords) == {"wavelength", "redshift", "mask"}
    twice = continuum(labelled(values, wavelength, mask), 330, "Angstrom")
    np.testing.assert_allclose(twice[:, ~ends], expected[:, ~ends], rtol=1e-2)


@pytest.mark.parametrize("grid", GRIDS)
def test_constants_are_exact_and_straight_lines_nearly(grid):
    wavelength, rng = GRIDS[grid], np.random.default_rng(1)
    mask = rng.random((3, len(wavelength))) < 0.2
    mask[:, 0] = mask[:, -1] = True
    flat = labelled(np.where(mask, -7e5, 3.3), wavelength, mask)
    np.testing.assert_array_equal(continuum(flat), 3.3)
    straight = np.where(mask, -7e5, 1e-3 * wavelength)
    found = continuum(labelled(straight, wavelength, mask), 400, "Angstrom")
    np.testing.assert_allclose(found, np.tile(1e-3 * wavelength, (3, 1)), rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-18, 1e3), st.floats(-1e3, 1e3), st.integers(0, 99))
def test_a_factor_and_an_offset_go_through(factor, offset, seed):
    wavelength = GRIDS["coarse"]
    values = 5 + np.random.default_rng(seed).normal(size=(1, len(wavelength)))
    one = continuum(labelled(values, wavelength)).values
    other = continuum(labelled(factor * (values + offset), wavelength)).values
    np.testing.assert_allclose(other, factor * (one + offset), rtol=1e-9, atol=1e-9 * factor)


def test_noise_leaves_the_scatter_of_a_smoothed_median():
    """Of n pixels of a window a median has 1.25 σ / √n; smoothing takes some of it, what is added back returns some."""
    wavelength, rng = GRIDS["fine"], np.random.default_rng(2)
    noise = continuum(labelled(100 + rng.normal(size=(400, len(wavelength))), wavelength), 300, "Angstrom") - 100
    scatter = noise.std("sample") * np.sqrt(300)
    np.testing.assert_allclose(scatter[300:-300], 1.2, atol=0.25)
    assert float(scatter.max()) < 4.5
    np.testing.assert_allclose(noise.mean("sample"), 0, atol=4.5 / np.sqrt(300 * 400) * 4.5)


def test_what_no_good_pixel_is_near_is_nan():
    wavelength = GRIDS["coarse"]
    mask = np.zeros((3, len(wavelength)), bool)
    mask[0, 200:300] = True  # 800 Angstrom
    mask[1] = True
    mask[2, :60] = True
    found = continuum(labelled(np.ones((3, len(wavelength))), wavelength, mask), 320, "Angstrom")
    assert np.isnan(found[0, 211:289]).all()
    assert np.isfinite(found[0, ~mask[0]]).all()
    assert np.isnan(found[1]).all()
    assert np.isnan(found[2, :50]).all()
    np.testing.assert_array_equal(found[2, 60:], 1)


def test_channels_single_spectra_and_units_of_the_axis():
    wavelength = GRIDS["coarse"]
    flux = labelled(polynomial(wavelength) + np.random.default_rng(3).normal(size=(4, len(wavelength))), wavelength)
    both = xr.concat([flux, 2 * flux], dim="channel").transpose("wavelength", "sample", "channel")
    found = continuum(both)
    assert found.dims == both.dims
    np.testing.assert_allclose(found.isel(channel=1).transpose("sample", ...), 2 * continuum(flux), rtol=1e-12)
    np.testing.assert_allclose(continuum(flux.isel(sample=2)), continuum(flux)[2], rtol=1e-12)
    micron = labelled(flux.values, wavelength / 1e4, units="um")
    np.testing.assert_allclose(continuum(micron, 0.03, "um"), continuum(flux, 300, "Angstrom"), rtol=1e-9)
    rho = autocorrelation(both, 5)
    assert rho.dims == ("sample", "channel", "lag")
    np.testing.assert_allclose(rho.isel(channel=0), autocorrelation(flux, 5), rtol=1e-9)
    np.testing.assert_allclose(autocorrelation(flux.isel(sample=2), 5), autocorrelation(flux, 5)[2], rtol=1e-9)


def all_pairs(x, good, longest):
    """Mean products of pairs, one by one."""
    total, number = np.zeros((2, longest + 1))
    for i in range(len(x)):
        for lag in range(min(longest, len(x) - 1 - i) + 1):
            if good[i] and good[i + lag]:
                total[lag] += x[i] * x[i + lag]
                number[lag] += 1
    return total, number


@pytest.mark.parametrize("size", [37, 64])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_mean_over_all_pairs(size, masked):
    rng = np.random.default_rng(4)
    values, mask = rng.normal(2, 1, (3, size)), rng.random((3, size)) < (0.4 if masked else 0)
    garbage = labelled(np.where(mask, 1e8, values), 4000.0 + 5 * np.arange(size), mask)
    found = autocorrelation(garbage, size - 1, of="flux", normalized=False, width=0.5)
    rho = autocorrelation(garbage, size - 1, of="flux", width=0.5)
    for i in range(3):
        total, number = all_pairs(values[i], ~mask[i], size - 1)
        np.testing.assert_array_equal(found.pairs[i], number)
        there = number > 0
        np.testing.assert_allclose(found[i][there], total[there] / number[there], rtol=1e-9, atol=1e-12)
        assert np.isnan(found[i].values[~there]).all()
        np.testing.assert_allclose(rho[i], found[i] / found[i, 0], rtol=1e-12)
    assert found.attrs["units"] == f"({UNITS})^2"
    assert rho.attrs["units"] == ""


def test_white_noise_and_autoregressive_noise():
    rng, size, rho = np.random.default_rng(5), 1024, 0.8
    white = rng.normal(size=(300, size + 64))
    red = np.zeros_like(white)
    for i in range(1, white.shape[1]):
        red[:, i] = rho * red[:, i - 1] + white[:, i]
    wavelength = 4000.0 + np.arange(size)
    error = 1 / np.sqrt(300 * size)
    found = autocorrelation(labelled(white[:, 64:], wavelength), 20, of="flux").mean("sample")
    np.testing.assert_allclose(found, np.eye(1, 21)[0], atol=4.5 * error)
    found = autocorrelation(labelled(red[:, 64:], wavelength), 20, of="flux", normalized=False).mean("sample")
    # the scatter is that of as many independent values as there are correlation lengths (1 + ρ²) / (1 − ρ²)
    expected = rho ** np.arange(21) / (1 - rho**2)
    np.testing.assert_allclose(
        found, expected, atol=4.5 * error * expected[0] * np.sqrt(2 * (1 + rho**2) / (1 - rho**2))
    )


def test_a_field_of_known_power_has_its_transform():
    """Wiener and Khinchin: C(l) = Σ P(k) cos(k l) / n, also in a patch that is no longer periodic, with holes."""
    n, size, rng = 512, 200, np.random.default_rng(6)
    k = np.abs(np.fft.fftfreq(n))
    power = 1 / (1 + (k / 0.02) ** 2)
    values = np.fft.ifft(np.fft.fft(rng.normal(size=(3000, n))) * np.sqrt(power)).real[:, :size]
    exact = np.fft.ifft(power).real[:41]
    mask = rng.random(values.shape) < 0.3
    field = labelled(values, 4000.0 + np.arange(size), mask)
    found = autocorrelation(field, 40, of="flux", normalized=False).mean("sample")
    np.testing.assert_allclose(found, exact, atol=0.03 * exact[0])


def test_the_contrast_is_free_of_continuum_and_scale():
    """Independent noise of 5 % on any continuum is white, but for what the continuum takes at lags within a window."""
    wavelength, rng = GRIDS["fine"], np.random.default_rng(7)
    noise = 0.05 * rng.normal(size=(100, len(wavelength)))
    flux = labelled(polynomial(wavelength) * (1 + noise), wavelength)
    contrast = autocorrelation(flux, 30, normalized=False)
    assert contrast.attrs["units"] == ""
    np.testing.assert_allclose(contrast.mean("sample"), 0.05**2 * np.eye(1, 31)[0], atol=0.02 * 0.05**2)
    residual = autocorrelation(flux, 30, of="residual", normalized=False)
    np.testing.assert_allclose(residual[:, 0], (flux - continuum(flux)).var("wavelength"), rtol=0.01)
    np.testing.assert_allclose(autocorrelation(7 * flux, 30), autocorrelation(flux, 30), atol=1e-9)


def test_lags_are_distances_velocities_or_pixels():
    lags = {}
    for grid, wavelength in GRIDS.items():
        lags[grid] = autocorrelation(labelled(np.ones((1, len(wavelength))), wavelength), 3, of="flux").lag
    assert [each.attrs["units"] for each in lags.values()] == ["Angstrom", "Angstrom", "km / s", "pixel"]
    np.testing.assert_allclose(lags["coarse"], [0, 8, 16, 24])
    np.testing.assert_allclose(lags["log"], 299792.458 * np.log(10) * 1e-4 * np.arange(4))
    np.testing.assert_array_equal(lags["uneven"], np.arange(4))
    assert autocorrelation(labelled(np.ones((1, 563)), GRIDS["coarse"])).sizes["lag"] == 563 // 4 + 1


def test_dark_continua_have_no_contrast():
    wavelength = GRIDS["coarse"]
    values = np.random.default_rng(8).normal(size=(2, len(wavelength))) - np.array([[0.0], [9.0]])
    found = autocorrelation(labelled(values, wavelength), 4)
    assert np.isnan(found[1]).all()
    assert int(found.pairs[1].max()) == 0
    assert np.isfinite(autocorrelation(labelled(values, wavelength), 4, of="residual")).all()


def test_what_does_not_fit_is_refused_in_words():
    wavelength = GRIDS["coarse"]
    flux = labelled(np.ones((2, len(wavelength))), wavelength)
    with pytest.raises(ValueError, match=r"hold 0\.\d+ pixels of 'flux'"):
        continuum(flux, 1e-3)
    with pytest.raises(ValueError, match=r"windows of 20 Angstrom hold 2.5 pixels"):
        continuum(flux, 20, "Angstrom")
    with pytest.raises(ValueError, match="sortby"):
        continuum(flux[:, ::-1])
    with pytest.raises(ValueError, match="expected spectra"):
        continuum(flux.rename(wavelength="x"))
    with pytest.raises(ValueError, match="sample 1 of 'flux' has 1 values that are not finite"):
        continuum(flux.where((flux.redshift < 1) | (flux.wavelength > 4010)))
    with pytest.raises(ValueError, match=r"longest lag of 1 to 562 pixels of 'flux', got 563"):
        autocorrelation(flux, 563)
    with pytest.raises(ValueError, match="unknown state 'ratio'"):
        autocorrelation(flux, of="ratio")


def compared(statistic, real, generated, splits=100):
    """The rows by their names, and the curves."""
    rng = np.random.default_rng(0)
    groups = [np.arange(field.sizes["sample"]) for field in (real, generated)]
    first, second = halves(groups[0], splits, rng)
    subsets = tuple(
        weights(each, len(group))
        for each, group in zip((first, second, draw(groups[1], splits, first.shape[1], rng)), (groups[0], *groups))
    )
    samples = [measure([statistic], field) for field in (real, generated)]
    rows, _, curves = tabulate([statistic], samples, groups, subsets)
    return {row["name"]: row for row in rows}, curves[statistic.name]


def textured(samples, seed, smooth=0, tilt=0.0):
    wavelength, rng = GRIDS["coarse"], np.random.default_rng(seed)
    noise = 0.1 * rng.normal(size=(samples, len(wavelength)))
    for _ in range(smooth):
        noise = 0.5 * noise + 0.25 * (np.roll(noise, 1, axis=1) + np.roll(noise, -1, axis=1))
    slope = rng.normal(tilt, 0.3, (samples, 1))
    return labelled(
        (1 + noise) * 5 * (wavelength / 6000) ** slope * np.exp(rng.normal(0, 0.2, (samples, 1))), wavelength
    )


def test_a_comparison_tells_smoothed_noise_and_another_continuum():
    real, same = agreeing(textured(200, 0), textured(200, 1))
    Continuum.check(real)
    statistic = Continuum.of(real, same)
    rows, curves = compared(statistic, real, same)
    assert set(rows) == {"continuum", "autocorrelation"}
    for row in rows.values():
        assert row["score"] < 1.3 * row["floor"]["p95"]
    smoothed, curves_of_smoothed = compared(statistic, real, textured(200, 1, smooth=2))
    assert smoothed["autocorrelation"]["score"] > 5 * smoothed["autocorrelation"]["floor"]["p95"]
    assert smoothed["continuum"]["score"] < 1.3 * smoothed["continuum"]["floor"]["p95"]
    # the mean of two neighbors, twice: (1, 4, 6, 4, 1) / 16, of which the first correlation is 56 / 70
    assert smoothed["autocorrelation"]["generated"] == pytest.approx(0.8, abs=0.05)
    tilted, _ = compared(statistic, real, textured(200, 1, tilt=1.0))
    assert tilted["continuum"]["score"] > 2 * tilted["continuum"]["floor"]["p95"]
    assert tilted["autocorrelation"]["score"] < 1.3 * tilted["autocorrelation"]["floor"]["p95"]
    assert list(curves.dims) == ["lag"]
    assert curves.lag.attrs["units"] == "Angstrom"
    assert set(curves.data_vars) == {"real", "generated", "difference", "floor_low", "floor_high"}
    inside = (curves.difference >= 1.5 * curves.floor_low) & (curves.difference <= 1.5 * curves.floor_high)
    assert float(inside.mean()) > 0.8
    assert float(curves_of_smoothed.difference[1]) > 10 * float(curves_of_smoothed.floor_high[1])


def test_a_shift_of_the_continuum_is_its_distance():
    """Spectra that are brighter by half the scatter lie half a σ away, at every wavelength."""
    wavelength = GRIDS["coarse"]
    values = np.linspace(-3, 3, 601)[:, None] + 20 + np.zeros((1, len(wavelength)))
    real = labelled(values, wavelength)
    statistic = Continuum.of(real, real)
    ours, theirs = (measure([statistic], field)[0] for field in (real, real + 0.5 * 0.6826 * 3))
    weight = np.full((1, 601), 1 / 601)
    parts = Parts.of(statistic, (ours, theirs), (np.arange(601), np.arange(601)), (weight, weight, weight))
    score = statistic.scores(ours)[0]
    assert float(score.distance(parts.generated, parts.real)[0]) == pytest.approx(0.5, rel=0.02)
    assert float(score.value(parts.real)[0]) == pytest.approx(20, abs=0.01)
