"""Distributions of lines that were put in, widths of Gaussians, and what tells two sets of galaxies apart."""

import numpy as np
import pytest
import xarray as xr
from known_galaxies import emission, galaxies, grid, labelled
from matplotlib.axes import Axes

from sciffusion.comparison import Comparison
from sciffusion.figures_lines import plot_autocorrelation, plot_lines
from sciffusion.statistics.bands import spectra
from sciffusion.statistics.linefit import WIDTH, fit_halpha
from sciffusion.statistics.lines import LICK, LINES, dn4000, equivalent_widths, lick_indices, line_fluxes
from sciffusion.statistics.linestatistics import Lines, line_features, line_widths
from sciffusion.statistics.objectredshift import ObjectRedshift, Redshift, redshift_name
from sciffusion.statistics.spectrumtexture import Continuum
from sciffusion.statistics.split import draw, halves, weights
from sciffusion.statistics.spread import Spread
from sciffusion.statistics.statistic import measure, tabulate

LIGHT = 299792.458


def compared(statistic, real, generated, splits=60):
    """The rows by their names, and the curves."""
    rng = np.random.default_rng(0)
    groups = [np.arange(field.sizes["sample"]) for field in (real, generated)]
    first, second = halves(groups[0], splits, rng)
    third = draw(groups[1], splits, first.shape[1], rng)
    subsets = tuple(weights(each, len(of)) for each, of in zip((first, second, third), (groups[0], *groups)))
    samples = [measure([statistic], field) for field in (real, generated)]
    rows, _, curves = tabulate([statistic], samples, groups, subsets)
    return {row["name"]: row for row in rows}, curves.get(statistic.name)


def drawn(curves, half=100):
    """What a figure reads of a comparison."""
    return Comparison({"sizes": {"half": half}, "noise": "noise: not stated"}, curves, (None, None))


@pytest.mark.parametrize("step", [1.0, 8.0])
@pytest.mark.parametrize("sigma", [2.0, 3.0, 5.0])
def test_the_width_of_a_line_is_what_was_put_in(step, sigma):
    found = line_widths(emission(np.array([0.09, 0.1, 0.1234, 0.15]), step, sigma))
    np.testing.assert_allclose(found, sigma / 6564.61 * LIGHT, rtol=1e-3)
    assert found.attrs["units"] == "km / s"
    assert "error" not in found.coords


def test_errors_of_widths_are_those_of_the_noise():
    rng = np.random.default_rng(0)
    clean = emission(rng.uniform(0.09, 0.15, 800), 1.0)
    sigma = np.linspace(0.1, 0.5, clean.sizes["wavelength"])
    noisy = (clean + sigma * rng.normal(size=clean.shape)).assign_coords(ivar=clean * 0 + sigma**-2.0)
    found = line_widths(noisy)
    pull = ((found - 3 / 6564.61 * LIGHT) / found.error).values
    np.testing.assert_allclose([pull.mean(), pull.std()], [0, 1], atol=0.12)


def test_without_a_line_there_is_no_width():
    rng = np.random.default_rng(1)
    flat = emission(np.full(200, 0.1), 8.0, strength=0.0)
    assert np.isnan(line_widths(flat)).all()
    noise = flat + 0.3 * rng.normal(size=flat.shape)
    assert float(np.isfinite(line_widths(noise)).mean()) < 0.05
    assert np.isnan(line_widths(emission(np.array([0.3]), 8.0))).all()  # beyond the window
    (part,) = spectra(emission(np.array([0.1]), 8.0), "redshift")
    assert set(fit_halpha(part)) == {"Halpha", "NII_6584", WIDTH}


def test_features_are_those_of_the_functions():
    flux = galaxies(20)
    found = line_features(flux)
    assert {"sample"} == set().union(*(set(each.dims) for each in found.values()))
    np.testing.assert_array_equal(found["dn4000"], dn4000(flux))
    np.testing.assert_array_equal(found["line_width"], line_widths(flux))
    fluxes, widths, indices = line_fluxes(flux), equivalent_widths(flux), lick_indices(flux)
    for name in fluxes.line.values:
        np.testing.assert_array_equal(found[f"line_{name}"], fluxes.sel(line=name))
    for name in LINES:
        np.testing.assert_array_equal(found[f"ew_{name}"], widths.sel(line=name))
    for name in LICK:
        np.testing.assert_array_equal(found[f"lick_{name}"], indices.sel(line=name))
    assert len(found) == 2 + len(fluxes.line) + len(LINES) + len(LICK)
    assert found["line_Halpha"].attrs["units"] == fluxes.attrs["units"]
    assert found["ew_Hbeta"].attrs["units"] == "Angstrom"


