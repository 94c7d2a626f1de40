"""Synthetic colors beside closed forms and speclite, and beside the colors that were asked for."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from data_loaders.spectra.filters import filter_curve
from sciffusion import plot
from sciffusion.statistics import synthetic_colors, synthetic_magnitude
from sciffusion.validate import compare

# zero magnitude: Cohen, Wheaton & Megeath 2003, table 2 [W cm-2 um-1]
ZERO = {"J": 3.129e-13, "H": 1.133e-13, "Ks": 4.283e-14}


def labelled(values, wavelength, **coords):
    axis = {"units": "Angstrom", "medium": "vacuum"}
    labels = {name: ("sample", np.asarray(value)) for name, value in coords.items() if name != "mask"}
    if "mask" in coords:
        labels["mask"] = (("sample", "wavelength"), coords["mask"])
    return xr.DataArray(
        values,
        dims=("sample", "wavelength"),
        coords={"wavelength": ("wavelength", wavelength, axis), **labels},
        name="flux",
        attrs={"units": "", "long_name": "flux"},
    )


WAVELENGTH = np.geomspace(8500, 24000, 512)


def blackbodies(temperatures, wavelength=WAVELENGTH):
    x = 1.438777e8 / (wavelength * np.asarray(temperatures)[:, None])
    flux = wavelength**-5.0 / np.expm1(x)
    return flux / np.median(flux, axis=1, keepdims=True)


def test_a_flat_spectrum_has_the_ratio_of_the_zero_points():
    found = synthetic_colors(labelled(np.full((2, 512), [[1.0], [7.0]]), WAVELENGTH))
    expected = 2.5 * np.log10([ZERO["J"] / ZERO["H"], ZERO["H"] / ZERO["Ks"]])
    np.testing.assert_allclose(found, [expected, expected], atol=1e-4)
    assert found.dims == ("sample", "color")
    assert found.color.values.tolist() == ["J_H", "H_K"]
    assert found.attrs["units"] == "mag"


def test_the_flux_counts_by_photons():
    """A line is weighted by response × wavelength."""
    wavelength = np.arange(9000.0, 24500.0, 1.0)
    curve = filter_curve("2mass-H")
    flux = np.zeros((2, wavelength.size))
    at = [int(np.argmin(np.abs(wavelength - w))) for w in (15500, 17000)]
    flux[[0, 1], at] = 1
    flux[:, np.abs(wavelength - 12500) < 5] = 1  # the same in J
    ratio = 10 ** (0.4 * np.diff(synthetic_colors(labelled(flux, wavelength), ["J_H"])[:, 0])[0])
    expected = [np.interp(wavelength[i], *curve) * wavelength[i] for i in at]
    assert ratio == pytest.approx(expected[1] / expected[0], rel=0.01)


def test_colors_are_those_of_speclite():
    filters = pytest.importorskip("speclite.filters")
    wavelength = np.arange(8000.0, 25000.0, 5.0)
    flux = blackbodies([1500, 3000, 6000, 10000], wavelength)
    found = synthetic_colors(labelled(flux, wavelength))
    magnitudes = []
    for band in ("J", "H", "Ks"):
        curve = filters.load_filter(f"twomass-{band}")
        mean = curve.convolve_with_array(wavelength, flux, interpolate=True)
        mean /= curve.convolve_with_function(lambda w: np.ones_like(np.asarray(w)))
        magnitudes.append(-2.5 * np.log10(mean / ZERO[band]))
    np.testing.assert_allclose(found[:, 0], magnitudes[0] - magnitudes[1], atol=1e-4)
    np.testing.assert_allclose(found[:, 1], magnitudes[1] - magnitudes[2], atol=1e-4)


def test_a_coarse_grid_gives_the_colors_of_a_fine_one():
    temperatures = [1500, 3000, 6000]
    fine = np.arange(8500.0, 24000.0, 2.0)
    found = synthetic_colors(labelled(blackbodies(temperatures, fine), fine))
    coarse = synthetic_colors(labelled(blackbodies(temperatures), WAVELENGTH))
    ratio = np.median(blackbodies(temperatures, fine)) / np.median(blackbodies(temperatures))
    assert ratio > 0  # a factor of a spectrum does not matter
    np.testing.assert_allclose(coarse, found, atol=1e-3)
    backwards = labelled(blackbodies(temperatures)[:, ::-1], WAVELENGTH[::-1])
    np.testing.assert_allclose(synthetic_colors(backwards), coarse, rtol=1e-10)
    microns = labelled(blackbodies(temperatures), WAVELENGTH / 1e4)
    microns.wavelength.attrs["units"] = "um"
    np.testing.assert_allclose(synthetic_colors(microns), coarse, rtol=1e-10)


def test_bad_pixels_do_not_count_and_too_many_leave_no_color():
    flux = np.ones((3, 512))
    mask = np.zeros((3, 512), bool)
    mask[1, 200:204] = True  # a few in H
    mask[2, (WAVELENGTH > 15000) & (WAVELENGTH < 17000)] = True  # most of H
    garbage = np.where(mask, -50.0, flux)
    found = synthetic_colors(labelled(garbage, WAVELENGTH, mask=mask))
    np.testing.assert_allclose(found[1], found[0], atol=1e-9)
    assert np.isnan(found[2]).all()
    dark = synthetic_colors(labelled(-flux, WAVELENGTH))
    assert np.isnan(dark).all()


def test_what_has_no_colors_is_refused_in_words():
    optical = np.geomspace(3600, 9000, 100)
    with pytest.raises(ValueError, match=r"do not cover the band 2mass-J .* to 99% but to 0.0%"):
        synthetic_colors(labelled(np.ones((2, 100)), optical), ["J_H"])
    with pytest.raises(ValueError, match="do not cover the bands of any color"):
        synthetic_colors(labelled(np.ones((2, 100)), optical / 2))
    with pytest.raises(ValueError, match="a flux per frequency"):
        synthetic_colors(labelled(np.ones((2, 512)), WAVELENGTH).assign_attrs(units="mJy"))
    with pytest.raises(ValueError, match="unknown color 'B_V'; known are u_g, g_r"):
        synthetic_colors(labelled(np.ones((2, 512)), WAVELENGTH), ["B_V"])


OPTICAL = np.arange(2900.0, 11200.0, 2.0)


def test_sdss_magnitudes_and_colors_are_those_of_speclite():
    filters = pytest.importorskip("speclite.filters")
    flux = blackbodies([3000, 5000, 9000], OPTICAL)
    field = labelled(flux, OPTICAL).assign_attrs(units="1e-17 erg / (s cm2 Angstrom)")
    expected = filters.load_filters("sdss2010-*").get_ab_magnitudes(
        flux * filters.default_flux_unit * 1e-17, OPTICAL * filters.default_wavelength_unit
    )
    magnitudes = np.stack([expected[f"sdss2010-{band}"] for band in "ugriz"], axis=1)
    ours = np.stack([synthetic_magnitude(field, f"sdss-{band}") for band in "ugriz"], axis=1)
    # speclite integrates its zero point with straight lines between the samples of the curve, 20 Angstrom apart,
    # which in u is half a thousandth
    np.testing.assert_allclose(ours[:, 1:], magnitudes[:, 1:], atol=2e-5)
    np.testing.assert_allclose(ours[:, 0], magnitudes[:, 0], atol=6e-4)
    found = synthetic_colors(field)
    assert found.color.values.tolist() == ["u_g", "g_r", "r_i", "i_z"]
    np.testing.assert_allclose(found, -np.diff(magnitudes, axis=1), atol=6e-4)
    per_metre = (field * 1e-7).assign_attrs(units="W / (m2 um)")  # 1e-17 erg/(s cm2 A) = 1e-16 W/(m2 um)
    shift = synthetic_magnitude(per_metre, "sdss-r") - synthetic_magnitude(field, "sdss-r")
    np.testing.assert_allclose(shift, 2.5 * (7 - 16), rtol=1e-9)


def test_ab_colors_of_a_flat_spectrum_per_frequency_are_zero_even_where_the_window_cuts():
    window = OPTICAL[(OPTICAL >= 4000) & (OPTICAL <= 8500)]
    flat = labelled(1e5 / window[None] ** 2, window)
    with pytest.raises(ValueError, match=r"do not cover the band sdss-g .* but to 98.2%"):
        synthetic_colors(flat, ["g_r"])
    found = synthetic_colors(flat, covered=0.97)
    assert found.color.values.tolist() == ["g_r", "r_i"]
    np.testing.assert_allclose(found, 0, atol=1e-6)
    with pytest.raises(ValueError, match="cannot be converted"):
        synthetic_magnitude(flat, "sdss-r")


def galaxies(samples, seed):
    rng = np.random.default_rng(seed)
    window = np.arange(4000.0, 8500.0, 8.0)
    slope = rng.normal(0, 1, (samples, 1))
    field = labelled((window / 6000) ** slope, window)
    own = synthetic_colors(field, covered=0.97)
    return field.assign_coords(g_r=("sample", own.sel(color="g_r").values + 0.01))


def test_spectra_of_galaxies_are_compared_by_the_colors_that_their_window_holds():
    comparison = compare(galaxies(60, 1), galaxies(60, 2), diagnostics=["colors"])
    names = [row["name"] for row in comparison.scores["statistics"] if row["name"].startswith("color_")]
    assert names == ["color_g_r", "color_r_i", "color_g_r_bias", "color_g_r_scatter"]
    assert row(comparison, "color_g_r_bias")["real"] == pytest.approx(-0.01)
    axes = plot.plot_colors(comparison)
    assert [ax.get_xlabel() for ax in axes] == ["synthetic r−i [mag]", "g−r of the catalogue, or asked for [mag]"]
    assert axes[0].get_ylabel() == "synthetic g−r [mag]"


def stars(samples, seed, offset=0.0, scatter=0.05):
    """Blackbodies with colors of a catalogue: their own with errors, less an offset."""
    rng = np.random.default_rng(seed)
    field = labelled(blackbodies(rng.uniform(1500, 6000, samples)), WAVELENGTH)
    own = synthetic_colors(field).values
    asked = own - offset + rng.normal(0, scatter, own.shape)
    return field.assign_coords(J_H=("sample", asked[:, 0]), H_K=("sample", asked[:, 1]))


def test_dark_spectra_have_no_colors_and_the_comparison_says_so(tmp_path):
    """An untrained network draws such spectra; its run must end in a table all the same."""
    real, dark = stars(40, seed=1), stars(40, seed=2)
    comparison = compare(real, -dark.assign_attrs(dark.attrs), diagnostics=["colors"], splits=10)
    found = row(comparison, "color_J_H")
    assert (found["score"], found["generated"]) == (None, None)
    assert found["floor"]["median"] > 0
    line = next(line for line in str(comparison).splitlines() if line.startswith("J−H, Wasserstein"))
    assert line.split()[-1] == "–"
    comparison.write(tmp_path)
    assert np.isnan(comparison.table["score"][-1])


def row(comparison, name):
    return next(row for row in comparison.scores["statistics"] if row["name"] == name)


def test_bias_and_scatter_are_those_of_synthetic_less_asked():
    real, generated = stars(300, seed=1), stars(300, seed=2, offset=0.2, scatter=0.1)
    generated.J_H.values[5] = np.nan  # not known
    comparison = compare(real, generated, diagnostics=["colors"])
    for name in ("J_H", "H_K"):
        bias, scatter = row(comparison, f"color_{name}_bias"), row(comparison, f"color_{name}_scatter")
        assert bias["real"] == pytest.approx(0.0, abs=0.015)
        assert bias["generated"] == pytest.approx(0.2, abs=0.025)
        assert bias["all_samples"] == pytest.approx(abs(bias["generated"] - bias["real"]))
        assert scatter["real"] == pytest.approx(0.05, rel=0.15)
        assert scatter["generated"] == pytest.approx(0.1, rel=0.15)
        assert bias["score"] > 3 * bias["floor"]["p95"]
        own = row(comparison, f"color_{name}")
        assert own["score"] < 2 * own["floor"]["p95"]  # the spectra themselves are of one kind
    assert comparison.results["colors"].sizes == {"real": 300, "generated": 300}


def test_spectra_without_asked_colors_are_compared_by_their_distribution_alone():
    real, generated = (stars(60, seed=s).drop_vars(["J_H", "H_K"]) for s in (1, 2))
    redder = generated * np.linspace(1, 2, 512)
    comparison = compare(real, redder.assign_attrs(real.attrs), diagnostics=["colors"])
    names = [row["name"] for row in comparison.scores["statistics"]]
    assert [name for name in names if name.startswith("color")] == ["color_J_H", "color_H_K"]
    assert row(comparison, "color_J_H")["score"] > row(comparison, "color_J_H")["floor"]["p95"]
    axes = plot.plot_colors(comparison)
    assert len(axes) == 1


def test_the_figure_tells_bias_and_scatter_of_both_sets():
    comparison = compare(stars(60, seed=1), stars(60, seed=2, offset=0.3), diagnostics=["colors"])
    axes = plot.plot_colors(comparison)
    assert [ax.get_xlabel() for ax in axes] == [
        "synthetic H−K [mag]", "J−H of the catalogue, or asked for [mag]", "H−K of the catalogue, or asked for [mag]",
    ]  # fmt: skip
    np.testing.assert_array_equal(axes[1].lines[1].get_xdata(), comparison.results["colors"]["J_H_asked_generated"])
    texts = [text.get_text() for text in axes[1].get_legend().get_texts()]
    assert texts[1].startswith("generated: +0.")
    assert float(texts[1].split()[1]) == pytest.approx(row(comparison, "color_J_H_bias")["generated"], abs=1e-3)
    assert isinstance(axes[0].figure, Figure)
    assert "noise: not stated" in axes[0].figure.get_suptitle()