def test_a_shift_of_one_line_is_its_distance_and_outliers_count_little():
    values = np.stack([np.linspace(0, 1, 400), np.linspace(5, 7, 400)], axis=1)
    spread = Spread.of(np.where(values > 6.5, np.nan, values))
    np.testing.assert_allclose(spread.median, [0.5, 5.75], atol=0.01)
    np.testing.assert_allclose(spread.sigma, [0.3413, 0.3413 * 1.5], rtol=0.02)
    functions = np.quantile(values, (np.arange(240) + 0.5) / 240, axis=0).T[None]
    moved = functions.copy()
    moved[0, 0] += 0.1
    np.testing.assert_allclose(spread.distances(moved, functions), [[0.1 / spread.sigma[0], 0]], rtol=1e-6)
    moved[0, 0] = functions[0, 0]
    moved[0, 0, -1] = 1e30
    assert spread.distances(moved, functions)[0, 0] < 5 / 240
    assert np.isnan(spread.only(slice(0, 1)).distances(moved[:, :1] * np.nan, functions[:, :1])).all()
    rare = Spread.of(np.where(np.arange(400)[:, None] < 300, np.nan, values))
    assert not rare.known.any()
    assert not Spread.of(np.ones((10, 1))).known.any()


@pytest.mark.parametrize("known", [True, False])
def test_real_halves_agree_and_broadened_lines_do_not(known):
    """With redshifts, or without in the generated set: then they are measured of both."""
    real, same = galaxies(160, noise=0.1, seed=1), galaxies(160, noise=0.1, seed=2)
    if not known:
        same = same.drop_vars("redshift")
    Lines.check(real)
    statistic = Lines.of(real, same)
    assert (statistic.redshift == "redshift") is known
    rows, _ = compared(statistic, real, same)
    expected = {"dn4000", "lick_Mg_b", "line_OIII_5007", "line_Halpha", "ew_OIII_5007", "line_width"}
    assert expected <= set(rows)
    # of twenty rows one is above the 95th percentile, but none by much
    assert all(row["score"] < 1.6 * row["floor"]["p95"] for row in rows.values())
    assert rows["line_Halpha"]["units"] == "1e-17 erg / (s cm2)"
    assert rows["dn4000"]["label"] == "Dn4000, Wasserstein distance / σ"
    smooth = (same.shift(wavelength=1, fill_value=5) + same + same.shift(wavelength=-1, fill_value=5)) / 3
    wrong, _ = compared(statistic, real, smooth.assign_attrs(same.attrs))
    assert wrong["line_width"]["score"] > 3 * wrong["line_width"]["floor"]["p95"]
    assert wrong["dn4000"]["score"] < 1.6 * wrong["dn4000"]["floor"]["p95"]


def test_an_older_set_has_another_break():
    real, old = galaxies(150, seed=3), galaxies(150, seed=4)
    rest = old.wavelength / (1 + old.redshift)
    old = (old * xr.where(rest < 3975, 0.85, 1)).transpose("sample", "wavelength").assign_attrs(old.attrs)
    rows, curves = compared(Lines.of(real, old), real, old)
    assert rows["dn4000"]["score"] > 2 * rows["dn4000"]["floor"]["p95"]
    assert rows["dn4000"]["generated"] == pytest.approx(rows["dn4000"]["real"] / 0.85, rel=0.06)
    assert rows["ew_OIII_5007"]["score"] < 1.6 * rows["ew_OIII_5007"]["floor"]["p95"]
    edges = curves["dn4000_edges"].values
    assert edges.size == 31
    np.testing.assert_allclose(curves["dn4000_real"], dn4000(real))
    assert curves["dn4000_real"].dims == ("real",)
    # shares of halves enclose that of the whole
    share = np.histogram(np.clip(curves["dn4000_real"], edges[0], edges[-1]), edges)[0] / 150
    assert (share >= curves["dn4000_floor_low"] - 1e-2).all()
    assert (share <= curves["dn4000_floor_high"] + 1e-2).all()


def test_rest_frames_and_the_other_name_of_a_redshift():
    observed = emission(np.full(30, 0.1), 1.0)
    noise = np.random.default_rng(5).normal(0, 0.2, observed.shape)
    observed = (observed + noise).assign_attrs(observed.attrs)
    axis = {"units": "Angstrom", "medium": "vacuum", "frame": "rest"}
    rest = observed.assign_coords(wavelength=("wavelength", grid(1.0) / 1.1, axis)).drop_vars("redshift")
    statistic = Lines.of(rest, rest)
    assert statistic.redshift == ""
    other = observed.rename(redshift="z")
    second = Lines.of(other, other)
    assert second.redshift == "z"
    first, found = (each.measure(field) for each, field in ((statistic, rest), (second, other)))
    names = list(second.units)
    assert list(statistic.units) == names
    for name in ("dn4000", "ew_Hbeta", "line_width"):
        i = names.index(name)
        np.testing.assert_allclose(first["features"][:, i], found["features"][:, i], rtol=1e-6)


def test_what_the_window_does_not_hold_is_not_measured():
    axis = {"units": "Angstrom", "medium": "vacuum", "frame": "observed"}
    infrared = xr.DataArray(
        np.ones((3, 512)),
        dims=("sample", "wavelength"),
        coords={"wavelength": ("wavelength", np.geomspace(8500, 24000, 512), axis)},
        name="flux",
    )
    with pytest.raises(
        ValueError, match=r"hold none of the optical lines, indices and breaks at redshifts of 0 to 0\.3"
    ):
        Lines.check(infrared)
    with pytest.raises(ValueError, match="lines of galaxies, 3650 to 7000 Angstrom at rest, lie in less than half"):
        Redshift.check(infrared)
    rest = infrared.assign_coords(wavelength=infrared.wavelength.assign_attrs(frame="rest"))
    with pytest.raises(ValueError, match="are at rest"):
        Redshift.check(rest)
    with pytest.raises(ValueError, match="breaks at rest"):
        Lines.check(rest)
    blue = galaxies(5).sel(wavelength=slice(4000, 5000))
    units = Lines.of(blue, blue).units
    assert "dn4000" in units
    assert "line_Halpha" not in units
    assert "line_width" not in units
    empty = labelled(np.ones((8, 563)), grid(8.0), np.full(8, 0.1))
    rows, curves = compared(Lines.of(empty, empty), empty, empty)
    assert rows == {}
    assert curves is None


def test_redshifts_of_both_sets_are_compared():
    real, same = galaxies(120, seed=6), galaxies(120, seed=7)
    Redshift.check(real)
    assert redshift_name(real, same) == "redshift"
    rows, curves = compared(Redshift.of(real, same), real, same)
    assert set(rows) == {"redshift", "redshift_miss"}
    assert rows["redshift"]["real"] == pytest.approx(float(real.redshift.median()), abs=2e-3)
    assert rows["redshift_miss"]["real"] < 1e-3
    assert rows["redshift"]["score"] < 1.6 * rows["redshift"]["floor"]["p95"]
    np.testing.assert_allclose(np.nanmedian(np.abs(curves.measured_real - curves.asked_real)), 0, atol=1e-3)
    near = galaxies(120, seed=8, redshift=np.random.default_rng(8).uniform(0.05, 0.09, 120))
    rows, _ = compared(Redshift.of(real, near), real, near)
    assert rows["redshift"]["score"] > 3 * rows["redshift"]["floor"]["p95"]
    asked = same.assign_coords(redshift=same.redshift + 0.003)
    rows, _ = compared(Redshift.of(real, asked), real, asked)
    assert rows["redshift_miss"]["score"] > 3
    noise = same.copy(data=5 + np.random.default_rng(9).normal(size=same.shape))  # no line tells a redshift
    rows, _ = compared(Redshift.of(real, noise), real, noise)
    assert rows["redshift"]["score"] > 3
    unnamed = ObjectRedshift.of(real.drop_vars("redshift"))
    assert (unnamed.low, unnamed.high) == (0.0, 0.3)


def test_fine_pixels_are_averaged_before_a_redshift_is_measured():
    fine = galaxies(40, step=1.0, noise=0.5, seed=12)
    mask = np.random.default_rng(13).random(fine.shape) < 0.1
    damaged = fine.copy(data=np.where(mask, -1e3, fine.values)).assign_coords(mask=(fine.dims, mask))
    found = ObjectRedshift.of(fine).confident(damaged)
    np.testing.assert_allclose(found, fine.redshift, atol=1e-3)
    assert float(np.median(np.abs(found - fine.redshift))) < 2e-4


def test_figures_have_units_and_a_floor():
    real, same = galaxies(80, seed=10), galaxies(70, seed=11)
    results = {}
    for statistic in (Lines.of(real, same), Continuum.of(real, same)):
        results[statistic.name] = compared(statistic, real, same)[1]
    comparison = drawn(results)
    axes = plot_lines(comparison)
    names = results["lines"].attrs["features"]
    shown = [ax for ax in axes.flat if ax.axison]
    assert len(shown) == len(names)
    assert shown[names.index("lick_Mg_b")].get_xlabel() == "Lick Mg b\n[Å]"
    assert shown[0].get_xlabel() == "Dn4000"
    assert all(len(ax.collections) == 1 and len(ax.lines) == 2 for ax in shown)
    top, bottom = plot_autocorrelation(comparison)
    assert isinstance(top, Axes)
    assert bottom.get_xlabel() == "lag [Å]"
    assert len(bottom.collections) == 1
    figure = top.figure
    figure.canvas.draw()
    with pytest.raises(ValueError, match="one for each feature, got 2"):
        plot_lines(comparison, np.array([top, bottom]))
